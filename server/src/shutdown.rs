//! Stops quickly and gracefully.
//!
//! actix's own graceful stop checks only once a second whether all connections are closed, and
//! then waits 300 ms more, which would slow down every scale-down and deployment. So actix closes
//! connections as they become idle, and a counter of open connections shows when the last is gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt;
use actix_web::rt::signal::unix::{Signal, SignalKind, signal};
use actix_web::rt::time::{sleep, timeout};

/// The time for requests in flight. Longer than the longest `/slow`: the caller has a deadline of
/// its own and kills the replica then.
const STOP_TIMEOUT: Duration = Duration::from_secs(65);

/// SIGTERM and SIGINT, which have the same effect: Ctrl-C in a terminal also reaches the balancer's
/// children, which must finish the balancer's requests in flight.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(crate) async fn recv(&mut self) {
        std::future::poll_fn(|cx| {
            let terminated = self.terminate.poll_recv(cx).is_ready();
            let interrupted = self.interrupt.poll_recv(cx).is_ready();
            if terminated || interrupted {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

/// The number of open connections.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<AtomicUsize>);

impl Connections {
    /// Counts one connection until dropped; it lives in the connection's own data.
    pub(crate) fn guard(&self) -> ConnectionGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard(self.clone())
    }

    fn none_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

pub(crate) struct ConnectionGuard(Connections);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Stops accepting and waits for the open connections: until the last is closed, a
/// second signal comes, or the time is over.
pub(crate) async fn finish(handle: ServerHandle, connections: Connections, mut signals: Signals) {
    // Not awaited: it ends at actix's next check, which is later.
    rt::spawn(handle.stop(true));
    rt::spawn(async move {
        signals.recv().await;
        std::process::exit(1);
    });
    let closed = async {
        // Polled: a few milliseconds do not matter, and a connection that has just been accepted
        // is counted within them.
        loop {
            sleep(Duration::from_millis(5)).await;
            if connections.none_open() {
                break;
            }
        }
    };
    // After the time-out, too: it is time to end.
    let _ = timeout(STOP_TIMEOUT, closed).await;
}
