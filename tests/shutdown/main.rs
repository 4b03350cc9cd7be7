//! How a balancer ends.

#![allow(clippy::unwrap_used, missing_docs)]

mod drain;
#[path = "../support/mod.rs"]
mod support;
