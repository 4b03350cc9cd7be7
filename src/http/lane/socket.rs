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
use std::task::{Context, Poll};

use crate::sys::tcp;
use actix_web::web::BufMut;
use log::debug;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One socket.
pub struct ClientSocket {
    stream: RefCell<Stream>,
    /// Nobody has tried to read from it.
    is_fresh: Cell<bool>,
    /// So many bytes of a request's body have not been read.
    left: Cell<u64>,
    /// The client has said all that it has to say, and may still listen.
    is_ended: Cell<bool>,
}

enum Stream {
    Unwatched(Accepted),
    Watched(TcpStream),
    /// Somebody else goes on with it.
    Gone,
}

impl ClientSocket {
    /// One that has just been accepted, and does not block.
    pub fn accepted(stream: Accepted) -> Self {
        Self::of(Stream::Unwatched(stream))
    }

    /// One that is watched already, and before which nothing is left.
    pub fn watched(stream: TcpStream) -> Self {
        Self::of(Stream::Watched(stream))
    }

    fn of(stream: Stream) -> Self {
        Self {
            is_fresh: Cell::new(matches!(stream, Stream::Unwatched(_))),
            stream: RefCell::new(stream),
            left: Cell::new(0),
            is_ended: Cell::new(false),
        }
    }

    /// For whoever goes on with it. Nothing can be read or written here from then on.
    pub fn take(&self) -> Option<TcpStream> {
        if let Err(error) = self.watch() {
            debug!("a client's socket cannot be watched: {error}");
        }
        match self.stream.replace(Stream::Gone) {
            Stream::Watched(stream) => Some(stream),
            Stream::Unwatched(_) | Stream::Gone => None,
        }
    }

    /// So many bytes of a body that are still to be read.
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// So many are from now on.
    pub fn leave(&self, left: u64) {
        self.left.set(left);
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
        self.poll_read(cx, room)
    }

    /// Writes the one, and then the other.
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
                return Poll::Ready(written);
            }
        }
        self.poll_watched(|stream| match single {
            Some(piece) => stream.poll_write(cx, piece),
            None => stream.poll_write_vectored(cx, &both),
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

    /// Says something at once to a client that has been waited for, as far as it takes it.
    pub fn say(&self, say: impl FnOnce(&TcpStream)) {
        if let Stream::Watched(stream) = &*self.stream.borrow() {
            say(stream);
        }
    }

    fn noted(&self, read: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(read, Poll::Ready(Ok(0))) {
            self.is_ended.set(true);
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
