//! A response's body on its way from the replica to the client.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use awc::ClientResponse;
use awc::error::PayloadError;
use futures::Stream;

use super::connection::InHand;
use crate::upstream::Grant;

/// A body that flows from a replica; one that breaks off is an error, by the guard. The
/// request counts as in flight until this is
/// dropped, which is when the client has it all or has gone.
pub struct ResponseBody {
    response: ClientResponse,
    size: BodySize,
    grant: Grant,
    _in_hand: Option<InHand>,
    /// Its end says that the request was answered well.
    is_good: bool,
}

impl ResponseBody {
    /// The body of `response`; `length` is what its Content-Length says, and `is_good` that
    /// its head is no failure.
    pub fn new(response: ClientResponse, length: Option<u64>, grant: Grant, is_good: bool) -> Self {
        Self {
            response,
            size: length.map_or(BodySize::Stream, BodySize::Sized),
            grant,
            _in_hand: None,
            is_good,
        }
    }

    /// The same, which keeps the client's request in hand.
    pub fn holding(mut self, request: Option<InHand>) -> Self {
        self._in_hand = request;
        self
    }
}

impl MessageBody for ResponseBody {
    type Error = PayloadError;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let polled = Pin::new(&mut self.response).poll_next(cx);
        match &polled {
            Poll::Ready(None) if self.is_good => self.grant.instance().note_success(),
            // A failure is counted once.
            Poll::Ready(Some(Err(_))) if self.is_good => self.grant.instance().note_failure(),
            _ => {}
        }
        polled
    }
}

/// No body, though a length may be told: the answer to a HEAD request.
pub struct NoBody(pub Option<u64>);

impl MessageBody for NoBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.0.map_or(BodySize::None, BodySize::Sized)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}
