//! How long a replica is waited for.

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::http::connection::state::ConnectionState;
use crate::upstream::{AttemptError, CoarseSleep, Instance, ReplayBody, TICK};

/// A request that has waited for longer looks at the clock, and whether its replica is still on the ring and
/// has not ended. Nearly all responses are faster and need neither. So a replica has up to a tick more than it
/// is given.
const FAST_REPLY: Duration = Duration::from_millis(2 * TICK.as_millis() as u64);

/// What one attempt may take.
#[derive(Clone, Copy)]
pub struct ReplyWait<'c> {
    /// To the first byte of a response, from the last piece of the request's body.
    pub response: Duration,
    /// Not longer than until then, whatever moves.
    pub deadline: Option<Instant>,
    /// The request can go elsewhere, so that a replica which is taken off the ring for dead
    /// or hung is not waited for.
    pub leaves_the_lost: bool,
    /// The client, which may close its side meanwhile.
    pub client: &'c ConnectionState,
}

impl ReplyWait<'_> {
    /// Waits for the answer of a replica.
    pub async fn wait_for<T>(
        &self,
        mut answer: Pin<&mut impl Future<Output = T>>,
        body: Option<&ReplayBody>,
        replica: &Instance,
    ) -> Result<T, AttemptError> {
        let least = if self.response > FAST_REPLY && self.deadline.is_none() {
            tokio::select! {
                biased;
                answer = answer.as_mut() => return Ok(answer),
                () = CoarseSleep::new(2) => TICK,
            }
        } else {
            Duration::ZERO
        };
        // So much time has passed at least.
        let now = Instant::now();
        let begun = now.checked_sub(least).unwrap_or(now);
        // In a box, because it is large, and hardly a request needs it.
        Box::pin(self.wait_longer(begun, answer, body, replica)).await
    }

    async fn wait_longer<T>(
        &self,
        begun: Instant,
        mut answer: Pin<&mut impl Future<Output = T>>,
        body: Option<&ReplayBody>,
        replica: &Instance,
    ) -> Result<T, AttemptError> {
        let mut timer = pin!(sleep_until(begun));
        let mut ended = pin!(replica.exited());
        let mut lost = pin!(async {
            match self.leaves_the_lost {
                true => replica.evicted().await,
                false => pending().await,
            }
        });
        // The sweep of the client's thread wakes the task of one that has closed its side.
        let mut abandoned = pin!(poll_fn(|_| {
            match self
                .client
                .is_abandoned(|since| replica.was_awaited_since(since))
            {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }));
        loop {
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Err(AttemptError::RequestTimeout);
            }
            let due = self.due(body.and_then(ReplayBody::moved).unwrap_or(begun));
            if due <= now {
                return Err(AttemptError::ResponseTimeout);
            }
            timer.as_mut().reset(due);
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = &mut timer => {}
                () = &mut abandoned => return Err(AttemptError::ClientClosed),
                () = &mut ended => return Err(AttemptError::Evicted),
                () = &mut lost, if body.is_none_or(ReplayBody::is_replayable) => return Err(AttemptError::Evicted),
            }
        }
    }

    fn due(&self, from: Instant) -> Instant {
        let due = from + self.response;
        self.deadline.map_or(due, |deadline| deadline.min(due))
    }
}
