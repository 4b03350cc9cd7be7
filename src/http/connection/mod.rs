//! One connection of a client: its state, its time-outs, the sweeper that looks at all of them,
//! and the protocol that is spoken on it.

pub mod canned_response;
pub mod h1;
mod slow_reader;
pub mod state;
pub mod sweeper;
mod timeouts;
