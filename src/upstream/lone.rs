//! Single requests, each on a connection of its own and guarded like all others: heartbeats,
//! and what `ringmaster healthcheck` asks.
//!
//! Without the guard awc would take an interim response for the answer, a body that broke off
//! for a whole one, and one that the connection's end ends for none.

use std::io;
use std::time::Duration;

use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::body;
use actix_web::dev::{Service, always_ready};
use awc::error::SendRequestError;
use awc::http::{Method, Uri};
use awc::{Client, ClientResponse, Connector};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::net::TcpStream;

use super::guard::{Exchange, Guarded};

/// Asks servers one thing at a time.
#[derive(Clone)]
pub struct LoneClient(Client);

impl LoneClient {
    /// A client that waits so long for a connection, and as long for the head of an answer.
    pub fn new(timeout: Duration) -> Self {
        let connector = Connector::new().connector(ToUri).timeout(timeout).limit(0);
        let client = Client::builder()
            .connector(connector)
            .disable_redirects()
            .timeout(timeout);
        Self(client.finish())
    }

    /// Sends a request without a body. The connection ends with the response.
    pub async fn ask(&self, method: Method, uri: Uri) -> Result<ClientResponse, SendRequestError> {
        let request = self.0.request(method, uri).force_close().no_decompress();
        let exchange = Exchange::new(request.get_method(), request.headers(), None);
        exchange.run(request.send_body(body::None::new())).await
    }
}

/// Connects to the host that a URI names.
#[derive(Clone)]
struct ToUri;

impl Service<ConnectInfo<Uri>> for ToUri {
    type Response = Connection<Uri, Guarded<TcpStream>>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, ConnectError>>;

    always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let uri = request.request().clone();
        async move {
            let host = uri.host().unwrap_or_default();
            // An IPv6 address stands in brackets only in a URI.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let connected = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await;
            let stream: io::Result<_> = connected.and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(stream)
            });
            let stream = stream.map_err(ConnectError::Io)?;
            Ok(Connection::new(uri, Guarded::new(stream)))
        }
        .boxed_local()
    }
}
