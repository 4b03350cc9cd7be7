//! A request's body, read from its connection as it is asked for; or what a client sends in
//! another protocol, once the connection has switched to it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::error::PayloadError;
use actix_web::web::{BufMut, Bytes, BytesMut};
use futures::Stream;

use super::byte_stream::ByteStream;
use super::request::ParsedRequest;
use super::socket::{ClientSocket, Reading};
use crate::h1::{BodyDecoder, BodyLength, FramingError, Rules};
use crate::http::headers::trailers;
use crate::http::raw_request::RawRequest;
use crate::upstream::Trailers;

/// This much is read at once.
const ROOM: usize = 64 * 1024;
/// A piece that is smaller gets a place of its own: it may be kept for a second attempt, and
/// with it all the room that it lies in.
const SMALL: usize = ROOM / 4;

thread_local! {
    /// Room to read into, for the body that is just being read.
    static READ: Cell<BytesMut> = Cell::default();
}

/// A body whose end is declared, or the client's side of a tunnel.
pub struct RequestBody<S> {
    socket: Rc<ClientSocket<S>>,
    decoder: BodyDecoder,
    /// What has come behind the head, decoded.
    first: VecDeque<Bytes>,
    /// What has come since and is not decoded yet.
    undecoded: BytesMut,
    /// Its trailer section, as far as that has come, and the head of its request, which takes
    /// the trailers that go on.
    section: Vec<u8>,
    raw: Rc<RawRequest>,
    /// The client waits until it is told to send the body.
    expects_continue: bool,
}

impl<S: ByteStream> RequestBody<S> {
    /// The body of a request behind whose head `behind` has come, decoded as far as it has come; none if the request has none, and
    /// offers no other protocol. What has come behind the body is left with the socket.
    ///
    /// # Errors
    ///
    /// If what has come is malformed.
    pub fn begin(
        socket: &Rc<ClientSocket<S>>,
        request: &ParsedRequest,
        behind: Bytes,
    ) -> Result<Option<Self>, FramingError> {
        let is_none = request.body == BodyLength::Known(0);
        if is_none && !request.is_upgrade {
            socket.set_reading(Reading::Head);
            socket.put_back(behind);
            return Ok(None);
        }
        if request.body == BodyLength::Chunked {
            // Nothing is there yet.
            let _ = request.raw.trailers.set(Trailers::default());
        }
        let mut body = Self {
            socket: Rc::clone(socket),
            decoder: BodyDecoder::new(request.body, Rules::Request),
            first: VecDeque::new(),
            undecoded: BytesMut::from(behind),
            section: Vec::new(),
            raw: Rc::clone(&request.raw),
            expects_continue: request.expects_continue,
        };
        // At once: what has come behind the body is the next request's, whether or not this one's
        // handler asks for its body; and a body that is malformed already is refused.
        socket.set_reading(Reading::Body);
        while let Poll::Ready(Some(piece)) = body.decode()? {
            body.first.push_back(piece);
        }
        Ok(Some(body))
    }

    /// Decodes the next piece of what has come; `None` behind the last, pending while more has to
    /// come. With the body's end the socket goes on to the next head.
    fn decode(&mut self) -> Result<Poll<Option<Bytes>>, FramingError> {
        let decoded = self
            .decoder
            .decode(&mut self.undecoded, &mut self.section)?;
        if self.decoder.is_complete() && self.socket.reading() == Reading::Body {
            // Behind an offer of another protocol, too, until the connection has switched.
            self.socket.set_reading(Reading::Head);
            self.socket
                .put_back(Bytes::copy_from_slice(&self.undecoded));
            self.undecoded = BytesMut::new();
        }
        Ok(decoded)
    }

    /// The next piece of the body; none at its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, PayloadError>> {
        if let Some(piece) = self.first.pop_front() {
            return Poll::Ready(Ok(Some(piece)));
        }
        loop {
            let Ok(decoded) = self.decode() else {
                self.socket.set_reading(Reading::Malformed);
                return Poll::Ready(Err(PayloadError::EncodingCorrupted));
            };
            if let Poll::Ready(piece) = decoded {
                if let (None, Some(to)) = (&piece, self.raw.trailers.get()) {
                    trailers::relay(&self.section, &self.raw.headers, &mut to.borrow_mut());
                }
                return Poll::Ready(Ok(piece));
            }
            let most = match self.decoder {
                BodyDecoder::Length(left) => usize::try_from(left).map_or(ROOM, |n| n.min(ROOM)),
                _ => ROOM,
            };
            let read = ready!(self.poll_read(cx, most))?;
            if read.is_empty() {
                return Poll::Ready(Err(PayloadError::Incomplete(None)));
            }
            match self.undecoded.is_empty() {
                true => self.undecoded = read,
                false => self.undecoded.extend_from_slice(&read),
            }
        }
    }

    /// What comes next in a tunnel; none at its end.
    fn poll_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, PayloadError>> {
        if self.socket.unparsed() > 0 {
            return Poll::Ready(Ok(Some(self.socket.take_unparsed())));
        }
        match ready!(self.poll_read(cx, ROOM)) {
            Ok(read) => Poll::Ready(Ok((!read.is_empty()).then(|| read.freeze()))),
            Err(error) => {
                // The task that writes to the client may wait for the replica.
                self.socket.break_tunnel();
                Poll::Ready(Err(error.into()))
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<BytesMut>> {
        let mut room = READ.take();
        room.reserve(most);
        let read = self.socket.poll_read_buf(cx, &mut (&mut room).limit(most));
        let piece = room.split();
        READ.set(room);
        ready!(read)?;
        Poll::Ready(Ok(piece))
    }
}

impl<S: ByteStream> Stream for RequestBody<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.expects_continue) {
            this.socket.ask_for_body();
        }
        let piece = ready!(match this.socket.reading() {
            Reading::Tunnel => this.poll_tunnel(cx),
            _ => this.poll_body(cx),
        });
        Poll::Ready(piece.transpose().map(|piece| {
            piece.map(|piece| match piece.len() {
                0..SMALL => Bytes::copy_from_slice(&piece),
                _ => piece,
            })
        }))
    }
}
