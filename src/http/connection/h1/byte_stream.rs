//! The byte stream below a connection: a client's socket, or whatever gives its bytes.
//!
//! A connection is compiled for each type of stream, so the raw socket costs no dynamic dispatch.
//! Many clients connect, send one request, read its response and close. The first read and the
//! writes of such a connection succeed at once. [`ClientTcp`] therefore registers its socket with
//! the runtime's epoll instance (two `epoll_ctl` calls and an entry) only when a read or a write
//! would block.

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
    /// Whether the runtime does not watch the stream: a FIN or a reset of the client wakes no task.
    fn is_unwatched(&self) -> bool {
        false
    }

    /// Whether the receive buffer holds unread bytes: the kernel answers a close with a reset then,
    /// which can discard the response before the client reads it.
    fn has_unread(&self) -> bool {
        false
    }

    /// Its own address and the client's.
    fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        None
    }

    /// Whether the client has reset the connection. After a FIN of the client, a read returns the
    /// end of the stream and does not report a later reset.
    fn is_reset(&self) -> bool {
        false
    }

    /// Has the connection reset when it ends, so that the kernel does not keep what was written
    /// for a client that does not take it.
    fn reset_at_end(&self) {}

    /// Writes as much of an error response as fits without waiting. The rest is lost.
    fn send_now(&mut self, text: &[u8]) {
        let _ = Pin::new(self).poll_write(&mut Context::from_waker(Waker::noop()), text);
    }
}

/// A client's socket.
pub enum ClientTcp {
    /// The server has not read from it yet.
    Fresh(Accepted),
    /// The server has read from it; epoll does not watch it.
    Unwatched(Accepted),
    /// The runtime watches it by epoll.
    Watched(TcpStream),
    /// The runtime could not register it.
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

    /// Writes past the runtime, which has not seen yet that a new socket is writable.
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
