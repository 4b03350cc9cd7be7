//! Connects to servers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

use crate::upstream::Instance;
use crate::upstream::retry::AttemptError;

/// Opens a connection to an instance within `limit`.
pub async fn connect(instance: Arc<Instance>, limit: Duration) -> Result<TcpStream, AttemptError> {
    instance.stats().connect();
    // The address of a container that has died does not refuse connections, it swallows
    // them for seconds: the report of its death ends the attempt.
    tokio::select! {
        connected = connect_to(instance.endpoint(), limit) => connected,
        () = instance.evicted() => Err(AttemptError::not_connected(&io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "the replica has died",
        ))),
    }
}

/// Opens a connection to an address within `limit`.
pub async fn connect_to(
    address: impl ToSocketAddrs,
    limit: Duration,
) -> Result<TcpStream, AttemptError> {
    let connected = timeout(limit, TcpStream::connect(address)).await;
    let connected = connected.unwrap_or_else(|_| {
        let late = "connecting took too long";
        Err(io::Error::new(io::ErrorKind::TimedOut, late))
    });
    connected
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| AttemptError::not_connected(&error))
}
