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
//! Without requests or connections that is over at once.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::debug;

use crate::sys::{handshakes, tcp};

/// The time in which keep-alive clients may send one more request, whose response says that the connection
/// ends, and in which the kernel hands over what it has kept back. A client that is idle for longer finds
/// its connection closed, as after any idle time.
const LAST_REQUEST_TIME: Duration = tcp::MAX_DEFERRAL;

/// The pause between two looks at the activity, and how many in a row must find none.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const QUIET_LOOKS: u32 = 3;

/// A look that comes later than this does not count: if this thread has to wait for a processor, clients
/// have to, too.
const MAX_LOOK_INTERVAL: Duration = Duration::from_millis(75);

/// Whether the balancer is leaving.
#[derive(Debug, Default)]
pub struct GracefulShutdown {
    begun: AtomicBool,
}

impl GracefulShutdown {
    /// Whether answers are to end their connections.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Begins, and waits for `LAST_REQUEST_TIME` at the most: no longer than until what `activity` counts
    /// (requests and connections) stays the same and the kernel holds no connection back. The server then
    /// finishes what is in flight.
    pub async fn begin<A: PartialEq>(&self, listener: &TcpListener, activity: impl Fn() -> A) {
        if let Err(error) = tcp::drop_syns(listener) {
            debug!("new connections cannot be kept out: {error}");
        }
        if let Err(error) = tcp::disable_defer_accept(listener) {
            debug!("silent connections stay with the kernel: {error}");
        }
        self.begun.store(true, Ordering::Relaxed);
        if tokio::time::timeout(LAST_REQUEST_TIME, quiet(listener, activity))
            .await
            .is_ok()
        {
            debug!("nothing is in flight: clients are waited for no longer");
        }
    }
}

/// Waits until several looks in a row have found no activity.
async fn quiet<A: PartialEq>(listener: &TcpListener, activity: impl Fn() -> A) {
    // If the kernel does not say, connections may be there.
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
