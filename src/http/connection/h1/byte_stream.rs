//! The byte stream below a connection: a client's socket, or whatever gives its bytes.
//!
//! A connection is compiled for each kind of stream, so that the common one costs nothing more.
//! A client's connection often brings its request along, gets its response and ends. For that
//! nobody has to wait for its socket, so a [`ClientTcp`] is handed to the runtime, which has the
//! kernel watch it (two `epoll_ctl` and a place in memory), only when somebody has to.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream as Accepted};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use log::debug;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::sys::tcp;

#[cfg(test)]
mod tests;

/// A stream, and what only some streams know. The defaults are those of a stream that knows
/// nothing but its bytes.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Whether what the client does is not noticed.
    fn is_unwatched(&self) -> bool {
        false
    }

    /// Whether something has come that nobody has read: if the stream ended now, that would take
    /// the response away from the client.
    fn has_unread(&self) -> bool {
        false
    }

    /// Its own address and the client's.
    fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        None
    }

    /// Whether the client has reset the connection, which nobody hears by reading once the client
    /// has closed its side.
    fn is_reset(&self) -> bool {
        false
    }

    /// Has the connection reset when it ends, so that the kernel does not keep what was written
    /// for a client that does not take it.
    fn reset_at_end(&self) {}

    /// Sends as much as the client takes at once: one that cannot take an error has no use for it.
    fn send_now(&mut self, text: &[u8]) {
        let _ = Pin::new(self).poll_write(&mut Context::from_waker(Waker::noop()), text);
    }
}

/// A client's socket.
pub enum ClientTcp {
    /// Nobody has tried to read from it.
    Fresh(Accepted),
    Unwatched(Accepted),
    Watched(TcpStream),
    /// It has failed to become watched.
    Gone,
}

impl ClientTcp {
    /// Hands it to the runtime.
    fn watched(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if self.is_unwatched()
            && let Self::Fresh(accepted) | Self::Unwatched(accepted) =
                std::mem::replace(self, Self::Gone)
        {
            *self = Self::Watched(TcpStream::from_std(accepted)?);
        }
        match self {
            Self::Watched(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn socket(&self) -> Option<SockRef<'_>> {
        match self {
            Self::Fresh(stream) | Self::Unwatched(stream) => Some(stream.into()),
            Self::Watched(stream) => Some(stream.into()),
            Self::Gone => None,
        }
    }
}

impl AsyncRead for ClientTcp {
    /// What a new connection brings along is read at once.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Self::Fresh(accepted) = &mut *self {
            let read = at_once(accepted.read(room.initialize_unfilled()));
            if let Self::Fresh(accepted) = std::mem::replace(&mut *self, Self::Gone) {
                *self = Self::Unwatched(accepted);
            }
            if let Some(read) = read {
                return Poll::Ready(read.map(|count| room.advance(count)));
            }
        }
        self.watched()?.poll_read(cx, room)
    }
}

impl AsyncWrite for ClientTcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Self::Fresh(stream) | Self::Unwatched(stream) = &mut *self
            && let Some(written) = at_once(stream.write(bytes))
        {
            return Poll::Ready(written);
        }
        self.watched()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Self::Fresh(stream) | Self::Unwatched(stream) = &mut *self
            && let Some(written) = at_once(stream.write_vectored(pieces))
        {
            return Poll::Ready(written);
        }
        self.watched()?.poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.socket() {
            Some(socket) => socket.shutdown(Shutdown::Write),
            None => Ok(()),
        })
    }
}

impl ByteStream for ClientTcp {
    fn is_unwatched(&self) -> bool {
        matches!(self, Self::Fresh(_) | Self::Unwatched(_))
    }

    fn has_unread(&self) -> bool {
        let unread = match self {
            Self::Fresh(stream) | Self::Unwatched(stream) => tcp::unread_bytes(stream),
            Self::Watched(stream) => tcp::unread_bytes(stream),
            Self::Gone => Ok(0),
        };
        unread.is_ok_and(|unread| unread > 0)
    }

    fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        let socket = self.socket()?;
        let (local, peer) = (socket.local_addr().ok()?, socket.peer_addr().ok()?);
        local.as_socket().zip(peer.as_socket())
    }

    fn is_reset(&self) -> bool {
        let error = self.socket().map(|socket| socket.take_error());
        !matches!(error, None | Some(Ok(None)))
    }

    fn reset_at_end(&self) {
        let set = match self {
            Self::Fresh(stream) | Self::Unwatched(stream) => tcp::reset_on_close(stream),
            Self::Watched(stream) => tcp::reset_on_close(stream),
            Self::Gone => Ok(()),
        };
        if let Err(error) = set {
            debug!("a client's socket cannot be reset: {error}");
        }
    }

    /// Not by the runtime, which does not know of a new socket that it can be written to.
    fn send_now(&mut self, text: &[u8]) {
        if let Some(socket) = self.socket() {
            let _ = socket.send(text);
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
