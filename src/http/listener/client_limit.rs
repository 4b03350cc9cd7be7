//! How many connections one client may have open, over all worker threads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use log::debug;
use socket2::SockRef;

use crate::http::connection::canned_response::encode_error;
use crate::http::error::ProxyError;

/// The limit, and the connections of each client that has any.
#[derive(Debug)]
pub struct ClientLimit {
    max_connections: u32,
    /// Proxies, which speak for many clients.
    unlimited: Arc<[IpNet]>,
    open: Mutex<HashMap<IpAddr, u32>>,
}

impl ClientLimit {
    /// No connection is open. The addresses of `unlimited` may have any number.
    pub fn new(max_connections: NonZeroU32, unlimited: Arc<[IpNet]>) -> Arc<Self> {
        Arc::new(Self {
            max_connections: max_connections.get(),
            unlimited,
            open: Mutex::default(),
        })
    }

    /// One more connection from there, unless that client has as many as it may.
    pub fn try_acquire(self: &Arc<Self>, peer: SocketAddr) -> Option<ClientPermit> {
        let address = peer.ip().to_canonical();
        let client = if self.unlimited.iter().any(|net| net.contains(&address)) {
            None
        } else {
            let client = client_of(address);
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(client).or_default();
            if *count >= self.max_connections {
                return None;
            }
            *count += 1;
            Some(client)
        };
        Some(ClientPermit {
            limit: Arc::clone(self),
            client,
        })
    }
}

/// A client as the limit counts it: an IPv6 network of 64 bits is what one customer of a
/// provider gets, and may take any address from.
fn client_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// One connection of a client, until this is dropped.
#[derive(Debug)]
pub struct ClientPermit {
    limit: Arc<ClientLimit>,
    client: Option<IpAddr>,
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        let Some(client) = self.client else {
            return;
        };
        let open = &self.limit.open;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Answers a connection beyond the limit, and closes it. Nothing is waited for: one that floods
/// must cost as little as can be.
pub fn refuse(mut socket: TcpStream, peer: SocketAddr) {
    debug!("{peer}: refused, --max-connections-per-client are open");
    let response = encode_error(&ProxyError::TooManyConnections);
    // A client that has gone needs no answer.
    let _ = SockRef::from(&socket).send(response.as_bytes());
    let _ = socket.shutdown(Shutdown::Write);
    // A socket that is closed with something unread takes the answer away from its client.
    let _ = socket.read(&mut [0; 4096]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_count_and_proxies_have_none() {
        let unlimited = ["10.9.0.0/16".parse().unwrap()];
        let limit = ClientLimit::new(NonZeroU32::new(2).unwrap(), Arc::new(unlimited));
        let from = |address: &str| {
            let address = address.parse().unwrap();
            limit.try_acquire(SocketAddr::new(address, 4444))
        };
        let mut held = Vec::new();
        for (address, is_refused) in [
            ("192.0.2.1", false),
            ("192.0.2.1", false),
            ("192.0.2.1", true),
            // The same one, on a socket that speaks IPv6.
            ("::ffff:192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8:0:1::1", false),
            ("2001:db8:0:1::2", false),
            ("2001:db8:0:1:8000::3", true),
            ("2001:db8:0:2::1", false),
            ("10.9.1.1", false),
            ("10.9.1.1", false),
            ("10.9.1.1", false),
            ("::ffff:10.9.1.1", false),
        ] {
            let permit = from(address);
            assert_eq!(permit.is_none(), is_refused, "{address}");
            held.extend(permit);
        }
        drop(held);
        assert!(limit.open.lock().unwrap().is_empty());
        assert!(from("192.0.2.1").is_some());
    }
}
