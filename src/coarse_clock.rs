//! A clock that every request can afford: a few nanoseconds a reading, some milliseconds coarse.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment, to the kernel's last tick (`CLOCK_MONOTONIC_COARSE`, clock_gettime(2)): 1 to 10 ms
/// coarse. For what people read, not for time-outs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoarseInstant(Duration);

impl CoarseInstant {
    /// The kernel's last tick.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::MonotonicCoarse);
        // The clock counts from the machine's start: neither part is negative.
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
        Self(Duration::new(seconds, nanos))
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_is_as_long_ago_as_the_exact_clock_says() {
        let exact = std::time::Instant::now();
        let coarse = CoarseInstant::now();
        let pause = Duration::from_millis(50);
        std::thread::sleep(pause);
        let coarse = coarse.elapsed();
        // A tick at either end.
        let ticks = Duration::from_millis(20);
        assert!(coarse + ticks >= pause && coarse <= exact.elapsed() + ticks);
    }
}
