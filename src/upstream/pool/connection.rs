//! A connection to a replica, and what has been read of it ahead.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use actix_web::web::BytesMut;
use log::debug;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

use crate::h1::HeaderIndices;
use crate::sys::tcp;
use crate::upstream::framed_connection::{FramedConnection, Index, UpstreamRequest};

/// Room for the first bytes of a response: most are shorter as a whole.
const FIRST_ROOM: usize = 4 * 1024;
/// Room for the rest of a body that did not fit.
const BODY_ROOM: usize = 64 * 1024;
/// The same where pieces go as fast as they come: of larger ones the kernel has less work for
/// each byte (by a quarter, `make bench ARGS='--only down-1m'`).
const LARGE_ROOM: usize = 256 * 1024;
/// Less is not worth a system call.
const LEAST_ROOM: usize = 1024;

thread_local! {
    /// Room to read into, lent to the connection that is just being read. What lies there has
    /// mostly gone on when the next one is read: so there is one place, in the processor's
    /// cache, for all connections, and those that wait have none.
    static ROOM: Cell<BytesMut> = Cell::default();
    /// The same for large pieces: a small one would hold all of it.
    static LARGE: Cell<BytesMut> = Cell::default();
}

/// One connection.
pub struct Connection {
    stream: FramedConnection<TcpStream>,
    /// What has come and is not decoded yet.
    pub unread: BytesMut,
    /// It lies in room for large pieces.
    is_large: bool,
}

/// Has the socket end by a reset: the port is free at once, and what is on its way is lost.
fn reset_on_close(stream: &TcpStream) {
    if let Err(error) = tcp::reset_on_close(stream) {
        debug!("a connection to a replica cannot be reset: {error}");
    }
}

impl Connection {
    /// A connection on which nothing has been sent. It goes from hand to hand with each
    /// request, and is large: in a box for as long as it is open.
    pub fn new(stream: TcpStream) -> Box<Self> {
        Box::new(Self {
            stream: FramedConnection::new(stream).resetting_by(reset_on_close),
            unread: BytesMut::new(),
            is_large: false,
        })
    }

    /// Sends a request: its head, and what of its body is there.
    pub fn ask(&mut self, cx: &mut Context<'_>, exchange: UpstreamRequest) -> io::Result<()> {
        self.stream.ask(cx, exchange)
    }

    /// Whether nothing is left to be sent of the request.
    pub fn has_sent_all(&self) -> bool {
        self.stream.has_sent_all()
    }

    /// Where the parts of a response's head lie in [`unread`](Self::unread), once the whole
    /// of it is there.
    pub fn index(&self) -> &Index {
        self.stream.index()
    }

    /// Takes the places of a head's fields away, in exchange for room for others.
    pub fn replace_places(&mut self, room: Vec<HeaderIndices>) -> Vec<HeaderIndices> {
        std::mem::replace(&mut self.stream.index_mut().headers, room)
    }

    /// Makes room for more of a body, whose last piece may have been taken quickly.
    pub fn reserve(&mut self, is_quick: bool) {
        if self.unread.capacity() < LEAST_ROOM {
            // A remainder: whose it is may have changed.
            self.put_scratch();
        }
        if self.take_scratch(is_quick) {
            let room = if is_quick { LARGE_ROOM } else { BODY_ROOM };
            self.unread.reserve(room);
        } else if self.unread.capacity() - self.unread.len() < LEAST_ROOM {
            self.unread.reserve(FIRST_ROOM);
        }
    }

    /// Whether what is read lies in room for large pieces.
    pub fn is_large(&self) -> bool {
        self.is_large
    }

    /// Reads what comes next: how many bytes, and none at the end.
    pub fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.take_scratch(false) {
            self.unread.reserve(FIRST_ROOM);
        }
        let Self { stream, unread, .. } = self;
        let read = pin!(stream.read_buf(unread)).poll(cx);
        if read.is_pending() {
            self.put_scratch();
        }
        read
    }

    /// Borrows room where there is none; whether there was none.
    fn take_scratch(&mut self, is_large: bool) -> bool {
        let has_none = self.unread.capacity() == 0;
        if has_none {
            self.unread = if is_large { LARGE.take() } else { ROOM.take() };
            self.is_large = is_large;
        }
        has_none
    }

    /// Gives the room back that nothing unread lies in.
    fn put_scratch(&mut self) {
        if self.unread.is_empty() && self.unread.capacity() > 0 {
            let room = std::mem::take(&mut self.unread);
            if self.is_large {
                LARGE.set(room);
            } else {
                ROOM.set(room);
            }
        }
    }

    /// Whether another request may be sent.
    pub fn is_reusable(&self) -> bool {
        self.unread.is_empty() && self.stream.is_reusable()
    }

    /// Whether it still stands between two requests, as far as is known here. A byte that
    /// has come, or the end, means that it does not.
    pub fn is_alive(&mut self, cx: &mut Context<'_>) -> bool {
        let mut byte = [0];
        let mut room = ReadBuf::new(&mut byte);
        Pin::new(&mut self.stream)
            .poll_read(cx, &mut room)
            .is_pending()
    }

    /// Makes it small, for a time in which it is not used.
    pub fn rest(&mut self) {
        self.put_scratch();
    }
}
