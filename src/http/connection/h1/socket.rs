//! A client's socket, from which a request's body is read while its answer may be written.
//!
//! Both happen on one task, but not in one place: whoever forwards the request asks for its
//! body.
//!
//! A connection often brings its request along, gets its answer and ends. For that nobody has to
//! wait for its socket, so it is handed to the runtime, which has the kernel watch it (two
//! `epoll_ctl` and a place in memory), only when somebody has to.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream as Accepted};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use actix_web::web::{BufMut, Bytes};
use log::debug;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::sys::tcp;
use crate::upstream::stats::ConnectionCounters;

/// One socket.
pub struct ClientSocket {
    stream: RefCell<Stream>,
    /// Where its bytes are counted.
    counters: Arc<ConnectionCounters>,
    /// Nobody has tried to read from it.
    is_fresh: Cell<bool>,
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

enum Stream {
    Unwatched(Accepted),
    Watched(TcpStream),
    /// It has failed to become watched.
    Gone,
}

impl ClientSocket {
    /// One that has just been accepted, and does not block.
    pub fn accepted(stream: Accepted, counters: Arc<ConnectionCounters>) -> Self {
        Self {
            stream: RefCell::new(Stream::Unwatched(stream)),
            counters,
            is_fresh: Cell::new(true),
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
        matches!(*self.stream.borrow(), Stream::Unwatched(_))
    }

    /// Whether something has come that nobody has read: if the socket ended now, that would take
    /// the answer away from the client.
    pub fn has_unread(&self) -> bool {
        let unread = match &*self.stream.borrow() {
            Stream::Unwatched(stream) => tcp::unread_bytes(stream),
            Stream::Watched(stream) => tcp::unread_bytes(stream),
            Stream::Gone => Ok(0),
        };
        unread.is_ok_and(|unread| unread > 0)
    }

    /// Reads what comes: so many bytes, and none at the end.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        room: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        let read = self.poll_watched(|mut stream| pin!(stream.read_buf(room)).poll(cx));
        self.noted(read)
    }

    /// The same, into room that has been written to. What a new connection brings along is read
    /// at once.
    pub fn poll_read_first(
        &self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_fresh.take()
            && let Stream::Unwatched(stream) = &mut *self.stream.borrow_mut()
            && let Some(read) = at_once(stream.read(room.initialize_unfilled()))
        {
            return self.noted(Poll::Ready(read.inspect(|count| room.advance(*count))));
        }
        let before = room.filled().len();
        let read = self.poll_watched(|stream| stream.poll_read(cx, room));
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
        let both = [IoSlice::new(first), IoSlice::new(second)];
        // One piece is a cheaper system call.
        let single = match (first.is_empty(), second.is_empty()) {
            (_, true) => Some(first),
            (true, false) => Some(second),
            (false, false) => None,
        };
        if let Stream::Unwatched(stream) = &mut *self.stream.borrow_mut() {
            let written = match single {
                Some(piece) => stream.write(piece),
                None => stream.write_vectored(&both),
            };
            if let Some(written) = at_once(written) {
                return Poll::Ready(written.inspect(|count| self.counters.send(*count)));
            }
        }
        let written = self.poll_watched(|stream| match single {
            Some(piece) => stream.poll_write(cx, piece),
            None => stream.poll_write_vectored(cx, &both),
        });
        written.map_ok(|count| {
            self.counters.send(count);
            count
        })
    }

    /// Its own address and the client's.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        let addresses = match &*self.stream.borrow() {
            Stream::Unwatched(stream) => (stream.local_addr(), stream.peer_addr()),
            Stream::Watched(stream) => (stream.local_addr(), stream.peer_addr()),
            Stream::Gone => return None,
        };
        addresses.0.ok().zip(addresses.1.ok())
    }

    /// Whether the client has reset the connection, which nobody hears by reading once the
    /// client has closed its side.
    pub fn is_reset(&self) -> bool {
        let error = match &*self.stream.borrow() {
            Stream::Unwatched(stream) => stream.take_error(),
            Stream::Watched(stream) => stream.take_error(),
            Stream::Gone => Ok(None),
        };
        !matches!(error, Ok(None))
    }

    /// Has the connection reset when it ends, so that the kernel does not keep what was written
    /// for a client that does not take it.
    pub fn reset_at_end(&self) {
        let set = match &*self.stream.borrow() {
            Stream::Unwatched(stream) => tcp::reset_on_close(stream),
            Stream::Watched(stream) => tcp::reset_on_close(stream),
            Stream::Gone => Ok(()),
        };
        if let Err(error) = set {
            debug!("a client's socket cannot be reset: {error}");
        }
    }

    /// Tells the client that nothing more comes.
    pub fn shut_down(&self) {
        // One that has left need not be told.
        let _ = match &*self.stream.borrow() {
            Stream::Unwatched(stream) => stream.shutdown(Shutdown::Write),
            Stream::Watched(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Stream::Gone => Ok(()),
        };
    }

    /// Sends as much as the client takes at once: one that cannot take an error has no use for it.
    pub fn send_now(&self, text: &str) {
        // Not by the runtime, which does not know of a new socket that it can be written to.
        let _ = match &*self.stream.borrow() {
            Stream::Unwatched(stream) => SockRef::from(stream).send(text.as_bytes()),
            Stream::Watched(stream) => SockRef::from(stream).send(text.as_bytes()),
            Stream::Gone => Ok(0),
        };
    }

    fn noted(&self, read: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match read {
            Poll::Ready(Ok(0)) => self.is_ended.set(true),
            Poll::Ready(Ok(count)) => self.counters.receive(count),
            _ => {}
        }
        read
    }

    /// Hands it to the runtime.
    fn watch(&self) -> io::Result<()> {
        let mut stream = self.stream.borrow_mut();
        match std::mem::replace(&mut *stream, Stream::Gone) {
            Stream::Unwatched(accepted) => {
                *stream = Stream::Watched(TcpStream::from_std(accepted)?);
            }
            other => *stream = other,
        }
        Ok(())
    }

    fn poll_watched<T>(
        &self,
        poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.is_unwatched() {
            self.watch()?;
        }
        match &mut *self.stream.borrow_mut() {
            Stream::Watched(stream) => poll(Pin::new(stream)),
            Stream::Unwatched(_) | Stream::Gone => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
    }
}

/// What a system call has done, unless it has to be waited for.
fn at_once<T>(done: io::Result<T>) -> Option<io::Result<T>> {
    use io::ErrorKind::{Interrupted, WouldBlock};
    match done {
        Err(error) if matches!(error.kind(), Interrupted | WouldBlock) => None,
        done => Some(done),
    }
}
