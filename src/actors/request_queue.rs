//! Requests that wait for a replica: bounded over all threads, in order on each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::upstream::{CapacityWaker, InFlightPermit};

/// How many requests may wait for a replica, over all worker threads.
#[derive(Debug)]
pub struct QueueLimit {
    waiting: AtomicUsize,
    max_waiting: usize,
    created: Instant,
    /// Until when requests are or were held, in milliseconds from `created`.
    held_until: AtomicU64,
}

impl QueueLimit {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A limit of `max_waiting` requests.
    pub fn new(max_waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            max_waiting,
            created: Instant::now(),
            held_until: AtomicU64::new(0),
        })
    }

    /// Notes until when requests are held: the time that each may wait begins then.
    pub fn note_held(&self, until: Instant) {
        let millis = until.saturating_duration_since(self.created).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.held_until.store(millis, Ordering::Relaxed);
    }
}

/// Why a request has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// No replica is ready that the request has not failed on.
    NoneReady,
    /// Every such replica has as many requests in flight as it may.
    AllBusy,
    /// The fleet is paused.
    Held,
}

/// An entry of the queue, as its request holds it. Dropping it leaves the queue.
#[derive(Debug)]
pub struct QueueEntry {
    grant: oneshot::Receiver<InFlightPermit>,
    unavailable: Unavailable,
    permit: QueuePermit,
}

impl QueueEntry {
    /// The grant, once a replica is available; none if the balancer ends before, or a maintenance
    /// begins.
    pub async fn grant(&mut self) -> Option<InFlightPermit> {
        (&mut self.grant).await.ok()
    }

    /// Until when requests are held; in the past, and arbitrary, if none has been lately.
    pub fn held_until(&self) -> Instant {
        let limit = &self.permit.limit;
        limit.created + Duration::from_millis(limit.held_until.load(Ordering::Relaxed))
    }

    /// Why the request waits.
    pub fn unavailable(&self) -> Unavailable {
        self.unavailable
    }
}

/// Counts one request that waits.
#[derive(Debug)]
struct QueuePermit {
    limit: Arc<QueueLimit>,
    waker: Arc<CapacityWaker>,
}

impl QueuePermit {
    fn try_acquire(limit: &Arc<QueueLimit>, waker: &Arc<CapacityWaker>) -> Option<Self> {
        if limit.waiting.fetch_add(1, Ordering::Relaxed) >= limit.max_waiting {
            limit.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        waker.wait();
        Some(Self {
            limit: Arc::clone(limit),
            waker: Arc::clone(waker),
        })
    }
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        self.waker.leave();
        self.limit.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The requests that wait on one thread, the oldest first; `R` is what a request asks for.
#[derive(Debug)]
pub struct RequestQueue<R> {
    waiting: VecDeque<(R, oneshot::Sender<InFlightPermit>)>,
    limit: Arc<QueueLimit>,
    waker: Arc<CapacityWaker>,
}

impl<R> RequestQueue<R> {
    /// An empty queue. The waker wakes it when a replica that was full has capacity again.
    pub fn new(limit: Arc<QueueLimit>, waker: Arc<CapacityWaker>) -> Self {
        Self {
            waiting: VecDeque::new(),
            limit,
            waker,
        }
    }

    /// Appends a request; none if the limit is reached.
    pub fn join(&mut self, wanted: R, unavailable: Unavailable) -> Option<QueueEntry> {
        let permit = QueuePermit::try_acquire(&self.limit, &self.waker)?;
        if self.waiting.len() >= self.limit.max_waiting {
            // Requests that have left are still in the queue.
            self.waiting.retain(|(_, waiter)| !waiter.is_closed());
        }
        if unavailable == Unavailable::AllBusy {
            self.waker.limit().note_shortage();
        }
        let (waiter, grant) = oneshot::channel();
        self.waiting.push_back((wanted, waiter));
        Some(QueueEntry {
            grant,
            unavailable,
            permit,
        })
    }

    /// How many entries it has, those included whose requests have left.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes until when requests are held.
    pub fn note_held(&self, until: Instant) {
        self.limit.note_held(until);
    }

    /// Sends away all that wait: none is given a grant.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The queue was woken.
    pub fn heard(&self) {
        self.waker.rearm();
    }

    /// Gives grants to waiting requests in order, until `max_misses` requests could not be given
    /// one. These keep their places.
    pub fn dispatch(&mut self, max_misses: usize, grant: impl Fn(&R) -> Option<InFlightPermit>) {
        let mut place = 0;
        while place < max_misses {
            let Some((wanted, waiter)) = self.waiting.get(place) else {
                return;
            };
            if waiter.is_closed() {
                self.waiting.remove(place);
            } else if let Some(grant) = grant(wanted) {
                if let Some((_, waiter)) = self.waiting.remove(place) {
                    // A request that leaves at this moment drops the grant, which returns it.
                    drop(waiter.send(grant));
                }
            } else {
                place += 1;
            }
        }
    }
}
