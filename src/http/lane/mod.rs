//! Simple requests, one after the other, without actix's dispatcher.
//!
//! Nearly every request is a head that comes in one piece, without a body or with one whose
//! length it tells. For those the dispatcher does too much: it keeps two buffers of 8 KiB for
//! each connection, calls its parser three times, and copies every byte of a response once
//! more. The [`Lane`] reads such a request, has actix-web answer it as any other, and writes
//! the response. Whatever is not simple goes to the dispatcher as it came:
//!
//! ```text
//!           a simple head            the response's head
//!   Idle ──────────────────▶ Asked ──────────────────────▶ Answered
//!    │ ▲                                                     │ │
//!    │ └─────────────────────────────────────────────────────┘ │
//!    │                                                         ▼
//!    └──▶ Left ◀────────────────────────────────────────── Parting
//!   (the client, the server,                     (the last answer is read
//!    or what is not simple)                        before the socket ends)
//! ```

mod answer;
mod body;
mod request;
mod socket;

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpStream as Accepted};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{Payload, Request, Response};
use actix_service::Service;
use actix_web::ResponseError;
use actix_web::web::Bytes;
use log::debug;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connection::ClientConnection;
use super::error::ProxyError;
use super::patience::Late;
use super::stream::say;
use crate::upstream::AttemptError;
use answer::Answer;
use body::RequestBody;
use request::{Simple, Terms};
use socket::ClientSocket;

/// So much is read at once: the heads that browsers send, with their cookies.
const ROOM: usize = 8 * 1024;

/// How long a client whose body was not wanted has to read its last answer.
const PARTING: Duration = Duration::from_secs(1);

thread_local! {
    /// Where everything is read first: what is in it belongs to the next connection.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into());
}

/// A connection whose requests have been simple so far.
pub struct Lane<F> {
    socket: Rc<ClientSocket>,
    stage: Stage<F>,
    /// What has come behind the request that is being answered.
    more: Bytes,
    /// Interim responses that the socket has not taken yet.
    interim: Vec<u8>,
}

enum Stage<F> {
    Idle,
    /// The application has the request: for the first time, or again.
    Asked(F, Terms, Turn),
    /// Its response goes out.
    Answered(Answer),
    /// The connection is over, but for a client that has not read its last answer: a socket
    /// that ends with something unread takes the answer away from it.
    Parting(Pin<Box<Sleep>>),
}

/// Whether a handler has begun with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Next,
}

/// Why a connection is not in the lane any more.
pub enum Left {
    /// It has ended.
    Over,
    /// What has come is not a simple request.
    NotSimple(Bytes),
}

impl<F> Lane<F> {
    /// A connection that has just been accepted.
    pub fn new(socket: Accepted) -> Self {
        Self::of(ClientSocket::accepted(socket))
    }

    /// A connection on which nothing is in hand any more.
    pub fn again(socket: TcpStream) -> Self {
        Self::of(ClientSocket::watched(socket))
    }

    fn of(socket: ClientSocket) -> Self {
        Self {
            socket: Rc::new(socket),
            stage: Stage::Idle,
            more: Bytes::new(),
            interim: Vec::new(),
        }
    }

    /// A connection that is over, but for a client that has not read its last answer.
    pub fn parting(socket: TcpStream) -> Self {
        Self {
            stage: Stage::Parting(Box::pin(sleep(PARTING))),
            ..Self::again(socket)
        }
    }

    /// The socket, for whoever goes on with it.
    pub fn into_socket(self) -> Option<TcpStream> {
        self.socket.take()
    }

    /// Answers what comes.
    pub fn poll<A>(
        &mut self,
        cx: &mut Context<'_>,
        app: &A,
        connection: &Rc<ClientConnection>,
        peer: Option<SocketAddr>,
    ) -> Poll<Left>
    where
        A: Service<Request, Future = F>,
        A::Response: Into<Response<BoxBody>>,
        A::Error: Into<Response<BoxBody>>,
        F: Future<Output = Result<A::Response, A::Error>> + Unpin,
    {
        loop {
            match &mut self.stage {
                Stage::Idle => {
                    let first = match self.poll_first(cx, connection) {
                        Poll::Ready(Ok(first)) if !first.is_empty() => first,
                        Poll::Ready(Ok(_)) => return Poll::Ready(Left::Over),
                        Poll::Ready(Err(error)) => {
                            debug!("a client's socket cannot be read: {error}");
                            return Poll::Ready(Left::Over);
                        }
                        Poll::Pending => return Poll::Pending,
                    };
                    let Some(simple) = Simple::of(&first, peer) else {
                        return Poll::Ready(Left::NotSimple(first));
                    };
                    let terms = simple.terms;
                    connection.tells_length(simple.body.is_some());
                    if self.socket.is_ended() {
                        connection.note_half_closed();
                    }
                    let request = self.with_body(simple, first);
                    self.stage = Stage::Asked(app.call(request), terms, Turn::First);
                }
                Stage::Asked(answer, terms, turn) => {
                    let answer = Pin::new(answer);
                    let polled = match std::mem::replace(turn, Turn::Next) {
                        Turn::First => connection.during(|| answer.poll(cx)),
                        Turn::Next => answer.poll(cx),
                    };
                    connection.relay_interim(&mut self.interim);
                    match polled {
                        Poll::Ready(response) => {
                            let mut terms = *terms;
                            // Whoever has answered may not want the rest of the body, which
                            // would be taken for another request.
                            terms.closes |= self.socket.left() > 0;
                            let response = response.map_or_else(Into::into, Into::into);
                            let date = connection.date();
                            let (fields, interim) = (connection.fields(), &self.interim);
                            let answer = Answer::new(response, interim, fields, terms, &date);
                            self.stage = Stage::Answered(answer);
                            self.interim = Vec::new();
                        }
                        Poll::Pending if !self.interim.is_empty() => {
                            if let Err(error) = write_some(cx, &self.socket, &mut self.interim) {
                                debug!("a client does not take an interim response: {error}");
                                return Poll::Ready(Left::Over);
                            }
                            return self.poll_listen(cx, connection);
                        }
                        Poll::Pending if connection.is_asking() => return Poll::Pending,
                        Poll::Pending => return self.poll_listen(cx, connection),
                    }
                }
                Stage::Answered(answer) => {
                    let sent_before = answer.sent();
                    match answer.poll(cx, &self.socket) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) if answer.is_replaceable() => {
                            debug!("a response breaks off before any of it has gone: {error}");
                            let failure = AttemptError::InvalidResponse(error.to_string());
                            let response = ProxyError::Upstream(failure).error_response();
                            *answer = answer.replaced_by(response.into(), &connection.date());
                            continue;
                        }
                        Poll::Ready(Err(error)) => {
                            debug!("an answer is broken off: {error}");
                            return Poll::Ready(Left::Over);
                        }
                        Poll::Pending => {
                            let (sent, has_unsent) = (answer.sent(), answer.has_unsent());
                            connection.note_unsent(has_unsent.then_some(sent));
                            if has_unsent {
                                connection.awaited_by(cx.waker());
                            }
                            if sent > sent_before && connection.is_half_closed() {
                                connection.note_half_closed();
                            }
                            if has_unsent && connection.is_too_slow(|| self.socket.addresses()) {
                                debug!("a client takes less than --min-body-rate of its response");
                                self.socket.reset_at_end();
                                return Poll::Ready(Left::Over);
                            }
                            return self.poll_listen(cx, connection);
                        }
                    }
                    connection.note_unsent(None);
                    let is_last = answer.is_last();
                    if self.socket.is_ended() && (is_last || self.more.is_empty()) {
                        return Poll::Ready(Left::Over);
                    }
                    let is_read = self.socket.left() == 0
                        && self.more.is_empty()
                        && !(is_last && self.socket.has_unread());
                    self.stage = match (is_last, is_read) {
                        (false, _) => Stage::Idle,
                        (true, true) => return Poll::Ready(Left::Over),
                        (true, false) => {
                            self.socket.shut_down();
                            Stage::Parting(Box::pin(sleep(PARTING)))
                        }
                    };
                    connection.flushed();
                }
                Stage::Parting(late) => {
                    if late.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Left::Over);
                    }
                    match self.poll_read(cx) {
                        Poll::Ready(Ok(more)) if !more.is_empty() => {}
                        Poll::Ready(_) => return Poll::Ready(Left::Over),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }

    /// The request with the body that follows its head.
    fn with_body(&mut self, simple: Simple, mut first: Bytes) -> Request {
        let Simple {
            mut request,
            length,
            body,
            ..
        } = simple;
        if length == first.len() && body.is_none_or(|body| body == 0) {
            return request;
        }
        let _head = first.split_to(length);
        let body = body.unwrap_or_default();
        let here = usize::try_from(body).map_or(first.len(), |body| body.min(first.len()));
        self.more = first.split_off(here);
        self.socket.leave(body - here as u64);
        if body > 0 {
            let body = RequestBody::new(&self.socket, first);
            *request.payload() = Payload::Stream {
                payload: Box::pin(body),
            };
        }
        request
    }

    /// What begins a request; nothing at the end.
    fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Rc<ClientConnection>,
    ) -> Poll<io::Result<Bytes>> {
        if !self.more.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.more)));
        }
        let read = self.poll_read(cx);
        if read.is_pending() {
            connection.awaited_by(cx.waker());
            let late = connection.late();
            if late == Some(Late::Head) {
                self.socket.say(|socket| say(socket, &ProxyError::SlowHead));
            }
            if late.is_some() || connection.is_over() {
                return Poll::Ready(Ok(Bytes::new()));
            }
        }
        read
    }

    /// Hears whether the client leaves while its answer is under way: of a new connection from
    /// the watch's next look on. More than a bit of what it says meanwhile is left to the
    /// kernel, as is a body that nobody asks for.
    fn poll_listen(&mut self, cx: &mut Context<'_>, connection: &ClientConnection) -> Poll<Left> {
        if self.socket.is_unwatched()
            && !connection.is_waiting()
            && connection.is_heard_later(cx.waker())
        {
            return Poll::Pending;
        }
        while !self.socket.is_ended() && self.socket.left() == 0 && self.more.len() < ROOM {
            match self.poll_read(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(more)) if more.is_empty() => {
                    connection.note_half_closed();
                    if connection.is_waiting() {
                        // It gives up its turn.
                        cx.waker().wake_by_ref();
                    }
                    break;
                }
                Poll::Ready(Ok(more)) => {
                    connection.heard();
                    self.more = match self.more.is_empty() {
                        true => more,
                        false => [&*self.more, &*more].concat().into(),
                    };
                }
                Poll::Ready(Err(error)) => {
                    debug!("client closed: {error}");
                    return Poll::Ready(Left::Over);
                }
            }
        }
        if self.socket.is_ended() && self.socket.is_reset() {
            debug!("client closed: the connection was reset");
            return Poll::Ready(Left::Over);
        }
        if self.socket.is_ended() {
            connection.awaited_by(cx.waker());
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        READ.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            let read = self.socket.poll_read_first(cx, &mut room);
            read.map_ok(|_| Bytes::copy_from_slice(room.filled()))
        })
    }
}

/// Writes what the socket takes now, and keeps the rest.
fn write_some(cx: &mut Context<'_>, socket: &ClientSocket, text: &mut Vec<u8>) -> io::Result<()> {
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
