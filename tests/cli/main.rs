//! The program and its subcommands.

#![allow(clippy::unwrap_used, missing_docs)]

mod access_log;
mod analyze;
mod ctl;
#[path = "../support/docker/mod.rs"]
mod docker;
mod drill;
mod logs;
mod program;
#[path = "../support/mod.rs"]
mod support;
