//! How an awc client sends a request and reads the response: on connections of ours.
//!
//! awc's own way (`awc::Connector`) is general, and that costs: for each request it makes a
//! clock (a task, a timer, a formatted date, which wakes the thread by a system call), two
//! buffers of 8 KiB, and asks a semaphore and a map for a connection. awc's clients take
//! middleware between them and their connector; [`Transport`] is one that never asks the
//! connector. awc's codec stays, and so does the guard under it (`upstream::guard`).

mod body;
mod link;
mod pool;
mod sending;

use std::rc::Rc;

use actix_http::ServiceConfig;
use actix_web::dev::{Service, always_ready};
use awc::error::SendRequestError;
use awc::middleware::Transform;
use awc::{ConnectRequest, ConnectResponse};

pub use pool::Pool;
use sending::Sending;

/// What an awc client of one instance sends its requests by.
#[derive(Clone)]
pub struct Transport {
    pool: Rc<Pool>,
    /// awc's codec asks for one; making one makes a clock.
    codec: ServiceConfig,
}

impl Transport {
    /// Sends on connections of this pool.
    pub fn new(pool: Rc<Pool>, codec: ServiceConfig) -> Self {
        Self { pool, codec }
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
    type Future = Sending;

    always_ready!();

    fn call(&self, request: ConnectRequest) -> Sending {
        Sending::new(Rc::clone(&self.pool), self.codec.clone(), request)
    }
}
