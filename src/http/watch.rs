//! Who looks at a worker thread's connections: which are late, which fall asleep.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant, SystemTime};

use actix_web::http::header::HttpDate;
use slab::Slab;

use super::connection::ClientConnection;
use super::patience::ClientTimes;
use crate::sys::malloc;

/// So many connections that fell asleep leave some 10 MiB.
const WORTH_GIVING_BACK: usize = 640;

/// An IMF-fixdate (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub type Date = [u8; 29];

/// Looks at a worker thread's connections now and then.
///
/// One timer serves them all, and its last tick is everybody's clock: a request costs two
/// writes to memory. The price is that a client has up to a quarter more time.
pub struct Watch {
    times: ClientTimes,
    /// So many connections are many.
    many: usize,
    now: Cell<Instant>,
    date: Cell<Date>,
    /// Each takes itself out when it ends: where many come and go, the memory of one is the
    /// next one's at once, while it is in the processor's cache.
    connections: RefCell<Slab<Weak<ClientConnection>>>,
    /// So many have fallen asleep since memory was given back.
    asleep: Cell<usize>,
    is_over: Cell<bool>,
}

impl Watch {
    /// Starts one on this thread, which ends when it is dropped, for at most so many
    /// connections.
    pub fn start(times: ClientTimes, most: usize) -> Rc<Self> {
        let watch = Rc::new(Self {
            times,
            many: most - most / 8,
            now: Cell::new(Instant::now()),
            date: Cell::new(date(SystemTime::now())),
            connections: RefCell::default(),
            asleep: Cell::new(0),
            is_over: Cell::new(false),
        });
        let watching = Rc::downgrade(&watch);
        let shortest = times.head.min(times.keep_alive);
        let interval = (shortest / 8).clamp(Duration::from_millis(5), Duration::from_millis(500));
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(watch) = watching.upgrade() else {
                    return;
                };
                // What began just after the last tick was given that tick's time.
                watch.look(Instant::now(), interval);
                watch.give_back();
            }
        });
        watch
    }

    /// How long clients may take.
    pub fn times(&self) -> &ClientTimes {
        &self.times
    }

    /// The time of the last tick.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// The date of the last tick.
    pub fn date(&self) -> Date {
        self.date.get()
    }

    /// Opens a connection that knows its place, and looks at it from now on.
    pub fn open(&self, connection: impl FnOnce(usize) -> ClientConnection) -> Rc<ClientConnection> {
        let mut connections = self.connections.borrow_mut();
        let place = connections.vacant_entry();
        let connection = Rc::new(connection(place.key()));
        place.insert(Rc::downgrade(&connection));
        connection
    }

    /// The connection in that place has ended.
    pub fn close(&self, place: usize) {
        self.connections.borrow_mut().try_remove(place);
    }

    /// A connection has fallen asleep.
    pub fn fell_asleep(&self) {
        self.asleep.set(self.asleep.get() + 1);
    }

    /// Whether nobody is to be waited for any more, because the server stops.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Ends all that wait for a request, now and from now on.
    pub fn end(&self) {
        self.is_over.set(true);
        self.each(|connection| connection.wake());
    }

    /// Does it with each, and holds on to nothing meanwhile.
    fn each(&self, with: impl Fn(&ClientConnection)) {
        let places = self.connections.borrow().capacity();
        for place in 0..places {
            let connection = self.connections.borrow().get(place).and_then(Weak::upgrade);
            if let Some(connection) = connection {
                with(&connection);
            }
        }
    }

    fn look(&self, now: Instant, interval: Duration) {
        self.now.set(now);
        self.date.set(date(SystemTime::now()));
        let judged = now.checked_sub(interval).unwrap_or(now);
        let times = if self.connections.borrow().len() >= self.many {
            self.times.in_short_supply()
        } else {
            self.times
        };
        self.each(|connection| connection.look(judged, &times));
    }

    /// What actix has had for connections that are asleep now stays with the allocator,
    /// between other things.
    fn give_back(&self) {
        if self.asleep.get() >= WORTH_GIVING_BACK {
            self.asleep.set(0);
            malloc::trim();
        }
    }
}

fn date(time: SystemTime) -> Date {
    let mut date = Date::default();
    // What does not fit is no date.
    let _ = write!(date.as_mut_slice(), "{}", HttpDate::from(time));
    date
}
