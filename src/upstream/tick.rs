//! A coarse clock for what nearly never comes to pass.
//!
//! A timer of tokio's is exact and costs a lock and a place in a wheel, and the same again to
//! take it back. Most requests are answered before anybody would look at their timer. Here
//! waiting costs a place in a list.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

/// The clock ticks so often, while anybody waits.
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

/// Waits for so many ticks: for one tick's time less than so many, or up to as many.
pub struct Ticks {
    clock: Rc<Clock>,
    count: u64,
    place: Option<usize>,
}

impl Ticks {
    /// Nothing happens before it is polled.
    pub fn new(count: u64) -> Self {
        Self {
            clock: CLOCK.with(Rc::clone),
            count,
            place: None,
        }
    }
}

impl Future for Ticks {
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

impl Drop for Ticks {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.clock.waiting.borrow_mut().try_remove(place);
        }
    }
}

/// Ticks for as long as anybody has waited since the last tick.
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
    async fn it_waits_for_so_many_ticks_also_after_a_rest() {
        for _ in 0..2 {
            let begun = Instant::now();
            Ticks::new(2).await;
            assert!(begun.elapsed() >= TICK);
            // Until the clock stands still.
            while CLOCK.with(|clock| clock.runs.get()) {
                tokio::time::sleep(TICK / 10).await;
            }
        }
    }

    #[test]
    fn a_thread_s_next_runtime_has_a_clock_too() {
        for _ in 0..2 {
            let system = actix_web::rt::System::new();
            system.block_on(Ticks::new(1));
        }
    }

    #[actix_web::test]
    async fn who_waits_no_longer_leaves_nothing_behind() {
        for _ in 0..100 {
            let mut ticks = Box::pin(Ticks::new(2));
            assert!(futures::poll!(&mut ticks).is_pending());
            assert!(futures::poll!(&mut ticks).is_pending());
        }
        CLOCK.with(|clock| assert!(clock.waiting.borrow().is_empty()));
    }
}
