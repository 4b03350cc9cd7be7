//! Containers on a real engine. Without one these tests say so and pass, but under `CI=true` they
//! fail.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/docker/mod.rs"]
mod docker;
mod engine_failures;
mod runtime;
mod shared_fleet;
#[path = "../support/mod.rs"]
mod support;

/// Held by a test that wants the machine's network tables, or all of its engine's speed, for itself.
pub static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
