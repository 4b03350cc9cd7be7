//! How the balancer leaves without losing what it has accepted.
//!
//! A server that stops ends connections on which nothing has come, although a request may be
//! on its way, and the kernel resets those that are not even accepted. So before that
//!
//! 1. the listener takes no new connection: a filter drops segments with SYN, and a client
//!    tries again a second later, when the port is closed or the successor listens on it. Handshakes that
//!    have begun end, and all that is established is accepted, even if nothing has been said on
//!    it, which the kernel keeps back otherwise (`sys/tcp.rs`);
//! 2. every answer says `Connection: close`, so that keep-alive clients do not begin a
//!    request on a connection that is about to end (RFC 9112, section 9.6).
//!
//! Where nothing goes on, that is over at once.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::debug;

use crate::sys::{handshakes, tcp};

/// So long keep-alive clients have for one more request, which tells them, and the kernel for
/// handing over what it has kept back. Who is idle for longer finds the connection closed, as at
/// the end of any idle time.
const LAST_CALL: Duration = tcp::MAX_DEFERRAL;

/// How often it is looked whether anything goes on, and how often in a row nothing must.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const QUIET_LOOKS: u32 = 3;

/// A look that comes later than this says nothing: where this thread has to wait for a
/// processor, clients have to, as well.
const MAX_LOOK_INTERVAL: Duration = Duration::from_millis(75);

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

    /// Begins, and gives clients their time; less if nothing goes on: what `activity` counts,
    /// requests and connections, stays as it is, and the kernel holds no connection back. What is
    /// in flight then is for the server to finish.
    pub async fn begin<A: PartialEq>(&self, listener: &TcpListener, activity: impl Fn() -> A) {
        if let Err(error) = tcp::drop_syns(listener) {
            debug!("new connections cannot be kept out: {error}");
        }
        if let Err(error) = tcp::disable_defer_accept(listener) {
            debug!("silent connections stay with the kernel: {error}");
        }
        self.begun.store(true, Ordering::Relaxed);
        if tokio::time::timeout(LAST_CALL, quiet(listener, activity))
            .await
            .is_ok()
        {
            debug!("nothing goes on: the last call is over");
        }
    }
}

/// Waits until nothing has gone on for a while.
async fn quiet<A: PartialEq>(listener: &TcpListener, activity: impl Fn() -> A) {
    // What the kernel does not tell may be there.
    let is_held_back = || handshakes::has_pending(listener).unwrap_or(true);
    let mut quiet_looks = 0;
    let mut seen = activity();
    while quiet_looks < QUIET_LOOKS {
        let looked = Instant::now();
        tokio::time::sleep(LOOK_INTERVAL).await;
        let is_punctual = looked.elapsed() <= MAX_LOOK_INTERVAL;
        let now = activity();
        // The kernel's table is read last: it may be long.
        quiet_looks = if now == seen && is_punctual && !is_held_back() {
            quiet_looks + 1
        } else {
            0
        };
        seen = now;
    }
}
