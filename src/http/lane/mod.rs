//! Simple requests, one after the other, without actix's dispatcher.
//!
//! Nearly every request is a head without a body that comes in one piece, and is answered
//! before the next one comes. For those the dispatcher does too much: it keeps two buffers of
//! 8 KiB for each connection, calls its parser three times, and copies every byte of a response
//! once more. The [`Lane`] reads such a request, has actix-web answer it as any other, and
//! writes the response. Whatever is not simple goes to the dispatcher as it came:
//!
//! ```text
//!           a simple head            the response's head
//!   Idle ──────────────────▶ Asked ──────────────────────▶ Answered
//!    │ ▲                                                      │
//!    │ └──────────────────────────────────────────────────────┘
//!    └──▶ Left (the client, the server, or something that is not simple)
//! ```

mod answer;
mod request;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::body::BoxBody;
use actix_http::{Request, Response};
use actix_service::Service;
use actix_web::web::Bytes;
use log::debug;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::connection::ClientConnection;
use super::error::ProxyError;
use super::patience::Late;
use super::stream::say;
use answer::Answer;
use request::{Simple, Terms};

/// So much is read at once: the heads that browsers send, with their cookies.
const ROOM: usize = 8 * 1024;

thread_local! {
    /// Where everything is read first: what is in it belongs to the next connection.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into());
}

/// A connection whose requests have been simple so far.
pub struct Lane<F> {
    socket: TcpStream,
    stage: Stage<F>,
    /// What has come behind the request that is being answered.
    more: Bytes,
    /// The client has said all it has to say, and may still listen.
    is_half_closed: bool,
}

enum Stage<F> {
    Idle,
    /// The application has the request.
    Asked(F, Terms),
    /// Its response goes out.
    Answered(Answer),
}

/// Why a connection is not in the lane any more.
pub enum Left {
    /// It has ended.
    Over,
    /// What has come is not a simple request.
    NotSimple(Bytes),
}

impl<F> Lane<F> {
    /// A connection on which nothing is in hand.
    pub fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            stage: Stage::Idle,
            more: Bytes::new(),
            is_half_closed: false,
        }
    }

    /// The socket, for whoever goes on with it.
    pub fn into_socket(self) -> TcpStream {
        self.socket
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
                    let Some(Simple { request, terms }) = Simple::of(&first, peer) else {
                        return Poll::Ready(Left::NotSimple(first));
                    };
                    self.stage = Stage::Asked(app.call(request), terms);
                }
                Stage::Asked(answer, terms) => {
                    match connection.during(|| Pin::new(answer).poll(cx)) {
                        Poll::Ready(response) => {
                            let response = response.map_or_else(Into::into, Into::into);
                            let date = connection.date();
                            let answer = Answer::new(response, connection.fields(), *terms, &date);
                            self.stage = Stage::Answered(answer);
                        }
                        Poll::Pending => return self.poll_listen(cx, connection),
                    }
                }
                Stage::Answered(answer) => {
                    match answer.poll(cx, Pin::new(&mut self.socket)) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => {
                            debug!("an answer is broken off: {error}");
                            return Poll::Ready(Left::Over);
                        }
                        Poll::Pending => return self.poll_listen(cx, connection),
                    }
                    let is_last = answer.is_last();
                    self.stage = Stage::Idle;
                    connection.flushed();
                    if is_last || self.is_half_closed {
                        return Poll::Ready(Left::Over);
                    }
                }
            }
        }
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
                say(&self.socket, &ProxyError::SlowHead);
            }
            if late.is_some() || connection.is_over() {
                return Poll::Ready(Ok(Bytes::new()));
            }
        }
        read
    }

    /// Hears whether the client leaves while its answer is under way. More than a bit of what
    /// it says meanwhile is left to the kernel.
    fn poll_listen(&mut self, cx: &mut Context<'_>, connection: &ClientConnection) -> Poll<Left> {
        if self.is_half_closed || !self.more.is_empty() {
            return Poll::Pending;
        }
        match self.poll_read(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(more)) if more.is_empty() => self.is_half_closed = true,
            Poll::Ready(Ok(more)) => {
                connection.heard(more.ends_with(b"\r\n\r\n"));
                self.more = more;
            }
            Poll::Ready(Err(error)) => {
                debug!("a client has left: {error}");
                return Poll::Ready(Left::Over);
            }
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        READ.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            let read = Pin::new(&mut self.socket).poll_read(cx, &mut room);
            read.map_ok(|()| Bytes::copy_from_slice(room.filled()))
        })
    }
}
