//! Watches the connection of the last heartbeat until the next one: its end tells of a death before any
//! list of the runtime's, and before the next heartbeat is due.
//!
//! The end alone proves nothing: a server may close what is idle. So a new connection is tried. Where a
//! living server takes one, the kernel answers within its network's latency, however busy the program is;
//! the address of a container that has died swallows it. A server that closes connections again and again
//! is not watched any more.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout};

use crate::upstream::KeptConnection;

/// How long a new connection may take within the network of a fleet.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(30);

/// After this many ends in a row that meant nothing the instance is not watched any more.
const MAX_CLOSINGS: u32 = 3;

/// What has come of a pause between two heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// It is over.
    Over,
    /// The connection has ended, and the instance takes others.
    Closed,
    /// The connection has ended, and nothing listens any more.
    Refused,
    /// The connection has ended, and the instance takes no other.
    Lost,
}

/// The connection of the last heartbeat.
#[derive(Debug)]
pub(super) struct ConnectionWatch {
    is_on: bool,
    kept: Option<KeptConnection>,
    /// Ends in a row that meant nothing.
    closings: u32,
}

impl ConnectionWatch {
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            kept: None,
            closings: 0,
        }
    }

    /// Whether connections are to be kept.
    pub(super) fn is_on(&self) -> bool {
        self.is_on && self.closings < MAX_CLOSINGS
    }

    /// Keeps the connection of a heartbeat that was answered, in place of the one before.
    pub(super) fn keep(&mut self, connection: Option<KeptConnection>) {
        self.kept = connection;
    }

    /// Waits until then, or until the connection ends.
    pub(super) async fn pause(&mut self, until: Instant, endpoint: SocketAddr) -> Pause {
        // It stays where it is: the pause may be broken off.
        let kept = &mut self.kept;
        let is_kept = kept.is_some();
        let ended = async {
            match kept {
                Some(kept) => kept.ended().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = sleep_until(until) => {
                if is_kept {
                    self.closings = 0;
                }
                return Pause::Over;
            }
            () = ended => {}
        }
        self.kept = None;
        let tried = timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await;
        let pause = meaning(&tried);
        if pause == Pause::Closed {
            self.closings += 1;
        }
        pause
    }
}

/// What a new connection says of the end of the one before.
fn meaning<T>(tried: &Result<io::Result<T>, Elapsed>) -> Pause {
    match tried {
        Ok(Ok(_)) => Pause::Closed,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Pause::Refused,
        Ok(Err(_)) | Err(_) => Pause::Lost,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::KeptConnection;

    /// A server's listener, its side of a connection, and a watch of that.
    async fn watched() -> (TcpListener, TcpStream, ConnectionWatch, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        let mut watch = ConnectionWatch::new(true);
        let ours = TcpStream::connect(endpoint).await.unwrap();
        watch.keep(Some(KeptConnection::new(ours)));
        let (theirs, _) = listener.accept().await.unwrap();
        (listener, theirs, watch, endpoint)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[actix_web::test]
    async fn a_connection_that_stays_lets_the_pause_pass() {
        let (_listener, _theirs, mut watch, endpoint) = watched().await;
        assert_eq!(watch.pause(soon(), endpoint).await, Pause::Over);
        assert_eq!(watch.pause(soon(), endpoint).await, Pause::Over);
        let mut unwatched = ConnectionWatch::new(false);
        assert_eq!(unwatched.pause(soon(), endpoint).await, Pause::Over);
    }

    #[actix_web::test]
    async fn an_end_is_a_loss_where_no_other_connection_is_taken() {
        let (listener, theirs, mut watch, endpoint) = watched().await;
        drop((listener, theirs));
        assert_eq!(watch.pause(late(), endpoint).await, Pause::Refused);
        assert!(watch.is_on());
        let late = timeout(Duration::ZERO, std::future::pending::<io::Result<()>>()).await;
        assert_eq!(meaning(&late), Pause::Lost);
        let unreachable = io::Error::from(io::ErrorKind::HostUnreachable);
        assert_eq!(meaning::<()>(&Ok(Err(unreachable))), Pause::Lost);
    }

    #[actix_web::test]
    async fn a_server_that_closes_each_connection_is_not_lost_and_soon_not_watched() {
        let (listener, theirs, mut watch, endpoint) = watched().await;
        drop(theirs);
        assert_eq!(watch.pause(late(), endpoint).await, Pause::Closed);
        for _ in 1..MAX_CLOSINGS {
            assert!(watch.is_on());
            watch.keep(Some(KeptConnection::new(
                TcpStream::connect(endpoint).await.unwrap(),
            )));
            // The first one was made by the watch itself.
            while let Ok(Ok(_)) = timeout(Duration::from_millis(20), listener.accept()).await {}
            assert_eq!(watch.pause(late(), endpoint).await, Pause::Closed);
        }
        assert!(!watch.is_on());
    }
}
