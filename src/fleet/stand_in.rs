//! A stand-in: a spare that plays a replica for the time being, and when its relief is tried again.

use std::time::Duration;

use super::spares::pause_after;
use super::time::Time;

/// A spare that plays a replica until an instance of the owner's kind can.
#[derive(Debug, Clone, Copy)]
pub(super) struct StandIn {
    /// The instance that it is.
    pub generation: u64,
    /// Reliefs that failed in a row, and when the next one may be started.
    failures: u32,
    retry_at: Option<Time>,
}

impl StandIn {
    pub fn new(generation: u64) -> Self {
        Self {
            generation,
            failures: 0,
            retry_at: None,
        }
    }

    /// When its relief is tried again.
    pub fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    /// Whether a relief may be started now. What is due need not be woken for.
    pub fn is_due(&mut self, now: Time) -> bool {
        self.retry_at = self.retry_at.filter(|at| *at > now);
        self.retry_at.is_none()
    }

    /// A relief may be started at once.
    pub fn retry(&mut self) {
        self.retry_at = None;
    }

    /// A relief has failed. Returns the pause before the next one.
    pub fn failed(&mut self, now: Time) -> Duration {
        let pause = pause_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now.saturating_add(pause));
        pause
    }
}
