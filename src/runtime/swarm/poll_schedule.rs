//! When tasks and services are listed: there are no events of tasks (moby#37403), so they are listed again
//! and again, more often while something is suspect, and less often where there are many.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How often tasks are listed, and how often where there are many.
const INTERVAL: Duration = Duration::from_millis(250);
const SLOW_INTERVAL: Duration = Duration::from_secs(1);

/// How often where an instance is suspect, and for how long: the end of a task shows in the list 0.2 s after
/// the kernel has closed its connections.
const CLOSE_INTERVAL: Duration = Duration::from_millis(25);
const CLOSE_LOOK: Duration = Duration::from_secs(1);

/// Lists take at most a fifth of a balancer's time, and of a manager's for each balancer, however long one takes.
const PAUSE_PER_LIST: u32 = 4;

/// From how many tasks on there are many: a list of them takes 3 ms and has 156 KB.
const MANY_TASKS: usize = 100;

/// How often services are listed although nothing says that they have changed.
const SERVICES_INTERVAL: Duration = Duration::from_secs(5);

/// When the next lists are due.
pub(super) struct PollSchedule {
    look: Notify,
    interval: Cell<Duration>,
    /// How long the last list of tasks took.
    took: Cell<Duration>,
    closely_until: Cell<Option<Instant>>,
    services_changed: Cell<bool>,
    services_listed: Cell<Instant>,
}

impl Default for PollSchedule {
    fn default() -> Self {
        Self {
            look: Notify::new(),
            interval: Cell::new(INTERVAL),
            took: Cell::default(),
            closely_until: Cell::default(),
            services_changed: Cell::default(),
            services_listed: Cell::new(Instant::now()),
        }
    }
}

impl PollSchedule {
    /// Has the tasks listed at once.
    pub(super) fn look_now(&self) {
        self.look.notify_one();
    }

    /// Has the tasks listed at once, and often for a while.
    pub(super) fn look_closely(&self) {
        self.closely_until.set(Some(Instant::now() + CLOSE_LOOK));
        self.look_now();
    }

    /// Has the services listed with the next tasks.
    pub(super) fn services_changed(&self) {
        self.services_changed.set(true);
    }

    /// Waits until the tasks are due.
    pub(super) async fn tasks_are_due(&self) {
        let is_close = self
            .closely_until
            .get()
            .is_some_and(|until| until > Instant::now());
        let pause = match is_close {
            true => CLOSE_INTERVAL,
            false => self.interval.get(),
        };
        let least = (self.took.get() * PAUSE_PER_LIST).min(SLOW_INTERVAL);
        sleep(least).await;
        tokio::select! {
            () = sleep(pause.saturating_sub(least)) => {}
            () = self.look.notified() => {}
        }
    }

    /// Notes how many tasks there are, and how long it took to list them.
    pub(super) fn tasks_listed(&self, tasks: usize, took: Duration) {
        self.took.set(took);
        self.interval.set(match tasks {
            0..MANY_TASKS => INTERVAL,
            _ => SLOW_INTERVAL,
        });
    }

    /// Whether the services are due; then they count as listed.
    pub(super) fn take_services_due(&self) -> bool {
        let changed = self.services_changed.take();
        let is_due = changed || self.services_listed.get().elapsed() > SERVICES_INTERVAL;
        if is_due {
            self.services_listed.set(Instant::now());
        }
        is_due
    }
}
