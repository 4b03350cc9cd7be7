//! The HTTP API: replicas and ring as clients see and change them.

#![allow(clippy::unwrap_used, missing_docs)]

mod admin;
mod events;
mod metrics;
mod operator_actions;
mod replicas;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
