//! A client's socket, for actix: its bytes as they are, and its end when it is late.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection::{Appetite, ClientConnection, Writes};
use super::error::ProxyError;
use super::last_words;
use super::patience::Late;

/// So much is read before actix looks what it is.
const A_BIT: usize = 8 * 1024;

/// What actix reads a client's requests from.
pub struct ClientStream {
    /// It is there until this is dropped.
    socket: Option<TcpStream>,
    connection: Rc<ClientConnection>,
    /// What has been read of it already.
    first: Bytes,
    /// Bytes in a row that were read before it was known what they are.
    in_a_row: usize,
    /// The request that comes names another version of HTTP.
    is_other_version: bool,
}

impl ClientStream {
    /// A client's socket, from which this has come first.
    pub fn new(socket: TcpStream, connection: Rc<ClientConnection>, first: Bytes) -> Self {
        Self {
            socket: Some(socket),
            connection,
            first,
            in_a_row: 0,
            is_other_version: false,
        }
    }

    /// What is known of the connection.
    pub fn connection(&self) -> &Rc<ClientConnection> {
        &self.connection
    }

    fn socket(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let socket = self.socket.as_mut().map(Pin::new);
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Tells a client that is late so, if it would not end up in another answer. actix has
    /// never seen a request and says nothing.
    fn say_late(&mut self) {
        if let (Some(Late::Head), true, Some(socket)) = (
            self.connection.late(),
            self.connection.is_settled(),
            &self.socket,
        ) {
            self.connection.writes();
            say(socket, &ProxyError::SlowHead);
        }
    }

    /// Says what is wrong where actix has none but its own few words; whether it did.
    fn says_instead(&self, written: &[u8]) -> bool {
        let error = last_words::instead_of(written, self.is_other_version);
        if let (Some(error), Some(socket)) = (error, &self.socket) {
            say(socket, &error);
            return true;
        }
        false
    }
}

/// Answers with an error, at the end of a connection. A client that cannot take so little has
/// no use for it.
pub fn say(socket: &TcpStream, error: &ProxyError) {
    let _ = socket.try_write(last_words::answer(error).as_bytes());
}

/// The socket of an idle connection outlives what actix has made of it.
impl Drop for ClientStream {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.connection.keep(socket);
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.connection.late().is_some() {
            this.say_late();
            return Poll::Ready(Ok(()));
        }
        match this.connection.appetite() {
            Appetite::All => this.in_a_row = 0,
            // actix reads on while there is something, and looks at it only then.
            Appetite::ABit if this.in_a_row >= A_BIT => {
                this.in_a_row = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Appetite::ABit => {}
            Appetite::Nothing => {
                this.connection.awaited_by(cx.waker());
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        let read = if this.first.is_empty() {
            this.socket()?.poll_read(cx, buf)
        } else {
            let fits = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first.split_to(fits));
            Poll::Ready(Ok(()))
        };
        if read.is_pending() {
            this.in_a_row = 0;
            this.connection.awaited_by(cx.waker());
        } else {
            let come = buf.filled().get(before..).unwrap_or_default();
            this.in_a_row += come.len();
            if this.connection.awaits_a_head() {
                this.is_other_version = last_words::is_other_version(come);
            }
            this.connection.heard(come.ends_with(b"\r\n\r\n"));
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.connection.writes() == Writes::Unasked && self.says_instead(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.socket()?.poll_write(cx, bytes)
    }

    /// actix flushes when it has written all it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.socket()?.poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.connection.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}
