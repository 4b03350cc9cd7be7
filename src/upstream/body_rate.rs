//! Whether a client moves a body fast enough, by the time in which it was waited for.
//!
//! Time costs credit, bytes earn it: what a client is ahead of the minimum rate it may pause for,
//! up to a limit, so that one which was fast at first does not drip on for hours.

use std::num::NonZeroU64;
use std::time::Duration;

/// How long a client is waited for before its rate counts.
const GRACE: Duration = Duration::from_secs(20);
/// The longest pause that a client can earn by being fast.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How far ahead of the minimum rate one body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRate {
    bytes_per_second: NonZeroU64,
    /// In bytes.
    credit: u64,
}

impl BodyRate {
    /// A body of which nothing has moved.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self {
            bytes_per_second,
            credit: GRACE.as_secs() * bytes_per_second.get(),
        }
    }

    /// The client was waited for.
    pub fn waited(&mut self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let due = milliseconds.saturating_mul(self.bytes_per_second.get()) / 1000;
        self.credit = self.credit.saturating_sub(due);
    }

    /// The client has sent or taken this many bytes.
    pub fn moved(&mut self, bytes: u64) {
        let most = MAX_PAUSE.as_secs() * self.bytes_per_second.get();
        self.credit = self.credit.saturating_add(bytes).min(most);
    }

    /// How much longer the client may move nothing.
    pub fn time_left(&self) -> Duration {
        let milliseconds = self.credit.saturating_mul(1000) / self.bytes_per_second;
        Duration::from_millis(milliseconds)
    }

    /// Whether the client has been too slow.
    pub fn is_too_slow(&self) -> bool {
        self.credit == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a body is found too slow, in seconds of waiting; each second this many bytes move.
    fn ends_after(first: u64, each_second: u64) -> Option<u64> {
        let mut rate = BodyRate::new(NonZeroU64::new(500).unwrap());
        rate.moved(first);
        (1..10_000).find(|_| {
            rate.waited(Duration::from_secs(1));
            let is_over = rate.is_too_slow();
            rate.moved(each_second);
            is_over
        })
    }

    #[test]
    fn too_slow_is_below_the_minimum_once_the_credit_is_spent() {
        for (first, each_second, expected) in [
            (0, 0, Some(20)),
            (0, 1, Some(21)),
            (0, 250, Some(39)),
            (0, 500, None),
            (0, 10_000, None),
            // A fast beginning earns pauses, up to a minute.
            (10_000, 0, Some(40)),
            (1_000_000_000, 0, Some(60)),
            (1_000_000_000, 1, Some(61)),
        ] {
            let ended = ends_after(first, each_second);
            assert_eq!(ended, expected, "{first}, then {each_second}");
        }
    }

    #[test]
    fn the_time_left_is_what_the_credit_pays_for() {
        let mut rate = BodyRate::new(NonZeroU64::new(500).unwrap());
        assert_eq!(rate.time_left(), GRACE);
        rate.waited(Duration::from_secs(5));
        rate.moved(500);
        assert_eq!(rate.time_left(), Duration::from_secs(16));
        rate.moved(u64::MAX);
        assert_eq!(rate.time_left(), MAX_PAUSE);
    }
}
