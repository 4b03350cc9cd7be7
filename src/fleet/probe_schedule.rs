//! When an instance is probed, and how long its answer may take.
//!
//! With the interval `i`, the time-out `t` and `n` misses to a hang, an instance that
//! stops answering is found out after `i + t + (n - 1) * 250 ms` at the latest if it
//! used to answer quickly: a miss is followed by probes at [`FAST_INTERVAL`], not by another whole interval.

use std::time::Duration;

use super::health::HealthTracker;

/// The first pause between questions to a fresh instance. It grows by a quarter up to [`FAST_INTERVAL`], so that
/// an instance that is ready waits a quarter as long as it has taken to be, and no longer.
const FIRST_INTERVAL: Duration = Duration::from_millis(10);
/// From one question to the next while it matters: before an instance's first good
/// answer, after a miss, and while it hangs. (Not while it is unready: that may last.)
const FAST_INTERVAL: Duration = Duration::from_millis(250);
/// An instance in doubt may take this many times its recent latency.
const TIMEOUT_FACTOR: u32 = 4;

/// The schedule of one instance's heartbeats.
#[derive(Debug, Clone)]
pub struct ProbeSchedule {
    interval: Duration,
    timeout: Duration,
    /// How long its good answers lately took, at most.
    recent_latency: Duration,
    /// The pause while nothing is known of it.
    first: Duration,
}

impl ProbeSchedule {
    /// The schedule for an instance of which nothing is known.
    pub fn new(interval: Duration, timeout: Duration) -> Self {
        Self {
            interval,
            timeout,
            recent_latency: Duration::ZERO,
            first: FIRST_INTERVAL,
        }
    }

    /// How long the next answer may take.
    pub fn timeout(&self, tracker: &HealthTracker) -> Duration {
        // One that is off the ring already may take the time that it needs to say why.
        if tracker.is_up() && tracker.in_doubt() {
            // An instance that is always slow has not become unresponsive.
            FAST_INTERVAL
                .max(self.recent_latency * TIMEOUT_FACTOR)
                .min(self.timeout)
        } else {
            self.timeout
        }
    }

    /// From the last question to the next.
    pub fn pause(&mut self, tracker: &HealthTracker) -> Duration {
        let pause = if !tracker.was_up() {
            let pause = self.first;
            self.first = (pause * 5 / 4).min(FAST_INTERVAL);
            pause
        } else if tracker.in_doubt() && !tracker.is_unready() {
            FAST_INTERVAL
        } else {
            self.interval
        };
        pause.min(self.interval)
    }

    /// Notes how long an answer took, good or bad.
    pub fn record_latency(&mut self, took: Duration) {
        // The slowest, forgotten by a tenth an answer.
        self.recent_latency = took.max(self.recent_latency * 9 / 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::ProbeOutcome;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long a hang lasts until it is noticed if it begins right after a good answer.
    fn detection(
        interval: Duration,
        timeout: Duration,
        failures: u32,
        recent_latency: Duration,
    ) -> f64 {
        let mut tracker = HealthTracker::new(failures, 1);
        let mut schedule = ProbeSchedule::new(interval, timeout);
        tracker.record(ProbeOutcome::Good);
        schedule.record_latency(recent_latency);
        let mut now = schedule.pause(&tracker);
        loop {
            let asked_for = schedule.timeout(&tracker);
            if tracker.record(ProbeOutcome::Missed).is_some() {
                return (now + asked_for).as_secs_f64();
            }
            now += asked_for.max(schedule.pause(&tracker));
        }
    }

    #[test]
    fn a_hang_is_noticed_within_three_seconds_at_the_default_settings() {
        let quick = Duration::from_millis(5);
        assert_eq!(detection(SECOND, SECOND, 3, quick), 2.5);
        // Every three seconds: on average three seconds, a second and a half more at worst.
        assert_eq!(detection(3 * SECOND, SECOND, 3, quick), 4.5);
    }

    #[test]
    fn fast_probe_allows_for_the_latency_of_a_slow_instance() {
        let mut tracker = HealthTracker::new(3, 1);
        let mut schedule = ProbeSchedule::new(SECOND, SECOND);
        for took in [200, 20, 20] {
            tracker.record(ProbeOutcome::Good);
            schedule.record_latency(Duration::from_millis(took));
        }
        tracker.record(ProbeOutcome::Missed);
        let timeout = schedule.timeout(&tracker);
        assert!(timeout > Duration::from_millis(600), "{timeout:?}");
        assert!(timeout <= SECOND);
    }

    #[test]
    fn a_fresh_instance_is_asked_ever_less_often_and_a_well_one_at_the_interval() {
        let mut tracker = HealthTracker::new(3, 1);
        let mut schedule = ProbeSchedule::new(SECOND, SECOND);
        let mut pauses = Vec::new();
        for _ in 0..17 {
            tracker.record(ProbeOutcome::Missed);
            pauses.push(schedule.pause(&tracker).as_millis());
        }
        assert_eq!(pauses[..5], [10, 12, 15, 19, 24]);
        assert_eq!(pauses[14..], [227, 250, 250]);
        tracker.record(ProbeOutcome::Good);
        assert_eq!(schedule.pause(&tracker), SECOND);
        assert_eq!(schedule.timeout(&tracker), SECOND);
    }

    #[test]
    fn fast_interval_is_never_longer_than_the_configured_one() {
        let mut tracker = HealthTracker::new(3, 1);
        let mut schedule = ProbeSchedule::new(SECOND / 10, SECOND / 20);
        tracker.record(ProbeOutcome::Good);
        tracker.record(ProbeOutcome::Missed);
        assert_eq!(schedule.pause(&tracker), SECOND / 10);
        assert_eq!(schedule.timeout(&tracker), SECOND / 20);
    }
}
