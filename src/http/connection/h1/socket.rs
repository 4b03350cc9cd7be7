//! A client's byte stream, from which a request's body is read while its response may be written,
//! and what is known of its next bytes.
//!
//! Both happen on one task, but not in one place: whoever forwards the request asks for its
//! body.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use actix_web::web::{BufMut, Bytes};
use tokio::io::{AsyncReadExt, ReadBuf};

use super::byte_stream::ByteStream;
use crate::upstream::stats::ConnectionCounters;

/// One client's stream.
pub struct ClientSocket<S> {
    stream: RefCell<S>,
    /// Where its bytes are counted.
    counters: Arc<ConnectionCounters>,
    reading: Cell<Reading>,
    /// What has been read behind what was parsed.
    unparsed: RefCell<Bytes>,
    /// The client waits for being told to send its body, which is asked for.
    body_is_due: Cell<bool>,
    /// The task that writes to the client of a tunnel, until the client's side fails.
    tunnel: RefCell<Option<Waker>>,
    /// The client has said all that it has to say, and may still listen.
    is_ended: Cell<bool>,
}

/// What the client's next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Another request, or its beginning.
    Head,
    /// The rest of a request's body.
    Body,
    /// Nothing that can be read as a request or a body.
    Malformed,
    /// Another protocol.
    Tunnel,
}

impl<S: ByteStream> ClientSocket<S> {
    /// A stream on which nothing has been read or written.
    pub fn new(stream: S, counters: Arc<ConnectionCounters>) -> Self {
        Self {
            stream: RefCell::new(stream),
            counters,
            reading: Cell::new(Reading::Head),
            unparsed: RefCell::default(),
            body_is_due: Cell::new(false),
            tunnel: RefCell::default(),
            is_ended: Cell::new(false),
        }
    }

    /// What the next bytes are that are read from it.
    pub fn reading(&self) -> Reading {
        self.reading.get()
    }

    /// Notes what the next bytes are.
    pub fn set_reading(&self, reading: Reading) {
        self.reading.set(reading);
    }

    /// Puts bytes back that belong to the next request. None may be there.
    pub fn put_back(&self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.unparsed.replace(bytes);
        }
    }

    /// Adds bytes to those that belong to the next request.
    pub fn read_ahead(&self, bytes: Bytes) {
        let mut unparsed = self.unparsed.borrow_mut();
        *unparsed = match unparsed.is_empty() {
            true => bytes,
            false => [&**unparsed, &*bytes].concat().into(),
        };
    }

    /// Takes what was read of the next request.
    pub fn take_unparsed(&self) -> Bytes {
        self.unparsed.take()
    }

    /// How many bytes were read of the next request.
    pub fn unparsed(&self) -> usize {
        self.unparsed.borrow().len()
    }

    /// What comes is another protocol's from now on; `writer` writes to the client meanwhile.
    pub fn begin_tunnel(&self, writer: &Waker) {
        self.reading.set(Reading::Tunnel);
        self.tunnel.replace(Some(writer.clone()));
    }

    /// The client's side of the tunnel cannot be read.
    pub fn break_tunnel(&self) {
        self.reading.set(Reading::Malformed);
        if let Some(writer) = self.tunnel.take() {
            writer.wake();
        }
    }

    /// Whether there was a tunnel whose client's side cannot be read.
    pub fn is_broken_tunnel(&self) -> bool {
        self.reading.get() == Reading::Malformed
    }

    /// The request's body is asked for, and its client is to be told to send it.
    pub fn ask_for_body(&self) {
        self.body_is_due.set(true);
    }

    /// Whether the client is to be told to send its body: once.
    pub fn take_body_is_due(&self) -> bool {
        self.body_is_due.take()
    }

    /// Whether the client has closed its side.
    pub fn is_ended(&self) -> bool {
        self.is_ended.get()
    }

    /// Whether what the client does is not noticed.
    pub fn is_unwatched(&self) -> bool {
        self.stream.borrow().is_unwatched()
    }

    /// Whether the receive buffer holds unread bytes.
    pub fn has_unread(&self) -> bool {
        self.stream.borrow().has_unread()
    }

    /// Its own address and the client's.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.stream.borrow().addresses()
    }

    /// Whether the client has reset the connection.
    pub fn is_reset(&self) -> bool {
        self.stream.borrow().is_reset()
    }

    /// Has the connection reset when it ends.
    pub fn reset_at_end(&self) {
        self.stream.borrow().reset_at_end();
    }

    /// Sends as much as the client takes at once.
    pub fn send_now(&self, text: &str) {
        self.stream.borrow_mut().send_now(text.as_bytes());
    }

    /// Tells the client that nothing more comes.
    pub fn shut_down(&self) {
        // One that has left need not be told.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(&mut cx);
    }

    /// Reads what comes: so many bytes, and none at the end.
    pub fn poll_read_buf(
        &self,
        cx: &mut Context<'_>,
        room: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        let read = pin!(self.stream.borrow_mut().read_buf(room)).poll(cx);
        self.noted(read)
    }

    /// The same, into room that has been written to.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = room.filled().len();
        let read = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, room);
        self.noted(read.map_ok(|()| room.filled().len() - before))
    }

    /// Writes the one, and then the other.
    //
    // Inlined into the writer of responses, though interim responses are written by it, too.
    #[inline]
    pub fn poll_write(
        &self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let stream = Pin::new(&mut *stream);
        // One piece is a cheaper system call.
        let written = match (first.is_empty(), second.is_empty()) {
            (_, true) => stream.poll_write(cx, first),
            (true, false) => stream.poll_write(cx, second),
            (false, false) => {
                stream.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)])
            }
        };
        written.map_ok(|count| {
            self.counters.send(count);
            count
        })
    }

    fn noted(&self, read: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match read {
            Poll::Ready(Ok(0)) => self.is_ended.set(true),
            Poll::Ready(Ok(count)) => self.counters.receive(count),
            _ => {}
        }
        read
    }
}
