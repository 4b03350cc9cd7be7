//! What a client has not said to its end when its answer is there.
//!
//! actix reads on and on for the rest of a chunked body that nobody wants, so that a client
//! which never ends it keeps its connection for ever. It does not if the body still has an
//! owner when the answer ends: then it closes, after a moment in which the client can read.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::web::Bytes;

use crate::upstream::ReplayBody;

/// A request's body, whoever has it.
#[expect(dead_code, reason = "what counts is when it is dropped")]
pub enum Unread {
    /// Nobody has asked for it.
    Payload(Payload),
    /// It was on its way to a replica.
    ReplayBody(ReplayBody),
}

impl Unread {
    /// Keeps it until the answer has ended, where that matters: if it comes in chunks.
    pub fn until_answered(self, is_chunked: bool, response: HttpResponse) -> HttpResponse<BoxBody> {
        if !is_chunked {
            return response;
        }
        let kept = |_: &mut _, body| Kept {
            body,
            _unread: self,
        };
        response.map_body(kept).map_into_boxed_body()
    }
}

/// A response's body that keeps the request's.
struct Kept {
    body: BoxBody,
    _unread: Unread,
}

impl MessageBody for Kept {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
