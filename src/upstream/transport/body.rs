//! A response's body, read from its connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::large;
use super::link::Link;
use super::pool::Pool;
use crate::h1::BodyDecoder;
use crate::upstream::guard::Fault;
use actix_web::web::Bytes;
use awc::error::PayloadError;
use futures::Stream;

/// Who asks for the next piece before that has got rid of the last one quickly: the client has it,
/// or the kernel for the client.
const QUICK: Duration = Duration::from_millis(10);

/// A body that is still to come. Dropped before its end, it ends the connection.
pub struct Body {
    /// Gone after the end.
    link: Option<Box<Link>>,
    decoder: BodyDecoder,
    /// When the last piece was given, if more is to come.
    given: Option<Instant>,
    pool: Rc<Pool>,
}

impl Body {
    /// What is read by `decoder`; another protocol goes on until the connection ends.
    pub fn new(link: Box<Link>, decoder: BodyDecoder, pool: Rc<Pool>) -> Self {
        Self {
            link: Some(link),
            decoder,
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
            let decoded = this.decoder.decode(&mut link.unread);
            match decoded.map_err(|error| PayloadError::Io(Fault::from(error).into()))? {
                Poll::Ready(Some(piece)) => {
                    if !this.decoder.is_complete() {
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
