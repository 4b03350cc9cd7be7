//! Ports for children: one that is free, and what shows that it was free no longer.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::runtime::RuntimeError;
use crate::sys::port_claim::PortClaim;

/// How often a start is tried again on another port.
pub const MAX_PORT_LOSSES: u32 = 3;

/// How many ports are asked for before giving up on one that no other child has been given.
const MAX_ATTEMPTS: usize = 100;

/// A port that no program uses right now, and that is not `taken` by a child that has yet to
/// listen, of this balancer or another one. A program of another kind may use it before the child
/// does ([`PortLoss`]). Keeping it reserved would need SO_REUSEADDR on both sides, which not every
/// server sets.
pub fn free_port(taken: impl Fn(u16) -> bool) -> Result<(u16, PortClaim), RuntimeError> {
    for _ in 0..MAX_ATTEMPTS {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map(|address| address.port())
            .map_err(|error| RuntimeError(format!("no free port: {error}")))?;
        if taken(port) {
            continue;
        }
        if let Some(claim) = PortClaim::new(port) {
            return Ok((port, claim));
        }
    }
    Err(RuntimeError(
        "no free port: every one is another replica's".to_owned(),
    ))
}

/// Another program had a child's port before the child had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortLoss {
    port: u16,
}

impl PortLoss {
    /// The loss of a port, if that is why its child has ended: it said so, or the port is in use.
    /// Connections in passing take ports, too, and may have given them back by now.
    pub fn of(port: u16, printed: &[String]) -> Option<Self> {
        let said_so = printed.iter().any(|line| {
            let line = line.to_ascii_lowercase();
            line.contains("address already in use")
                || line.contains("address in use")
                || line.contains("eaddrinuse")
        });
        let in_use = || {
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
        };
        (said_so || in_use()).then_some(Self { port })
    }
}

impl fmt::Display for PortLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another program has taken port {}", self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_lost_if_the_child_says_so_or_if_it_is_in_use() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let lost = |port, line: &str| PortLoss::of(port, &[line.to_owned()]).is_some();
        assert!(lost(port, "cannot start"));
        // Nothing of ours listens there.
        assert!(!lost(1, "cannot start"));
        for line in [
            "Error: listen EADDRINUSE: address already in use :::5000",
            "OSError: [Errno 98] Address already in use",
            "Address in use - bind(2) for 127.0.0.1:5000",
        ] {
            assert!(lost(1, line), "{line}");
        }
    }

    #[test]
    fn no_port_is_given_twice() {
        let (first, _) = free_port(|_| false).unwrap();
        assert_ne!(free_port(|port| port == first).unwrap().0, first);
        assert!(free_port(|_| true).is_err());
    }
}
