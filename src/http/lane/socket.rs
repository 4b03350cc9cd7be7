//! A client's socket, from which a request's body is read while its answer may be written.
//!
//! Both happen on one task, but not in one place: whoever forwards the request asks for its
//! body.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use actix_web::web::BufMut;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

/// One socket.
pub struct ClientSocket {
    /// Gone once somebody else goes on with it.
    stream: RefCell<Option<TcpStream>>,
    /// So many bytes of a request's body have not been read.
    left: Cell<u64>,
    /// The client has said all that it has to say, and may still listen.
    is_ended: Cell<bool>,
}

impl ClientSocket {
    /// A socket before which nothing is left.
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream: RefCell::new(Some(stream)),
            left: Cell::new(0),
            is_ended: Cell::new(false),
        }
    }

    /// For whoever goes on with it. Nothing can be read or written here from then on.
    pub fn take(&self) -> Option<TcpStream> {
        self.stream.take()
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

    /// Reads what comes: so many bytes, and none at the end.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        room: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        let read = self.with(|mut stream| pin!(stream.read_buf(room)).poll(cx));
        if matches!(read, Poll::Ready(Ok(0))) {
            self.is_ended.set(true);
        }
        read
    }

    /// Writes the one, and then the other.
    pub fn poll_write(
        &self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| match (first.is_empty(), second.is_empty()) {
            // One piece is a cheaper system call.
            (_, true) => stream.poll_write(cx, first),
            (true, false) => stream.poll_write(cx, second),
            (false, false) => {
                stream.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)])
            }
        })
    }

    /// Tells the client that nothing more comes.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }

    /// Says something at once, as far as the client takes it.
    pub fn say(&self, say: impl FnOnce(&TcpStream)) {
        if let Some(stream) = &*self.stream.borrow() {
            say(stream);
        }
    }

    fn with<T>(
        &self,
        poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}
