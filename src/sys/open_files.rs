//! The limit on open files, of which each request in flight takes two.
//!
//! Systems start programs with a soft limit of 1,024 for the sake of those that still use
//! `select(2)`, and leave it to the others to raise it to the hard limit: HAProxy, nginx and
//! Go programs do, and so do we. What we start gets the old limit back, for it may be a
//! program of the first kind.

use std::io;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a balancer has open beside the sockets of its clients and their requests: listeners,
/// the workers' pollers, the engine's socket, the log.
const OTHERS: u64 = 128;
/// What each replica takes: its pipes, the handle of its process, its heartbeat.
const PER_REPLICA: u64 = 8;
/// Connections of clients at once, if nothing limits the open files.
const MAX_CONNECTIONS: u64 = 1_000_000;

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

/// How many clients' connections the hard limit allows beside `replicas` replicas, if
/// each has a request in flight, which takes a second socket. HAProxy computes its `maxconn`
/// like this.
pub fn connections(replicas: usize) -> NonZeroUsize {
    let files = getrlimit(Resource::Nofile).maximum;
    connections_of(files, replicas)
}

fn connections_of(files: Option<u64>, replicas: usize) -> NonZeroUsize {
    let others = OTHERS + PER_REPLICA * replicas as u64;
    let most = files.map_or(MAX_CONNECTIONS, |files| files.saturating_sub(others) / 2);
    let most = usize::try_from(most.min(MAX_CONNECTIONS)).unwrap_or(usize::MAX);
    NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN)
}

/// Takes back [`raise`] in a child between fork and exec; a plain system call.
///
/// # Errors
///
/// The kernel's; it has no reason for one.
pub fn restore() -> io::Result<()> {
    match BEFORE.get() {
        Some(&before) => Ok(setrlimit(Resource::Nofile, before)?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sockets_for_each_connection_leave_room_for_everything_else() {
        for (files, replicas, connections) in [
            (Some(20_000), 3, 9_924),
            (Some(1_024), 10, 408),
            (Some(64), 3, 1),
            (Some(1 << 40), 3, 1_000_000),
            (None, 3, 1_000_000),
        ] {
            let story = format!("{files:?} files, {replicas} replicas");
            let computed = connections_of(files, replicas).get();
            assert_eq!(computed, connections, "{story}");
        }
    }
}
