//! How much of what was written to a client its kernel has not taken yet.
//!
//! A socket's buffer may hold megabytes, so for minutes a write tells nothing of how fast a slow
//! client reads. The kernel is asked by sock_diag(7), once in a while and only for clients that
//! keep us waiting.

use std::net::SocketAddr;

/// The bytes between what was written and what the client's kernel has acknowledged; none if the
/// kernel does not say.
pub fn unacknowledged(local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    #[cfg(target_os = "linux")]
    return linux::unacknowledged(local, peer);
    #[cfg(not(target_os = "linux"))]
    return None.filter(|_: &u64| local == peer);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::OnceCell;
    use std::io::Read;
    use std::net::{IpAddr, SocketAddr};

    use socket2::{Domain, Protocol, Socket, Type};

    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const IPPROTO_TCP: u8 = 6;
    /// Lengths of `nlmsghdr` and `inet_diag_req_v2`.
    const HEADER: usize = 16;
    const REQUEST: usize = HEADER + 56;
    /// Where `idiag_wqueue` is in a response.
    const WRITE_QUEUE: usize = HEADER + 60;

    thread_local! {
        static KERNEL: OnceCell<Option<Socket>> = const { OnceCell::new() };
    }

    pub fn unacknowledged(local: SocketAddr, peer: SocketAddr) -> Option<u64> {
        KERNEL.with(|kernel| {
            let kernel = kernel.get_or_init(open).as_ref()?;
            let mut response = [0; 512];
            // What is left of a question that went wrong is no answer to this one.
            while (&*kernel).read(&mut response).is_ok() {}
            kernel.send(&request(local, peer)?).ok()?;
            // The kernel has answered when `send` returns.
            let length = (&*kernel).read(&mut response).ok()?;
            let response = response.get(..length)?;
            let kind = response.get(4..6)?.try_into().ok()?;
            if u16::from_ne_bytes(kind) != SOCK_DIAG_BY_FAMILY {
                return None;
            }
            let queue = response.get(WRITE_QUEUE..WRITE_QUEUE + 4)?;
            Some(u32::from_ne_bytes(queue.try_into().ok()?).into())
        })
    }

    fn open() -> Option<Socket> {
        let protocol = Some(Protocol::from(NETLINK_SOCK_DIAG));
        let kind = Type::DGRAM.nonblocking().cloexec();
        Socket::new_raw(Domain::from(AF_NETLINK), kind, protocol).ok()
    }

    /// `inet_diag_req_v2` for one connection.
    fn request(local: SocketAddr, peer: SocketAddr) -> Option<[u8; REQUEST]> {
        let mut request = [0; REQUEST];
        let mut put = |at: usize, bytes: &[u8]| {
            let place = request.get_mut(at..at + bytes.len())?;
            place.copy_from_slice(bytes);
            Some(())
        };
        put(0, &u32::try_from(REQUEST).ok()?.to_ne_bytes())?;
        put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes())?;
        put(6, &NLM_F_REQUEST.to_ne_bytes())?;
        let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
        put(HEADER, &[family, IPPROTO_TCP])?;
        // Connections in any state.
        put(HEADER + 4, &u32::MAX.to_ne_bytes())?;
        put(HEADER + 8, &local.port().to_be_bytes())?;
        put(HEADER + 10, &peer.port().to_be_bytes())?;
        for (at, address) in [(HEADER + 12, local.ip()), (HEADER + 28, peer.ip())] {
            match address {
                IpAddr::V4(address) => put(at, &address.octets())?,
                IpAddr::V6(address) => put(at, &address.octets())?,
            }
        }
        // INET_DIAG_NOCOOKIE.
        put(HEADER + 48, &[0xff; 8])?;
        Some(request)
    }

    #[cfg(test)]
    mod tests {
        use std::io::Write;
        use std::net::{TcpListener, TcpStream};

        use super::*;

        #[test]
        fn what_a_client_has_not_taken_is_counted() {
            for address in ["127.0.0.1:0", "[::1]:0"] {
                let Ok(listener) = TcpListener::bind(address) else {
                    assert!(std::env::var_os("CI").is_none(), "no {address}");
                    continue;
                };
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (mut server, peer) = listener.accept().unwrap();
                let local = server.local_addr().unwrap();
                server.set_nonblocking(true).unwrap();
                let mut written = 0;
                while let Ok(count) = server.write(&[0; 65_536]) {
                    written += count as u64;
                }
                let queued = unacknowledged(local, peer).unwrap();
                assert!(queued > 0 && queued < written, "{queued} of {written}");
                let mut taken = vec![0; usize::try_from(written).unwrap()];
                client.read_exact(&mut taken).unwrap();
                while unacknowledged(local, peer) != Some(0) {
                    std::thread::yield_now();
                }
            }
        }
    }
}
