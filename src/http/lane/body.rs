//! A request's body, read from its connection as it is asked for.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::error::PayloadError;
use actix_web::web::{BufMut, Bytes, BytesMut};
use futures::Stream;

use super::socket::ClientSocket;

/// So much is read at once.
const ROOM: usize = 64 * 1024;

/// A body whose length was told.
pub struct RequestBody {
    socket: Rc<ClientSocket>,
    /// What came with the head.
    first: Bytes,
    /// What is read next goes here; what has been read before lies in the same place, as
    /// soon as nobody has it any more.
    room: BytesMut,
}

impl RequestBody {
    /// A body that begins with what came with the head; the socket has what is left of it.
    pub fn new(socket: &Rc<ClientSocket>, first: Bytes) -> Self {
        Self {
            socket: Rc::clone(socket),
            first,
            room: BytesMut::new(),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Bytes>> {
        self.room.reserve(most);
        let mut room = (&mut self.room).limit(most);
        ready!(self.socket.poll_read(cx, &mut room))?;
        Poll::Ready(Ok(self.room.split().freeze()))
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.first))));
        }
        let left = this.socket.left();
        if left == 0 {
            return Poll::Ready(None);
        }
        let most = usize::try_from(left).map_or(ROOM, |left| left.min(ROOM));
        let piece = ready!(this.poll_read(cx, most))?;
        if piece.is_empty() {
            return Poll::Ready(Some(Err(PayloadError::Incomplete(None))));
        }
        this.socket.leave(left - piece.len() as u64);
        Poll::Ready(Some(Ok(piece)))
    }
}
