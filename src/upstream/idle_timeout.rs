//! A time-out for a direction in which nothing moves.
//!
//! A timer exists only once something had to be waited for, and it is not set anew when
//! something moves: when it fires, it looks at when that was.

use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::BodyRate;

/// The idle time-out of one direction of one request.
#[derive(Debug)]
pub struct IdleTimeout {
    limit: Duration,
    /// Nothing may take longer than until then, whether it moves or not.
    deadline: Option<Instant>,
    /// How far ahead of its minimum rate the direction is.
    rate: Option<BodyRate>,
    armed: Option<Box<Armed>>,
}

/// What there is once something had to be waited for.
#[derive(Debug)]
struct Armed {
    moved: Instant,
    /// Since when something has been waited for, if it counts for the rate.
    waiting_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl IdleTimeout {
    /// Nothing may stand still for longer than `limit`, nor go on after `deadline`.
    pub fn new(limit: Duration, deadline: Option<Instant>) -> Self {
        Self {
            limit,
            deadline,
            rate: None,
            armed: None,
        }
    }

    /// From now on nothing may move more slowly than this, either.
    pub fn set_min_rate(&mut self, bytes_per_second: Option<NonZeroU64>) {
        self.rate = bytes_per_second.map(BodyRate::new);
    }

    /// Something has moved.
    pub fn reset(&mut self) {
        if let Some(armed) = &mut self.armed {
            armed.moved = Instant::now();
        }
    }

    /// This many bytes have moved, or the end has come.
    pub fn moved_by(&mut self, bytes: usize) {
        self.reset();
        let Some(rate) = &mut self.rate else {
            return;
        };
        if let Some(armed) = &mut self.armed
            && let Some(since) = armed.waiting_since.take()
        {
            rate.waited(armed.moved.saturating_duration_since(since));
        }
        rate.moved(bytes as u64);
    }

    /// Nothing has been waited for until now.
    pub fn restart(&mut self) {
        self.reset();
        if let Some(armed) = &mut self.armed {
            armed.waiting_since = None;
        }
    }

    /// Whether what is waited for comes more slowly than it may.
    pub fn is_too_slow(&self) -> bool {
        let since = self.armed.as_ref().and_then(|armed| armed.waiting_since);
        match (self.rate, since) {
            (Some(rate), Some(since)) => since + rate.time_left() <= Instant::now(),
            _ => false,
        }
    }

    /// Whether the time is over for something that moves all the while.
    pub fn is_past_deadline(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// To be polled while there is nothing to move: ready once that has been so for too long.
    pub fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (limit, deadline, rate) = (self.limit, self.deadline, self.rate);
        // What moves puts off both, so the timer is never set for too late a time.
        let end = |moved: Instant, waiting_since: Option<Instant>| {
            let idle = moved + limit;
            let end = deadline.map_or(idle, |deadline| deadline.min(idle));
            match (rate, waiting_since) {
                (Some(rate), Some(since)) => end.min(since + rate.time_left()),
                _ => end,
            }
        };
        let Armed {
            moved,
            waiting_since,
            timer,
        } = &mut **self.armed.get_or_insert_with(|| {
            let now = Instant::now();
            let waiting_since = rate.is_some().then_some(now);
            Box::new(Armed {
                moved: now,
                waiting_since,
                timer: Box::pin(sleep_until(end(now, waiting_since))),
            })
        });
        if rate.is_some() && waiting_since.is_none() {
            *waiting_since = Some(Instant::now());
        }
        while timer.as_mut().poll(cx).is_ready() {
            let end = end(*moved, *waiting_since);
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn expired(idle: &mut IdleTimeout) -> Duration {
        let begun = Instant::now();
        poll_fn(|cx| idle.poll_elapsed(cx)).await;
        begun.elapsed()
    }

    async fn wait(idle: &mut IdleTimeout, time: Duration) {
        let expired = tokio::time::timeout(time, poll_fn(|cx| idle.poll_elapsed(cx))).await;
        assert!(expired.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn time_out_elapses_when_nothing_moves() {
        let mut idle = IdleTimeout::new(LIMIT, None);
        wait(&mut idle, LIMIT * 9 / 10).await;
        idle.reset();
        let waited = expired(&mut idle).await;
        assert!((LIMIT..LIMIT * 11 / 10).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_body_elapses_and_one_that_waits_for_us_does_not() {
        let rate = NonZeroU64::new(500);
        let drip = async |bytes: usize| {
            let mut idle = IdleTimeout::new(LIMIT, None);
            idle.set_min_rate(rate);
            let begun = Instant::now();
            while begun.elapsed() < LIMIT * 60 {
                let second = Duration::from_secs(1);
                let expired = poll_fn(|cx| idle.poll_elapsed(cx));
                if tokio::time::timeout(second, expired).await.is_ok() {
                    assert!(idle.is_too_slow());
                    break;
                }
                idle.moved_by(bytes);
            }
            begun.elapsed().as_secs()
        };
        assert_eq!(drip(1).await, 20);
        assert_eq!(drip(250).await, 39);
        assert_eq!(drip(500).await, 600);

        let mut idle = IdleTimeout::new(LIMIT * 2, None);
        idle.set_min_rate(rate);
        for _ in 0..100 {
            wait(&mut idle, Duration::from_millis(1)).await;
            idle.moved_by(1);
            // The replica takes nothing meanwhile, so nothing is waited for.
            tokio::time::sleep(LIMIT).await;
        }
        assert!(!idle.is_too_slow());
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_a_waiter_does_not_count() {
        let mut idle = IdleTimeout::new(LIMIT, None);
        tokio::time::sleep(LIMIT * 5).await;
        assert!(expired(&mut idle).await >= LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_holds_however_much_moves() {
        let mut idle = IdleTimeout::new(LIMIT, Some(Instant::now() + LIMIT * 2));
        for _ in 0..3 {
            wait(&mut idle, LIMIT / 2).await;
            idle.reset();
        }
        let waited = expired(&mut idle).await;
        assert!(waited < LIMIT * 6 / 10, "{waited:?}");
        assert!(idle.is_past_deadline());
    }
}
