//! One request as the guard sends it, and how it gets there past awc.
//!
//! awc has no place for it in a request of its own. But a client hands a request to its
//! transport within the very call that sends it; so the [`UpstreamRequest`] lies in a task-local
//! during that call, and the transport takes it from there.

use std::cell::Cell;
use std::rc::Rc;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::Method;
use actix_web::web::BytesMut;
use awc::SendClientRequest;

use super::response_head::RequestInfo;
use crate::upstream::FieldSlot;
use crate::upstream::retry::AttemptBody;

tokio::task_local! {
    static EXCHANGE: Cell<Option<UpstreamRequest>>;
}

thread_local! {
    /// Room for the next head, left by the last one: heads are of much the same size.
    static ROOM: Cell<BytesMut> = Cell::default();
}

/// So much is kept for the next head, and no more.
const MOST_ROOM: usize = 16 * 1024;

/// One request and its response.
pub struct UpstreamRequest {
    pub(super) asked: RequestInfo,
    pub(super) head: RequestHeadBuilder,
    pub(super) body: Option<AttemptBody>,
    pub(super) pause: Option<ReadGate>,
    pub(super) slot: Option<FieldSlot>,
}

/// Stops the reading of a replica while it is set, but not what is sent to it. In a tunnel
/// the two directions are strangers: one that is stuck must not hold up the other.
pub type ReadGate = Rc<Cell<bool>>;

impl UpstreamRequest {
    /// A request of this method, its head and its body.
    pub fn new(method: &Method, head: RequestHeadBuilder, body: Option<AttemptBody>) -> Self {
        Self {
            asked: RequestInfo {
                head: method == Method::HEAD,
                upgrade: false,
            },
            head,
            // A length of zero is in the head.
            body: body.filter(|body| body.size() != BodySize::Sized(0)),
            pause: None,
            slot: None,
        }
    }

    /// The same, whose response's fields are left in `slot` as they come, and not put into the
    /// response itself. Interim responses are left there, too.
    pub fn leaving_fields_in(mut self, slot: &FieldSlot) -> Self {
        self.slot = Some(FieldSlot::clone(slot));
        self
    }

    /// Where the response's fields are to be left.
    pub(in crate::upstream) fn slot(&self) -> Option<FieldSlot> {
        self.slot.clone()
    }

    /// The same, which asks for another protocol; the reading of the response can be
    /// stopped.
    pub fn for_tunnel(mut self, pause: ReadGate) -> Self {
        self.asked.upgrade = true;
        self.pause = Some(pause);
        self
    }

    /// Sends it: `send` is to send a request whose head and body are as good as any.
    pub fn run(self, send: impl FnOnce() -> SendClientRequest) -> SendClientRequest {
        EXCHANGE.sync_scope(Cell::new(Some(self)), send)
    }

    /// The exchange whose request is being sent: once.
    pub(in crate::upstream) fn take() -> Option<Self> {
        EXCHANGE.try_with(Cell::take).ok().flatten()
    }
}

/// A request's head as it goes out, but for what says how long the body is and for the line
/// that ends it.
pub struct RequestHeadBuilder(pub(super) BytesMut);

impl RequestHeadBuilder {
    /// A head with its request line (RFC 9112, section 3).
    pub fn new(method: &str, target: &[u8]) -> Self {
        let mut bytes = ROOM.take();
        bytes.clear();
        for part in [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
            bytes.extend_from_slice(part);
        }
        Self(bytes)
    }

    /// Adds a field.
    pub fn header(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// Adds a field that is a list, of which one is the last.
    pub fn list_header<'v>(
        &mut self,
        name: &str,
        before: impl Iterator<Item = &'v [u8]>,
        last: &[u8],
    ) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        for value in before {
            self.0.extend_from_slice(value);
            self.0.extend_from_slice(b", ");
        }
        self.0.extend_from_slice(last);
        self.0.extend_from_slice(b"\r\n");
    }

    /// Adds a whole line.
    pub fn raw_line(&mut self, line: &[u8]) {
        self.0.extend_from_slice(line);
    }

    /// What has been written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for RequestHeadBuilder {
    fn drop(&mut self) {
        if self.0.capacity() <= MOST_ROOM {
            // Where the thread ends, nobody needs it.
            let _ = ROOM.try_with(|room| room.set(std::mem::take(&mut self.0)));
        }
    }
}
