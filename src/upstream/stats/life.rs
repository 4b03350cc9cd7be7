//! What is counted of a replica's life: by the actors of the control thread, which alone write.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::count::{Count, Counts, DurationHistogram, HistogramSnapshot};
use super::labels::RestartCause;

/// Deaths, ejections and heartbeats of one replica.
#[derive(Debug, Default)]
pub struct LifeCounters {
    deaths: Counts<{ RestartCause::COUNT }>,
    ejections: Count,
    /// When it died, until it is ready again.
    died_at: Mutex<Option<Instant>>,
    replacements: DurationHistogram,
    heartbeats_good: Count,
    heartbeats_bad: Count,
    heartbeats_missed: Count,
    heartbeat_latency: DurationHistogram,
}

impl LifeCounters {
    /// Its instance has died, or is given up.
    pub fn died(&self, cause: RestartCause, now: Instant) {
        self.deaths.add_one(cause as usize);
        let mut died_at = self.died_at.lock().unwrap_or_else(PoisonError::into_inner);
        died_at.get_or_insert(now);
    }

    /// It is ready.
    pub fn ready(&self, now: Instant) {
        let mut died_at = self.died_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(died_at) = died_at.take() {
            self.replacements
                .record(now.saturating_duration_since(died_at));
        }
    }

    /// Its instance is ejected.
    pub fn ejected(&self) {
        self.ejections.add(1);
    }

    /// A heartbeat has been answered.
    pub fn heartbeat_answered(&self, is_good: bool, took: Duration) {
        match is_good {
            true => self.heartbeats_good.add(1),
            false => self.heartbeats_bad.add(1),
        }
        self.heartbeat_latency.record(took);
    }

    /// A heartbeat has not been answered.
    pub fn heartbeat_missed(&self) {
        self.heartbeats_missed.add(1);
    }

    /// Deaths by cause.
    pub fn deaths(&self) -> impl Iterator<Item = (RestartCause, u64)> {
        RestartCause::ALL.iter().copied().zip(self.deaths.values())
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.ejections.get()
    }

    /// How long it took until it was ready again after a death.
    pub fn replacements(&self) -> HistogramSnapshot {
        self.replacements.snapshot()
    }

    /// Heartbeats by outcome.
    pub fn heartbeats(&self) -> [(&'static str, u64); 3] {
        [
            ("good", self.heartbeats_good.get()),
            ("bad", self.heartbeats_bad.get()),
            ("missed", self.heartbeats_missed.get()),
        ]
    }

    /// How long answers to heartbeats took.
    pub fn heartbeat_latency(&self) -> HistogramSnapshot {
        self.heartbeat_latency.snapshot()
    }
}
