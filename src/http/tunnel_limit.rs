//! How many tunnels may be open at once, over all worker threads.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The limit, and the tunnels that are open.
#[derive(Debug)]
pub struct TunnelLimit {
    max_tunnels: usize,
    open: AtomicUsize,
}

impl TunnelLimit {
    /// None are open; without `max_tunnels` there is no limit.
    pub fn new(max_tunnels: Option<NonZeroUsize>) -> Arc<Self> {
        Arc::new(Self {
            max_tunnels: max_tunnels.map_or(usize::MAX, NonZeroUsize::get),
            open: AtomicUsize::new(0),
        })
    }

    /// One more tunnel, unless the limit is reached.
    pub fn try_acquire(self: &Arc<Self>) -> Option<TunnelPermit> {
        let one_more = |open| (open < self.max_tunnels).then_some(open + 1);
        let counted = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.is_ok().then(|| TunnelPermit(Arc::clone(self)))
    }
}

/// One tunnel, until this is dropped.
#[derive(Debug)]
pub struct TunnelPermit(Arc<TunnelLimit>);

impl Drop for TunnelPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
