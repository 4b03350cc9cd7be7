//! Counters of the data path.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::RequestCounts;

/// One worker thread's counts, on cache lines of their own: only that thread writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ThreadCounters {
    requests: AtomicU64,
    retried: AtomicU64,
    retries_over_budget: AtomicU64,
    queued: AtomicU64,
    failed: AtomicU64,
    unavailable: AtomicU64,
    overloaded: AtomicU64,
}

impl ThreadCounters {
    /// A request has come in.
    pub fn request(&self) {
        add_one(&self.requests);
    }

    /// A request goes to another replica.
    pub fn retry(&self) {
        add_one(&self.retried);
    }

    /// A request is not sent again, because too many were.
    pub fn over_budget(&self) {
        add_one(&self.retries_over_budget);
    }

    /// A request waits for a replica.
    pub fn wait(&self) {
        add_one(&self.queued);
    }

    /// A request is refused because no replica is ready.
    pub fn unserved(&self) {
        add_one(&self.unavailable);
    }

    /// A request is refused because every replica is as busy as it may be.
    pub fn overloaded(&self) {
        add_one(&self.overloaded);
    }

    /// A request is answered with an error of ours.
    pub fn failure(&self) {
        add_one(&self.failed);
    }
}

/// Only one thread writes, so a load and a store do what a locked addition would.
fn add_one(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Every thread's counters.
#[derive(Debug, Default)]
pub struct Stats(Mutex<Vec<Arc<ThreadCounters>>>);

impl Stats {
    /// Counters for one more thread.
    pub fn counters(&self) -> Arc<ThreadCounters> {
        let counters = Arc::<ThreadCounters>::default();
        self.all().push(Arc::clone(&counters));
        counters
    }

    /// The sum over all threads.
    pub fn snapshot(&self) -> RequestCounts {
        let mut sum = RequestCounts::default();
        for counters in self.all().iter() {
            sum.requests += counters.requests.load(Ordering::Relaxed);
            sum.retried += counters.retried.load(Ordering::Relaxed);
            sum.retries_over_budget += counters.retries_over_budget.load(Ordering::Relaxed);
            sum.queued += counters.queued.load(Ordering::Relaxed);
            sum.failed += counters.failed.load(Ordering::Relaxed);
            sum.unavailable += counters.unavailable.load(Ordering::Relaxed);
            sum.overloaded += counters.overloaded.load(Ordering::Relaxed);
        }
        sum
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Arc<ThreadCounters>>> {
        // A panic elsewhere leaves a list of counters as good as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_threads_add_up() {
        let stats = Stats::default();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let counters = stats.counters();
                std::thread::spawn(move || {
                    for _ in 0..1_000 {
                        counters.request();
                    }
                    counters.retry();
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let expected = RequestCounts {
            requests: 3_000,
            retried: 3,
            ..RequestCounts::default()
        };
        assert_eq!(stats.snapshot(), expected);
    }
}
