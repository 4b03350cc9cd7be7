//! A response on its way to a client, as it is written.
//!
//! What there is goes out together: the head with the beginning of the body, pieces that come
//! at once in one system call. Small ones are copied to that end, large ones are not. The body
//! is asked for more when all that it gave has been taken, so that a client which is slow slows
//! the replica down.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::{ConnectionType, Response, ResponseHead};
use actix_web::http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE};
use actix_web::http::{StatusCode, Version};
use actix_web::web::{Buf, Bytes};

use super::byte_stream::ByteStream;
use super::request::ResponseOptions;
use super::socket::ClientSocket;
use crate::h1::{CHUNK_END, ChunkSizeLine, LAST_CHUNK, is_bodiless, write_header};
use crate::http::headers::{self, trailers};
use crate::upstream::{RawResponseHead, UpstreamResponse};

/// A piece of so many bytes is worth a system call that takes it from where it is.
const LARGE: usize = 8 * 1024;
/// So much is gathered before it is written.
const FLUSH_BYTES: usize = 32 * 1024;
/// So much room is kept for the next answer.
const MAX_KEPT_CAPACITY: usize = 2 * FLUSH_BYTES;

#[cfg(test)]
mod tests;

thread_local! {
    /// Room to write in, left by the last answer.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// One response.
pub struct Answer {
    /// What is to be written first: heads, framing, small pieces.
    text: Vec<u8>,
    /// So much of it has been.
    written: usize,
    /// A large piece behind it.
    piece: Bytes,
    /// The piece's chunk is not closed yet.
    owes_line_end: bool,
    /// What is still to come; nothing after its end.
    body: Option<BoxBody>,
    /// A replica's response whose trailers follow the last chunk.
    replica: Option<Box<UpstreamResponse>>,
    framing: Framing,
    is_last: bool,
    is_tunnel: bool,
    /// Bytes that the kernel has been given.
    sent: u64,
    options: ResponseOptions,
    /// So much of `text` is interim responses.
    interim: usize,
    /// The body has broken off, or something has been written.
    fate: Fate,
}

/// Whether another answer can still be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unwritten,
    /// The body broke off before anything was written.
    BrokenOffUnwritten,
    Begun,
}

/// How the end of a body is told (RFC 9112, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is no body, and nothing is said of one.
    None,
    /// So many bytes are left.
    Counted(u64),
    Chunked,
    UntilClose,
}

impl Answer {
    /// An answer of which nothing has been written, behind the interim responses that have not
    /// been. If it is a replica's, that one's headers come as they are.
    pub fn new(
        response: Response<BoxBody>,
        interim: &[u8],
        replica: Option<Box<UpstreamResponse>>,
        options: ResponseOptions,
        date: &[u8],
    ) -> Self {
        let (mut response, body) = response.into_parts();
        let head = response.head_mut();
        // Heads are used again, and one that was for HTTP/1.0 would close.
        head.version = Version::HTTP_11;
        let is_tunnel = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let framing = match body.size() {
            _ if is_tunnel => Framing::UntilClose,
            BodySize::None => Framing::None,
            BodySize::Sized(length) => Framing::Counted(length),
            // RFC 9112, section 6.1.
            BodySize::Stream if head.chunked() && !options.is_http10 => Framing::Chunked,
            BodySize::Stream => Framing::UntilClose,
        };
        let is_empty = matches!(framing, Framing::None | Framing::Counted(0));
        let has_none =
            !is_tunnel && (is_empty || options.is_head || is_bodiless(head.status.as_u16()));
        let is_last = options.close
            || head.connection_type() == ConnectionType::Close
            || (framing == Framing::UntilClose && !has_none);
        let mut text = ROOM.take();
        text.extend_from_slice(interim);
        let persistence = Persistence {
            is_last: is_last && !is_tunnel,
            is_http10: options.is_http10,
        };
        let replica_head = replica.as_deref().map(|replica| &replica.head);
        write_head(&mut text, head, framing, replica_head, persistence, date);
        Self {
            text,
            written: 0,
            piece: Bytes::new(),
            owes_line_end: false,
            body: if has_none { None } else { Some(body) },
            replica: replica.filter(|replica| replica.trailers.is_some()),
            framing,
            is_last,
            is_tunnel,
            sent: 0,
            options,
            interim: interim.len(),
            fate: Fate::Unwritten,
        }
    }

    /// Whether another one can take its place: its body broke off before anything was written.
    pub fn is_replaceable(&self) -> bool {
        self.fate == Fate::BrokenOffUnwritten
    }

    /// What takes the place of one that [can be replaced](Self::is_replaceable).
    pub fn replaced_by(&self, response: Response<BoxBody>, date: &[u8]) -> Self {
        let interim = self.text.get(..self.interim).unwrap_or_default();
        Self::new(response, interim, None, self.options, date)
    }

    /// Whether the connection ends with it.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Whether the connection has switched to another protocol with it.
    pub fn is_tunnel(&self) -> bool {
        self.is_tunnel
    }

    /// Bytes of it that the kernel has been given.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether bytes of it are ready for the client.
    pub fn has_unsent(&self) -> bool {
        self.written < self.text.len() || !self.piece.is_empty()
    }

    /// Writes it to its end.
    pub fn poll<S: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &ClientSocket<S>,
    ) -> Poll<io::Result<()>> {
        loop {
            let gathered = self.gather(cx)?;
            while self.has_unsent() {
                self.fate = Fate::Begun;
                let written = ready!(self.poll_write(cx, socket))?;
                self.advance(written);
            }
            if gathered.is_pending() {
                // It may be long until there is more.
                self.leave_room();
                return Poll::Pending;
            }
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes from the body what is there: until its end, or until it is enough.
    fn gather(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while self.piece.is_empty() && self.text.len() < FLUSH_BYTES {
            let Some(body) = &mut self.body else {
                break;
            };
            match Pin::new(body).poll_next(cx) {
                Poll::Pending => {
                    // It may be long until there is more, and this chunk is whole.
                    self.end_chunk();
                    return Ok(Poll::Pending);
                }
                Poll::Ready(Some(Ok(piece))) => self.frame(piece),
                Poll::Ready(Some(Err(error))) => {
                    self.break_off();
                    return Err(io::Error::other(error.to_string()));
                }
                Poll::Ready(None) => {
                    self.body = None;
                    self.end().inspect_err(|_| self.break_off())?;
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn frame(&mut self, mut piece: Bytes) {
        if self.text.capacity() == 0 {
            self.text = ROOM.take();
        }
        self.end_chunk();
        // An empty chunk would be the last one.
        if piece.is_empty() {
            return;
        }
        match &mut self.framing {
            Framing::Counted(left) => {
                let taken =
                    usize::try_from(*left).map_or(piece.len(), |left| piece.len().min(left));
                piece.truncate(taken);
                *left -= taken as u64;
            }
            Framing::Chunked => self
                .text
                .extend_from_slice(&ChunkSizeLine::new(piece.len())),
            Framing::UntilClose | Framing::None => {}
        }
        let is_chunk = self.framing == Framing::Chunked;
        if piece.len() >= LARGE {
            self.piece = piece;
            self.owes_line_end = is_chunk;
        } else {
            self.text.extend_from_slice(&piece);
            if is_chunk {
                self.text.extend_from_slice(CHUNK_END);
            }
        }
    }

    fn break_off(&mut self) {
        if self.fate == Fate::Unwritten {
            self.fate = Fate::BrokenOffUnwritten;
        }
    }

    fn end_chunk(&mut self) {
        if std::mem::take(&mut self.owes_line_end) {
            self.text.extend_from_slice(CHUNK_END);
        }
    }

    fn end(&mut self) -> io::Result<()> {
        match self.framing {
            Framing::None | Framing::Counted(0) | Framing::UntilClose => {}
            Framing::Counted(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Framing::Chunked => {
                self.end_chunk();
                match self.replica.take() {
                    None => self.text.extend_from_slice(LAST_CHUNK),
                    Some(replica) => self.end_with_trailers(&replica),
                }
            }
        }
        Ok(())
    }

    fn end_with_trailers(&mut self, replica: &UpstreamResponse) {
        self.text.extend_from_slice(b"0\r\n");
        if let Some(section) = &replica.trailers {
            trailers::relay(&section.borrow(), &replica.head.lines, &mut self.text);
        }
        self.text.extend_from_slice(b"\r\n");
    }

    fn poll_write<S: ByteStream>(
        &self,
        cx: &mut Context<'_>,
        socket: &ClientSocket<S>,
    ) -> Poll<io::Result<usize>> {
        let text = self.text.get(self.written..).unwrap_or_default();
        match ready!(socket.poll_write(cx, text, &self.piece))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn advance(&mut self, written: usize) {
        self.sent += written as u64;
        let of_text = written.min(self.text.len() - self.written);
        self.written += of_text;
        self.piece.advance(written - of_text);
        if self.piece.is_empty() {
            // Its room is for the next one.
            self.piece = Bytes::new();
        }
        if self.written == self.text.len() {
            self.text.clear();
            self.written = 0;
        }
    }

    fn leave_room(&mut self) {
        if self.text.capacity() > 0 && self.text.capacity() <= MAX_KEPT_CAPACITY {
            self.text.clear();
            // The thread-local is gone when the thread ends; the buffer is then freed.
            let _ = ROOM.try_with(|room| room.set(std::mem::take(&mut self.text)));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.leave_room();
    }
}

/// What a head says of the connection.
#[derive(Debug, Clone, Copy)]
struct Persistence {
    is_last: bool,
    /// A client of HTTP/1.0 does not keep it unless it is told so (RFC 9112, section 9.3).
    is_http10: bool,
}

/// Writes a head, always in HTTP/1.1 (RFC 9110, section 6.2), otherwise as actix's encoder does.
fn write_head(
    text: &mut Vec<u8>,
    head: &ResponseHead,
    framing: Framing,
    replica_head: Option<&RawResponseHead>,
    persistence: Persistence,
    date: &[u8],
) {
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(head.status.as_str().as_bytes());
    text.push(b' ');
    let reason = replica_head.map(RawResponseHead::reason);
    // What cannot be read of a replica's is as if there were none.
    let reason = reason.filter(|reason| !reason.is_empty());
    text.extend_from_slice(reason.unwrap_or_else(|| head.reason().as_bytes()));
    text.extend_from_slice(b"\r\n");
    match framing {
        _ if is_bodiless(head.status.as_u16()) => {}
        Framing::None | Framing::UntilClose => {}
        Framing::Counted(length) => {
            let mut digits = itoa::Buffer::new();
            write_header(text, "content-length", digits.format(length).as_bytes());
        }
        Framing::Chunked => write_header(text, "transfer-encoding", b"chunked"),
    }
    // Who offers an upgrade names it here, too (RFC 9110, section 7.8).
    let offers_upgrade = match replica_head {
        Some(replica_head) => headers::response::offers_upgrade(head.status, replica_head),
        None => head.headers.contains_key(UPGRADE),
    };
    let Persistence { is_last, is_http10 } = persistence;
    match (is_last, offers_upgrade) {
        (true, true) => write_header(text, "connection", b"close, upgrade"),
        (true, false) => write_header(text, "connection", b"close"),
        (false, true) => write_header(text, "connection", b"upgrade"),
        (false, false) if is_http10 => write_header(text, "connection", b"keep-alive"),
        (false, false) => {}
    }
    // A 304 may tell the length that the body would have had (RFC 9110, section 8.6).
    let is_length_told = head.status == StatusCode::NOT_MODIFIED;
    let mut has_date = false;
    for (name, value) in &head.headers {
        match *name {
            CONNECTION | TRANSFER_ENCODING => continue,
            CONTENT_LENGTH if !is_length_told => continue,
            DATE => has_date = true,
            _ => {}
        }
        write_header(text, name.as_str(), value.as_bytes());
    }
    if let Some(replica_head) = replica_head {
        has_date |= headers::response::relay_response(head.status, replica_head, text);
    }
    if !has_date {
        write_header(text, "date", date);
    }
    text.extend_from_slice(b"\r\n");
}
