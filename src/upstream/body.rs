//! A request's body on its way to a replica, kept in hand while it is small.
//!
//! The body flows through; its beginning, up to [`KEPT_BYTES`], is remembered, so that a
//! request which must go to another replica can be sent again from the start.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::{Bytes, Payload};
use futures::Stream;

/// So much of a body is remembered.
const KEPT_BYTES: usize = 64 * 1024;

/// Why a body cannot be sent to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// The client broke off in the middle of it.
    Broken,
    /// It is longer than is allowed.
    TooLarge,
}

/// A body that several attempts may send, one after the other.
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
    /// Why nothing more of it may be sent.
    fault: Option<BodyFault>,
    /// So many bytes more it may have.
    allowance: u64,
    /// Bytes of another protocol: nothing is kept, and any end of them is a good one.
    tunnel: bool,
}

impl Replay {
    /// A body of the given size, or of unknown size (`BodySize::Stream`), of which no more
    /// than `most` bytes are sent.
    pub fn new(source: Payload, size: BodySize, most: Option<u64>) -> Self {
        let tape = Tape {
            source: Some(source),
            kept: Vec::new(),
            kept_bytes: 0,
            overflowed: false,
            fault: None,
            allowance: most.unwrap_or(u64::MAX),
            tunnel: false,
        };
        Self {
            tape: Rc::new(RefCell::new(tape)),
            size,
        }
    }

    /// What a client says after an upgrade. It is asked for its first byte only when the
    /// replica has agreed, so that until then the request can go elsewhere.
    pub fn tunnel(source: Payload) -> Self {
        let tunnel = Self::new(source, BodySize::Stream, None);
        tunnel.tape.borrow_mut().tunnel = true;
        tunnel
    }

    /// Whether the body can be sent once more from its first byte.
    pub fn is_in_hand(&self) -> bool {
        let tape = self.tape.borrow();
        !tape.overflowed && tape.fault.is_none()
    }

    /// Why it cannot be sent to its end, if that is known.
    pub fn fault(&self) -> Option<BodyFault> {
        self.tape.borrow().fault
    }

    /// The body for one attempt. An earlier attempt's must be gone by then.
    pub fn play(&self) -> RequestBody {
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
        let Some(source) = &mut tape.source else {
            return Poll::Ready(None);
        };
        match ready!(Pin::new(source).poll_next(cx)) {
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
                tape.fault = Some(BodyFault::Broken);
                Poll::Ready(Some(Err(io::Error::other(error.to_string()))))
            }
            Some(Ok(chunk)) => {
                let left = tape.allowance.checked_sub(chunk.len() as u64);
                let Some(left) = left.filter(|_| tape.fault.is_none()) else {
                    tape.fault = Some(BodyFault::TooLarge);
                    let wrong = "the body is larger than is allowed";
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
    fn keep(&mut self, chunk: &Bytes) {
        self.kept_bytes += chunk.len();
        if self.overflowed || self.tunnel || self.kept_bytes > KEPT_BYTES {
            self.overflowed = true;
            self.kept = Vec::new();
        } else {
            self.kept.push(chunk.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;

    async fn replay_of(body: &[u8], most: Option<u64>) -> Replay {
        let (request, mut payload) = TestRequest::default()
            .set_payload(body.to_vec())
            .to_http_parts();
        let source = Payload::from_request(&request, &mut payload).await.unwrap();
        Replay::new(source, BodySize::Sized(body.len() as u64), most)
    }

    #[actix_web::test]
    async fn a_small_body_can_be_sent_again_from_the_start() {
        let replay = replay_of(b"hello", None).await;
        for _ in 0..3 {
            assert!(replay.is_in_hand());
            assert_eq!(to_bytes(replay.play()).await.unwrap(), "hello");
        }
    }

    #[actix_web::test]
    async fn a_body_that_grows_too_large_breaks_off_and_cannot_be_sent_again() {
        for (most, fault) in [(4, Some(BodyFault::TooLarge)), (5, None)] {
            let replay = replay_of(b"hello", Some(most)).await;
            let sent = to_bytes(replay.play()).await;
            assert_eq!(sent.is_err(), fault.is_some(), "{most}");
            assert_eq!(replay.fault(), fault, "{most}");
            assert_eq!(replay.is_in_hand(), fault.is_none(), "{most}");
        }
    }

    #[actix_web::test]
    async fn a_large_body_is_sent_whole_but_only_once() {
        let large = vec![7; KEPT_BYTES + 1];
        let replay = replay_of(&large, None).await;
        assert!(replay.is_in_hand());
        assert_eq!(to_bytes(replay.play()).await.unwrap(), large);
        assert!(!replay.is_in_hand());
        assert!(replay.tape.borrow().kept.is_empty());
    }
}
