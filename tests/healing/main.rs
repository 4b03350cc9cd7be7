//! Replicas that die, hang or fail their health checks, and how they come back.

#![allow(clippy::unwrap_used, missing_docs)]

mod canary;
mod health_checks;
mod hooks;
mod hostile_health_checks;
mod post_mortems;
mod respawn;
mod rollouts;
mod scaling;
mod slow_start;
mod spares;
mod state_file;
#[path = "../support/mod.rs"]
mod support;
