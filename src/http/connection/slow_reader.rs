//! A client that does not take its response at once: how fast it takes it after all.
//!
//! Nothing here is done for a client that keeps up. For one that does not, a worker thread's
//! sweep has the kernel asked every few seconds how much the client has taken.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::upstream::BodyRate;

/// From one look at what a client has taken to the next.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);

/// What is known of how fast a client takes its response.
#[derive(Debug)]
pub struct SlowReader {
    rate: BodyRate,
    /// When that was looked at last, and how many bytes it had taken.
    sampled: Option<(Instant, u64)>,
}

impl SlowReader {
    /// A client that is waited for, and has to take this many bytes a second.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self {
            rate: BodyRate::new(bytes_per_second),
            sampled: None,
        }
    }

    /// Whether it is time to look at what the client has taken.
    pub fn is_sample_due(&self, now: Instant) -> bool {
        self.sampled
            .is_none_or(|(at, _)| now.saturating_duration_since(at) >= SAMPLE_INTERVAL)
    }

    /// The client has taken this many bytes of its response; whether that is too slow.
    pub fn sample(&mut self, now: Instant, taken: u64) -> bool {
        let before = self.sampled.replace((now, taken));
        let Some((at, taken_before)) = before else {
            return false;
        };
        self.rate.moved(taken.saturating_sub(taken_before));
        self.rate.waited(now.saturating_duration_since(at));
        self.rate.is_too_slow()
    }

    /// Nothing is ready for the client: it is not waited for.
    pub fn caught_up(&mut self) {
        self.sampled = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a client is found too slow that takes this many bytes a second, in seconds.
    fn ends_after(bytes_per_second: u64) -> Option<u64> {
        let begun = Instant::now();
        let mut reader = SlowReader::new(NonZeroU64::new(500).unwrap());
        (0..1_000).find(|second| {
            let now = begun + Duration::from_secs(*second);
            reader.is_sample_due(now) && reader.sample(now, second * bytes_per_second)
        })
    }

    #[test]
    fn a_client_that_takes_less_than_the_minimum_is_too_slow() {
        assert_eq!(ends_after(0), Some(20));
        assert!(ends_after(100).is_some_and(|seconds| seconds > 20));
        assert_eq!(ends_after(500), None);
        assert_eq!(ends_after(1_000_000), None);
    }

    #[test]
    fn time_in_which_nothing_is_ready_does_not_count() {
        let begun = Instant::now();
        let mut reader = SlowReader::new(NonZeroU64::new(500).unwrap());
        for hour in 0..10 {
            let now = begun + Duration::from_secs(3600 * hour);
            assert!(!reader.sample(now, hour));
            assert!(!reader.sample(now + Duration::from_secs(1), hour));
            reader.caught_up();
        }
    }
}
