//! A connection to a replica that knows where each response ends.
//!
//! A balancer must not trust replicas: if it took 100 for the final response, or looked for the
//! body of a 304, the next client would get another client's response. This follows the framing as
//! bytes pass (RFC 9112), and forwards only what belongs to the response:
//!
//! * interim responses are set aside for the client, a broken or malformed response is an error
//!   ([`ProtocolError`]), and a byte that belongs to no response closes the connection;
//! * it sends requests ([`UpstreamRequest`]): the head at once, and the body from
//!   [`poll_read`](AsyncRead::poll_read), while the response is awaited and read. So an early
//!   response is seen, a body's first byte leaves at once, and both directions flow at the
//!   same time;
//! * it notes where the parts of a response's head lie ([`ParsedHead`]).
//!
//! Bodies are not copied, and decoded once ([`decode`](FramedConnection::decode)). The common response, which comes in one read, is read straight into its
//! reader's buffer and parsed there, once.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod interim;
mod protocol_error;
mod request;
mod request_writer;
mod response_framing;
mod response_head;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::web::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use interim::InterimResponses;
pub use protocol_error::ProtocolError;
pub use request::{ReadGate, RequestHeadBuilder, Trailers, UpstreamRequest};
use request_writer::RequestWriter;
use response_framing::{Framing, Progress};
pub use response_head::ParsedHead;
#[cfg(test)]
pub use response_head::{RequestInfo, read as read_head};

/// A connection to a replica.
pub struct FramedConnection<S> {
    /// Gone as soon as the connection is good for nothing more.
    stream: Option<S>,
    framing: Framing,
    writer: RequestWriter,
    /// Stops the reading of the response, if that can be stopped at all.
    read_gate: Option<ReadGate>,
    /// Bytes that have arrived and cannot be forwarded yet.
    pending: BytesMut,
    /// This many first bytes of `pending` are the reader's.
    validated: usize,
    /// Takes the interim responses, if the client is to have them.
    interim: Option<Rc<InterimResponses>>,
    /// Makes the end of the stream a reset.
    reset: fn(&S),
}

impl<S> FramedConnection<S> {
    /// A new connection.
    pub fn new(stream: S) -> Self {
        Self {
            stream: Some(stream),
            framing: Framing::new(),
            writer: RequestWriter::default(),
            read_gate: None,
            pending: BytesMut::new(),
            validated: 0,
            interim: None,
            reset: |_| {},
        }
    }

    /// The same, on which `reset` is called before a connection is closed that may not be used
    /// again only because its last response declared a body where none may follow.
    pub fn resetting_by(self, reset: fn(&S)) -> Self {
        Self { reset, ..self }
    }

    /// What the head of the current response says, and where its parts lie in the bytes that have
    /// been read.
    pub fn parsed_head(&self) -> &ParsedHead {
        self.framing.parsed_head()
    }

    /// The same, to take parts of it away.
    pub fn parsed_head_mut(&mut self) -> &mut ParsedHead {
        self.framing.parsed_head_mut()
    }

    /// Takes the next data of a body from the bytes of it that have been read; none after the last,
    /// pending while more are needed. The trailer section is added to `trailers`.
    #[inline]
    pub fn decode(
        &mut self,
        unread: &mut BytesMut,
        trailers: &mut Vec<u8>,
    ) -> Result<Poll<Option<Bytes>>, ProtocolError> {
        let was_in_body = self.framing.is_in_body();
        let decoded = self.framing.decode(unread, trailers);
        if was_in_body && !self.framing.is_in_body() {
            self.settle();
        }
        decoded
    }

    /// Whether a body's end has not been decoded yet.
    pub fn is_in_body(&self) -> bool {
        self.framing.is_in_body()
    }

    /// Whether another request may be sent.
    pub fn is_reusable(&self) -> bool {
        self.stream.is_some() && self.framing.is_idle() && self.writer.is_done()
    }

    /// Whether nothing is left to be sent of the request.
    pub fn has_sent_all(&self) -> bool {
        self.stream.is_some() && self.writer.is_done()
    }

    /// Nothing more is sent or read: the reader finds the end of the stream.
    fn close(&mut self) {
        self.stream = None;
        self.writer = RequestWriter::default();
    }

    /// Ends the connection for a reason.
    fn fail<T>(&mut self, error: impl Into<io::Error>) -> Poll<io::Result<T>> {
        self.close();
        Poll::Ready(Err(error.into()))
    }

    /// Gives the reader what it may have of the pending bytes.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.validated.min(buf.remaining());
        buf.put_slice(&self.pending.split_to(count));
        self.validated -= count;
        if self.pending.is_empty() {
            self.pending = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// After the last byte of a response, is the connection good for another request?
    fn settle(&mut self) {
        if self.framing.is_idle() && !self.writer.is_done() {
            // The replica has answered without waiting for the whole request. What is
            // left of it would be taken for the next one.
            self.framing.close_after();
        }
        if self.framing.is_over() {
            // Nearly every response to HEAD declares a body. An ordinary close would leave a port
            // in TIME_WAIT for each, until none is left to connect from.
            if let (true, Some(stream)) = (self.parsed_head().declares_forbidden_body, &self.stream)
            {
                (self.reset)(stream);
            }
            self.close();
        }
    }

    /// Sets an interim response aside for the client.
    fn set_aside(interim: Option<&Rc<InterimResponses>>, head: &[u8]) {
        if let Some(interim) = interim {
            interim.push(head);
        }
    }

    /// Inspects pending bytes. `true` if some of them, or the end, are there for the reader.
    fn inspect_pending(&mut self) -> Result<bool, ProtocolError> {
        loop {
            match self.framing.advance(&self.pending)? {
                Progress::NeedMore => return Ok(false),
                Progress::SkipInterim(count) => {
                    let head = self.pending.split_to(count);
                    Self::set_aside(self.interim.as_ref(), &head);
                    if self.pending.is_empty() {
                        return Ok(false);
                    }
                }
                Progress::Forward(count) => {
                    self.pending.truncate(count);
                    self.validated = count;
                    self.settle();
                    return Ok(true);
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for FramedConnection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.validated > 0 || buf.remaining() == 0 {
            return this.deliver(buf);
        }
        loop {
            let Some(stream) = &mut this.stream else {
                return Poll::Ready(Ok(()));
            };
            if !this.writer.is_done() {
                let tunnel = this.framing.is_tunnel();
                if let Err(client_gone) = this.writer.poll(stream, cx, tunnel) {
                    return this.fail(client_gone);
                }
            }
            if this.read_gate.as_ref().is_some_and(|gate| gate.get()) {
                // What closed the gate polls again.
                return Poll::Pending;
            }
            let before = buf.filled().len();
            match ready!(Pin::new(stream).poll_read(cx, buf)) {
                Ok(()) if buf.filled().len() > before => {}
                ended => {
                    let due = this.framing.end(ended.is_ok());
                    this.close();
                    return Poll::Ready(due.map_err(Into::into));
                }
            }
            // Between responses the pool asks whether the connection is still good.
            // Any byte means that it is not, and the pool drops what has ended.
            if this.framing.is_idle() {
                buf.set_filled(before);
                this.framing.close_after();
                this.close();
                return Poll::Ready(Ok(()));
            }
            if this.pending.is_empty() {
                let news = &buf.filled()[before..];
                match this.framing.advance(news) {
                    Ok(Progress::Forward(count)) => {
                        buf.set_filled(before + count);
                        this.settle();
                        return Poll::Ready(Ok(()));
                    }
                    Ok(Progress::NeedMore) => this.pending.extend_from_slice(news),
                    Ok(Progress::SkipInterim(count)) => {
                        Self::set_aside(this.interim.as_ref(), &news[..count]);
                        this.pending.extend_from_slice(&news[count..]);
                    }
                    Err(fault) => {
                        buf.set_filled(before);
                        return this.fail(fault);
                    }
                }
            } else {
                this.pending.extend_from_slice(&buf.filled()[before..]);
            }
            buf.set_filled(before);
            match this.inspect_pending() {
                Ok(true) => return this.deliver(buf),
                Ok(false) => {}
                Err(fault) => return this.fail(fault),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FramedConnection<S> {
    /// Sends a request, as much as the socket takes at once; the rest goes out while the
    /// response is awaited.
    pub fn start_request(
        &mut self,
        cx: &mut Context<'_>,
        mut request: UpstreamRequest,
    ) -> io::Result<()> {
        let begun = match &self.stream {
            Some(_) => self.framing.begin(request.info),
            None => Err(ProtocolError::NoResponse),
        };
        self.read_gate = request.read_gate.take();
        self.interim = request.interim.take();
        let sent = match (&mut self.stream, begun) {
            (Some(stream), Ok(())) => self.writer.start(stream, cx, request),
            (_, begun) => begun.map_err(io::Error::from),
        };
        if sent.is_err() {
            self.close();
        }
        sent
    }
}

impl<S> fmt::Debug for FramedConnection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedConnection")
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}
