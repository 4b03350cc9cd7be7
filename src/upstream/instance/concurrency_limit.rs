//! How many requests an instance may have in flight, and who is woken when a full one has
//! capacity again.
//!
//! No lost wake-ups: a waiter registers before its final check for capacity; a releaser frees
//! capacity before it checks for waiters.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The limit, and the wakers of the threads whose requests may wait for capacity.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    max_in_flight: u32,
    waiting: AtomicUsize,
    wakers: Mutex<Vec<Arc<CapacityWaker>>>,
    created: Instant,
    /// When a request last began to wait because every instance was full, in milliseconds from
    /// then on.
    shortage_at: AtomicU64,
}

/// No request has waited.
const NEVER: u64 = u64::MAX;

impl ConcurrencyLimit {
    /// At most this many requests in flight at each instance; `None`: no limit.
    pub fn new(max_in_flight: Option<NonZeroU32>) -> Arc<Self> {
        Arc::new(Self {
            max_in_flight: max_in_flight.map_or(u32::MAX, NonZeroU32::get),
            waiting: AtomicUsize::new(0),
            wakers: Mutex::default(),
            created: Instant::now(),
            shortage_at: AtomicU64::new(NEVER),
        })
    }

    /// The most requests in flight at one instance.
    pub fn max_in_flight(&self) -> u32 {
        self.max_in_flight
    }

    /// Whether a request waits, for whatever reason.
    pub fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// A request begins to wait because every instance is full.
    pub fn note_shortage(&self) {
        let milliseconds = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shortage_at.store(milliseconds, Ordering::Relaxed);
    }

    /// Whether a request has begun to wait for that since `time`.
    pub fn was_short_since(&self, time: Instant) -> bool {
        match self.shortage_at.load(Ordering::Relaxed) {
            NEVER => false,
            milliseconds => self.created + Duration::from_millis(milliseconds) >= time,
        }
    }

    /// A waker for a queue of requests. `wake` is called from any thread.
    pub fn waker(self: &Arc<Self>, wake: impl Fn() + Send + Sync + 'static) -> Arc<CapacityWaker> {
        let waker = Arc::new(CapacityWaker {
            limit: Arc::clone(self),
            waiting: AtomicUsize::new(0),
            pending: AtomicBool::new(false),
            wake: Box::new(wake),
        });
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.push(Arc::clone(&waker));
        waker
    }

    /// An instance that was full has capacity.
    pub fn freed(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        for waker in wakers.iter() {
            let waits = waker.waiting.load(Ordering::SeqCst) > 0;
            if waits && !waker.pending.swap(true, Ordering::SeqCst) {
                (waker.wake)();
            }
        }
    }
}

/// Wakes a queue when there is capacity, if a request waits in it.
pub struct CapacityWaker {
    limit: Arc<ConcurrencyLimit>,
    waiting: AtomicUsize,
    /// Woken and not armed again yet: waking once is enough.
    pending: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl CapacityWaker {
    /// One more request waits. To be called before its final check for capacity.
    pub fn wait(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.limit.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// One request less waits.
    pub fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.limit.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// The limit that it belongs to.
    pub fn limit(&self) -> &ConcurrencyLimit {
        &self.limit
    }

    /// The queue was woken, and is to be woken again from now on.
    pub fn rearm(&self) {
        self.pending.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for CapacityWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapacityWaker")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_is_woken_once_until_it_rearms_and_only_if_a_request_waits() {
        let limit = ConcurrencyLimit::new(NonZeroU32::new(1));
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&wakes);
        let waker = limit.waker(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let woken = |times: usize, story: &str| {
            assert_eq!(wakes.load(Ordering::SeqCst), times, "{story}");
        };
        limit.freed();
        woken(0, "no request waits");
        waker.wait();
        limit.freed();
        limit.freed();
        woken(1, "not armed again yet");
        waker.rearm();
        limit.freed();
        woken(2, "armed again");
        waker.rearm();
        waker.leave();
        limit.freed();
        woken(2, "no request waits any more");
    }
}
