//! What a client's connection, the handlers of its requests and the thread's sweeper tell each
//! other, for as long as the connection is open; and what a handler gets beside a request.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use actix_http::{Extensions, Request};
use actix_web::HttpMessage;
use log::debug;

use crate::access_log::AccessLog;
use crate::config::Limits;
use crate::http::connection::canned_response::log_refusal;
use crate::http::connection::slow_reader::SlowReader;
use crate::http::connection::timeouts::{ReadTimeouts, TimedOut};
use crate::http::drain::GracefulShutdown;
use crate::http::error::ProxyError;
use crate::http::headers::response;
use crate::http::raw_request::RawRequest;
use crate::sys::send_queue::unacknowledged;
use crate::upstream::stats::{ConnectionCounters, ConnectionLabel};
use crate::upstream::{InterimResponses, UpstreamResponse};

/// How long a request of a client that has closed its side goes on though another one waits for
/// its replica.
const HALF_CLOSED_GRACE: Duration = Duration::from_secs(1);

/// What holds for all connections of a worker thread.
pub struct ThreadState {
    /// How long clients may take.
    pub limits: Limits,
    /// The time of the last tick.
    pub now: Cell<Instant>,
    /// Its date, as a header has it.
    pub date: Cell<[u8; 29]>,
    /// No request is waited for any more, because the server stops.
    pub is_over: Cell<bool>,
    /// Whether responses are to end their connections.
    pub shutdown: Arc<GracefulShutdown>,
    /// What the thread counts.
    pub counters: Arc<ConnectionCounters>,
    /// Where requests have a line whose head cannot be read.
    pub access_log: Option<Rc<AccessLog>>,
}

thread_local! {
    /// The map of the last request, for the next one, with its single entry, which is empty: new
    /// ones would be allocated, and freed, for each request.
    static EXTENSIONS: Cell<Extensions> = Cell::default();
}

/// The single entry of that map.
struct RequestPlace(Cell<Option<ClientRequest>>);

/// What a handler gets beside a request, as one value in the request's extensions: what actix's
/// types have no place for.
pub struct ClientRequest {
    /// The connection that it came on.
    pub connection: Rc<ConnectionState>,
    /// It asks for nothing but a response: it declares no body and offers no other protocol.
    pub is_bare: bool,
    /// It takes the trailers of a response.
    pub takes_trailers: bool,
    /// Its head as it came.
    pub raw: Rc<RawRequest>,
}

impl ClientRequest {
    /// Puts it beside a request, beside which there is nothing yet.
    pub fn attach(self, request: &Request) {
        let mut extensions = EXTENSIONS.take();
        match extensions.get::<RequestPlace>() {
            Some(slot) => slot.0.set(Some(self)),
            None => drop(extensions.insert(RequestPlace(Cell::new(Some(self))))),
        }
        *request.extensions_mut() = extensions;
    }

    /// Copies the headers into the map of a request beside which this was put, for handlers that
    /// look there.
    pub fn fill_header_map(request: &mut Request) {
        if let Some(client) = Self::take(request) {
            client.raw.headers.copy_to(&mut request.head_mut().headers);
            client.attach(request);
        }
    }

    /// Takes what was put beside a request: once.
    pub fn take(request: &impl HttpMessage) -> Option<Self> {
        let extensions = std::mem::take(&mut *request.extensions_mut());
        let client = extensions.get::<RequestPlace>()?.0.take();
        EXTENSIONS.set(extensions);
        client
    }
}

/// One connection of a client.
pub struct ConnectionState {
    timeouts: ReadTimeouts,
    timed_out: Cell<Option<TimedOut>>,
    acquiring: Cell<Acquiring>,
    disconnect_check: Cell<DisconnectCheck>,
    /// Since when the client has closed its side and nothing was sent to it.
    half_closed_since: Cell<Option<Instant>>,
    /// Whether the client takes what is written to it.
    taking: Cell<Taking>,
    /// What is known of a client that takes its response slowly.
    slow_reader: RefCell<Option<Box<SlowReader>>>,
    /// A replica's response, whose head is on its way into the client's.
    replica_response: Cell<Option<Box<UpstreamResponse>>>,
    /// Interim responses of replicas, and the lines that are appended to each.
    interim: Rc<InterimResponses>,
    interim_lines: Cell<&'static [u8]>,
    waker: RefCell<Option<Waker>>,
    thread: Rc<ThreadState>,
}

/// How far a request is on its way to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acquiring {
    /// It has one, or does not need one.
    No,
    /// It waits for one.
    Waiting,
    /// An actor of this thread has been asked for one, and has not answered yet: its answer wakes
    /// the task, whatever the client does.
    Asking,
}

/// When it is noticed that a client leaves while its request is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DisconnectCheck {
    /// Nothing has had to wait for the client yet.
    Later,
    /// From the next sweep on.
    NextSweep,
    Now,
}

/// Whether a client takes its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    /// All that is ready.
    All,
    /// No more for now, after this many bytes of it.
    Blocked(u64),
    /// The same, and how fast it is has to be looked at.
    SampleDue(u64),
    /// It is a tunnel, which may be as slow as it likes.
    Tunnel,
}

impl ConnectionState {
    /// A connection that has just been accepted.
    pub fn open(thread: &Rc<ThreadState>) -> Self {
        Self {
            timeouts: ReadTimeouts::new(thread.now.get()),
            timed_out: Cell::new(None),
            acquiring: Cell::new(Acquiring::No),
            disconnect_check: Cell::new(DisconnectCheck::Later),
            half_closed_since: Cell::new(None),
            taking: Cell::new(Taking::All),
            slow_reader: RefCell::new(None),
            replica_response: Cell::new(None),
            interim: Rc::default(),
            interim_lines: Cell::new(&[]),
            waker: RefCell::new(None),
            thread: Rc::clone(thread),
        }
    }

    /// Leaves a replica's response, whose head is written as it came. Its body has been taken.
    pub fn leave_replica_response(&self, response: Box<UpstreamResponse>) {
        self.replica_response.set(Some(response));
    }

    /// Takes what was left.
    pub fn take_replica_response(&self) -> Option<Box<UpstreamResponse>> {
        self.replica_response.take()
    }

    /// Where interim responses are left, each with these lines appended.
    pub fn interim(&self, lines: &'static [u8]) -> &Rc<InterimResponses> {
        self.interim_lines.set(lines);
        &self.interim
    }

    /// Writes the interim responses that have been left there.
    pub fn relay_interim(&self, to: &mut Vec<u8>) {
        if !self.interim.is_empty() {
            self.write_interim(to);
        }
    }

    /// Apart, because hardly a response has any.
    #[cold]
    fn write_interim(&self, to: &mut Vec<u8>) {
        response::relay_interim(&self.interim.take(), self.interim_lines.get(), to);
    }

    /// The time, to the second, as a Date header has it.
    pub fn date(&self) -> [u8; 29] {
        self.thread.date.get()
    }

    /// Bytes of a head have come, and not the whole of it.
    pub fn on_bytes(&self) {
        self.timeouts.on_bytes(self.thread.now.get());
    }

    /// The head of a request has come.
    pub fn begin_request(&self) {
        self.replica_response.set(None);
        self.interim.take();
        self.acquiring.set(Acquiring::No);
        self.timeouts.begin_request();
    }

    /// The response has been sent.
    pub fn end_request(&self) {
        self.taking.set(Taking::All);
        self.timeouts.end_request(self.thread.now.get());
    }

    /// The request waits for a replica until what is returned is dropped.
    pub fn acquire(&self) -> AcquireGuard<'_> {
        self.acquiring.set(Acquiring::Waiting);
        AcquireGuard(self)
    }

    /// Whether it does.
    pub fn is_waiting(&self) -> bool {
        self.acquiring.get() != Acquiring::No
    }

    /// Whether the task is woken soon, whatever the client does: until then nothing has to listen
    /// to that.
    pub fn is_asking(&self) -> bool {
        self.acquiring.get() == Acquiring::Asking
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
        let timeout = self.thread.limits.half_closed_timeout;
        timeout.is_some_and(|timeout| quiet >= timeout)
            || (quiet >= HALF_CLOSED_GRACE && was_awaited_since(since))
    }

    /// The connection has switched to another protocol.
    pub fn begin_tunnel(&self) {
        self.taking.set(Taking::Tunnel);
    }

    /// The client takes no more of its response for now, of which this many bytes are written;
    /// none: it has taken all that is ready.
    pub fn note_unsent(&self, written: Option<u64>) {
        match (self.taking.get(), written) {
            (Taking::All, None) | (Taking::Tunnel, _) => {}
            (Taking::SampleDue(_), Some(written)) => self.taking.set(Taking::SampleDue(written)),
            (_, Some(written)) => self.taking.set(Taking::Blocked(written)),
            (_, None) => {
                self.taking.set(Taking::All);
                if let Some(reader) = &mut *self.slow_reader.borrow_mut() {
                    reader.caught_up();
                }
            }
        }
    }

    /// Whether a client that takes no more for now is too slow altogether. `socket` is asked
    /// only now and then.
    pub fn is_too_slow(&self, socket: impl FnOnce() -> Option<(SocketAddr, SocketAddr)>) -> bool {
        let Taking::SampleDue(written) = self.taking.get() else {
            return false;
        };
        self.taking.set(Taking::Blocked(written));
        let unacknowledged = socket().and_then(|(local, peer)| unacknowledged(local, peer));
        match (&mut *self.slow_reader.borrow_mut(), unacknowledged) {
            (Some(reader), Some(queued)) => {
                reader.sample(Instant::now(), written.saturating_sub(queued))
            }
            // Then only the kernel's own limit holds (`--idle-timeout`).
            _ => false,
        }
    }

    /// Whether the connection is to end with the response, because the balancer stops, or
    /// the client timed out just when it asked.
    pub fn should_close(&self) -> bool {
        self.thread.shutdown.has_begun() || self.timed_out.get().is_some()
    }

    /// Whether no request is waited for any more, because the server stops.
    pub fn is_over(&self) -> bool {
        self.thread.is_over.get()
    }

    /// Whether nothing more is to be read, because it took too long.
    pub fn timed_out(&self) -> Option<TimedOut> {
        self.timed_out.get()
    }

    /// What the thread counts.
    pub fn counters(&self) -> Arc<ConnectionCounters> {
        Arc::clone(&self.thread.counters)
    }

    /// What comes from `client` is no request, or none that has come in time.
    pub fn log_refusal(&self, error: &ProxyError, client: Option<SocketAddr>) {
        if let Some(log) = &self.thread.access_log {
            log_refusal(log, error, client);
        }
    }

    /// What the connection does now.
    pub fn label(&self) -> ConnectionLabel {
        match self.acquiring.get() {
            _ if self.taking.get() == Taking::Tunnel => ConnectionLabel::Tunnel,
            Acquiring::Waiting => ConnectionLabel::Queued,
            _ if self.timeouts.is_busy() => ConnectionLabel::Active,
            _ => ConnectionLabel::Idle,
        }
    }

    /// The connection's task, which is woken when something is to be looked at.
    pub fn set_waker(&self, waker: &Waker) {
        match &mut *self.waker.borrow_mut() {
            Some(before) => before.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Whether listening for a disconnect can wait until the next sweep, which wakes the task: a
    /// response that is ready by then never registers the socket.
    pub fn defers_disconnect_check(&self, waker: &Waker) -> bool {
        if self.disconnect_check.get() == DisconnectCheck::Now {
            return false;
        }
        self.disconnect_check.set(DisconnectCheck::NextSweep);
        self.set_waker(waker);
        true
    }

    /// Lets the connection's task look again.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Has the task look at what the client has taken, if the client is slow.
    fn sample_reader(&self) {
        let (Taking::Blocked(written), Some(min_body_rate)) =
            (self.taking.get(), self.thread.limits.min_body_rate)
        else {
            return;
        };
        let mut reader = self.slow_reader.borrow_mut();
        let reader = reader.get_or_insert_with(|| Box::new(SlowReader::new(min_body_rate)));
        if reader.is_sample_due(self.thread.now.get()) {
            self.taking.set(Taking::SampleDue(written));
            self.wake();
        }
    }

    /// Looks whether the client has timed out, and wakes the task if it has to look at something.
    pub fn sweep(&self, now: Instant, limits: &Limits) {
        if self.disconnect_check.get() == DisconnectCheck::NextSweep {
            self.disconnect_check.set(DisconnectCheck::Now);
            self.wake();
        }
        if self.is_half_closed() {
            // The request's task decides whether it has gone on for long enough.
            self.wake();
        }
        self.sample_reader();
        if self.timed_out.get().is_some() {
            return;
        }
        if let Some(timed_out) = self.timeouts.timed_out(now, limits) {
            self.timed_out.set(Some(timed_out));
            let within_head = timed_out == TimedOut::Header;
            self.thread.counters.time_out(within_head);
            self.wake();
            debug!("a client took too long for its next request");
        }
    }
}

/// A request that waits for a replica.
pub struct AcquireGuard<'c>(&'c ConnectionState);

impl AcquireGuard<'_> {
    /// Notes whether an actor of this thread has been asked and not answered yet.
    pub fn set_asking(&self, is_asking: bool) {
        self.0.acquiring.set(match is_asking {
            true => Acquiring::Asking,
            false => Acquiring::Waiting,
        });
    }
}

impl Drop for AcquireGuard<'_> {
    fn drop(&mut self) {
        self.0.acquiring.set(Acquiring::No);
    }
}
