//! A sign that somebody puts up once and any number of others may wait for.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Down at first.
#[derive(Debug, Default)]
pub struct Sign {
    is_up: AtomicBool,
    notice: Notify,
}

impl Sign {
    /// Tells who waits, and who comes later.
    pub fn put_up(&self) {
        self.is_up.store(true, Ordering::SeqCst);
        self.notice.notify_waiters();
    }

    /// Who comes from now on waits again.
    pub fn take_down(&self) {
        self.is_up.store(false, Ordering::SeqCst);
    }

    /// Waits until it is up.
    pub async fn seen(&self) {
        let notice = self.notice.notified();
        // Registered first, looked at second: a sign put up in between is not missed.
        if !self.is_up.load(Ordering::SeqCst) {
            notice.await;
        }
    }
}
