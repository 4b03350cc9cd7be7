//! The HTTP API: replicas and ring as clients see and change them.

#![allow(clippy::unwrap_used, missing_docs)]

mod admin;
mod admin_listener;
mod conditional;
mod conformance;
mod drills;
mod events;
mod guard;
mod heartbeats;
mod idempotency;
mod key_source;
mod maintenance;
mod metrics;
mod operator_actions;
mod pause;
mod replicas;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
