//! How the balancer leaves without losing what it has accepted.
//!
//! A server that stops ends connections on which nothing has come, although a request may be
//! on its way, and the kernel resets those that are not even accepted. So before that
//!
//! 1. the listener takes no new connection: a filter drops segments with SYN, and a client
//!    tries again a second later, when nobody listens or the successor does. Handshakes that
//!    have begun end, and all that is established is accepted, even if nothing has been said on
//!    it, which the kernel keeps back otherwise (`deferral.rs`);
//! 2. every answer says `Connection: close`, so that keep-alive clients do not begin a
//!    request on a connection that is about to end (RFC 9112, section 9.6).

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::debug;

use super::deferral;

/// So long keep-alive clients have for one more request, which tells them, and the kernel for
/// handing over what it has kept back. Who is idle for longer finds the connection closed, as at
/// the end of any idle time.
const LAST_CALL: Duration = deferral::AT_MOST;

/// Whether the balancer is leaving.
#[derive(Debug, Default)]
pub struct Departure {
    begun: AtomicBool,
}

impl Departure {
    /// Whether answers are to end their connections.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Begins, and gives clients their time. What is in flight then is for the server to finish.
    pub async fn begin(&self, listener: &TcpListener) {
        if let Err(error) = refuse_newcomers(listener) {
            debug!("new connections cannot be kept out: {error}");
        }
        if let Err(error) = deferral::end(listener) {
            debug!("silent connections stay with the kernel: {error}");
        }
        self.begun.store(true, Ordering::Relaxed);
        tokio::time::sleep(LAST_CALL).await;
    }
}

/// Lets the kernel drop every segment that would begin a connection.
#[cfg(target_os = "linux")]
fn refuse_newcomers(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    // Classic BPF (bpf(4)); a TCP socket's filter sees a segment from its TCP header on.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Elsewhere clients that come in the last moment are reset.
#[cfg(not(target_os = "linux"))]
fn refuse_newcomers(_: &TcpListener) -> io::Result<()> {
    Ok(())
}
