//! How long a replica is waited for.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::upstream::{Failure, Instance, Replay};

/// A request that has been out for so long looks whether its replica is still on the ring, or
/// has ended. Those that are quicker, nearly all, need not.
const A_WHILE: Duration = Duration::from_millis(250);

/// What one attempt may take.
#[derive(Debug, Clone, Copy)]
pub struct ReplyWait {
    /// To the first byte of a response, from the last piece of the request's body.
    pub response: Duration,
    /// Not longer than until then, whatever moves.
    pub deadline: Option<Instant>,
    /// The request can go elsewhere, so that a replica which is taken off the ring for dead
    /// or hung is not waited for.
    pub leaves_the_lost: bool,
}

impl ReplyWait {
    /// Waits for the answer of a replica.
    pub async fn wait_for<T>(
        self,
        answer: impl Future<Output = T>,
        body: Option<&Replay>,
        replica: &Instance,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let mut answer = pin!(answer);
        let mut timer = pin!(sleep_until(self.due(begun).min(begun + A_WHILE)));
        let mut ended = pin!(replica.ended());
        let mut lost = pin!(async {
            match self.leaves_the_lost {
                true => replica.lost().await,
                false => pending().await,
            }
        });
        let mut is_late = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = &mut timer => {}
                () = &mut ended, if is_late => return Err(Failure::Lost),
                () = &mut lost, if is_late && body.is_none_or(Replay::is_in_hand) => return Err(Failure::Lost),
            }
            is_late = true;
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Failure::TookTooLong);
            }
            let due = self.due(body.and_then(Replay::moved).unwrap_or(begun));
            if due <= now {
                return Err(Failure::TimedOut);
            }
            timer.as_mut().reset(due);
        }
    }

    fn due(&self, from: Instant) -> Instant {
        let due = from + self.response;
        self.deadline.map_or(due, |deadline| deadline.min(due))
    }
}
