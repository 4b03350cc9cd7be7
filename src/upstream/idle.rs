//! Finds out that nothing has moved for too long.
//!
//! A timer exists only once something had to be waited for, and it is not set anew when
//! something moves: when it fires, it looks at when that was.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Watches one direction of one request.
#[derive(Debug)]
pub struct Idle {
    limit: Duration,
    /// Nothing may take longer than until then, whether it moves or not.
    deadline: Option<Instant>,
    waited: Option<Waited>,
}

/// What there is once something had to be waited for.
#[derive(Debug)]
struct Waited {
    moved: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    /// Nothing may stand still for longer than `limit`, nor go on after `deadline`.
    pub fn new(limit: Duration, deadline: Option<Instant>) -> Self {
        Self {
            limit,
            deadline,
            waited: None,
        }
    }

    /// Something has moved.
    pub fn moved(&mut self) {
        if let Some(waited) = &mut self.waited {
            waited.moved = Instant::now();
        }
    }

    /// Whether the time is over for something that moves all the while.
    pub fn is_past_deadline(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// To be asked whenever there is nothing to move: ready once that has been so for too
    /// long.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (limit, deadline) = (self.limit, self.deadline);
        let end = |moved: Instant| {
            let idle = moved + limit;
            deadline.map_or(idle, |deadline| deadline.min(idle))
        };
        let Waited { moved, timer } = self.waited.get_or_insert_with(|| {
            let now = Instant::now();
            Waited {
                moved: now,
                timer: Box::pin(sleep_until(end(now))),
            }
        });
        while timer.as_mut().poll(cx).is_ready() {
            if end(*moved) <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end(*moved));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn expired(idle: &mut Idle) -> Duration {
        let begun = Instant::now();
        poll_fn(|cx| idle.poll_expired(cx)).await;
        begun.elapsed()
    }

    async fn wait(idle: &mut Idle, time: Duration) {
        let expired = tokio::time::timeout(time, poll_fn(|cx| idle.poll_expired(cx))).await;
        assert!(expired.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn it_expires_when_nothing_has_moved_for_so_long() {
        let mut idle = Idle::new(LIMIT, None);
        wait(&mut idle, LIMIT * 9 / 10).await;
        idle.moved();
        let waited = expired(&mut idle).await;
        assert!((LIMIT..LIMIT * 11 / 10).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waited_does_not_count() {
        let mut idle = Idle::new(LIMIT, None);
        tokio::time::sleep(LIMIT * 5).await;
        assert!(expired(&mut idle).await >= LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_holds_however_much_moves() {
        let mut idle = Idle::new(LIMIT, Some(Instant::now() + LIMIT * 2));
        for _ in 0..3 {
            wait(&mut idle, LIMIT / 2).await;
            idle.moved();
        }
        let waited = expired(&mut idle).await;
        assert!(waited < LIMIT * 6 / 10, "{waited:?}");
        assert!(idle.is_past_deadline());
    }
}
