//! Connects to one instance, and says so when it provably did not.
//!
//! awc reports a pooled connection that turns out closed as a *connect* error although
//! the request may have been sent. So an error that really comes from here carries
//! [`NotConnected`], and only that counts as "not sent" (see `retry`).

use std::io;
use std::sync::Arc;

use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::dev::{Service, always_ready};
use awc::http::Uri;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::net::TcpStream;

use super::guard::Guarded;
use super::instance::Instance;

/// Marks an I/O error as one of establishing a connection: nothing was sent on it.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct NotConnected {
    /// What went wrong.
    pub cause: io::Error,
}

/// Opens connections to one instance for an awc client.
#[derive(Clone)]
pub struct InstanceConnector {
    instance: Arc<Instance>,
}

impl InstanceConnector {
    /// A connector to this instance, whatever address a request's URI names.
    pub fn new(instance: Arc<Instance>) -> Self {
        Self { instance }
    }
}

impl Service<ConnectInfo<Uri>> for InstanceConnector {
    type Response = Connection<Uri, Guarded<TcpStream>>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, ConnectError>>;

    always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let instance = Arc::clone(&self.instance);
        async move {
            // The address of a container that has died does not refuse connections, it
            // swallows them for seconds: the report of its death ends the attempt.
            let connected = tokio::select! {
                connected = TcpStream::connect(instance.endpoint()) => connected,
                () = instance.lost() => Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "the replica has died",
                )),
            };
            match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => {
                    let uri = request.request().clone();
                    Ok(Connection::new(uri, Guarded::new(stream)))
                }
                Err(cause) => Err(ConnectError::Io(io::Error::new(
                    cause.kind(),
                    NotConnected { cause },
                ))),
            }
        }
        .boxed_local()
    }
}
