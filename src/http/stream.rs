//! A client's socket, for actix: its bytes as they are, one request at a time, and its end when
//! it is late.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::web::Bytes;
use log::debug;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection::{Appetite, ClientConnection, Writes};
use super::error::ProxyError;
use super::expect::GO_ON;
use super::framing::{BadChunk, Framing};
use super::last_words;
use super::patience::Late;
use crate::sys::tcp;

/// So much is read before actix looks what it is.
const A_BIT: usize = 8 * 1024;

/// What actix reads a client's requests from.
pub struct ClientStream {
    /// It is there until this is dropped.
    socket: Option<TcpStream>,
    connection: Rc<ClientConnection>,
    /// Where the request ends that actix has.
    request: Framing,
    /// What has come and is not actix's yet.
    held: Bytes,
    /// Something of the answer to that request has been written.
    is_answering: bool,
    /// Bytes in a row that were read before it was known what they are.
    in_a_row: usize,
    /// Bytes that the kernel has been given for the client.
    written: u64,
    /// The request that comes names another version of HTTP.
    is_other_version: bool,
}

impl ClientStream {
    /// A client's socket, from which this has come first.
    pub fn new(socket: TcpStream, connection: Rc<ClientConnection>, first: Bytes) -> Self {
        Self {
            socket: Some(socket),
            connection,
            request: Framing::new(),
            held: first,
            is_answering: false,
            in_a_row: 0,
            written: 0,
            is_other_version: false,
        }
    }

    /// What is known of the connection.
    pub fn connection(&self) -> &Rc<ClientConnection> {
        &self.connection
    }

    /// Watches how fast the client takes what is written to it.
    fn note_written(
        &mut self,
        cx: &Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(count) = &written {
            self.written += count.as_ref().map_or(0, |count| *count as u64);
            self.connection.note_unsent(None);
            return written;
        }
        self.connection.note_unsent(Some(self.written));
        self.connection.awaited_by(cx.waker());
        let Some(socket) = &self.socket else {
            return written;
        };
        let addresses = || socket.local_addr().ok().zip(socket.peer_addr().ok());
        if !self.connection.is_too_slow(addresses) {
            return written;
        }
        debug!("a client takes less than --min-body-rate of its response");
        // The kernel is not to keep what the client does not take.
        let _ = tcp::reset_on_close(socket);
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn socket(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let socket = self.socket.as_mut().map(Pin::new);
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Gives what has come, as far as it belongs to one request.
    fn poll_give(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let given = if self.held.is_empty() {
            ready!(self.socket()?.poll_read(cx, buf))?;
            let come = buf.filled().get(before..).unwrap_or_default();
            if come.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let given = self.judge(come);
            let more = given.ok().and_then(|given| come.get(given..));
            self.held = Bytes::copy_from_slice(more.unwrap_or_default());
            given
        } else {
            let fits = self.held.len().min(buf.remaining());
            let come = self.held.slice(..fits);
            let given = self.judge(&come);
            let given_now = self.held.split_to(given.unwrap_or_default());
            buf.put_slice(&given_now);
            given
        };
        if let Ok(given) = given {
            buf.set_filled(before + given);
        } else {
            buf.set_filled(before);
            self.break_off(cx, "a chunk of the request is malformed");
        }
        self.hold();
        Poll::Ready(Ok(()))
    }

    /// How many of these bytes belong to the request that is under way.
    fn judge(&mut self, come: &[u8]) -> Result<usize, BadChunk> {
        self.in_a_row += come.len();
        if self.request.is_new() {
            self.is_other_version = last_words::is_other_version(come);
        }
        self.connection.heard();
        let given = self.request.advance(come)?;
        if self.request.is_whole() {
            self.connection.has_come_whole();
        }
        Ok(given)
    }

    /// Hears, between a request and its answer, whether the client leaves. More than a bit of
    /// what it says meanwhile is left to the kernel.
    fn poll_listen(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_a_row = 0;
        self.connection.awaited_by(cx.waker());
        if self.held.is_empty() {
            let mut bit = buf.take(A_BIT);
            ready!(self.socket()?.poll_read(cx, &mut bit))?;
            if bit.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held = Bytes::copy_from_slice(bit.filled());
        }
        self.hold();
        Poll::Pending
    }

    /// Hears whether the client leaves. Whatever else it says is too late, and more than a bit of
    /// it left to the kernel until the answer is out.
    fn poll_end(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.held = Bytes::new();
        self.connection.awaited_by(cx.waker());
        while self.connection.is_settled() || self.in_a_row < A_BIT {
            let mut scratch = buf.take(A_BIT);
            ready!(self.socket()?.poll_read(cx, &mut scratch))?;
            if scratch.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.in_a_row += scratch.filled().len();
        }
        Poll::Pending
    }

    /// Keeps what has come behind a request until that is answered.
    fn hold(&self) {
        if !self.held.is_empty() {
            self.connection.holds_more();
        }
    }

    /// Ends the connection, and says why if that does not end up in another answer.
    fn break_off(&mut self, cx: &mut Context<'_>, why: &'static str) {
        self.connection.break_off();
        if let Some(socket) = &mut self.socket {
            if !self.is_answering {
                say(socket, &ProxyError::Malformed(why));
            }
            // It is done at once.
            let _ = Pin::new(socket).poll_shutdown(cx);
        }
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
    // Not by the runtime, which does not know of a new socket that it can be written to.
    let _ = SockRef::from(socket).send(last_words::answer(error).as_bytes());
}

/// The socket of an idle connection outlives what actix has made of it, and so does one whose
/// client has still to read what is wrong.
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
        if this.connection.is_broken_off() {
            return Poll::Ready(Ok(()));
        }
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
        if this.request.is_whole() {
            if this.connection.is_ending() {
                return this.poll_end(cx, buf);
            }
            if !this.connection.is_answered() {
                return this.poll_listen(cx, buf);
            }
            this.request = Framing::new();
            this.is_answering = false;
            this.connection.next();
        }
        let read = this.poll_give(cx, buf);
        if read.is_pending() {
            this.in_a_row = 0;
            this.connection.awaited_by(cx.waker());
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
        if self.connection.is_broken_off() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match self.connection.writes() {
            Writes::Unasked if self.says_instead(bytes) => return Poll::Ready(Ok(bytes.len())),
            Writes::Unasked => {}
            Writes::Answer if self.is_answering || bytes == GO_ON => {}
            Writes::Answer => {
                self.is_answering = true;
                if last_words::is_last(bytes) {
                    self.connection.ends();
                }
            }
        }
        let written = self.socket()?.poll_write(cx, bytes);
        self.note_written(cx, written)
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
