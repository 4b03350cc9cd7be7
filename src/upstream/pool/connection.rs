//! A connection to a replica, and what has been read of it ahead.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use actix_web::web::{Bytes, BytesMut};
use log::debug;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

use crate::h1::HeaderIndices;
use crate::sys::tcp;
use crate::upstream::framed_connection::{
    FramedConnection, ParsedHead, ProtocolError, UpstreamRequest,
};

/// Bytes read at first of a response: most are shorter as a whole.
const FIRST_READ: usize = 4 * 1024;
/// Bytes read at once of the rest of a body.
const BODY_READ: usize = 64 * 1024;
/// The same for a fast consumer: with larger reads the kernel has less work for each byte (by a
/// quarter, `make bench ARGS='--only down-1m'`).
const LARGE_READ: usize = 256 * 1024;
/// Less is not worth a system call.
const MIN_READ: usize = 1024;

thread_local! {
    /// The buffer to read into, lent to the connection that is just being read. What is in it has
    /// mostly gone on when the next one is read: so there is one buffer, in the processor's
    /// cache, for all connections, and idle ones have none.
    static SCRATCH: Cell<BytesMut> = Cell::default();
    /// The same for large reads: a small one would hold all of it.
    static LARGE_SCRATCH: Cell<BytesMut> = Cell::default();
}

/// One connection.
pub struct Connection {
    stream: FramedConnection<TcpStream>,
    /// What has come and is not decoded yet.
    unread: BytesMut,
    /// It is the buffer for large reads.
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
    pub fn start_request(
        &mut self,
        cx: &mut Context<'_>,
        request: UpstreamRequest,
    ) -> io::Result<()> {
        self.stream.start_request(cx, request)
    }

    /// Whether nothing is left to be sent of the request.
    pub fn has_sent_all(&self) -> bool {
        self.stream.has_sent_all()
    }

    /// What the head of the response says, and where its parts lie in it.
    pub fn parsed_head(&self) -> &ParsedHead {
        self.stream.parsed_head()
    }

    /// Whether the head of the response has been read. Nothing of it comes before the whole has
    /// been seen, and then it may come in pieces.
    pub fn has_whole_head(&self) -> bool {
        !self.unread.is_empty() && self.unread.len() >= self.parsed_head().length
    }

    /// Takes a whole head from what has been read.
    pub fn split_head(&mut self) -> Bytes {
        let length = self.parsed_head().length;
        self.unread.split_to(length).freeze()
    }

    /// Takes the places of the headers away, in exchange for a list for others.
    pub fn replace_header_indices(&mut self, list: Vec<HeaderIndices>) -> Vec<HeaderIndices> {
        std::mem::replace(&mut self.stream.parsed_head_mut().headers, list)
    }

    /// Takes the body's next data from what has been read; none after the last, pending while more
    /// is needed.
    #[inline]
    pub fn decode(&mut self, trailers: &mut Vec<u8>) -> Result<Poll<Option<Bytes>>, ProtocolError> {
        self.stream.decode(&mut self.unread, trailers)
    }

    /// Whether a body's end has not been decoded yet.
    pub fn is_in_body(&self) -> bool {
        self.stream.is_in_body()
    }

    /// Reserves space for more of a body, whose last data may have been taken quickly.
    pub fn reserve(&mut self, is_quick: bool) {
        if self.unread.capacity() < MIN_READ {
            // A remainder: which buffer it belongs to may have changed.
            self.put_scratch();
        }
        if self.take_scratch(is_quick) {
            let size = if is_quick { LARGE_READ } else { BODY_READ };
            self.unread.reserve(size);
        } else if self.unread.capacity() - self.unread.len() < MIN_READ {
            self.unread.reserve(FIRST_READ);
        }
    }

    /// Whether what is read lies in the buffer for large reads.
    pub fn is_large(&self) -> bool {
        self.is_large
    }

    /// Reads what comes next: how many bytes, and none at the end.
    pub fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.take_scratch(false) {
            self.unread.reserve(FIRST_READ);
        }
        let Self { stream, unread, .. } = self;
        let read = pin!(stream.read_buf(unread)).poll(cx);
        if read.is_pending() {
            self.put_scratch();
        }
        read
    }

    /// Borrows a buffer if there is none; whether there was none.
    fn take_scratch(&mut self, is_large: bool) -> bool {
        let has_none = self.unread.capacity() == 0;
        if has_none {
            self.unread = if is_large {
                LARGE_SCRATCH.take()
            } else {
                SCRATCH.take()
            };
            self.is_large = is_large;
        }
        has_none
    }

    /// Gives the buffer back if nothing unread is in it.
    fn put_scratch(&mut self) {
        if self.unread.is_empty() && self.unread.capacity() > 0 {
            let buffer = std::mem::take(&mut self.unread);
            if self.is_large {
                LARGE_SCRATCH.set(buffer);
            } else {
                SCRATCH.set(buffer);
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

    /// Gives the buffer back, for a time in which the connection is not used.
    pub fn release_buffer(&mut self) {
        self.put_scratch();
    }
}
