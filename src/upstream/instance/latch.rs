//! A condition that is set once, or again after a reset, and that any number of tasks wait for.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Not set at first.
#[derive(Debug, Default)]
pub struct Latch {
    is_set: AtomicBool,
    notify: Notify,
}

impl Latch {
    /// Wakes what waits; what waits later does not block.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// What waits from now on blocks again.
    pub fn reset(&self) {
        self.is_set.store(false, Ordering::SeqCst);
    }

    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Completes when it is set.
    pub async fn wait(&self) {
        let notified = self.notify.notified();
        // Registered before the check: a `set` in between is not missed.
        if !self.is_set() {
            notified.await;
        }
    }
}
