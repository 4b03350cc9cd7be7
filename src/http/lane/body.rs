//! A request's body, read from its connection as it is asked for.

use std::cell::Cell;
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
/// A piece that is smaller gets a place of its own: it may be kept for a second attempt, and
/// with it all the room that it lies in.
const SMALL: usize = ROOM / 4;

thread_local! {
    /// Room to read into, for the body that is just being read.
    static READ: Cell<BytesMut> = Cell::default();
}

/// A body whose length was told.
pub struct RequestBody {
    socket: Rc<ClientSocket>,
    /// What came with the head.
    first: Bytes,
}

impl RequestBody {
    /// A body that begins with what came with the head; the socket has what is left of it.
    pub fn new(socket: &Rc<ClientSocket>, first: Bytes) -> Self {
        Self {
            socket: Rc::clone(socket),
            first,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Bytes>> {
        let mut room = READ.take();
        room.reserve(most);
        let read = self.socket.poll_read(cx, &mut (&mut room).limit(most));
        let piece = room.split();
        READ.set(room);
        ready!(read)?;
        Poll::Ready(Ok(if piece.len() < SMALL {
            Bytes::copy_from_slice(&piece)
        } else {
            piece.freeze()
        }))
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
