//! One request as it is sent to a replica.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::Method;

use super::InterimResponses;
use super::response_head::RequestInfo;
use crate::h1::write_header;
use crate::upstream::replay_body::AttemptBody;

thread_local! {
    /// A buffer for the next head, left by the last one: heads are of much the same size.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The largest buffer that is kept for the next head.
const MAX_SCRATCH: usize = 16 * 1024;

/// One request, and what its response needs.
pub struct UpstreamRequest {
    pub(super) info: RequestInfo,
    pub(super) head: RequestHeadBuilder,
    pub(super) body: Option<AttemptBody>,
    pub(super) read_gate: Option<ReadGate>,
    pub(super) interim: Option<Rc<InterimResponses>>,
}

/// Stops the reading of a replica while it is set, but not what is sent to it. In a tunnel
/// the two directions are independent: one that is stuck must not hold up the other.
pub type ReadGate = Rc<Cell<bool>>;

/// The trailers of a body: what has read it leaves them here, and what writes it takes them.
pub type Trailers = Rc<RefCell<Vec<u8>>>;

impl UpstreamRequest {
    /// A request of this method, its head and its body.
    pub fn new(method: &Method, head: RequestHeadBuilder, body: Option<AttemptBody>) -> Self {
        Self {
            info: RequestInfo {
                head: method == Method::HEAD,
                ..RequestInfo::default()
            },
            head,
            // A length of zero is in the head.
            body: body.filter(|body| body.size() != BodySize::Sized(0)),
            read_gate: None,
            interim: None,
        }
    }

    /// The same, whose interim responses go to `interim`.
    pub fn with_interim(mut self, interim: &Rc<InterimResponses>) -> Self {
        self.interim = Some(Rc::clone(interim));
        self
    }

    /// The same, whose client takes the trailers of the response (RFC 9110, section 10.1.4).
    pub fn asking_for_trailers(mut self) -> Self {
        self.info.trailers = true;
        self.head.raw_lines(b"te: trailers\r\nconnection: te\r\n");
        self
    }

    /// The same, which asks for another protocol; the reading of the response can be
    /// stopped.
    pub fn for_tunnel(mut self, read_gate: ReadGate) -> Self {
        self.info.upgrade = true;
        self.read_gate = Some(read_gate);
        self
    }
}

/// The head of a request as it is sent, without the headers that frame the body and the line that
/// ends it.
pub struct RequestHeadBuilder(pub(super) Vec<u8>);

impl RequestHeadBuilder {
    /// A head of which nothing is written yet.
    pub fn empty() -> Self {
        let mut bytes = SCRATCH.take();
        bytes.clear();
        Self(bytes)
    }

    /// A head with its request line.
    pub fn new(method: &str, target: &[u8]) -> Self {
        let mut head = Self::empty();
        head.request_line(method, target);
        head
    }

    /// Adds the request line (RFC 9112, section 3).
    pub fn request_line(&mut self, method: &str, target: &[u8]) {
        for part in [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// Adds a header.
    #[inline]
    pub fn header(&mut self, name: &str, value: &[u8]) {
        write_header(&mut self.0, name, value);
    }

    /// Adds a header that is a list with this last element.
    #[inline]
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

    /// Adds whole lines.
    #[inline]
    pub fn raw_lines(&mut self, lines: &[u8]) {
        self.0.extend_from_slice(lines);
    }

    /// What has been written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for RequestHeadBuilder {
    fn drop(&mut self) {
        if self.0.capacity() <= MAX_SCRATCH {
            // At the end of the thread there may be no buffer any more.
            let _ = SCRATCH.try_with(|scratch| scratch.set(std::mem::take(&mut self.0)));
        }
    }
}
