//! A response's body, read from its connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::connection_pool::ConnectionPool;
use super::large_buffers;
use actix_web::web::Bytes;
use awc::error::PayloadError;
use futures::Stream;

use crate::upstream::framed_connection::Trailers;

/// A consumer that polls for the next data within this time has passed the last data on: the client
/// has it, or the kernel for the client.
const FAST_CONSUMER: Duration = Duration::from_millis(10);

/// A body that is still to come. Dropped before its end, it ends the connection.
pub struct UpstreamBody {
    /// Gone after the end.
    connection: Option<Box<Connection>>,
    /// The trailer section, as far as it has come, and where it goes.
    section: Vec<u8>,
    trailers: Option<Trailers>,
    /// When the last data was given, if more is to come.
    given: Option<Instant>,
    pool: Rc<ConnectionPool>,
}

impl UpstreamBody {
    /// The body of the response on a connection; another protocol goes on until that ends.
    pub fn new(
        connection: Box<Connection>,
        pool: Rc<ConnectionPool>,
        trailers: Option<Trailers>,
    ) -> Self {
        Self {
            connection: Some(connection),
            section: Vec::new(),
            trailers,
            given: None,
            pool,
        }
    }
}

impl Stream for UpstreamBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(connection) = &mut this.connection else {
            return Poll::Ready(None);
        };
        loop {
            let decoded = connection.decode(&mut this.section);
            match decoded.map_err(|error| PayloadError::Io(error.into()))? {
                Poll::Ready(Some(piece)) => {
                    if connection.is_in_body() {
                        this.given = Some(Instant::now());
                    }
                    let is_large = connection.is_large();
                    let piece = if is_large {
                        large_buffers::count(piece)
                    } else {
                        piece
                    };
                    return Poll::Ready(Some(Ok(piece)));
                }
                Poll::Ready(None) => {
                    if let Some(trailers) = &this.trailers {
                        trailers.replace(std::mem::take(&mut this.section));
                    }
                    if let Some(connection) = this.connection.take() {
                        this.pool.release(connection);
                    }
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            let is_quick = this
                .given
                .is_some_and(|given| given.elapsed() < FAST_CONSUMER);
            connection.reserve(is_quick && large_buffers::may_be_large());
            // The framing knows whether the end is in order.
            if ready!(connection.poll_more(cx))? == 0 {
                this.connection = None;
                return Poll::Ready(None);
            }
        }
    }
}
