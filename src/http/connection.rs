//! What is known of a client's connection, for as long as it is open, and who watches it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use log::debug;

use super::departure::Departure;
use super::patience::{ClientTimes, Late, Patience};

/// One connection of a client.
pub struct ClientConnection {
    /// A request on it was refused, so that no other is answered.
    refused: Cell<bool>,
    patience: Patience,
    late: Cell<Option<Late>>,
    /// Something has come since the last request was begun.
    has_more: Cell<bool>,
    /// The request that was begun last waits for a replica.
    is_waiting: Cell<bool>,
    /// Its reader has been told to come back later.
    is_unread: Cell<bool>,
    /// Who reads from it.
    reader: RefCell<Option<Waker>>,
    watch: Rc<Watch>,
    departure: Arc<Departure>,
}

impl ClientConnection {
    /// A connection that has just been accepted.
    pub fn open(watch: &Rc<Watch>, departure: &Arc<Departure>) -> Rc<Self> {
        departure.opened();
        let connection = Rc::new(Self {
            refused: Cell::new(false),
            patience: Patience::new(watch.now.get()),
            late: Cell::new(None),
            has_more: Cell::new(false),
            is_waiting: Cell::new(false),
            is_unread: Cell::new(false),
            reader: RefCell::new(None),
            watch: Rc::clone(watch),
            departure: Arc::clone(departure),
        });
        let watched = Rc::downgrade(&connection);
        watch.connections.borrow_mut().push(watched);
        connection
    }

    /// What is known of the connection that a request came on.
    pub fn of(request: &HttpRequest) -> Option<&Rc<Self>> {
        request.conn_data()
    }

    /// A request has come; it is in hand until what is returned, and all that
    /// [`hold`](Self::hold) returns, is dropped.
    pub fn begin(self: &Rc<Self>, request: &HttpRequest) -> InHand {
        let fields = request.headers();
        let has_body =
            fields.contains_key(CONTENT_LENGTH) || fields.contains_key(TRANSFER_ENCODING);
        self.has_more.set(false);
        self.patience.begin(has_body);
        InHand(Rc::clone(self))
    }

    /// Keeps the request that was begun in hand: for the body of its response.
    pub fn hold(self: &Rc<Self>) -> InHand {
        self.patience.hold();
        InHand(Rc::clone(self))
    }

    /// The request that was begun waits for a replica until what is returned is dropped:
    /// what its client goes on sending is left to the kernel meanwhile.
    pub fn wait(self: &Rc<Self>) -> Waiting {
        self.is_waiting.set(true);
        Waiting(Rc::clone(self))
    }

    /// How much of what the client says its reader is to read now.
    pub fn appetite(&self) -> Appetite {
        if self.is_waiting.get() && self.has_more.get() {
            self.is_unread.set(true);
            Appetite::Nothing
        } else if self.patience.is_busy() {
            Appetite::All
        } else {
            Appetite::ABit
        }
    }

    /// Remembers that a request was refused.
    pub fn refuse(&self) {
        self.refused.set(true);
    }

    /// Whether an earlier request was refused.
    pub fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Whether the connection is to end with the answer, because the balancer leaves.
    pub fn is_last_call(&self) -> bool {
        self.departure.has_begun()
    }

    /// Bytes have come.
    pub fn heard(&self) {
        self.has_more.set(true);
        self.patience.heard(self.watch.now.get());
    }

    /// Whether nothing more is to be read, because it took too long.
    pub fn late(&self) -> Option<Late> {
        self.late.get()
    }

    /// Wakes this one when the client is late.
    pub fn awaited_by(&self, reader: &Waker) {
        match &mut *self.reader.borrow_mut() {
            Some(waker) => waker.clone_from(reader),
            none => *none = Some(reader.clone()),
        }
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// `false` once nobody need look at it any more.
    fn look(&self, now: Instant) -> bool {
        let Some(late) = self.patience.late(now, &self.watch.times) else {
            return true;
        };
        self.late.set(Some(late));
        self.wake();
        debug!("a client took too long for the head of its request");
        false
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.departure.closed();
    }
}

/// A request that is in hand.
pub struct InHand(Rc<ClientConnection>);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.patience.release(self.0.watch.now.get());
    }
}

/// A request that waits for a replica.
pub struct Waiting(Rc<ClientConnection>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.is_waiting.set(false);
        if self.0.is_unread.take() {
            self.0.wake();
        }
    }
}

/// How much is to be read from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appetite {
    /// A request's body, as fast as actix takes it.
    All,
    /// As much as shows whether a request comes: whether it is wanted is not known yet.
    ABit,
    /// Not now: there is enough in hand of a request that waits. (Of one that has sent all
    /// it has to say, nothing comes; so that its client is heard to leave, it is read.)
    Nothing,
}

/// Looks at a worker thread's connections now and then.
///
/// One timer serves them all, and its last tick is everybody's clock: a request costs two
/// writes to memory. The price is that a client has up to a quarter more time.
pub struct Watch {
    times: ClientTimes,
    now: Cell<Instant>,
    connections: RefCell<Vec<Weak<ClientConnection>>>,
}

impl Watch {
    /// Starts one on this thread, which ends when it is dropped.
    pub fn start(times: ClientTimes) -> Rc<Self> {
        let watch = Rc::new(Self {
            times,
            now: Cell::new(Instant::now()),
            connections: RefCell::default(),
        });
        let watching = Rc::downgrade(&watch);
        let interval = (times.head / 8).clamp(Duration::from_millis(5), Duration::from_millis(500));
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(watch) = watching.upgrade() else {
                    return;
                };
                // What began just after the last tick was given that tick's time.
                watch.look(Instant::now(), interval);
            }
        });
        watch
    }

    fn look(&self, now: Instant, interval: Duration) {
        self.now.set(now);
        let judged = now.checked_sub(interval).unwrap_or(now);
        self.connections.borrow_mut().retain(|connection| {
            connection
                .upgrade()
                .is_some_and(|connection| connection.look(judged))
        });
    }
}
