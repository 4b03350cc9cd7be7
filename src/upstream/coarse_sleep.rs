//! A coarse timer for what nearly never happens.
//!
//! A timer of tokio's is exact and costs a lock and an entry in a wheel, and the same again to
//! cancel it. Most requests are answered before their timer would fire. Here a wait costs an entry
//! in a list.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

/// The interval between two ticks of the clock, while there are waits.
pub const TICK: Duration = Duration::from_millis(125);

thread_local! {
    static CLOCK: Rc<Clock> = Rc::default();
}

#[derive(Default)]
struct Clock {
    now: Cell<u64>,
    waiting: RefCell<Slab<Waiting>>,
    runs: Cell<bool>,
}

struct Waiting {
    due: u64,
    waker: Waker,
}

/// Completes after between `count - 1` and `count` ticks.
pub struct CoarseSleep {
    clock: Rc<Clock>,
    count: u64,
    place: Option<usize>,
}

impl CoarseSleep {
    /// Nothing happens before it is polled.
    pub fn new(count: u64) -> Self {
        Self {
            clock: CLOCK.with(Rc::clone),
            count,
            place: None,
        }
    }
}

impl Future for CoarseSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.clock.now.get();
        if let Some(place) = self.place {
            let mut waiting = self.clock.waiting.borrow_mut();
            return match waiting.get_mut(place) {
                Some(waiting) if now < waiting.due => {
                    waiting.waker.clone_from(cx.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            };
        }
        let (due, waker) = (now + self.count, cx.waker().clone());
        let place = self
            .clock
            .waiting
            .borrow_mut()
            .insert(Waiting { due, waker });
        self.place = Some(place);
        if !self.clock.runs.replace(true) {
            actix_web::rt::spawn(run(Rc::clone(&self.clock)));
        }
        Poll::Pending
    }
}

impl Drop for CoarseSleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.clock.waiting.borrow_mut().try_remove(place);
        }
    }
}

/// CoarseSleep for as long as anybody has waited since the last tick.
async fn run(clock: Rc<Clock>) {
    // Also where the runtime ends before this does: the thread's next one is to have a clock.
    let running = Running(clock);
    let clock = &running.0;
    let mut last = false;
    loop {
        tokio::time::sleep(TICK).await;
        clock.now.set(clock.now.get() + 1);
        let waiting = clock.waiting.borrow();
        for (_, waiting) in waiting
            .iter()
            .filter(|(_, waiting)| waiting.due <= clock.now.get())
        {
            waiting.waker.wake_by_ref();
        }
        // Requests come one after the other: a pause between two is not the end.
        if std::mem::replace(&mut last, waiting.is_empty()) && last {
            return;
        }
    }
}

struct Running(Rc<Clock>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.runs.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[actix_web::test]
    async fn sleep_takes_its_ticks_also_after_the_clock_has_stopped() {
        for _ in 0..2 {
            let begun = Instant::now();
            CoarseSleep::new(2).await;
            assert!(begun.elapsed() >= TICK);
            // Until the clock stands still.
            while CLOCK.with(|clock| clock.runs.get()) {
                tokio::time::sleep(TICK / 10).await;
            }
        }
    }

    #[test]
    fn clock_runs_in_the_next_runtime_of_a_thread() {
        for _ in 0..2 {
            let system = actix_web::rt::System::new();
            system.block_on(CoarseSleep::new(1));
        }
    }

    #[actix_web::test]
    async fn dropped_sleep_leaves_no_entry() {
        for _ in 0..100 {
            let mut ticks = Box::pin(CoarseSleep::new(2));
            assert!(futures::poll!(&mut ticks).is_pending());
            assert!(futures::poll!(&mut ticks).is_pending());
        }
        CLOCK.with(|clock| assert!(clock.waiting.borrow().is_empty()));
    }
}
