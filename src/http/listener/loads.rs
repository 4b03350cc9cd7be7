//! How many connections each worker thread has, and which thread a new one goes to.
//!
//! A thread keeps what it accepts, unless another has clearly fewer. It counts a connection in
//! before it accepts it, so that no thread ever has more than it may.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

/// In a thread's count: it leaves, and takes nothing any more.
const LEAVING: usize = 1 << (usize::BITS - 1);

/// Threads may differ by this part of their connections: to hand one over costs a wake-up of
/// the other thread, and where connections come and go the counts never agree.
const SLACK: usize = 8;

/// The connections of all worker threads.
#[derive(Debug)]
pub struct Loads {
    /// So many connections a thread may have.
    max: usize,
    threads: Box<[Load]>,
}

/// On cache lines of its own: it is written to by its thread for every connection.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load(AtomicUsize);

impl Loads {
    /// None yet, on so many threads.
    pub fn new(threads: NonZeroUsize, max: usize) -> Self {
        Self {
            max,
            threads: (0..threads.get()).map(|_| Load::default()).collect(),
        }
    }

    /// Connections that are open, on all threads.
    pub fn open(&self) -> usize {
        (0..self.threads.len()).map(|thread| self.of(thread)).sum()
    }

    fn of(&self, thread: usize) -> usize {
        self.threads[thread].0.load(Ordering::Relaxed) & !LEAVING
    }

    /// Counts one more in; whether there was room.
    fn take(&self, thread: usize) -> bool {
        let one_more = |open| (open < self.max).then_some(open + 1);
        let count = &self.threads[thread].0;
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Counts one out.
    fn release(&self, thread: usize) {
        self.threads[thread].0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts one in that this thread has: on the one with the fewest, if that has clearly
    /// fewer.
    fn take_elsewhere(&self, thread: usize) -> Option<usize> {
        let open = self.of(thread);
        let others = (0..self.threads.len()).filter(|other| *other != thread);
        let fewest = others.min_by_key(|other| self.of(*other))?;
        let has_clearly_fewer = self.of(fewest) + 1 + open / SLACK < open;
        (has_clearly_fewer && self.take(fewest)).then_some(fewest)
    }
}

/// The connections of one worker thread.
pub struct ThreadPermits {
    loads: Arc<Loads>,
    thread: usize,
    /// Who waits for one of them to end.
    waiting: Cell<Option<Waker>>,
}

impl ThreadPermits {
    /// Those of this thread.
    pub fn of(loads: &Arc<Loads>, thread: usize) -> Rc<Self> {
        Rc::new(Self {
            loads: Arc::clone(loads),
            thread,
            waiting: Cell::default(),
        })
    }

    /// Connections that are open on this thread.
    pub fn open(&self) -> usize {
        self.loads.of(self.thread)
    }

    /// A permit for one more connection.
    pub fn take(self: &Rc<Self>) -> Option<ConnectionPermit> {
        self.loads.take(self.thread).then(|| self.taken())
    }

    /// A permit that another thread has taken, by [`ConnectionPermit::give`].
    pub fn taken(self: &Rc<Self>) -> ConnectionPermit {
        ConnectionPermit(Rc::clone(self))
    }

    /// A permit, as soon as there is one.
    pub fn poll_take(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<ConnectionPermit> {
        let Some(permit) = self.take() else {
            self.waiting.set(Some(cx.waker().clone()));
            return Poll::Pending;
        };
        Poll::Ready(permit)
    }

    /// Gives no permit away any more.
    pub fn close(&self) {
        let count = &self.loads.threads[self.thread].0;
        count.fetch_or(LEAVING, Ordering::Relaxed);
    }

    /// Whether every connection has ended.
    pub fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open() > 0 {
            self.waiting.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// One connection, until this is dropped.
pub struct ConnectionPermit(Rc<ThreadPermits>);

impl ConnectionPermit {
    /// Gives the permit up if another thread has clearly fewer connections: that thread, where a
    /// permit is taken.
    pub fn give(self) -> Result<usize, Self> {
        let permits = &self.0;
        permits.loads.take_elsewhere(permits.thread).ok_or(self)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.loads.release(self.0.thread);
        if let Some(waiting) = self.0.waiting.take() {
            waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn loads(max: usize, open: &[usize]) -> Arc<Loads> {
        let threads = NonZeroUsize::new(open.len()).unwrap();
        let loads = Loads::new(threads, max);
        for (thread, open) in open.iter().enumerate() {
            loads.threads[thread].0.store(*open, Ordering::Relaxed);
        }
        Arc::new(loads)
    }

    #[test]
    fn a_connection_goes_to_another_thread_if_that_has_clearly_fewer() {
        // What threads have, the new one at the first of them counted in.
        for (open, goes_to) in [
            (&[1][..], None),
            (&[1, 0], None),
            (&[2, 0], Some(1)),
            (&[2, 1], None),
            (&[3, 1], Some(1)),
            (&[1, 7], None),
            (&[4, 2, 1, 3], Some(2)),
            // Of many, a part is no difference.
            (&[27, 23], None),
            (&[28, 23], Some(1)),
            (&[800, 700], None),
            (&[802, 700], Some(1)),
        ] {
            let loads = loads(1_000, open);
            let permit = ThreadPermits::of(&loads, 0).taken();
            let before = loads.open();
            let given = permit.give();
            assert_eq!(given.as_ref().ok(), goes_to.as_ref(), "{open:?}");
            assert_eq!(loads.open(), before, "{open:?}");
        }
    }

    #[test]
    fn nothing_goes_to_a_thread_that_is_full_or_leaves() {
        let full = loads(2, &[2, 2]);
        let permits = ThreadPermits::of(&full, 0);
        assert!(permits.take().is_none());
        drop(permits.taken());
        assert!(permits.take().is_some());

        let leaving = loads(100, &[50, 0]);
        ThreadPermits::of(&leaving, 1).close();
        assert!(ThreadPermits::of(&leaving, 0).taken().give().is_err());
        assert!(ThreadPermits::of(&leaving, 1).take().is_none());
    }

    #[test]
    fn who_waits_is_woken_by_an_end() {
        let loads = loads(2, &[0, 2]);
        let permits = ThreadPermits::of(&loads, 0);
        let (first, second) = (permits.take().unwrap(), permits.take().unwrap());
        let counter = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&counter));
        let woken = || counter.0.load(Ordering::Relaxed);
        let mut cx = Context::from_waker(&waker);
        assert!(permits.poll_take(&mut cx).is_pending());
        drop(first);
        assert_eq!(woken(), 1);
        assert!(permits.poll_empty(&mut cx).is_pending());
        drop(second);
        assert_eq!(woken(), 2);
        assert!(permits.poll_empty(&mut cx).is_ready());
    }
}
