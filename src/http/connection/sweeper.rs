//! A worker thread's clock, and what looks at its connections with each tick: which have timed
//! out, which are to be looked after by their own tasks.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_web::http::header::HttpDate;
use slab::Slab;

use crate::access_log::AccessLog;
use crate::config::Limits;
use crate::http::connection::state::{ConnectionState, ThreadState};
use crate::http::connection::timeouts::in_short_supply;
use crate::http::drain::GracefulShutdown;
use crate::sys::malloc;
use crate::upstream::stats::{ConnectionCounters, ConnectionLabel};

/// As many connections as have ended since there were the most leave some 10 MiB of free memory
/// between what others use.
const WORTH_TRIMMING: usize = 640;

/// An IMF-fixdate (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub type Date = [u8; 29];

/// Looks at a worker thread's connections now and then.
///
/// One timer serves them all, and its last tick is everybody's clock: a request costs two
/// writes to memory. The price is that a client has up to a quarter more time.
pub struct ConnectionSweeper {
    thread: Rc<ThreadState>,
    /// From this many connections on they run short.
    high_watermark: usize,
    /// Each takes itself out when it ends: where many come and go, the memory of one is the
    /// next one's at once, while it is in the processor's cache.
    connections: RefCell<Slab<Weak<ConnectionState>>>,
    /// The most there were since memory was given back.
    peak: Cell<usize>,
}

impl ConnectionSweeper {
    /// Starts one on this thread, which ends when it is dropped, for at most this many
    /// connections.
    pub fn start(
        limits: Limits,
        max_connections: usize,
        shutdown: Arc<GracefulShutdown>,
        counters: Arc<ConnectionCounters>,
        access_log: Option<Rc<AccessLog>>,
    ) -> Rc<Self> {
        let thread = Rc::new(ThreadState {
            limits,
            now: Cell::new(Instant::now()),
            date: Cell::new(date(SystemTime::now())),
            is_over: Cell::new(false),
            shutdown,
            counters,
            access_log,
        });
        let sweeper = Rc::new(Self {
            thread,
            high_watermark: max_connections - max_connections / 8,
            connections: RefCell::default(),
            peak: Cell::new(0),
        });
        let sweeping = Rc::downgrade(&sweeper);
        let shortest = limits.header_timeout.min(limits.keep_alive_timeout);
        let interval = (shortest / 8).clamp(Duration::from_millis(5), Duration::from_millis(500));
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(sweeper) = sweeping.upgrade() else {
                    return;
                };
                // What began just after the last tick was given that tick's time.
                sweeper.sweep(Instant::now(), interval);
            }
        });
        sweeper
    }

    /// Opens a connection, and looks at it until what is returned is dropped.
    pub fn open(self: &Rc<Self>) -> OpenConnection {
        self.thread.counters.accept();
        let state = Rc::new(ConnectionState::open(&self.thread));
        let place = self.connections.borrow_mut().insert(Rc::downgrade(&state));
        OpenConnection {
            state,
            place,
            sweeper: Rc::clone(self),
        }
    }

    /// Ends all connections that wait for a request, now and from now on.
    pub fn end(&self) {
        self.thread.is_over.set(true);
        self.each(ConnectionState::wake);
    }

    /// Does it with each, and holds on to nothing meanwhile.
    fn each(&self, with: impl Fn(&ConnectionState)) {
        let places = self.connections.borrow().capacity();
        for place in 0..places {
            let connection = self.connections.borrow().get(place).and_then(Weak::upgrade);
            if let Some(connection) = connection {
                with(&connection);
            }
        }
    }

    fn sweep(&self, now: Instant, interval: Duration) {
        let thread = &self.thread;
        thread.now.set(now);
        thread.date.set(date(SystemTime::now()));
        let judged = now.checked_sub(interval).unwrap_or(now);
        let open = self.connections.borrow().len();
        self.give_back(open);
        let limits = if open >= self.high_watermark {
            in_short_supply(thread.limits)
        } else {
            thread.limits
        };
        let states: [Cell<u64>; ConnectionLabel::COUNT] = Default::default();
        self.each(|connection| {
            connection.sweep(judged, &limits);
            let state = &states[connection.label() as usize];
            state.set(state.get() + 1);
        });
        thread.counters.set_states(states.map(Cell::into_inner));
    }
}

impl ConnectionSweeper {
    /// Gives free memory back to the kernel after a rush, which would be seen for ever otherwise.
    fn give_back(&self, open: usize) {
        let peak = self.peak.get().max(open);
        let is_over = peak - open >= WORTH_TRIMMING;
        self.peak.set(if is_over { open } else { peak });
        if is_over {
            malloc::trim();
        }
    }
}

/// A connection that is looked at.
pub struct OpenConnection {
    state: Rc<ConnectionState>,
    place: usize,
    sweeper: Rc<ConnectionSweeper>,
}

impl Deref for OpenConnection {
    type Target = Rc<ConnectionState>;

    fn deref(&self) -> &Self::Target {
        &self.state
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.sweeper.connections.borrow_mut().try_remove(self.place);
    }
}

fn date(time: SystemTime) -> Date {
    let mut date = Date::default();
    // What does not fit is no date.
    let _ = write!(date.as_mut_slice(), "{}", HttpDate::from(time));
    date
}
