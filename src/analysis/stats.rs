//! The few statistics that the experiments need.

use std::time::Duration;

use serde::Serialize;

/// How evenly requests are spread over replicas.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// Requests per replica: all of them by the number of replicas.
    pub mean: f64,
    /// Those of the least busy replica.
    pub min: u64,
    /// Those of the busiest.
    pub max: u64,
    /// The standard deviation around the mean, over these replicas (not a sample of them).
    pub standard_deviation: f64,
    /// The busiest replica's requests by the mean; 1 is perfect, N the worst.
    pub peak_to_mean: f64,
    /// The standard deviation that random ids give a perfectly fair balancer: what chance
    /// alone does, so that nobody takes it for the balancer's doing.
    pub chance: f64,
}

impl Spread {
    /// The spread of these counts, one for each replica, idle ones included.
    pub fn of(counts: impl IntoIterator<Item = u64>) -> Self {
        let counts: Vec<u64> = counts.into_iter().collect();
        let replicas = counts.len().max(1) as f64;
        let total = counts.iter().sum::<u64>() as f64;
        let mean = total / replicas;
        let variance = counts
            .iter()
            .map(|&count| (count as f64 - mean).powi(2))
            .sum::<f64>()
            / replicas;
        let max = counts.iter().copied().max().unwrap_or(0);
        Self {
            mean,
            min: counts.iter().copied().min().unwrap_or(0),
            max,
            standard_deviation: variance.sqrt(),
            peak_to_mean: if total > 0.0 { max as f64 / mean } else { 1.0 },
            // Each count is binomial: total draws, each a hit with probability 1/N.
            chance: (total * (1.0 / replicas) * (1.0 - 1.0 / replicas)).sqrt(),
        }
    }
}

/// How long answers took, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them were faster.
    pub p50_ms: f64,
    /// 99 of a hundred were faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Latency {
    /// Of these times; none at all without one.
    pub fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let at = |share: f64| {
            let place = ((times.len() as f64 * share) as usize).min(times.len().checked_sub(1)?);
            Some(milliseconds(times[place]))
        };
        Some(Self {
            p50_ms: at(0.50)?,
            p99_ms: at(0.99)?,
            max_ms: at(1.0)?,
        })
    }
}

/// A time in milliseconds, to the microsecond.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_the_originals_claim() {
        let spread = Spread::of([3_342, 3_317, 3_341]);
        assert_eq!((spread.min, spread.max), (3_317, 3_342));
        assert!((spread.mean - 3_333.33).abs() < 0.01);
        assert!((spread.standard_deviation - 11.56).abs() < 0.01);
        assert!((spread.peak_to_mean - 1.0026).abs() < 0.0001);
        assert!((spread.chance - 47.14).abs() < 0.01);
    }

    #[test]
    fn nothing_at_all_is_even() {
        for counts in [&[][..], &[0, 0]] {
            let spread = Spread::of(counts.iter().copied());
            assert_eq!((spread.mean, spread.peak_to_mean), (0.0, 1.0));
        }
    }

    #[test]
    fn one_replica_with_everything_is_the_worst() {
        assert_eq!(Spread::of([0, 9, 0]).peak_to_mean, 3.0);
    }

    #[test]
    fn percentiles_are_times_that_occurred() {
        let times = (1..=100).map(Duration::from_millis).collect();
        let latency = Latency::of(times).unwrap();
        assert_eq!(
            (latency.p50_ms, latency.p99_ms, latency.max_ms),
            (51.0, 100.0, 100.0)
        );
        assert_eq!(Latency::of(Vec::new()), None);
    }
}
