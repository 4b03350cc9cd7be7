//! The load generator: requests at a steady rate or without a pause, and what became of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::rt;
use actix_web::web::Bytes;
use awc::Client;
use awc::http::{Method, StatusCode};
use fastrand::Rng;
use futures::StreamExt;
use serde::Deserialize;
use tokio::time::MissedTickBehavior;

use super::client::http_client;

/// How many different failures are kept as examples.
const MAX_EXAMPLES: usize = 5;
/// The body of an upload; a balancer keeps as much for a retry.
const UPLOAD_BODY: usize = 16 * 1024;
/// After this many events a stream is closed and counts as good.
const STREAM_EVENTS: usize = 20;
/// The pause of a client without a rate after a failed request.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);

/// What is requested, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// GET, on a connection that is kept.
    Get,
    /// GET, on a connection of its own.
    FreshGet,
    /// PUT with a body that has to come back.
    Put,
    /// POST without a body.
    Post,
    /// GET of an event stream, of which some events are read.
    EventStream,
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// What it is.
    pub kind: RequestKind,
    /// Where to.
    pub url: String,
    /// Its X-Request-ID.
    pub id: u32,
}

impl LoadRequest {
    /// A GET.
    pub fn get(url: &str, id: u32) -> Self {
        Self {
            kind: RequestKind::Get,
            url: url.to_owned(),
            id,
        }
    }

    /// Sends it, and reads the response.
    pub async fn send(self, client: &Client) -> Completion {
        let begun = Instant::now();
        let (failed, from) = match self.response(client).await {
            Ok((status, body)) => {
                let failed = status.is_server_error() || status.is_client_error();
                (failed, greeting(status, &body))
            }
            Err(cause) => (true, Err(cause)),
        };
        Completion {
            kind: self.kind,
            id: self.id,
            begun,
            ended: Instant::now(),
            failed,
            from,
        }
    }

    async fn response(&self, client: &Client) -> Result<(StatusCode, Bytes), String> {
        let (method, body) = match self.kind {
            RequestKind::Get | RequestKind::FreshGet | RequestKind::EventStream => {
                (Method::GET, Bytes::new())
            }
            RequestKind::Put => (Method::PUT, vec![self.id as u8; UPLOAD_BODY].into()),
            RequestKind::Post => (Method::POST, Bytes::new()),
        };
        let mut request = client.request(method, &self.url);
        request = request.insert_header(("X-Request-ID", self.id.to_string()));
        if self.kind == RequestKind::FreshGet {
            request = request.force_close();
        }
        let sent = request.send_body(body.clone()).await;
        let mut response = sent.map_err(|error| error.to_string())?;
        let status = response.status();
        if self.kind == RequestKind::EventStream && status.is_success() {
            for _ in 0..STREAM_EVENTS {
                let event = response.next().await.ok_or("the stream ended")?;
                event.map_err(|error| error.to_string())?;
            }
            return Ok((status, Bytes::new()));
        }
        let received = response.body().await.map_err(|error| error.to_string())?;
        if self.kind == RequestKind::Put && status.is_success() && received != body {
            return Err("another body came back".to_owned());
        }
        Ok((status, received))
    }
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Completion {
    /// What it was.
    pub kind: RequestKind,
    /// Its X-Request-ID.
    pub id: u32,
    /// When it was sent.
    pub begun: Instant,
    /// When the last byte of the response was read.
    pub ended: Instant,
    /// Whether it got no response, or a status of 400 or more. A response that is not the demo
    /// server's may still be a good one.
    pub failed: bool,
    /// What the demo server that responded calls itself; else what came instead.
    pub from: Result<String, String>,
}

impl Completion {
    /// From the first to the last byte.
    pub fn took(&self) -> Duration {
        self.ended - self.begun
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        let cause = self.from.as_ref().err();
        cause.filter(|_| self.failed).map(String::as_str)
    }

    /// A GET that this replica answered, or that failed with this message.
    #[cfg(test)]
    pub(crate) fn test(begun: Instant, ended: Instant, from: Result<&str, &str>) -> Self {
        Self {
            kind: RequestKind::Get,
            id: 123_456,
            begun,
            ended,
            failed: from.is_err(),
            from: from.map(str::to_owned).map_err(str::to_owned),
        }
    }
}

/// The response of the demo server.
#[derive(Deserialize)]
struct Greeting<'a> {
    message: &'a str,
}

/// Which replica responded.
fn greeting(status: StatusCode, body: &[u8]) -> Result<String, String> {
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(body)));
    }
    serde_json::from_slice::<Greeting>(body)
        .ok()
        .and_then(|greeting| greeting.message.strip_prefix("Hello from Server: "))
        .map(str::to_owned)
        .ok_or_else(|| format!("not the demo server's: {}", String::from_utf8_lossy(body)))
}

/// Random six-digit request ids, the same for the same seed.
pub fn ids(seed: u64, how_many: usize) -> Vec<u32> {
    let mut rng = Rng::with_seed(seed);
    let ids = (0..how_many).map(|_| random_id(&mut rng));
    ids.collect()
}

/// A random six-digit request id.
pub fn random_id(rng: &mut Rng) -> u32 {
    rng.u32(100_000..1_000_000)
}

/// One GET for each id, `concurrency` at a time.
pub async fn burst(
    client: &Client,
    url: &str,
    ids: &[u32],
    concurrency: usize,
    each: impl Fn(),
) -> Vec<Completion> {
    futures::stream::iter(ids)
        .map(|&id| LoadRequest::get(url, id).send(client))
        .buffer_unordered(concurrency)
        .inspect(|_| each())
        .collect()
        .await
}

/// Requests until stopped, whatever becomes of them, from clients each of which has at most one
/// request out.
pub struct LoadGenerator {
    shared: Rc<Shared>,
    clients: Vec<rt::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: Cell<bool>,
    /// Requests that were sent; the number of the next one.
    sent: Cell<u64>,
    /// The numbers of those without a response yet.
    in_flight: RefCell<BTreeSet<u64>>,
    /// Requests that have ended.
    completed: Cell<u64>,
    completions: RefCell<Vec<Completion>>,
}

impl LoadGenerator {
    /// Starts `clients`; `rate` is how many requests all of them send a second, none: each sends
    /// the next when it has the response. `next` makes a client's request, from the client's
    /// number and the request's.
    pub fn start(
        clients: usize,
        rate: Option<u32>,
        timeout: Duration,
        next: impl Fn(usize, u64) -> LoadRequest + 'static,
    ) -> Self {
        let shared = Rc::<Shared>::default();
        let next = Rc::new(next);
        let start = tokio::time::Instant::now();
        let run = |number: usize| {
            let (shared, next) = (Rc::clone(&shared), Rc::clone(&next));
            let client = http_client(timeout);
            let ticks = rate.map(|rate| {
                let period = Duration::from_secs(1).mul_f64(clients as f64 / f64::from(rate));
                // One after the other, not all at the same moment.
                let first = start + period.mul_f64(number as f64 / clients as f64);
                let mut ticks = tokio::time::interval_at(first, period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks
            });
            rt::spawn(async move { shared.run_client(&client, number, &*next, ticks).await })
        };
        Self {
            clients: (0..clients).map(run).collect(),
            shared,
        }
    }

    /// How many requests have been sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.get()
    }

    /// How many requests have ended.
    pub fn completed(&self) -> u64 {
        self.shared.completed.get()
    }

    /// Whether the first `sent` requests have ended.
    pub fn has_completed(&self, sent: u64) -> bool {
        let in_flight = self.shared.in_flight.borrow();
        in_flight.first().is_none_or(|oldest| *oldest >= sent)
    }

    /// Whether this replica has responded to a request that was sent after `when`.
    pub fn has_response_since(&self, replica: &str, when: Instant) -> bool {
        let completions = self.shared.completions.borrow();
        completions
            .iter()
            .rev()
            // They end roughly in order: none before this can be newer.
            .take_while(|one| one.ended >= when)
            .any(|one| one.begun >= when && one.from.as_deref() == Ok(replica))
    }

    /// Whether responses name their replica, as the demo server's do.
    pub fn names_replicas(&self) -> bool {
        let completions = self.shared.completions.borrow();
        completions.iter().any(|one| one.from.is_ok())
    }

    /// The requests that have ended since the last call, in that order.
    pub fn take(&self) -> Vec<Completion> {
        self.shared.completions.take()
    }

    /// Waits for the requests that are out; all that have ended since the last call of
    /// [`LoadGenerator::take`].
    pub async fn stop(mut self) -> Vec<Completion> {
        self.shared.stop.set(true);
        for client in self.clients.drain(..) {
            // A client that panicked has said so.
            let _ = client.await;
        }
        self.take()
    }
}

impl Drop for LoadGenerator {
    fn drop(&mut self) {
        self.shared.stop.set(true);
    }
}

impl Shared {
    async fn run_client(
        &self,
        client: &Client,
        number: usize,
        next: &impl Fn(usize, u64) -> LoadRequest,
        mut ticks: Option<tokio::time::Interval>,
    ) {
        while !self.stop.get() {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let sent = self.sent.get();
            self.sent.set(sent + 1);
            self.in_flight.borrow_mut().insert(sent);
            let completion = next(number, sent).send(client).await;
            self.in_flight.borrow_mut().remove(&sent);
            self.completed.set(self.completed.get() + 1);
            let failed = completion.failed;
            self.completions.borrow_mut().push(completion);
            if failed && ticks.is_none() {
                tokio::time::sleep(FAILURE_PAUSE).await;
            }
        }
    }
}

/// From what replicas call themselves to their names: `3` is `Server3`.
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// For replicas of these names.
    pub fn new(names: &[String]) -> Self {
        let pairs = names.iter().map(|name| {
            let called = ringmaster_server::display_id(name);
            (called, name.clone())
        });
        Self(pairs.collect())
    }

    /// The name of what calls itself so, or just that if there is no such name.
    pub fn name<'a>(&'a self, called: &'a str) -> &'a str {
        self.0.get(called).map_or(called, String::as_str)
    }

    /// How the replica of a name calls itself.
    pub fn called(name: &str) -> String {
        ringmaster_server::display_id(name)
    }
}

/// What went wrong, a few examples of it.
pub fn failures<'a>(completions: impl IntoIterator<Item = &'a Completion>) -> (u64, Vec<String>) {
    let mut count = 0;
    let mut examples = BTreeSet::new();
    for completion in completions {
        if let Err(cause) = &completion.from {
            count += 1;
            if examples.len() < MAX_EXAMPLES {
                examples.insert(cause.clone());
            }
        }
    }
    (count, examples.into_iter().collect())
}

/// What to do about failures that a path of a server's own explains.
pub fn advice(path: &str, failures: &[String]) -> Option<String> {
    let is_missing = |failure: &String| failure.starts_with("404 ");
    failures.iter().any(is_missing).then(|| {
        format!("GET {path} answers 404, which counts as failed: --path says what to ask for")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_six_digits_and_follow_from_the_seed() {
        let some = ids(1, 1_000);
        assert!(some.iter().all(|id| (100_000..1_000_000).contains(id)));
        assert_eq!(some, ids(1, 1_000));
        assert_ne!(some, ids(2, 1_000));
    }

    #[test]
    fn a_path_that_is_not_there_is_told() {
        let failures = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
        let missing = failures(&["502 Bad Gateway: x", "404 Not Found: no such page"]);
        assert_eq!(
            advice("/home", &missing).unwrap(),
            "GET /home answers 404, which counts as failed: --path says what to ask for"
        );
        assert_eq!(
            advice("/home", &failures(&["not the demo server's: 404 "])),
            None
        );
    }

    #[test]
    fn numbered_servers_are_known_by_their_number() {
        let names = Names::new(&["Server3".to_owned(), "blue".to_owned()]);
        assert_eq!(names.name("3"), "Server3");
        assert_eq!(names.name("blue"), "blue");
        assert_eq!(names.name("7"), "7");
    }
}
