//! Counters that one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A counter. Only one thread writes, so a load and a store do what a locked addition would.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// Sets what is no sum, such as the size of something now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter for each of `N` labels.
#[derive(Debug)]
pub struct Counts<const N: usize>([Count; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Count::default()))
    }
}

impl<const N: usize> Counts<N> {
    /// Adds one to a counter.
    pub fn add_one(&self, index: usize) {
        if let Some(count) = self.0.get(index) {
            count.add(1);
        }
    }

    /// Every value, by index.
    pub fn values(&self) -> [u64; N] {
        std::array::from_fn(|index| self.0[index].get())
    }
}

/// The upper bounds of a histogram's buckets in seconds; one more has what is longer.
pub const BUCKET_BOUNDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// The same in nanoseconds.
const BUCKET_NANOS: [u64; 16] = {
    let mut nanos = [0; 16];
    let mut index = 0;
    while index < nanos.len() {
        // Exact: every bound is a whole number of microseconds.
        nanos[index] = (BUCKET_BOUNDS[index] * 1e6 + 0.5) as u64 * 1_000;
        index += 1;
    }
    nanos
};

/// How long things took, by the buckets of [`BUCKET_BOUNDS`].
#[derive(Debug, Default)]
pub struct DurationHistogram {
    buckets: Counts<17>,
    nanos: Count,
}

impl DurationHistogram {
    /// Counts one more.
    pub fn record(&self, duration: Duration) {
        // 584 years fit.
        let nanos = duration.as_nanos() as u64;
        let bucket = BUCKET_NANOS.iter().position(|bound| nanos <= *bound);
        self.buckets.add_one(bucket.unwrap_or(BUCKET_NANOS.len()));
        self.nanos.add(nanos);
    }

    /// What has been counted.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: self.buckets.values(),
            nanos: self.nanos.get(),
        }
    }
}

/// The values of a `DurationHistogram`, or of several, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// How many fell into each bucket alone; the last has what is beyond all bounds.
    pub buckets: [u64; 17],
    /// How long all took together.
    pub nanos: u64,
}

impl HistogramSnapshot {
    /// Adds another one to it.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += more;
        }
        self.nanos += other.nanos;
    }

    /// What has been counted since an earlier snapshot.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|index| {
                self.buckets[index].saturating_sub(before.buckets[index])
            }),
            nanos: self.nanos.saturating_sub(before.nanos),
        }
    }

    /// The duration in seconds that this part of all was not longer than, interpolated within its
    /// bucket as Prometheus' `histogram_quantile` does; none of nothing.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let all: u64 = self.buckets.iter().sum();
        let rank = part * all as f64;
        let (mut shorter, mut lower) = (0.0, 0.0);
        for (count, upper) in self.buckets.iter().zip(BUCKET_BOUNDS) {
            let count = *count as f64;
            if count > 0.0 && shorter + count >= rank {
                return Some(lower + (upper - lower) * (rank - shorter) / count);
            }
            (shorter, lower) = (shorter + count, upper);
        }
        (all > 0).then_some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_counts_in_the_first_bucket_that_holds_it() {
        let histogram = DurationHistogram::default();
        for nanos in [0, 500_000, 500_001, 60_000_000_000, 60_000_000_001] {
            histogram.record(Duration::from_nanos(nanos));
        }
        let counted = histogram.snapshot();
        assert_eq!(counted.buckets[..3], [2, 1, 0]);
        assert_eq!(counted.buckets[14..], [0, 1, 1]);
        assert_eq!(counted.nanos, 120_001_000_002);
    }

    #[test]
    fn quantile_lies_within_the_bucket_that_holds_it() {
        let histogram = DurationHistogram::default();
        assert_eq!(histogram.snapshot().quantile(0.5), None);
        for milliseconds in [700, 1, 1, 1] {
            histogram.record(Duration::from_millis(milliseconds));
        }
        let counted = histogram.snapshot();
        assert!((0.0005..=0.001).contains(&counted.quantile(0.5).unwrap()));
        assert!((0.5..=1.0).contains(&counted.quantile(0.99).unwrap()));
        histogram.record(Duration::from_secs(100));
        let grown = histogram.snapshot().since(&counted);
        assert_eq!(grown.buckets.iter().sum::<u64>(), 1);
        assert_eq!(grown.quantile(0.5), Some(60.0));
    }
}
