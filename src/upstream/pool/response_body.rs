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

use crate::h1::BodyDecoder;
use crate::upstream::framed_connection::ProtocolError;

/// A consumer that polls for the next data within this time has passed the last data on: the client
/// has it, or the kernel for the client.
const FAST_CONSUMER: Duration = Duration::from_millis(10);

/// A body that is still to come. Dropped before its end, it ends the connection.
pub struct UpstreamBody {
    /// Gone after the end.
    connection: Option<Box<Connection>>,
    decoder: BodyDecoder,
    /// When the last data was given, if more is to come.
    given: Option<Instant>,
    pool: Rc<ConnectionPool>,
}

impl UpstreamBody {
    /// What is read by `decoder`; another protocol goes on until the connection ends.
    pub fn new(
        connection: Box<Connection>,
        decoder: BodyDecoder,
        pool: Rc<ConnectionPool>,
    ) -> Self {
        Self {
            connection: Some(connection),
            decoder,
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
            let decoded = this.decoder.decode(&mut connection.unread);
            match decoded.map_err(|error| PayloadError::Io(ProtocolError::from(error).into()))? {
                Poll::Ready(Some(piece)) => {
                    if !this.decoder.is_complete() {
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
