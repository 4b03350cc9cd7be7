//! Connects to one instance, and says so when it provably did not.
//!
//! awc's error for "could not connect" is also what it says of a connection that has ended.
//! So an error that comes from here carries [`NotConnected`], and only that counts as "not
//! sent" (see `retry`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use awc::error::ConnectError;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::upstream::Instance;

/// Marks an I/O error as one of establishing a connection: nothing was sent on it.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct NotConnected {
    /// What went wrong.
    pub cause: io::Error,
}

/// ConnectFn a connection to an instance within `patience`.
pub async fn connect(
    instance: Arc<Instance>,
    patience: Duration,
) -> Result<TcpStream, ConnectError> {
    // The address of a container that has died does not refuse connections, it swallows
    // them for seconds: the report of its death ends the attempt.
    let connected = async {
        tokio::select! {
            connected = TcpStream::connect(instance.endpoint()) => connected,
            () = instance.evicted() => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the replica has died",
            )),
        }
    };
    let connected = timeout(patience, connected)
        .await
        .map_err(|_| ConnectError::Timeout)?;
    connected
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|cause| ConnectError::Io(io::Error::new(cause.kind(), NotConnected { cause })))
}
