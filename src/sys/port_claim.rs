//! Ports that the balancers of a machine leave to each other.
//!
//! A port that is free when it is looked for may be found by two balancers before the child of
//! either listens: the second child cannot start, and until its end is seen the first one answers
//! its heartbeats. So each balancer claims a port under a name that only one socket can have. The
//! kernel keeps such names for each network namespace, as it does ports, and forgets a name with
//! its socket.

#[cfg(target_os = "linux")]
use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// While it lives, no other claim of the port can be made on this machine.
#[derive(Debug)]
pub struct PortClaim {
    #[cfg(target_os = "linux")]
    _name: Option<UnixDatagram>,
}

impl PortClaim {
    /// Claims a port of this machine; `None` if another balancer has. Where there are no such names,
    /// every port can be claimed.
    #[cfg(target_os = "linux")]
    pub fn new(port: u16) -> Option<Self> {
        let bound = SocketAddr::from_abstract_name(format!("ringmaster-port-{port}"))
            .and_then(|name| UnixDatagram::bind_addr(&name));
        match bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            bound => Some(Self { _name: bound.ok() }),
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[allow(missing_docs)]
    pub fn new(_: u16) -> Option<Self> {
        Some(Self {})
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn claimed_port_is_not_given_again_until_the_claim_ends() {
        // While this listens, no balancer finds its port free.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let first = PortClaim::new(port).unwrap();
        assert!(PortClaim::new(port).is_none());
        drop(first);
        assert!(PortClaim::new(port).is_some());
    }
}
