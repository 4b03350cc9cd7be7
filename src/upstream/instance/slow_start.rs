//! How far an instance has come in its slow start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fleet::{serves_slot, share_served};
use crate::ring::Slot;

/// An instance's slow start. Once it is over, a query reads one flag.
#[derive(Debug)]
pub(super) struct SlowStart {
    is_over: AtomicBool,
    since: Instant,
    ramp: Duration,
}

impl SlowStart {
    pub(super) fn new(ramp: Duration) -> Self {
        Self {
            is_over: AtomicBool::new(ramp.is_zero()),
            since: Instant::now(),
            ramp,
        }
    }

    /// The share of its own slots that the instance serves.
    pub(super) fn share(&self) -> f64 {
        share_served(self.since.elapsed(), self.ramp)
    }

    /// Whether a slot of its own is left to the next replica in order for now.
    pub(super) fn defers_slot(&self, slot: Slot) -> bool {
        if self.is_over.load(Ordering::Relaxed) {
            return false;
        }
        let age = self.since.elapsed();
        if age >= self.ramp {
            self.is_over.store(true, Ordering::Relaxed);
        }
        !serves_slot(slot.get(), age, self.ramp)
    }
}
