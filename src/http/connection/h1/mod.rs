//! A client's connection in HTTP/1.1 and 1.0: requests one after the other, each of which
//! actix-web's application answers.
//!
//! Three things say where a connection stands, and each is one value: what its next bytes are
//! ([`Reading`]), what becomes of the request (`Stage`), and whether it persists, which is decided
//! with the head of a response ([`ResponseOptions`]).
//!
//! ```text
//!            a head                 the response's head
//!   Idle ──────────────▶ Handling ──────────────────────▶ Responding
//!    │ ▲                                                   │ │ │
//!    │ └───────────────────────────────────────────────────┘ │ │ 101: a tunnel, until its end
//!    │   all of it is sent, and the connection persists      │ │
//!    ▼                                                       ▼ ▼
//!  over ◀─────────────────────────────────────────────── Lingering
//! (the client has left or timed out,             (the last response is read
//!  or the server stops)                           before the socket ends)
//! ```
//!
//! What cannot be read as a request is answered with an error, and nothing behind it is read.

pub mod byte_stream;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod request;
mod request_body;
mod response;
mod socket;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{Payload, Request, Response};
use actix_service::Service;
use actix_web::ResponseError;
use actix_web::http::StatusCode;
use actix_web::web::{Buf, Bytes, BytesMut};
use log::debug;
use tokio::io::ReadBuf;
use tokio::time::{Sleep, sleep};

use crate::h1::{FramingError, MAX_REQUEST_HEAD_BYTES};
use crate::http::connection::canned_response::encode_error;
use crate::http::connection::state::ClientRequest;
use crate::http::connection::sweeper::OpenConnection;
use crate::http::connection::timeouts::TimedOut;
use crate::http::error::ProxyError;
use crate::upstream::framed_connection::ProtocolError;
use crate::upstream::{AttemptError, UpstreamResponse};
use byte_stream::ByteStream;
use request::{ParsedRequest, ResponseOptions};
use request_body::RequestBody;
use response::Answer;
use socket::{ClientSocket, Reading};

/// This much is read at once: the heads that browsers send, with their cookies.
const ROOM: usize = 8 * 1024;

/// How long a client that may still be sending has to read its last response.
const LINGERING_TIMEOUT: Duration = Duration::from_secs(1);

/// The beginning of a head that is parsed whatever it is: what is no HTTP at all shows in it. A
/// longer one is parsed when a line has come to its end, or clients that send a byte at a time
/// would have it parsed anew for each.
const MIN_PARSED: usize = 16;

/// What a client hears that waits for it before it sends a body (RFC 9110, section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const BAD_CHUNK: ProxyError = ProxyError::Malformed("a chunk of the request is malformed");

thread_local! {
    /// Where everything is read first: what is in it belongs to the next connection.
    static READ: RefCell<[u8; ROOM]> = const { RefCell::new([0; ROOM]) };
}

/// What answers requests: actix-web's application.
pub trait Application: Service<Request, Response: Reply, Error: Reply, Future: Unpin> {}

impl<A: Service<Request, Response: Reply, Error: Reply, Future: Unpin>> Application for A {}

/// What becomes a response; errors do, too.
pub trait Reply: Into<Response<BoxBody>> {}

impl<R: Into<Response<BoxBody>>> Reply for R {}

/// A connection, which is over when this future is. (actix's services are ready at any time.)
pub struct H1Connection<A: Service<Request>, S> {
    app: Rc<A>,
    state: OpenConnection,
    peer: Option<SocketAddr>,
    socket: Rc<ClientSocket<S>>,
    stage: Stage<A::Future>,
    /// The beginning of a head.
    partial: BytesMut,
    /// Interim responses that the socket has not taken yet.
    interim: Vec<u8>,
}

enum Stage<F> {
    /// No request has come.
    Idle,
    /// The application has the request.
    Handling(F, ResponseOptions),
    /// Its response goes out.
    Responding(Answer),
    /// The connection is over, but for a client that has not read its last response: a socket
    /// that ends with something unread takes the response away from it.
    Lingering(Pin<Box<Sleep>>),
}

/// What has come of a request.
enum Head {
    /// Its head, with the body that follows, what goes beside it, and how its response is written.
    Parsed(Request, ClientRequest, ResponseOptions),
    /// Nothing that could be answered but by this.
    Refused(ProxyError),
    /// The connection has ended, or is to end.
    Closed,
}

/// The connection is over.
struct Closed;

impl<A: Application, S: ByteStream> Future for H1Connection<A, S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let step = match this.stage {
                Stage::Idle => this.poll_idle(cx),
                Stage::Handling(..) => this.poll_handling(cx),
                Stage::Responding(_) => this.poll_responding(cx),
                Stage::Lingering(_) => this.poll_lingering(cx),
            };
            if let Err(Closed) = ready!(step) {
                return Poll::Ready(());
            }
        }
    }
}

impl<A: Application, S: ByteStream> H1Connection<A, S> {
    /// A connection that has just been accepted.
    pub fn new(app: &Rc<A>, state: OpenConnection, stream: S, peer: Option<SocketAddr>) -> Self {
        Self {
            app: Rc::clone(app),
            socket: Rc::new(ClientSocket::new(stream, state.counters())),
            state,
            peer,
            stage: Stage::Idle,
            partial: BytesMut::new(),
            interim: Vec::new(),
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        match ready!(self.poll_head(cx)) {
            Head::Closed => return Poll::Ready(Err(Closed)),
            Head::Refused(error) => {
                self.state.log_refusal(&error, self.peer);
                self.refuse(&error);
            }
            Head::Parsed(request, client, options) => {
                self.state.begin_request();
                if self.socket.is_ended() {
                    self.state.note_half_closed();
                }
                client.attach(&request);
                self.stage = Stage::Handling(self.app.call(request), options);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_handling(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let Stage::Handling(handler, options) = &mut self.stage else {
            return Poll::Ready(Ok(()));
        };
        let polled = Pin::new(handler).poll(cx);
        if self.socket.take_body_is_due() {
            self.interim.extend_from_slice(CONTINUE);
        }
        self.state.relay_interim(&mut self.interim);
        if options.is_http10 {
            // RFC 9110, section 15.2.
            self.interim.clear();
        }
        if self.socket.reading() == Reading::Malformed {
            self.refuse(&BAD_CHUNK);
            return Poll::Ready(Ok(()));
        }
        match polled {
            Poll::Ready(response) => {
                let mut options = *options;
                let response = response.map_or_else(Into::into, Into::into);
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    self.socket.begin_tunnel(cx.waker());
                } else {
                    // What has answered may not want the rest of the body, which would be taken
                    // for another request.
                    options.close |=
                        self.socket.reading() != Reading::Head || self.state.should_close();
                }
                let replica = self.state.take_replica_response();
                self.respond(response, replica, options);
                Poll::Ready(Ok(()))
            }
            Poll::Pending if !self.interim.is_empty() => {
                if let Err(error) = write_some(cx, &self.socket, &mut self.interim) {
                    debug!("a client does not take an interim response: {error}");
                    return Poll::Ready(Err(Closed));
                }
                self.poll_disconnect(cx)
            }
            Poll::Pending if self.state.is_asking() => Poll::Pending,
            Poll::Pending => self.poll_disconnect(cx),
        }
    }

    fn poll_responding(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let Stage::Responding(answer) = &mut self.stage else {
            return Poll::Ready(Ok(()));
        };
        let sent_before = answer.sent();
        match answer.poll(cx, &self.socket) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) if answer.is_replaceable() => {
                debug!("a response breaks off before any of it has gone: {error}");
                let error = match self.socket.reading() {
                    Reading::Malformed => BAD_CHUNK,
                    _ => ProxyError::Upstream(AttemptError::InvalidResponse(
                        ProtocolError::BrokenBody,
                    )),
                };
                let response = error.error_response();
                *answer = answer.replaced_by(response.into(), &self.state.date());
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => {
                debug!("a response is broken off: {error}");
                return Poll::Ready(Err(Closed));
            }
            Poll::Pending => {
                let (sent, has_unsent) = (answer.sent(), answer.has_unsent());
                self.state.note_unsent(has_unsent.then_some(sent));
                if answer.is_tunnel() {
                    // The task that reads the replica reads the client, too.
                    return match self.socket.is_broken_tunnel() {
                        true => Poll::Ready(Err(Closed)),
                        false => Poll::Pending,
                    };
                }
                if has_unsent {
                    self.state.set_waker(cx.waker());
                }
                if sent > sent_before && self.state.is_half_closed() {
                    self.state.note_half_closed();
                }
                if has_unsent && self.state.is_too_slow(|| self.socket.addresses()) {
                    debug!("a client takes less than --min-body-rate of its response");
                    self.socket.reset_at_end();
                    return Poll::Ready(Err(Closed));
                }
                return self.poll_disconnect(cx);
            }
        }
        let is_last = answer.is_last();
        let has_next = self.socket.unparsed() > 0;
        if self.socket.is_ended() && (is_last || !has_next) {
            return Poll::Ready(Err(Closed));
        }
        if is_last {
            let is_read =
                self.socket.reading() == Reading::Head && !has_next && !self.socket.has_unread();
            if is_read {
                return Poll::Ready(Err(Closed));
            }
            self.socket.shut_down();
            self.stage = Stage::Lingering(Box::pin(sleep(LINGERING_TIMEOUT)));
        } else {
            self.stage = Stage::Idle;
        }
        self.state.end_request();
        Poll::Ready(Ok(()))
    }

    fn poll_lingering(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let Stage::Lingering(timeout) = &mut self.stage else {
            return Poll::Ready(Ok(()));
        };
        if timeout.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Closed));
        }
        Poll::Ready(match ready!(self.poll_read(cx)) {
            Ok(more) if !more.is_empty() => Ok(()),
            _ => Err(Closed),
        })
    }

    /// Answers with an error, behind which nothing of the client's is a request.
    fn refuse(&mut self, error: &ProxyError) {
        debug!("a request is refused: {error}");
        self.state.counters().refuse(error.refusal());
        self.state.begin_request();
        self.socket.set_reading(Reading::Malformed);
        drop(self.socket.take_unparsed());
        let response = error.error_response().into();
        self.respond(response, None, ResponseOptions::REFUSAL);
    }

    fn respond(
        &mut self,
        response: Response<BoxBody>,
        replica: Option<Box<UpstreamResponse>>,
        options: ResponseOptions,
    ) {
        let (interim, date) = (&self.interim, self.state.date());
        let answer = Answer::new(response, interim, replica, options, &date);
        self.stage = Stage::Responding(answer);
        self.interim = Vec::new();
    }

    /// The request with its body, of which `behind` has come.
    fn with_body(&self, mut parsed: ParsedRequest, behind: Bytes) -> Result<Head, FramingError> {
        if (!behind.is_empty() || !parsed.is_bare)
            && let Some(body) = RequestBody::begin(&self.socket, &parsed, behind)?
        {
            *parsed.request.payload() = Payload::Stream {
                payload: Box::pin(body),
            };
        }
        let client = ClientRequest {
            connection: Rc::clone(&self.state),
            is_bare: parsed.is_bare,
            takes_trailers: parsed.takes_trailers,
            raw: parsed.raw,
        };
        Ok(Head::Parsed(parsed.request, client, parsed.options))
    }

    /// The next request, as soon as its head is whole.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Head> {
        loop {
            let mut bytes = match ready!(self.poll_first(cx)) {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) => return Poll::Ready(Head::Closed),
                Err(error) => {
                    debug!("a client's socket cannot be read: {error}");
                    return Poll::Ready(Head::Closed);
                }
            };
            if !self.partial.is_empty() {
                let before = self.partial.len();
                let has_line = bytes.contains(&b'\n');
                self.partial.extend_from_slice(&bytes);
                let is_large = self.partial.len() > MAX_REQUEST_HEAD_BYTES;
                if before >= MIN_PARSED && !has_line && !is_large {
                    continue;
                }
                bytes = std::mem::take(&mut self.partial).freeze();
            }
            // RFC 9112, section 2.2.
            while bytes.starts_with(b"\r\n") {
                bytes.advance(2);
            }
            match ParsedRequest::parse(&mut bytes, self.peer) {
                Ok(Some(parsed)) => {
                    let head = self.with_body(parsed, bytes);
                    return Poll::Ready(head.unwrap_or(Head::Refused(BAD_CHUNK)));
                }
                Ok(None) => {
                    // An empty line behind a request is no beginning of the next one.
                    if !bytes.is_empty() {
                        self.state.on_bytes();
                    }
                    self.partial = BytesMut::from(bytes);
                }
                Err(error) => return Poll::Ready(Head::Refused(error)),
            }
        }
    }

    /// What begins a request or goes on with it; nothing at the end.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.socket.unparsed() > 0 {
            return Poll::Ready(Ok(self.socket.take_unparsed()));
        }
        let read = self.poll_read(cx);
        if read.is_pending() {
            self.state.set_waker(cx.waker());
            let timed_out = self.state.timed_out();
            if timed_out == Some(TimedOut::Header) {
                self.state.log_refusal(&ProxyError::SlowHead, self.peer);
                self.socket.send_now(&encode_error(&ProxyError::SlowHead));
            }
            if timed_out.is_some() || self.state.is_over() {
                return Poll::Ready(Ok(Bytes::new()));
            }
        }
        read
    }

    /// Notices whether the client leaves while its request is handled: on a new connection from
    /// the next sweep on. More than a bit of what it sends meanwhile is left to the kernel, as is
    /// a body that is not asked for.
    fn poll_disconnect(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.socket.is_unwatched()
            && !self.state.is_waiting()
            && self.state.defers_disconnect_check(cx.waker())
        {
            return Poll::Pending;
        }
        while !self.socket.is_ended()
            && self.socket.reading() == Reading::Head
            && self.socket.unparsed() < ROOM
        {
            match self.poll_read(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(more)) if more.is_empty() => {
                    self.state.note_half_closed();
                    if self.state.is_waiting() {
                        // It gives up its turn.
                        cx.waker().wake_by_ref();
                    }
                    break;
                }
                Poll::Ready(Ok(more)) => self.socket.read_ahead(more),
                Poll::Ready(Err(error)) => {
                    debug!("client closed: {error}");
                    return Poll::Ready(Err(Closed));
                }
            }
        }
        if self.socket.is_ended() && self.socket.is_reset() {
            debug!("client closed: the connection was reset");
            return Poll::Ready(Err(Closed));
        }
        if self.socket.is_ended() {
            self.state.set_waker(cx.waker());
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        READ.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            let read = self.socket.poll_read(cx, &mut room);
            read.map_ok(|_| Bytes::copy_from_slice(room.filled()))
        })
    }
}

/// Writes what the socket takes now, and keeps the rest.
fn write_some<S: ByteStream>(
    cx: &mut Context<'_>,
    socket: &ClientSocket<S>,
    text: &mut Vec<u8>,
) -> io::Result<()> {
    while !text.is_empty() {
        match socket.poll_write(cx, text, &[]) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => drop(text.drain(..written)),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(())
}
