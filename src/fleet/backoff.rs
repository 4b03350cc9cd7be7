//! How long to wait before a replica that died is started again.

use std::collections::VecDeque;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::lifecycle::Time;

/// A replica that was healthy for this long starts again with a clean slate.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// So many deaths within so long make a replica degraded.
const CRASH_LOOP: usize = 5;
const CRASH_LOOP_WITHIN: Duration = Duration::from_secs(300);
/// No wait is longer (before jitter).
const LONGEST: Duration = Duration::from_secs(60);

/// Exponential back-off with jitter: at once, then 1, 2, 4 ... 60 s, each +-25 %, so
/// that replicas which died together do not come back together.
///
/// A replica that dies five times within five minutes, never healthy for a minute in
/// between, is degraded: it is started once a minute, until it has been healthy for one.
///
/// The jitter is a hash of the replica's name and the number of deaths, so that a
/// history can be replayed to the letter.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    deaths_in_a_row: u32,
    /// When it died since it was last forgiven; as many as make it degraded.
    lately: VecDeque<Time>,
    degraded: bool,
}

impl Backoff {
    /// The wait after one more death; `healthy_for` is how long the replica had been
    /// ready before it.
    pub fn after_death(&mut self, replica: &str, healthy_for: Duration, now: Time) -> Duration {
        if healthy_for >= FORGIVEN_AFTER {
            self.forgive();
        }
        if self.lately.len() == CRASH_LOOP {
            self.lately.pop_front();
        }
        self.lately.push_back(now);
        let oldest = self
            .lately
            .front()
            .filter(|_| self.lately.len() == CRASH_LOOP);
        self.degraded |= oldest.is_some_and(|at| now.saturating_sub(*at) <= CRASH_LOOP_WITHIN);
        let deaths = self.deaths_in_a_row;
        self.deaths_in_a_row = deaths.saturating_add(1);
        let pause = match deaths {
            _ if self.degraded => LONGEST,
            0 => return Duration::ZERO,
            _ => Duration::from_secs(1u64 << (deaths - 1).min(6)).min(LONGEST),
        };
        let percent = 75 + xxh3_64_with_seed(replica.as_bytes(), u64::from(deaths)) % 51;
        pause * u32::try_from(percent).unwrap_or(100) / 100
    }

    /// The replica has been healthy for a minute. Whether it was degraded.
    pub fn forgive(&mut self) -> bool {
        self.deaths_in_a_row = 0;
        self.lately.clear();
        std::mem::take(&mut self.degraded)
    }

    /// Whether there is anything to forgive.
    pub fn has_record(&self) -> bool {
        self.deaths_in_a_row > 0 || self.degraded
    }

    /// Whether it dies so often that it is only started once a minute.
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// How often in a row the replica died without having been healthy in between.
    pub fn deaths_in_a_row(&self) -> u32 {
        self.deaths_in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RARELY: Duration = Duration::from_secs(100);

    /// The waits, in seconds, of a replica that dies so often, each `apart` from the last
    /// and never healthy.
    fn waits(deaths: u32, apart: Duration) -> Vec<f64> {
        let mut backoff = Backoff::default();
        let wait = |n| backoff.after_death("Server1", Duration::ZERO, apart * n);
        let waits = (0..deaths).map(wait);
        waits.map(|wait| wait.as_secs_f64()).collect()
    }

    fn assert_near(waits: &[f64], nominal: &[f64]) {
        assert_eq!(waits.len(), nominal.len());
        for (wait, nominal) in waits.iter().zip(nominal) {
            let near = nominal * 0.75..=nominal * 1.25;
            assert!(near.contains(wait), "{waits:?}");
        }
    }

    #[test]
    fn the_first_respawn_is_immediate_and_the_later_ones_double_up_to_a_minute() {
        assert_near(
            &waits(10, RARELY),
            &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0],
        );
    }

    #[test]
    fn five_deaths_within_five_minutes_make_starts_rare() {
        let minute = Duration::from_secs(60);
        assert_near(&waits(7, minute), &[0.0, 1.0, 2.0, 4.0, 60.0, 60.0, 60.0]);
        // A little slower, and it is no crash loop.
        let waits = waits(5, Duration::from_secs(76));
        assert_near(&waits, &[0.0, 1.0, 2.0, 4.0, 8.0]);
    }

    #[test]
    fn a_minute_of_health_wipes_the_slate() {
        let mut backoff = Backoff::default();
        let mut die = |healthy_for| {
            let healthy_for = Duration::from_secs(healthy_for);
            backoff.after_death("Server1", healthy_for, Duration::ZERO)
        };
        for _ in 0..5 {
            die(59);
        }
        assert_eq!(die(60), Duration::ZERO);
        assert!(die(0) > Duration::ZERO);
    }

    #[test]
    fn a_minute_of_health_ends_the_degradation() {
        let mut backoff = Backoff::default();
        let second = Duration::from_secs(1);
        for n in 0..5 {
            backoff.after_death("Server1", Duration::ZERO, second * n);
        }
        assert!(backoff.is_degraded() && backoff.has_record());
        assert!(backoff.forgive());
        assert!(!backoff.is_degraded() && !backoff.has_record());
        assert_eq!(backoff.deaths_in_a_row(), 0);
        let wait = backoff.after_death("Server1", FORGIVEN_AFTER, second * 120);
        assert_eq!(wait, Duration::ZERO);
    }

    #[test]
    fn replicas_that_die_together_come_back_apart() {
        let waits: std::collections::HashSet<Duration> = (0..10)
            .map(|i| {
                let mut backoff = Backoff::default();
                let name = format!("Server{i}");
                backoff.after_death(&name, Duration::ZERO, Duration::ZERO);
                backoff.after_death(&name, Duration::ZERO, Duration::ZERO)
            })
            .collect();
        assert!(waits.len() > 5, "{waits:?}");
    }
}
