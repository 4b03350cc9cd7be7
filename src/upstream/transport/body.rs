//! A response's body, read from its connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::h1::ClientPayloadCodec;
use actix_web::web::Bytes;
use awc::error::PayloadError;
use futures::Stream;
use tokio_util::codec::Decoder;

use super::link::Link;
use super::pool::Pool;

/// A body that is still to come. Dropped before its end, it ends the connection.
pub struct Body {
    /// Gone after the end.
    link: Option<Link>,
    codec: ClientPayloadCodec,
    pool: Rc<Pool>,
}

impl Body {
    /// The body of the response whose head has been read from `link`.
    pub fn new(link: Link, codec: ClientPayloadCodec, pool: Rc<Pool>) -> Self {
        Self {
            link: Some(link),
            codec,
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
            match this.codec.decode(&mut link.unread)? {
                Some(Some(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Some(None) => {
                    if let Some(link) = this.link.take_if(|_| this.codec.keep_alive()) {
                        this.pool.release(link);
                    }
                    this.link = None;
                    return Poll::Ready(None);
                }
                None => {}
            }
            link.make_room();
            // The guard knows whether an end is one.
            if ready!(link.poll_more(cx))? == 0 {
                this.link = None;
                return Poll::Ready(None);
            }
        }
    }
}
