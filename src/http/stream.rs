//! A client's socket, for actix: its bytes as they are, and its end when it is late.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use actix_web::http::header::HttpDate;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection::{Appetite, ClientConnection};
use super::error::ProxyError;
use super::patience::Late;

/// So much is read before actix looks what it is.
const A_BIT: usize = 8 * 1024;

/// What actix reads a client's requests from.
pub struct ClientStream {
    socket: TcpStream,
    connection: Rc<ClientConnection>,
    /// Bytes in a row that were read before it was known what they are.
    in_a_row: usize,
    /// Nothing that actix has written is left to be sent.
    is_flushed: bool,
}

impl ClientStream {
    /// A client's socket.
    pub fn new(socket: TcpStream, connection: Rc<ClientConnection>) -> Self {
        Self {
            socket,
            connection,
            in_a_row: 0,
            is_flushed: true,
        }
    }

    /// What is known of the connection.
    pub fn connection(&self) -> &Rc<ClientConnection> {
        &self.connection
    }

    /// Tells a client that is late so, if it would not end up in another answer. actix has
    /// never seen a request and says nothing.
    fn say_late(&mut self) {
        if self.connection.late() == Some(Late::Head) && self.is_flushed {
            self.is_flushed = false;
            // A client that cannot take so little has no use for it.
            let _ = self.socket.try_write(late_answer().as_bytes());
        }
    }
}

/// 408 (RFC 9110, section 15.5.9), as [`ProxyError`] answers.
fn late_answer() -> String {
    let body = ProxyError::SlowHead.body();
    let mut answer = String::from("HTTP/1.1 408 Request Timeout\r\n");
    // Writing to a string cannot fail.
    let _ = write!(
        answer,
        "content-length: {}\r\nconnection: close\r\ncontent-type: application/json\r\ndate: {}\r\n\r\n{body}",
        body.len(),
        HttpDate::from(SystemTime::now()),
    );
    answer
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
        let read = Pin::new(&mut this.socket).poll_read(cx, buf);
        if read.is_pending() {
            this.in_a_row = 0;
            this.connection.awaited_by(cx.waker());
        } else {
            this.in_a_row += buf.filled().len() - before;
            this.connection.heard();
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
        self.is_flushed = false;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// actix flushes when it has written all it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.is_flushed = matches!(flushed, Poll::Ready(Ok(())));
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
