//! The fleet's tests: [`stories`] that people wrote, and a [`simulation`] that looks for
//! those nobody thought of. Both speak the language of [`script`], so that what the
//! simulation finds becomes a story by copy and paste.

mod chance;
mod rules;
mod script;
mod simulation;
mod stories;
mod world;
