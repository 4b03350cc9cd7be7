//! What is known of a client's connection, for as long as it is open.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::dev::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use log::debug;
use tokio::net::TcpStream;

use super::departure::Departure;
use super::forwarded;
use super::patience::{ClientTimes, Late, Patience};
use super::slow_reader::SlowReader;
use super::watch::{Date, Watch};
use crate::sys::send_queue::unacknowledged;
use crate::upstream::{FieldSlot, Fields};

/// So long a connection is idle before nothing is kept of it but its socket. Shorter would
/// cost those that have pauses more, longer would keep more memory after a rush.
const NAP: Duration = Duration::from_millis(500);

/// How long a request of a client that has closed its side goes on though another one waits for
/// its replica.
const HALF_CLOSED_GRACE: Duration = Duration::from_secs(1);

thread_local! {
    /// Whose request is being answered, if actix does not know it.
    static CURRENT: Cell<Option<Rc<ClientConnection>>> = Cell::default();
}

/// One connection of a client.
pub struct ClientConnection {
    patience: Patience,
    late: Cell<Option<Late>>,
    /// Something has come since the last request was begun.
    has_more: Cell<bool>,
    /// The request that was begun last waits for a replica.
    is_waiting: Cell<bool>,
    /// An actor of this thread has been asked for one, and has not answered yet.
    is_asking: Cell<bool>,
    /// Its reader has been told to come back later.
    is_unread: Cell<bool>,
    /// Whether all that was answered has gone out.
    is_settled: Cell<bool>,
    /// Whether all that belongs to the last request has come, if actix has it.
    is_whole: Cell<bool>,
    /// Whether that request has come as far as a handler.
    has_begun: Cell<bool>,
    /// Whether something behind it has come, too.
    holds_more: Cell<bool>,
    /// Whether the last answer has begun: actix is about to end the connection.
    is_ending: Cell<bool>,
    /// Whether the client has been told what is wrong in the middle of what it says.
    is_broken_off: Cell<bool>,
    sleep: Cell<Sleep>,
    fields: FieldSlot,
    tells_length: Cell<bool>,
    /// Left by who had it, for who has it next.
    socket: Cell<Option<TcpStream>>,
    hearing: Cell<Hearing>,
    /// Since when the client has closed its side and nothing was sent to it.
    half_closed_since: Cell<Option<Instant>>,
    /// How many bytes of a response were written when the client took no more, for now.
    unsent_after: Cell<Option<u64>>,
    /// What is known of a client that takes its response slowly.
    slow_reader: RefCell<Option<Box<SlowReader>>>,
    is_sample_due: Cell<bool>,
    is_tunnel: Cell<bool>,
    /// Who reads from it.
    reader: RefCell<Option<Waker>>,
    watch: Rc<Watch>,
    /// Where the watch finds it.
    place: usize,
    departure: Arc<Departure>,
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.watch.close(self.place);
    }
}

impl ClientConnection {
    /// A connection that has just been accepted.
    pub fn open(watch: &Rc<Watch>, departure: &Arc<Departure>) -> Rc<Self> {
        watch.open(|place| Self {
            patience: Patience::new(watch.now()),
            late: Cell::new(None),
            has_more: Cell::new(false),
            is_waiting: Cell::new(false),
            is_asking: Cell::new(false),
            is_unread: Cell::new(false),
            is_settled: Cell::new(true),
            is_whole: Cell::new(false),
            has_begun: Cell::new(false),
            holds_more: Cell::new(false),
            is_ending: Cell::new(false),
            is_broken_off: Cell::new(false),
            sleep: Cell::new(Sleep::Asleep),
            fields: FieldSlot::default(),
            tells_length: Cell::new(false),
            socket: Cell::new(None),
            hearing: Cell::new(Hearing::Later),
            half_closed_since: Cell::new(None),
            unsent_after: Cell::new(None),
            slow_reader: RefCell::new(None),
            is_sample_due: Cell::new(false),
            is_tunnel: Cell::new(false),
            reader: RefCell::new(None),
            watch: Rc::clone(watch),
            place,
            departure: Arc::clone(departure),
        })
    }

    /// What is known of the connection that a request came on; to be asked as soon as a
    /// handler has the request.
    pub fn of(request: &HttpRequest) -> Option<Rc<Self>> {
        CURRENT.take().or_else(|| request.conn_data().cloned())
    }

    /// Does what may begin to answer a request of this connection's. (Only actix's dispatcher
    /// can tell a request its connection.)
    pub fn during<T>(self: &Rc<Self>, answer: impl FnOnce() -> T) -> T {
        /// Resets it even if the handler panics.
        struct Over;
        impl Drop for Over {
            fn drop(&mut self) {
                CURRENT.set(None);
            }
        }
        let _over = Over;
        CURRENT.set(Some(Rc::clone(self)));
        answer()
    }

    /// Whether the request in hand is a simple one, in the lane: without a body or with one
    /// whose length is told, and it asks for no upgrade.
    pub fn is_in_lane(&self) -> bool {
        self.sleep.get() == Sleep::Asleep
    }

    /// Remembers of a simple request whether it tells the length of a body.
    pub fn tells_length(&self, does: bool) {
        self.tells_length.set(does);
    }

    /// Whether the request in hand is a simple one without a body, and says nothing of one.
    pub fn is_bare(&self) -> bool {
        self.is_in_lane() && !self.tells_length.get()
    }

    /// Where a replica's fields are left on their way into the answer of a simple request.
    pub fn field_slot(&self) -> &FieldSlot {
        &self.fields
    }

    /// What has been left there.
    pub fn fields(&self) -> Option<Fields> {
        self.fields.take()
    }

    /// Writes the interim responses that have been left there.
    pub fn relay_interim(&self, to: &mut Vec<u8>) {
        if self.fields.has_interim() {
            self.write_interim(to);
        }
    }

    /// Apart, because hardly a response has any.
    #[cold]
    fn write_interim(&self, to: &mut Vec<u8>) {
        forwarded::relay_interim(&self.fields.take_interim(), self.fields.added(), to);
    }

    /// The time, to the second, as a header field tells it.
    pub fn date(&self) -> Date {
        self.watch.date()
    }

    /// A request has come; it is in hand until what is returned, and all that
    /// [`hold`](Self::hold) returns, is dropped.
    pub fn begin(self: &Rc<Self>, request: &RequestHead) -> InHand {
        let fields = request.headers();
        // What actix takes for a body, whether there is one or not.
        let has_body = !self.is_in_lane()
            && (fields.contains_key(CONTENT_LENGTH)
                || fields.contains_key(TRANSFER_ENCODING)
                || fields.contains_key(UPGRADE)
                || request.method == Method::CONNECT);
        self.fields.clear();
        self.has_more.set(false);
        self.is_settled.set(false);
        self.is_asking.set(false);
        self.has_begun.set(true);
        self.patience.begin(has_body && !self.is_whole.get());
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

    /// Whether that is so.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting.get()
    }

    /// The client has closed its side, or something could be sent to it since: whether it is
    /// still there is unknown from now on.
    pub fn note_half_closed(&self) {
        self.half_closed_since.set(Some(Instant::now()));
    }

    /// Whether the client has closed its side.
    pub fn is_half_closed(&self) -> bool {
        self.half_closed_since.get().is_some()
    }

    /// Whether a request of a client that has closed its side has gone on for long enough.
    /// `was_awaited_since` says whether another request has waited for the replica that has it.
    pub fn is_abandoned(&self, was_awaited_since: impl FnOnce(Instant) -> bool) -> bool {
        let Some(since) = self.half_closed_since.get() else {
            return false;
        };
        let quiet = since.elapsed();
        let timeout = self.watch.times().half_closed;
        timeout.is_some_and(|timeout| quiet >= timeout)
            || (quiet >= HALF_CLOSED_GRACE && was_awaited_since(since))
    }

    /// The client takes no more of its response for now, of which this many bytes are written;
    /// none: it has taken all that is ready.
    pub fn note_unsent(&self, written: Option<u64>) {
        let before = self.unsent_after.replace(written);
        if before.is_some()
            && written.is_none()
            && let Some(reader) = &mut *self.slow_reader.borrow_mut()
        {
            reader.caught_up();
        }
    }

    /// Whether a client that takes no more for now is too slow altogether. `socket` is asked
    /// only now and then.
    pub fn is_too_slow(&self, socket: impl FnOnce() -> Option<(SocketAddr, SocketAddr)>) -> bool {
        if !self.is_sample_due.take() {
            return false;
        }
        let written = self.unsent_after.get();
        let unacknowledged = socket().and_then(|(local, peer)| unacknowledged(local, peer));
        match (&mut *self.slow_reader.borrow_mut(), written, unacknowledged) {
            (Some(reader), Some(written), Some(queued)) => {
                reader.sample(Instant::now(), written.saturating_sub(queued))
            }
            // Then only the kernel's own limit holds (`--idle-timeout`).
            _ => false,
        }
    }

    /// Remembers whether an actor of this thread has been asked and not answered yet.
    pub fn asks(&self, does: bool) {
        self.is_asking.set(does);
    }

    /// Whether the answer of an actor of this thread will wake its task, whatever the client
    /// does: until then nobody need listen to that.
    pub fn is_asking(&self) -> bool {
        self.is_asking.get()
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

    /// Whether the connection is to end with the answer, because the balancer leaves, or
    /// the client was found late just when it asked.
    pub fn is_last_call(&self) -> bool {
        self.departure.has_begun() || self.late.get().is_some()
    }

    /// Bytes have come.
    pub fn heard(&self) {
        self.has_more.set(true);
        self.patience.heard(self.watch.now());
    }

    /// All that belongs to the request that actix has been given has come.
    pub fn has_come_whole(&self) {
        self.is_whole.set(true);
        self.patience.whole();
    }

    /// Something behind that request has come, which waits for its answer.
    pub fn holds_more(&self) {
        self.holds_more.set(true);
        self.is_unread.set(true);
    }

    /// Whether that request has been answered.
    pub fn is_answered(&self) -> bool {
        self.has_begun.get() && self.is_settled.get() && !self.patience.is_busy()
    }

    /// What comes now is another request.
    pub fn next(&self) {
        self.is_whole.set(false);
        self.has_begun.set(false);
        self.holds_more.set(false);
        self.is_unread.set(false);
    }

    /// The last answer has begun.
    pub fn ends(&self) {
        self.is_ending.set(true);
    }

    /// Whether it has.
    pub fn is_ending(&self) -> bool {
        self.is_ending.get()
    }

    /// The client has been told what is wrong, and nothing more is heard of it.
    pub fn break_off(&self) {
        self.is_broken_off.set(true);
    }

    /// Whether that is so: it is told nothing else, either.
    pub fn is_broken_off(&self) -> bool {
        self.is_broken_off.get()
    }

    /// All that was written has gone out.
    pub fn flushed(&self) {
        if !self.patience.is_busy() {
            self.is_settled.set(true);
            if self.is_answered() && self.is_unread.take() {
                self.wake();
            }
        }
    }

    /// Something is about to be written. Whether it answers a request, or all of those have
    /// been answered.
    pub fn writes(&self) -> Writes {
        if self.is_settled.replace(false) {
            Writes::Unasked
        } else {
            Writes::Answer
        }
    }

    /// Whether nothing that was written is left to be sent.
    pub fn is_settled(&self) -> bool {
        self.is_settled.get()
    }

    /// Whether it is idle and has been for a while. Then actix has nothing in its hands: all of
    /// the last request has come, it was answered, and nothing has come behind it.
    pub fn falls_asleep(&self) -> bool {
        if self.sleep.get() != Sleep::Drowsy {
            return false;
        }
        let falls = self.is_idle(self.watch.now());
        self.sleep
            .set(if falls { Sleep::Asleep } else { Sleep::Awake });
        if falls {
            self.watch.fell_asleep();
        }
        falls
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.is_settled.get()
            && self.is_whole.get()
            && !self.holds_more.get()
            && !self.is_ending.get()
            && self.patience.is_idle(now, NAP)
    }

    /// Something has come that actix is to look at.
    pub fn wakes(&self) {
        self.sleep.set(Sleep::Awake);
        self.next();
    }

    /// The socket of one that falls asleep, or that has been broken off.
    pub fn keep(&self, socket: TcpStream) {
        if self.sleep.get() == Sleep::Asleep || self.is_broken_off.get() {
            self.socket.set(Some(socket));
        }
    }

    /// What was [kept](Self::keep).
    pub fn kept(&self) -> Option<TcpStream> {
        self.socket.take()
    }

    /// Whether nobody is to be waited for any more, because the server stops.
    pub fn is_over(&self) -> bool {
        self.watch.is_over()
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

    /// Whether the client need not be listened to before the watch's next look, which wakes the
    /// reader: an answer that is there by then has cost no more than it must.
    pub fn is_heard_later(&self, reader: &Waker) -> bool {
        if self.hearing.get() == Hearing::Now {
            return false;
        }
        self.hearing.set(Hearing::NextLook);
        self.awaited_by(reader);
        true
    }

    /// Lets its reader look again.
    pub fn wake(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Has its task look at what the client has taken, if the client is slow.
    fn look_at_reader(&self, now: Instant) {
        if self.unsent_after.get().is_none() || self.is_tunnel.get() {
            return;
        }
        let Some(min_body_rate) = self.watch.times().min_body_rate else {
            return;
        };
        let mut reader = self.slow_reader.borrow_mut();
        let reader = reader.get_or_insert_with(|| Box::new(SlowReader::new(min_body_rate)));
        if reader.is_sample_due(now) {
            self.is_sample_due.set(true);
            self.wake();
        }
    }

    /// Looks whether the client is late, or what actix has of an idle one can go.
    pub fn look(&self, now: Instant, times: &ClientTimes) {
        if self.hearing.get() == Hearing::NextLook {
            self.hearing.set(Hearing::Now);
            self.wake();
        }
        if self.is_half_closed() {
            // The request's task decides whether it has gone on for long enough.
            self.wake();
        }
        self.look_at_reader(self.watch.now());
        // What is kept back must not make a client late.
        let is_kept_waiting = self.holds_more.get() && !self.is_settled.get();
        if self.late.get().is_some() || is_kept_waiting {
            return;
        }
        if let Some(late) = self.patience.late(now, times) {
            self.late.set(Some(late));
            self.wake();
            debug!("a client took too long for its next request");
        } else if self.sleep.get() == Sleep::Awake && self.is_idle(now) {
            self.sleep.set(Sleep::Drowsy);
            self.wake();
        }
    }
}

/// A request that is in hand.
pub struct InHand(Rc<ClientConnection>);

impl InHand {
    /// What is known of its connection.
    pub fn connection(&self) -> &ClientConnection {
        &self.0
    }

    /// It has become a tunnel, which may be as slow as it likes.
    pub fn becomes_tunnel(&self) {
        self.0.is_tunnel.set(true);
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.patience.release(self.0.watch.now());
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

/// When a client is listened to while it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Later,
    NextLook,
    Now,
}

/// Whether actix has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sleep {
    Awake,
    /// It may fall asleep when its task is next polled.
    Drowsy,
    /// It is in the lane.
    Asleep,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// The answer to a request that was begun.
    Answer,
    /// What no request has asked for.
    Unasked,
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
