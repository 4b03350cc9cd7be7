//! How far an instance has come in its slow start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fleet::{serves_slot, share_served};
use crate::ring::Slot;

/// An instance's slow start. Once it is over, asking costs one look at a flag.
#[derive(Debug)]
pub(super) struct Warmth {
    warm: AtomicBool,
    since: Instant,
    ramp: Duration,
}

impl Warmth {
    pub(super) fn new(ramp: Duration) -> Self {
        Self {
            warm: AtomicBool::new(ramp.is_zero()),
            since: Instant::now(),
            ramp,
        }
    }

    /// The share of its own slots that it serves.
    pub(super) fn share(&self) -> f64 {
        share_served(self.since.elapsed(), self.ramp)
    }

    /// Whether a slot of its own is left to the next in order for now.
    pub(super) fn hands_over(&self, slot: Slot) -> bool {
        if self.warm.load(Ordering::Relaxed) {
            return false;
        }
        let age = self.since.elapsed();
        if age >= self.ramp {
            self.warm.store(true, Ordering::Relaxed);
        }
        !serves_slot(slot.get(), age, self.ramp)
    }
}
