//! Requests that wait for a replica: bounded over all threads, in order on each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::proxy_worker::AcquireSlot;
use crate::upstream::{Bell, Grant};

/// How many requests may wait for a replica, over all worker threads.
#[derive(Debug)]
pub struct WaitingRoom {
    taken: AtomicUsize,
    seats: usize,
}

impl WaitingRoom {
    /// A room with so many seats.
    pub fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            seats,
        })
    }
}

/// Why a request has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// No replica is ready that the request has not failed on.
    NoneReady,
    /// Every such replica has as many requests in flight as it may.
    AllBusy,
}

/// A place in the queue. Dropping it gives the place up.
#[derive(Debug)]
pub struct WaitingPlace {
    grant: oneshot::Receiver<Grant>,
    shortage: Shortage,
    _seat: Seat,
}

impl WaitingPlace {
    /// The grant, once a replica is ready; none if the balancer ends before.
    pub async fn grant(&mut self) -> Option<Grant> {
        (&mut self.grant).await.ok()
    }

    /// What it waits for.
    pub fn shortage(&self) -> Shortage {
        self.shortage
    }
}

#[derive(Debug)]
struct Seat {
    room: Arc<WaitingRoom>,
    bell: Arc<Bell>,
}

impl Seat {
    fn take(room: &Arc<WaitingRoom>, bell: &Arc<Bell>) -> Option<Self> {
        if room.taken.fetch_add(1, Ordering::Relaxed) >= room.seats {
            room.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        bell.wait();
        Some(Self {
            room: Arc::clone(room),
            bell: Arc::clone(bell),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.bell.leave();
        self.room.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Those who wait on one thread, the longest first.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<(AcquireSlot, oneshot::Sender<Grant>)>,
    room: Arc<WaitingRoom>,
    bell: Arc<Bell>,
}

impl Queue {
    /// Nobody waits. The bell says when a replica that was full has room.
    pub fn new(room: Arc<WaitingRoom>, bell: Arc<Bell>) -> Self {
        Self {
            waiting: VecDeque::new(),
            room,
            bell,
        }
    }

    /// A place at the end; none if too many wait already.
    pub fn join(&mut self, wanted: AcquireSlot, shortage: Shortage) -> Option<WaitingPlace> {
        let seat = Seat::take(&self.room, &self.bell)?;
        if self.waiting.len() >= self.room.seats {
            // Places that were given up are still in the queue.
            self.waiting.retain(|(_, place)| !place.is_closed());
        }
        if shortage == Shortage::AllBusy {
            self.bell.capacity().note_shortage();
        }
        let (place, grant) = oneshot::channel();
        self.waiting.push_back((wanted, place));
        Some(WaitingPlace {
            grant,
            shortage,
            _seat: seat,
        })
    }

    /// The bell was heard.
    pub fn heard(&self) {
        self.bell.heard();
    }

    /// Serves those who can be served, until so many in a row could not. They keep their
    /// places.
    pub fn serve(&mut self, most_misses: usize, grant: impl Fn(&AcquireSlot) -> Option<Grant>) {
        let mut place = 0;
        while place < most_misses {
            let Some((wanted, waiter)) = self.waiting.get(place) else {
                return;
            };
            if waiter.is_closed() {
                self.waiting.remove(place);
            } else if let Some(grant) = grant(wanted) {
                if let Some((_, waiter)) = self.waiting.remove(place) {
                    // Who has left in this moment drops the grant, which returns it.
                    drop(waiter.send(grant));
                }
            } else {
                place += 1;
            }
        }
    }
}
