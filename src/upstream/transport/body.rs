//! A response's body, read from its connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::large;
use super::link::Link;
use super::pool::Pool;
use crate::upstream::guard::{Chunked, Fault};
use actix_web::web::{Bytes, BytesMut};
use awc::error::PayloadError;
use futures::Stream;

/// A chunk of so many bytes goes on from where it lies; smaller ones that are there at once are
/// moved together and go on as one piece. (Thousands of pieces of a byte would cost a thousand
/// times what their bytes do, and be that many chunks again.)
const MIN_PIECE: usize = 8 * 1024;

/// Who asks for the next piece before that has got rid of the last one quickly: the client has it,
/// or the kernel for the client.
const QUICK: Duration = Duration::from_millis(10);

/// A body that is still to come. Dropped before its end, it ends the connection.
pub struct Body {
    /// Gone after the end.
    link: Option<Box<Link>>,
    coding: Coding,
    /// When the last piece was given, if more is to come.
    given: Option<Instant>,
    pool: Rc<Pool>,
}

/// How it is read.
enum Coding {
    /// So many bytes are left.
    Counted(u64),
    /// In chunks.
    Chunked(Chunked),
    /// Until the end of the connection, which the guard tells.
    UntilEnd,
}

impl Coding {
    /// Whether its last byte has been given.
    fn is_over(&self) -> bool {
        matches!(self, Self::Counted(0))
    }

    /// The next piece; `None` after the last; pending for want of bytes.
    fn next(&mut self, unread: &mut BytesMut) -> Result<Poll<Option<Bytes>>, PayloadError> {
        match self {
            Self::Counted(0) => Ok(Poll::Ready(None)),
            Self::Counted(_) if unread.is_empty() => Ok(Poll::Pending),
            Self::Counted(left) => {
                // The guard gives no byte too many.
                *left = left.saturating_sub(unread.len() as u64);
                Ok(Poll::Ready(Some(unread.split().freeze())))
            }
            Self::Chunked(chunks) => {
                next_piece(chunks, unread).map_err(|fault| PayloadError::Io(fault.into()))
            }
            Self::UntilEnd if unread.is_empty() => Ok(Poll::Pending),
            Self::UntilEnd => Ok(Poll::Ready(Some(unread.split().freeze()))),
        }
    }
}

/// The data of the chunks that begin `unread`, as far as it is there.
fn next_piece(chunks: &mut Chunked, unread: &mut BytesMut) -> Result<Poll<Option<Bytes>>, Fault> {
    let (mut at, mut moved) = (0, 0);
    while at < unread.len() && !chunks.is_complete() {
        let before = *chunks;
        let step = chunks.next(unread, at)?;
        if step.data.len() < MIN_PIECE {
            let length = step.data.len();
            if length > 0 {
                unread.copy_within(step.data, moved);
                moved += length;
            }
            at = step.end;
        } else if moved == 0 {
            let _framing = unread.split_to(step.data.start);
            return Ok(Poll::Ready(Some(unread.split_to(step.data.len()).freeze())));
        } else {
            // What was moved goes first.
            *chunks = before;
            break;
        }
    }
    let mut piece = unread.split_to(at);
    if moved > 0 {
        piece.truncate(moved);
        return Ok(Poll::Ready(Some(piece.freeze())));
    }
    Ok(match chunks.is_complete() {
        true => Poll::Ready(None),
        false => Poll::Pending,
    })
}

impl Body {
    /// A body of so many bytes.
    pub fn counted(link: Box<Link>, length: u64, pool: Rc<Pool>) -> Self {
        Self::of(link, Coding::Counted(length), pool)
    }

    /// A body in chunks.
    pub fn chunked(link: Box<Link>, pool: Rc<Pool>) -> Self {
        Self::of(link, Coding::Chunked(Chunked::default()), pool)
    }

    /// A body, or another protocol, that goes on until the connection ends.
    pub fn until_end(link: Box<Link>, pool: Rc<Pool>) -> Self {
        Self::of(link, Coding::UntilEnd, pool)
    }

    fn of(link: Box<Link>, coding: Coding, pool: Rc<Pool>) -> Self {
        Self {
            link: Some(link),
            coding,
            given: None,
            pool,
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(link) = &mut this.link else {
            return Poll::Ready(None);
        };
        loop {
            match this.coding.next(&mut link.unread)? {
                Poll::Ready(Some(piece)) => {
                    if !this.coding.is_over() {
                        this.given = Some(Instant::now());
                    }
                    let is_large = link.is_large();
                    let piece = if is_large { large::count(piece) } else { piece };
                    return Poll::Ready(Some(Ok(piece)));
                }
                Poll::Ready(None) => {
                    if let Some(link) = this.link.take() {
                        this.pool.release(link);
                    }
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            let is_quick = this.given.is_some_and(|given| given.elapsed() < QUICK);
            link.make_room(is_quick && large::may_be_large());
            // The guard knows whether an end is one.
            if ready!(link.poll_more(cx))? == 0 {
                this.link = None;
                return Poll::Ready(None);
            }
        }
    }
}
