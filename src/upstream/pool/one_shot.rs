//! Single requests, each on a connection of its own: heartbeats, and `ringmaster healthcheck`.
//!
//! They go the same way as all others, because plain awc mistakes a 1xx for the final response,
//! accepts truncated bodies, and treats close-delimited bodies as empty.

use std::rc::Rc;
use std::time::Duration;

use awc::http::uri::PathAndQuery;
use awc::http::{Method, Uri};
use futures::FutureExt;
use tokio::time::timeout;

use super::awc_bridge::AwcClient;
use super::connect::connect_to;
use super::connection_pool::ConnectionPool;
use super::kept_connection::ConnectionSlot;
use super::response::UpstreamResponse;
use crate::upstream::framed_connection::{RequestHeadBuilder, UpstreamRequest};
use crate::upstream::retry::AttemptError;

/// Sends single requests.
#[derive(Clone, Copy)]
pub struct OneShotClient {
    timeout: Duration,
}

impl OneShotClient {
    /// A client that waits at most this long for the head of a response.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Sends a request without a body. The connection ends with the response.
    pub async fn send(
        &self,
        method: Method,
        uri: Uri,
    ) -> Result<Box<UpstreamResponse>, AttemptError> {
        self.send_with(method, uri, &[]).await
    }

    /// The same with these headers, which are valid and do not concern the connection. A Host or
    /// User-Agent among them replaces ours.
    pub async fn send_with(
        &self,
        method: Method,
        uri: Uri,
        headers: &[(String, String)],
    ) -> Result<Box<UpstreamResponse>, AttemptError> {
        self.exchange(method, uri, headers, None).await
    }

    /// The same on a connection that stays open after the response, if the server wants it so; it is in the
    /// slot as soon as it is made.
    pub async fn send_kept(
        &self,
        method: Method,
        uri: Uri,
        headers: &[(String, String)],
        slot: &ConnectionSlot,
    ) -> Result<Box<UpstreamResponse>, AttemptError> {
        self.exchange(method, uri, headers, Some(slot)).await
    }

    async fn exchange(
        &self,
        method: Method,
        uri: Uri,
        headers: &[(String, String)],
        slot: Option<&ConnectionSlot>,
    ) -> Result<Box<UpstreamResponse>, AttemptError> {
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
        if slot.is_none() {
            head.header("connection", b"close");
        }
        let request = UpstreamRequest::new(&method, head, None);

        let (server, limit, slot) = (uri.clone(), self.timeout, slot.cloned());
        let pool = ConnectionPool::new(move || {
            let (server, slot) = (server.clone(), slot.clone());
            async move {
                // An IPv6 address has brackets only in a URI.
                let host = server.host().unwrap_or_default();
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let stream = connect_to((host, server.port_u16().unwrap_or(80)), limit).await?;
                if let Some(slot) = slot {
                    slot.put(&stream);
                }
                Ok(stream)
            }
            .boxed_local()
        });
        let client = AwcClient::new(uri, Rc::new(pool));
        let sent = timeout(self.timeout, client.send(request)).await;
        sent.unwrap_or(Err(AttemptError::ResponseTimeout))
    }
}
