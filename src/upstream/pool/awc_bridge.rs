//! What awc forces on us: all of it is in this file.
//!
//! awc is the client that forwards, by its public middleware: a [`Transform`] that takes the place
//! of its connector and never asks it. (For each request `awc::Connector` makes a clock, which is
//! a task, a timer and a formatted date; two buffers of 8 KiB; a look into a map behind a
//! semaphore; and copies of both heads.) awc has no place for a request whose head is written
//! already, and its responses cannot be made outside of it. So each travels beside what awc carries,
//! in a cell that is filled and emptied within one call:
//!
//! * [`REQUEST`] from [`AwcClient::send`] to [`Transport::call`], which awc calls while it sends;
//! * [`OUTCOME`], a response or a typed error, from [`Handover::poll`] to [`Sent::poll`], which
//!   polls it through awc. What awc carries is an error that says nothing.
//!
//! Everywhere else a request is an argument and a response is a result.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::body;
use actix_web::dev::{Service, always_ready};
use awc::error::{FreezeRequestError, SendRequestError};
use awc::http::Uri;
use awc::middleware::Transform;
use awc::{Client, ConnectRequest, ConnectResponse, FrozenClientRequest, SendClientRequest};

use super::connection_pool::ConnectionPool;
use super::response::UpstreamResponse;
use super::send_request::SendRequest;
use crate::upstream::framed_connection::UpstreamRequest;
use crate::upstream::retry::AttemptError;

thread_local! {
    static REQUEST: Cell<Option<UpstreamRequest>> = const { Cell::new(None) };
    static OUTCOME: Cell<Option<Result<Box<UpstreamResponse>, AttemptError>>> = const { Cell::new(None) };
}

/// An awc client that sends on the connections of one pool.
pub struct AwcClient {
    /// What every request looks like to awc.
    request: Result<FrozenClientRequest, FreezeRequestError>,
}

impl AwcClient {
    /// A client for the server at `uri`. It has no time-outs of its own.
    pub fn new(uri: Uri, pool: Rc<ConnectionPool>) -> Self {
        let client = Client::builder()
            .wrap(Transport { pool })
            .no_default_headers()
            .disable_redirects()
            .disable_timeout()
            .finish();
        Self {
            // Without this awc would decode what is meant for the client.
            request: client.get(uri).no_decompress().freeze(),
        }
    }

    /// Sends a request. The result is there when the head of its response has come.
    pub fn send(&self, request: UpstreamRequest) -> Sent {
        Sent(match &self.request {
            Ok(frozen) => {
                REQUEST.set(Some(request));
                frozen.send_body(body::None::new())
            }
            Err(_) => SendRequestError::Url(awc::error::InvalidUrl::MissingHost).into(),
        })
    }
}

/// A request on its way through awc.
pub struct Sent(SendClientRequest);

impl Future for Sent {
    type Output = Result<Box<UpstreamResponse>, AttemptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let carried = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(OUTCOME.take().unwrap_or_else(|| {
            let cause = carried.map_or_else(|error| error.to_string(), |_| String::new());
            Err(AttemptError::Disconnected(cause))
        }))
    }
}

/// The middleware.
struct Transport {
    pool: Rc<ConnectionPool>,
}

impl<S> Transform<S, ConnectRequest> for Transport {
    type Transform = Self;

    /// Takes the connector's place.
    fn new_transform(self, _connector: S) -> Self {
        self
    }
}

impl Service<ConnectRequest> for Transport {
    type Response = ConnectResponse;
    type Error = SendRequestError;
    type Future = Handover;

    always_ready!();

    fn call(&self, _frozen: ConnectRequest) -> Handover {
        Handover(SendRequest::new(Rc::clone(&self.pool), REQUEST.take()))
    }
}

/// Leaves the outcome of a request for [`Sent`].
struct Handover(SendRequest);

impl Future for Handover {
    type Output = Result<ConnectResponse, SendRequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.0).poll(cx));
        OUTCOME.set(Some(outcome));
        Poll::Ready(Err(SendRequestError::Timeout))
    }
}
