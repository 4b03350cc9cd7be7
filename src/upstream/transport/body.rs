//! A response's body, read from its connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_http::h1::ClientPayloadCodec;
use actix_web::web::{Bytes, BytesMut};
use awc::error::PayloadError;
use futures::Stream;
use tokio_util::codec::Decoder;

use super::large;
use super::link::Link;
use super::pool::Pool;

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
    /// In chunks, or until the end of the connection.
    Coded(Box<ClientPayloadCodec>),
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
            Self::Coded(codec) => Ok(codec.decode(unread)?.map_or(Poll::Pending, Poll::Ready)),
        }
    }
}

impl Body {
    /// A body of so many bytes.
    pub fn counted(link: Box<Link>, length: u64, pool: Rc<Pool>) -> Self {
        Self {
            link: Some(link),
            coding: Coding::Counted(length),
            given: None,
            pool,
        }
    }

    /// A body that `codec` reads.
    pub fn coded(link: Box<Link>, codec: ClientPayloadCodec, pool: Rc<Pool>) -> Self {
        Self {
            link: Some(link),
            coding: Coding::Coded(Box::new(codec)),
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
