//! How an awc client sends a request and reads the response: on connections of ours.
//!
//! awc's own way (`awc::Connector`) is general, and that costs: for each request it makes a
//! clock (a task, a timer, a formatted date, which wakes the thread by a system call) and two
//! buffers of 8 KiB, asks a semaphore and a map for a connection, and copies the head field by
//! field into a map and out of it. awc's clients take middleware between them and their
//! connector; [`Transport`] is one that never asks the connector. What awc would have written
//! and read comes from and goes to the guard (`upstream::guard`).

use std::rc::Rc;

use actix_web::dev::{Service, always_ready};
use awc::error::SendRequestError;
use awc::middleware::Transform;
use awc::{ConnectRequest, ConnectResponse};

use super::idle_connections::Pool;
use super::send_request::SendRequest;

use crate::upstream::framed_connection::UpstreamRequest;

/// What an awc client of one instance sends its requests by.
#[derive(Clone)]
pub struct Transport {
    pool: Rc<Pool>,
}

impl Transport {
    /// Sends on connections of this pool.
    pub fn new(pool: Rc<Pool>) -> Self {
        Self { pool }
    }
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
    type Future = SendRequest;

    always_ready!();

    /// The request is the same each time; what is sent comes with the exchange.
    fn call(&self, _: ConnectRequest) -> SendRequest {
        SendRequest::new(Rc::clone(&self.pool), UpstreamRequest::take())
    }
}
