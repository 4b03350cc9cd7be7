//! How long to wait before a replica that died is started again.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::time::Time;
use crate::human::duration;

/// The back-off of a replica that was healthy for this long is reset.
pub const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(60);

/// How many deaths within what time make a replica degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartLimit {
    /// This many deaths, 1 at least.
    pub deaths: u32,
    /// All of them within this time.
    pub window: Duration,
}

impl Default for RestartLimit {
    fn default() -> Self {
        Self {
            deaths: 5,
            window: Duration::from_secs(300),
        }
    }
}

impl fmt::Display for RestartLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deaths {
            1 => f.write_str("once")?,
            deaths => write!(f, "{deaths} times or more")?,
        }
        match (self.window.as_secs(), self.window.subsec_nanos()) {
            (60, 0) => f.write_str(" within a minute"),
            (seconds, 0) if seconds % 60 == 0 => write!(f, " within {} minutes", seconds / 60),
            _ => write!(f, " within {}", duration(self.window)),
        }
    }
}

/// The longest wait, before jitter.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Exponential back-off with jitter: at once, then 1, 2, 4 ... 60 s, each +-25 %, so
/// that replicas which died together do not come back together.
///
/// A replica that dies as often as [`RestartLimit`] says, never healthy for a minute in
/// between, is degraded: it is started once a minute, until it has been healthy for one.
///
/// The jitter is a hash of the replica's name and the number of deaths, so that a
/// history can be replayed to the letter.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    consecutive_deaths: u32,
    /// When it died since the back-off was reset; the last ones, as many as make it degraded.
    recent_deaths: VecDeque<Time>,
    degraded: bool,
}

impl Backoff {
    /// The wait after one more death; `healthy_for` is how long the replica had been
    /// ready before it.
    pub fn after_death(
        &mut self,
        replica: &str,
        healthy_for: Duration,
        now: Time,
        limit: RestartLimit,
    ) -> Duration {
        if healthy_for >= BACKOFF_RESET_AFTER {
            self.reset();
        }
        let most = usize::try_from(limit.deaths).unwrap_or(usize::MAX).max(1);
        while self.recent_deaths.len() >= most {
            self.recent_deaths.pop_front();
        }
        self.recent_deaths.push_back(now);
        let oldest = self
            .recent_deaths
            .front()
            .filter(|_| self.recent_deaths.len() == most);
        self.degraded |= oldest.is_some_and(|at| now.saturating_sub(*at) <= limit.window);
        let deaths = self.consecutive_deaths;
        self.consecutive_deaths = deaths.saturating_add(1);
        let pause = match deaths {
            _ if self.degraded => MAX_PAUSE,
            0 => return Duration::ZERO,
            _ => Duration::from_secs(1u64 << (deaths - 1).min(6)).min(MAX_PAUSE),
        };
        let percent = 75 + xxh3_64_with_seed(replica.as_bytes(), u64::from(deaths)) % 51;
        pause * u32::try_from(percent).unwrap_or(100) / 100
    }

    /// The replica has been healthy for a minute. Whether it was degraded.
    pub fn reset(&mut self) -> bool {
        self.consecutive_deaths = 0;
        self.recent_deaths.clear();
        std::mem::take(&mut self.degraded)
    }

    /// Whether there is anything to reset.
    pub fn has_record(&self) -> bool {
        self.consecutive_deaths > 0 || self.degraded
    }

    /// Whether it is degraded, and started once a minute only.
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// How often in a row the replica died without having been healthy in between.
    pub fn consecutive_deaths(&self) -> u32 {
        self.consecutive_deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RestartLimit = RestartLimit {
        deaths: 5,
        window: Duration::from_secs(300),
    };
    const RARELY: Duration = Duration::from_secs(100);

    /// The waits, in seconds, of a replica that dies `deaths` times, each `apart` from the last
    /// and never healthy.
    fn waits(deaths: u32, apart: Duration) -> Vec<f64> {
        let mut backoff = Backoff::default();
        let wait = |n| backoff.after_death("Server1", Duration::ZERO, apart * n, LIMIT);
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
            backoff.after_death("Server1", healthy_for, Duration::ZERO, LIMIT)
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
            backoff.after_death("Server1", Duration::ZERO, second * n, LIMIT);
        }
        assert!(backoff.is_degraded() && backoff.has_record());
        assert!(backoff.reset());
        assert!(!backoff.is_degraded() && !backoff.has_record());
        assert_eq!(backoff.consecutive_deaths(), 0);
        let wait = backoff.after_death("Server1", BACKOFF_RESET_AFTER, second * 120, LIMIT);
        assert_eq!(wait, Duration::ZERO);
    }

    #[test]
    fn replicas_that_die_together_come_back_apart() {
        let waits: std::collections::HashSet<Duration> = (0..10)
            .map(|i| {
                let mut backoff = Backoff::default();
                let name = format!("Server{i}");
                backoff.after_death(&name, Duration::ZERO, Duration::ZERO, LIMIT);
                backoff.after_death(&name, Duration::ZERO, Duration::ZERO, LIMIT)
            })
            .collect();
        assert!(waits.len() > 5, "{waits:?}");
    }

    #[test]
    fn the_limit_can_be_set() {
        let second = Duration::from_secs(1);
        for (deaths, window, degraded_at) in [(1, 1, 1), (2, 10, 2), (8, 300, 8), (3, 1, 0)] {
            let limit = RestartLimit {
                deaths,
                window: second * window,
            };
            let mut backoff = Backoff::default();
            let first = (1..=10).find(|n| {
                backoff.after_death("Server1", Duration::ZERO, second * *n, limit);
                backoff.is_degraded()
            });
            assert_eq!(first.unwrap_or(0), degraded_at, "{limit:?}");
        }
        for (deaths, window, text) in [
            (5, second * 300, "5 times or more within 5 minutes"),
            (2, second * 60, "2 times or more within a minute"),
            (1, second * 90, "once within 90 s"),
            (1, second * 60 + second / 2, "once within 60.5 s"),
        ] {
            assert_eq!(RestartLimit { deaths, window }.to_string(), text);
        }
    }
}
