//! How many requests an instance may have in flight, and whom to tell when a full one has
//! room again.
//!
//! Nobody can be missed: who waits has counted itself in before it looks for room the last
//! time, and who makes room has done so before it looks whether anybody waits.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The limit, and the bells of those who may wait for room.
#[derive(Debug)]
pub struct Capacity {
    most: u32,
    waiting: AtomicUsize,
    bells: Mutex<Vec<Arc<Bell>>>,
    created: Instant,
    /// When a request last began to wait because every instance was full, in milliseconds from
    /// then on.
    shortage_at: AtomicU64,
}

/// No request has waited.
const NEVER: u64 = u64::MAX;

impl Capacity {
    /// So many requests in flight on each instance; none: no limit.
    pub fn new(most: Option<NonZeroU32>) -> Arc<Self> {
        Arc::new(Self {
            most: most.map_or(u32::MAX, NonZeroU32::get),
            waiting: AtomicUsize::new(0),
            bells: Mutex::default(),
            created: Instant::now(),
            shortage_at: AtomicU64::new(NEVER),
        })
    }

    /// The most requests in flight on one instance.
    pub fn most(&self) -> u32 {
        self.most
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

    /// Whether a request has begun to wait for that since then.
    pub fn was_short_since(&self, time: Instant) -> bool {
        match self.shortage_at.load(Ordering::Relaxed) {
            NEVER => false,
            milliseconds => self.created + Duration::from_millis(milliseconds) >= time,
        }
    }

    /// A bell for somebody who will wait at times. `ring` is called from any thread.
    pub fn bell(self: &Arc<Self>, ring: impl Fn() + Send + Sync + 'static) -> Arc<Bell> {
        let bell = Arc::new(Bell {
            capacity: Arc::clone(self),
            waiting: AtomicUsize::new(0),
            rung: AtomicBool::new(false),
            ring: Box::new(ring),
        });
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.push(Arc::clone(&bell));
        bell
    }

    /// An instance that was full has room.
    pub fn freed(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in bells.iter() {
            let waits = bell.waiting.load(Ordering::SeqCst) > 0;
            if waits && !bell.rung.swap(true, Ordering::SeqCst) {
                (bell.ring)();
            }
        }
    }
}

/// Rings when there is room, if somebody waits for it.
pub struct Bell {
    capacity: Arc<Capacity>,
    waiting: AtomicUsize,
    /// Rung and not heard yet: one ring is enough.
    rung: AtomicBool,
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Bell {
    /// One more waits. To be called before it looks for room the last time.
    pub fn wait(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.capacity.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// One less waits.
    pub fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.capacity.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// The limit whose end it tells of.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// The bell was heard: it rings again from now on.
    pub fn heard(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_once_until_it_is_heard_and_only_for_those_who_wait() {
        let capacity = Capacity::new(NonZeroU32::new(1));
        let rings = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rings);
        let bell = capacity.bell(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let rung = |times: usize, story: &str| {
            assert_eq!(rings.load(Ordering::SeqCst), times, "{story}");
        };
        capacity.freed();
        rung(0, "nobody waits");
        bell.wait();
        capacity.freed();
        capacity.freed();
        rung(1, "not heard yet");
        bell.heard();
        capacity.freed();
        rung(2, "heard");
        bell.heard();
        bell.leave();
        capacity.freed();
        rung(2, "nobody waits any more");
    }
}
