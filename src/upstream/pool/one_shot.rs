//! Single requests, each on a connection of its own and guarded like all others: heartbeats,
//! and what `ringmaster healthcheck` asks.
//!
//! Without the guard awc would take an interim response for the answer, a body that broke off
//! for a whole one, and one that the connection's end ends for none.

use std::rc::Rc;
use std::time::Duration;

use actix_web::body;
use awc::error::{ConnectError, SendRequestError};
use awc::http::uri::PathAndQuery;
use awc::http::{Method, Uri};
use awc::{Client, ClientResponse};
use futures::FutureExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::awc_transport::Transport;
use super::idle_connections::Pool;
use crate::upstream::framed_connection::{RequestHeadBuilder, UpstreamRequest};

/// Asks servers one thing at a time.
#[derive(Clone, Copy)]
pub struct OneShotClient {
    timeout: Duration,
}

impl OneShotClient {
    /// A client that waits so long for a connection, and as long for the head of an answer.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Sends a request without a body. The connection ends with the response.
    pub async fn send(&self, method: Method, uri: Uri) -> Result<ClientResponse, SendRequestError> {
        self.send_with(method, uri, &[]).await
    }

    /// The same with these headers, which are valid ones that do not concern the connection. A
    /// Host or User-Agent among them takes the place of ours.
    pub async fn send_with(
        &self,
        method: Method,
        uri: Uri,
        headers: &[(String, String)],
    ) -> Result<ClientResponse, SendRequestError> {
        let (server, patience) = (uri.clone(), self.timeout);
        let pool = Pool::new(move || connect(server.clone(), patience).boxed_local());
        let client = Client::builder()
            .wrap(Transport::new(Rc::new(pool)))
            .disable_redirects()
            .timeout(self.timeout)
            .finish();
        let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut head = RequestHeadBuilder::new(method.as_str(), target.as_bytes());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let is_given = |ours: &str| {
            headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(ours))
        };
        if !is_given("host") {
            head.header("host", host.as_bytes());
        }
        if !is_given("user-agent") {
            head.header("user-agent", b"ringmaster");
        }
        for (name, value) in headers {
            head.header(name, value.as_bytes());
        }
        head.header("connection", b"close");
        let exchange = UpstreamRequest::new(&method, head, None);
        let request = client.request(method, uri).no_decompress();
        exchange.run(|| request.send_body(body::None::new())).await
    }
}

async fn connect(server: Uri, patience: Duration) -> Result<TcpStream, ConnectError> {
    // An IPv6 address stands in brackets only in a URI.
    let host = server.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let connected = TcpStream::connect((host, server.port_u16().unwrap_or(80)));
    let connected = timeout(patience, connected).await;
    let stream = connected.map_err(|_| ConnectError::Timeout)?;
    let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    stream.map_err(ConnectError::Io)
}
