//! What the guard must know of a request and cannot learn from awc.
//!
//! awc has no place for it in a request. But a client hands a request to its transport
//! within the very call that sends it; so the [`Exchange`] lies in a task-local during that
//! call, and the transport takes it from there.

use std::cell::Cell;
use std::rc::Rc;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::Method;
use actix_web::http::header::{DATE, HeaderMap, UPGRADE};
use awc::SendClientRequest;

use super::head::Asked;
use crate::upstream::RequestBody;

tokio::task_local! {
    static EXCHANGE: Cell<Option<Exchange>>;
}

/// One request and its response.
pub struct Exchange {
    pub(super) asked: Asked,
    /// The request has a Date of its own; else awc adds one, which the guard cuts off.
    pub(super) own_date: bool,
    pub(super) body: Option<RequestBody>,
    pub(super) pause: Option<Pause>,
}

/// Stops the reading of a replica while it is set, but not what is sent to it. In a tunnel
/// the two directions are strangers: one that is stuck must not hold up the other.
pub type Pause = Rc<Cell<bool>>;

impl Exchange {
    /// A request as it is given to awc, and its body, which is not.
    pub fn new(method: &Method, headers: &HeaderMap, body: Option<RequestBody>) -> Self {
        Self {
            asked: Asked {
                head: method == Method::HEAD,
                upgrade: headers.contains_key(UPGRADE),
            },
            own_date: headers.contains_key(DATE),
            // A length of zero is told by awc.
            body: body.filter(|body| body.size() != BodySize::Sized(0)),
            pause: None,
        }
    }

    /// The same, in which the reading of the response can be stopped.
    pub fn with_pause(mut self, pause: Pause) -> Self {
        self.pause = Some(pause);
        self
    }

    /// Sends its request: `send` must give it no body.
    pub fn run(self, send: impl FnOnce() -> SendClientRequest) -> SendClientRequest {
        EXCHANGE.sync_scope(Cell::new(Some(self)), send)
    }

    /// The exchange whose request is being sent: once.
    pub(in crate::upstream) fn take() -> Option<Self> {
        EXCHANGE.try_with(Cell::take).ok().flatten()
    }
}
