//! A request's body on its way to a replica, kept in hand while it is small.
//!
//! The body flows through; its beginning, up to [`KEPT_BYTES`], is remembered, so that a
//! request which must go to another replica can be sent again from the start.

use std::cell::RefCell;
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

use super::idle::Idle;

/// So much of a body is remembered.
const KEPT_BYTES: usize = 64 * 1024;
/// In so many pieces: each costs some memory of its own, however small it is.
const KEPT_PIECES: usize = 1024;

/// A body that several attempts may send, one after the other.
#[derive(Clone)]
pub struct Replay {
    tape: Rc<RefCell<Tape>>,
    size: BodySize,
}

struct Tape {
    /// The client's side; nothing is left of it after its end.
    source: Option<Payload>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// More has come than is kept: the beginning is gone.
    overflowed: bool,
    /// The client's side broke off, or stood still for too long.
    broken: Option<Break>,
    /// So many bytes more may come.
    allowance: u64,
    /// Watches the client's side.
    idle: Idle,
    /// When the last piece came, or the end.
    moved: Option<Instant>,
    /// Bytes of another protocol: nothing is kept, and any end of them is a good one.
    tunnel: bool,
}

/// How a client's body came to a bad end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The connection ended, or what came was no body.
    Broken,
    /// Nothing came for too long.
    Stalled,
    /// It came more slowly than it may.
    TooSlow,
    /// It is longer than it may be.
    TooLarge,
}

impl Replay {
    /// A body of the given size, or of unknown size (`BodySize::Stream`), in which the
    /// client may pause for so long.
    pub fn new(source: Payload, size: BodySize, pause: Duration) -> Self {
        let tape = Tape {
            source: Some(source),
            kept: Vec::new(),
            kept_bytes: 0,
            overflowed: false,
            broken: None,
            allowance: u64::MAX,
            idle: Idle::new(pause, None),
            moved: None,
            tunnel: false,
        };
        Self {
            tape: Rc::new(RefCell::new(tape)),
            size,
        }
    }

    /// The same, which breaks off before it is longer than so many bytes.
    pub fn at_most(self, bytes: Option<u64>) -> Self {
        self.tape.borrow_mut().allowance = bytes.unwrap_or(u64::MAX);
        self
    }

    /// The same, which breaks off where the client is waited for and sends less than this.
    pub fn with_min_rate(self, bytes_per_second: Option<NonZeroU64>) -> Self {
        self.tape.borrow_mut().idle.set_min_rate(bytes_per_second);
        self
    }

    /// What a client says after an upgrade. It is asked for its first byte only when the
    /// replica has agreed, so that until then the request can go elsewhere.
    pub fn tunnel(source: Payload) -> Self {
        let tunnel = Self::new(source, BodySize::Stream, Duration::ZERO);
        tunnel.tape.borrow_mut().tunnel = true;
        tunnel
    }

    /// Whether the body can be sent once more from its first byte.
    pub fn is_in_hand(&self) -> bool {
        let tape = self.tape.borrow();
        !tape.overflowed && tape.broken.is_none()
    }

    /// Whether, and how, the client broke off in the middle of its body.
    pub fn broken(&self) -> Option<Break> {
        self.tape.borrow().broken
    }

    /// When the client last sent something of it, or its end.
    pub fn moved(&self) -> Option<Instant> {
        self.tape.borrow().moved
    }

    /// The body for one attempt. An earlier attempt's must be gone by then.
    pub fn play(&self) -> RequestBody {
        // While the request waited for a replica, it was us who did not listen.
        self.tape.borrow_mut().idle.restart();
        RequestBody {
            tape: Rc::clone(&self.tape),
            size: self.size,
            position: 0,
        }
    }
}

/// One attempt's view of a body.
pub struct RequestBody {
    tape: Rc<RefCell<Tape>>,
    size: BodySize,
    position: usize,
}

impl MessageBody for RequestBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        let tape = Rc::clone(&self.tape);
        let mut tape = tape.borrow_mut();
        if let Some(chunk) = tape.kept.get(self.position) {
            let chunk = chunk.clone();
            self.position += 1;
            return Poll::Ready(Some(Ok(chunk)));
        }
        if tape.broken.is_some() {
            return Poll::Ready(None);
        }
        let Some(source) = &mut tape.source else {
            return Poll::Ready(None);
        };
        let Poll::Ready(piece) = Pin::new(source).poll_next(cx) else {
            return tape.poll_stalled(cx);
        };
        let bytes = match &piece {
            Some(Ok(chunk)) => chunk.len(),
            _ => 0,
        };
        tape.idle.moved_by(bytes);
        tape.moved = Some(Instant::now());
        match piece {
            None => {
                tape.source = None;
                Poll::Ready(None)
            }
            // How actix says that the client has closed its side.
            Some(Err(_)) if tape.tunnel => {
                tape.source = None;
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                tape.source = None;
                tape.broken = Some(Break::Broken);
                Poll::Ready(Some(Err(io::Error::other(error.to_string()))))
            }
            Some(Ok(chunk)) => {
                let Some(left) = tape.allowance.checked_sub(chunk.len() as u64) else {
                    tape.broken = Some(Break::TooLarge);
                    let wrong = "the body is larger than it may be";
                    return Poll::Ready(Some(Err(io::Error::other(wrong))));
                };
                tape.allowance = left;
                tape.keep(&chunk);
                self.position = tape.kept.len();
                Poll::Ready(Some(Ok(chunk)))
            }
        }
    }
}

impl Tape {
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        // What is silent in a tunnel is for the tunnel to judge, which sees both sides.
        if self.tunnel || self.idle.poll_expired(cx).is_pending() {
            return Poll::Pending;
        }
        self.broken = Some(match self.idle.is_too_slow() {
            true => Break::TooSlow,
            false => Break::Stalled,
        });
        Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
    }

    fn keep(&mut self, chunk: &Bytes) {
        self.kept_bytes += chunk.len();
        let is_too_much = self.kept_bytes > KEPT_BYTES || self.kept.len() >= KEPT_PIECES;
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

    fn replay_of(body: &[u8]) -> Replay {
        let request = TestRequest::default().set_payload(body.to_vec());
        let (_, source) = request.to_http_parts();
        Replay::new(
            source,
            BodySize::Sized(body.len() as u64),
            Duration::from_secs(60),
        )
    }

    #[actix_web::test]
    async fn a_small_body_can_be_sent_again_from_the_start() {
        let replay = replay_of(b"hello");
        for _ in 0..3 {
            assert!(replay.is_in_hand());
            assert_eq!(to_bytes(replay.play()).await.unwrap(), "hello");
        }
    }

    #[actix_web::test]
    async fn a_body_that_grows_too_large_breaks_off_and_cannot_be_sent_again() {
        for (most, broken) in [(4, Some(Break::TooLarge)), (5, None)] {
            let replay = replay_of(b"hello").at_most(Some(most));
            let sent = to_bytes(replay.play()).await;
            assert_eq!(sent.is_err(), broken.is_some(), "{most}");
            assert_eq!(replay.broken(), broken, "{most}");
            assert_eq!(replay.is_in_hand(), broken.is_none(), "{most}");
        }
    }

    #[actix_web::test]
    async fn a_client_is_not_blamed_for_the_time_between_attempts() {
        tokio::time::pause();
        let (_sender, payload) = actix_http::h1::Payload::create(false);
        let replay = Replay::new(payload.into(), BodySize::Stream, Duration::from_secs(10));
        for _ in 0..3 {
            let attempt = to_bytes(replay.play());
            let waited = tokio::time::timeout(Duration::from_secs(9), attempt).await;
            assert!(waited.is_err(), "nothing comes");
            assert_eq!(replay.broken(), None);
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        let waited = tokio::time::timeout(Duration::from_secs(11), to_bytes(replay.play())).await;
        assert!(waited.unwrap().is_err());
        assert_eq!(replay.broken(), Some(Break::Stalled));
    }

    #[actix_web::test]
    async fn a_large_body_is_sent_whole_but_only_once() {
        let large = vec![7; KEPT_BYTES + 1];
        let replay = replay_of(&large);
        assert!(replay.is_in_hand());
        assert_eq!(to_bytes(replay.play()).await.unwrap(), large);
        assert!(!replay.is_in_hand());
        assert!(replay.tape.borrow().kept.is_empty());
    }
}
