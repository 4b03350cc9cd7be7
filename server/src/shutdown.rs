//! Leaving quickly without cutting anybody off.
//!
//! actix can stop gracefully by itself, but looks only once a second whether its
//! connections are gone, and then waits 300 ms more. A replica is stopped whenever
//! somebody scales down or deploys, so this takes part in how fast that is. So actix
//! is told to close connections as they fall idle, and the connections themselves say
//! when the last of them is gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt;
use actix_web::rt::signal::unix::{Signal, SignalKind, signal};
use actix_web::rt::time::{sleep, timeout};

/// How long requests in flight are waited for. Longer than the longest `/slow`: whoever
/// stops a replica has a deadline of its own and kills it then.
const PATIENCE: Duration = Duration::from_secs(65);

/// SIGTERM and SIGINT, which mean the same here: Ctrl-C in a terminal reaches the
/// balancer's children too, and must not cut off what the balancer still finishes.
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

/// How many connections are open.
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
/// second signal comes, or patience ends.
pub(crate) async fn finish(handle: ServerHandle, connections: Connections, mut signals: Signals) {
    // Not awaited: it ends at actix's next look, and we leave sooner.
    rt::spawn(handle.stop(true));
    rt::spawn(async move {
        signals.recv().await;
        std::process::exit(1);
    });
    let closed = async {
        // Looked at rather than waited for: a few milliseconds matter to nobody, and a
        // connection just accepted has the first of them to be counted.
        loop {
            sleep(Duration::from_millis(5)).await;
            if connections.none_open() {
                break;
            }
        }
    };
    // Either way it is time to go.
    let _ = timeout(PATIENCE, closed).await;
}
