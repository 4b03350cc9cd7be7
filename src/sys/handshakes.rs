//! Whether the kernel still holds clients' connections back that have not been accepted.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::tcp;

/// TCP_SYN_RECV, as /proc/net/tcp writes it (proc(5)).
const SYN_RECV: &str = "03";

/// Whether a connection to this listener has been begun and not been handed over: the handshake
/// goes on, or it waits for its first bytes (TCP_DEFER_ACCEPT), or in the accept queue.
///
/// # Errors
///
/// Where the kernel does not tell.
pub fn has_pending(listener: &TcpListener) -> io::Result<bool> {
    let address = listener.local_addr()?;
    // A listener on [::] takes IPv4, too, and the kernel lists such handshakes as IPv4's.
    let files: &[&str] = match address {
        SocketAddr::V4(_) => &["/proc/net/tcp"],
        SocketAddr::V6(_) => &["/proc/net/tcp6", "/proc/net/tcp"],
    };
    for file in files {
        if is_listed(&std::fs::read_to_string(file)?, address.port()) {
            return Ok(true);
        }
    }
    // Last, because that is the way of a connection: one that went on meanwhile is seen here.
    tcp::is_readable(listener)
}

/// Whether a table of sockets has one to this port whose handshake is not over.
fn is_listed(table: &str, port: u16) -> bool {
    let local_end = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let local = columns.next().unwrap_or_default();
        let state = columns.nth(1).unwrap_or_default();
        state == SYN_RECV && local.ends_with(&local_end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_sockets_tells_of_handshakes_to_a_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
             0: 0100007F:1388 00000000:0000 0A 00000000:00000000\n   \
             1: 0100007F:1388 0100007F:C001 03 00000000:00000000\n   \
             2: 0100007F:1389 0100007F:C002 01 00000000:00000000\n";
        assert!(is_listed(table, 5000));
        assert!(!is_listed(table, 5001));
        assert!(!is_listed("", 5000));
    }

    #[test]
    fn connection_in_the_accept_queue_is_seen_until_it_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!has_pending(&listener).unwrap());
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(has_pending(&listener).unwrap());
        let accepted = listener.accept().unwrap();
        assert!(!has_pending(&listener).unwrap());
        drop((client, accepted));
    }

    #[test]
    fn connection_that_waits_for_its_first_bytes_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp::enable_defer_accept(&listener).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(has_pending(&listener).unwrap());
        drop(client);
    }
}
