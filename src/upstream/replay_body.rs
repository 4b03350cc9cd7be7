//! A request's body on its way to a replica, kept while it is small.
//!
//! The body flows through; its beginning, up to [`MAX_KEPT_BYTES`], is remembered, so that a
//! request which must go to another replica can be sent again from the start.

use std::cell::{Cell, RefCell};
use std::io;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::web::Bytes;
use futures::Stream;
use tokio::time::Instant;

use crate::upstream::{IdleTimeout, Trailers};

/// This many bytes of a body are kept.
const MAX_KEPT_BYTES: usize = 64 * 1024;
/// In at most this many chunks: each costs some memory of its own, however small it is.
const MAX_KEPT_CHUNKS: usize = 1024;

/// A body that several attempts may send, one after the other.
#[derive(Clone)]
pub struct ReplayBody {
    buffer: Rc<RefCell<ReplayBuffer>>,
    size: BodySize,
}

struct ReplayBuffer {
    /// The client's side; nothing is left of it after its end.
    source: Option<Payload>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// More has come than is kept: the beginning is gone.
    overflowed: bool,
    /// The client's side broke off, or stood still for too long.
    broken: Option<BodyError>,
    /// This many bytes more may come.
    allowance: u64,
    /// Watches the client's side.
    idle: IdleTimeout,
    /// When the last piece came, or the end.
    moved: Option<Instant>,
    /// Bytes of another protocol: nothing is kept, and any end of them is a good one.
    tunnel: bool,
    /// Counts the bytes that have come, if they are to be counted.
    received: Option<Rc<Cell<u64>>>,
    /// What follows it, after its end.
    trailers: Option<Trailers>,
}

/// Why a client's body did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection ended, or what came was not a body.
    #[error("the request's body broke off")]
    Aborted,
    /// Nothing came for too long.
    #[error("the request's body paused for too long")]
    TimedOut,
    /// It came more slowly than it may.
    #[error("the request's body came too slowly")]
    TooSlow,
    /// It is longer than it may be.
    #[error("the request's body is too large")]
    TooLarge,
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        Self::other(error)
    }
}

impl ReplayBody {
    /// A body of the given size, or of unknown size (`BodySize::Stream`), in which the
    /// client may pause for `pause`.
    pub fn new(source: Payload, size: BodySize, pause: Duration) -> Self {
        let buffer = ReplayBuffer {
            source: Some(source),
            kept: Vec::new(),
            kept_bytes: 0,
            overflowed: false,
            broken: None,
            allowance: u64::MAX,
            idle: IdleTimeout::new(pause, None),
            moved: None,
            tunnel: false,
            received: None,
            trailers: None,
        };
        Self {
            buffer: Rc::new(RefCell::new(buffer)),
            size,
        }
    }

    /// The same, behind which these trailers come.
    pub fn with_trailers(self, trailers: Option<Trailers>) -> Self {
        self.buffer.borrow_mut().trailers = trailers;
        self
    }

    /// The same, which breaks off before it is longer than `bytes`.
    pub fn at_most(self, bytes: Option<u64>) -> Self {
        self.buffer.borrow_mut().allowance = bytes.unwrap_or(u64::MAX);
        self
    }

    /// The same, which breaks off where the client is waited for and sends less than this.
    pub fn with_min_rate(self, bytes_per_second: Option<NonZeroU64>) -> Self {
        self.buffer.borrow_mut().idle.set_min_rate(bytes_per_second);
        self
    }

    /// Counts its bytes as they come.
    pub fn count_into(&self, received: Rc<Cell<u64>>) {
        self.buffer.borrow_mut().received = Some(received);
    }

    /// What a client says after an upgrade. It is asked for its first byte only when the
    /// replica has agreed, so that until then the request can go elsewhere.
    pub fn tunnel(source: Payload) -> Self {
        let tunnel = Self::new(source, BodySize::Stream, Duration::ZERO);
        tunnel.buffer.borrow_mut().tunnel = true;
        tunnel
    }

    /// Whether the body can be sent once more from its first byte.
    pub fn is_replayable(&self) -> bool {
        let buffer = self.buffer.borrow();
        !buffer.overflowed && buffer.broken.is_none()
    }

    /// Why the body did not come to its end, if it did not.
    #[cfg(test)]
    pub fn broken(&self) -> Option<BodyError> {
        self.buffer.borrow().broken
    }

    /// When the client last sent something of it, or its end.
    pub fn moved(&self) -> Option<Instant> {
        self.buffer.borrow().moved
    }

    /// The body for one attempt. An earlier attempt's must be gone by then.
    pub fn attempt_body(&self) -> AttemptBody {
        // While the request waited for a replica, it was us who did not listen.
        self.buffer.borrow_mut().idle.restart();
        AttemptBody {
            buffer: Rc::clone(&self.buffer),
            size: self.size,
            position: 0,
        }
    }
}

/// One attempt's view of a body.
pub struct AttemptBody {
    buffer: Rc<RefCell<ReplayBuffer>>,
    size: BodySize,
    position: usize,
}

impl AttemptBody {
    /// The trailers behind it, which are there after its end.
    pub fn trailers(&self) -> Option<Trailers> {
        self.buffer.borrow().trailers.clone()
    }
}

impl MessageBody for AttemptBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        let buffer = Rc::clone(&self.buffer);
        let mut buffer = buffer.borrow_mut();
        if let Some(chunk) = buffer.kept.get(self.position) {
            let chunk = chunk.clone();
            self.position += 1;
            return Poll::Ready(Some(Ok(chunk)));
        }
        if buffer.broken.is_some() {
            return Poll::Ready(None);
        }
        let Some(source) = &mut buffer.source else {
            return Poll::Ready(None);
        };
        let Poll::Ready(piece) = Pin::new(source).poll_next(cx) else {
            return buffer.poll_idle(cx);
        };
        let bytes = match &piece {
            Some(Ok(chunk)) => chunk.len(),
            _ => 0,
        };
        buffer.idle.moved_by(bytes);
        if let Some(received) = &buffer.received {
            received.set(received.get() + bytes as u64);
        }
        buffer.moved = Some(Instant::now());
        match piece {
            None => {
                buffer.source = None;
                Poll::Ready(None)
            }
            // How actix says that the client has closed its side.
            Some(Err(_)) if buffer.tunnel => {
                buffer.source = None;
                Poll::Ready(None)
            }
            Some(Err(_)) => {
                buffer.source = None;
                Poll::Ready(Some(Err(buffer.fail(BodyError::Aborted))))
            }
            Some(Ok(chunk)) => {
                let Some(left) = buffer.allowance.checked_sub(chunk.len() as u64) else {
                    return Poll::Ready(Some(Err(buffer.fail(BodyError::TooLarge))));
                };
                buffer.allowance = left;
                buffer.keep(&chunk);
                self.position = buffer.kept.len();
                Poll::Ready(Some(Ok(chunk)))
            }
        }
    }
}

impl ReplayBuffer {
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        // What is silent in a tunnel is for the tunnel to judge, which sees both sides.
        if self.tunnel || self.idle.poll_elapsed(cx).is_pending() {
            return Poll::Pending;
        }
        let error = match self.idle.is_too_slow() {
            true => BodyError::TooSlow,
            false => BodyError::TimedOut,
        };
        Poll::Ready(Some(Err(self.fail(error))))
    }

    fn fail(&mut self, error: BodyError) -> io::Error {
        self.broken = Some(error);
        error.into()
    }

    fn keep(&mut self, chunk: &Bytes) {
        self.kept_bytes += chunk.len();
        let is_too_much = self.kept_bytes > MAX_KEPT_BYTES || self.kept.len() >= MAX_KEPT_CHUNKS;
        if self.overflowed || self.tunnel || is_too_much {
            self.overflowed = true;
            self.kept = Vec::new();
        } else {
            self.kept.push(chunk.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;

    fn replay_of(body: &[u8]) -> ReplayBody {
        let request = TestRequest::default().set_payload(body.to_vec());
        let (_, source) = request.to_http_parts();
        ReplayBody::new(
            source,
            BodySize::Sized(body.len() as u64),
            Duration::from_secs(60),
        )
    }

    #[actix_web::test]
    async fn a_small_body_can_be_sent_again_from_the_start() {
        let replay = replay_of(b"hello");
        for _ in 0..3 {
            assert!(replay.is_replayable());
            assert_eq!(to_bytes(replay.attempt_body()).await.unwrap(), "hello");
        }
    }

    #[actix_web::test]
    async fn a_body_that_grows_too_large_breaks_off_and_cannot_be_sent_again() {
        for (most, broken) in [(4, Some(BodyError::TooLarge)), (5, None)] {
            let replay = replay_of(b"hello").at_most(Some(most));
            let sent = to_bytes(replay.attempt_body()).await;
            assert_eq!(sent.is_err(), broken.is_some(), "{most}");
            assert_eq!(replay.broken(), broken, "{most}");
            assert_eq!(replay.is_replayable(), broken.is_none(), "{most}");
        }
    }

    #[actix_web::test]
    async fn a_client_is_not_blamed_for_the_time_between_attempts() {
        tokio::time::pause();
        let (_sender, payload) = actix_http::h1::Payload::create(false);
        let replay = ReplayBody::new(payload.into(), BodySize::Stream, Duration::from_secs(10));
        for _ in 0..3 {
            let attempt = to_bytes(replay.attempt_body());
            let waited = tokio::time::timeout(Duration::from_secs(9), attempt).await;
            assert!(waited.is_err(), "nothing comes");
            assert_eq!(replay.broken(), None);
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        let waited =
            tokio::time::timeout(Duration::from_secs(11), to_bytes(replay.attempt_body())).await;
        assert!(waited.unwrap().is_err());
        assert_eq!(replay.broken(), Some(BodyError::TimedOut));
    }

    #[actix_web::test]
    async fn a_large_body_is_sent_whole_but_only_once() {
        let large = vec![7; MAX_KEPT_BYTES + 1];
        let replay = replay_of(&large);
        assert!(replay.is_replayable());
        assert_eq!(to_bytes(replay.attempt_body()).await.unwrap(), large);
        assert!(!replay.is_replayable());
        assert!(replay.buffer.borrow().kept.is_empty());
    }
}
