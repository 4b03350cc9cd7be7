//! Calls of the operating system that the standard library does not have, and all `unsafe` code.
//!
//! Knows no other part of the crate. Where a call exists on Linux only, the same function does
//! nothing elsewhere, or does it in a slower way.

pub mod child;
pub(crate) mod handshakes;
pub(crate) mod malloc;
pub mod open_files;
pub mod orphans;
pub mod port_claim;
pub(crate) mod send_queue;
pub(crate) mod tcp;
