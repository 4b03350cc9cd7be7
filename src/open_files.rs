//! The limit on open files, of which each request in flight takes two.
//!
//! Systems start programs with a soft limit of 1,024 for the sake of those that still use
//! `select(2)`, and leave it to the others to raise it to the hard limit: HAProxy, nginx and
//! Go programs do, and so do we. What we start gets the old limit back, for it may be a
//! program of the first kind.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises our own limit as far as it goes; the limit that holds then, if there is one.
pub fn raise() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        return before.current;
    }
    // Only the first time counts: what was there before us.
    let _ = BEFORE.set(before);
    before.maximum
}

/// Takes back [`raise`] in a child between fork and exec; a plain system call.
///
/// # Errors
///
/// The kernel's; it has no reason for one.
pub fn lower_again() -> io::Result<()> {
    match BEFORE.get() {
        Some(&before) => Ok(setrlimit(Resource::Nofile, before)?),
        None => Ok(()),
    }
}
