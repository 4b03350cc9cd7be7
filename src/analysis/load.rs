//! Requests, and who answered them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::rt;
use actix_web::web::Bytes;
use awc::Client;
use awc::http::StatusCode;
use fastrand::Rng;
use futures::StreamExt;
use serde::Deserialize;
use tokio::time::MissedTickBehavior;

/// Why requests failed is worth a few examples.
const EXAMPLES: usize = 5;

/// A request's end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request's id.
    pub id: u32,
    /// When it was sent.
    pub begun: Instant,
    /// When the last byte of the answer was there.
    pub ended: Instant,
    /// Whether nothing came, or a status of 400 or more: a failure. What is not the demo
    /// server's answer may still be a good one.
    pub lost: bool,
    /// How the replica that answered calls itself, or what went wrong.
    pub from: Result<String, String>,
}

impl Answer {
    /// From the first to the last byte.
    pub fn took(&self) -> Duration {
        self.ended - self.begun
    }
}

/// What the demo server answers.
#[derive(Deserialize)]
struct Greeting<'a> {
    message: &'a str,
}

/// Asks for a URL, and reads who answered.
pub async fn ask(client: &Client, url: &str, id: u32) -> Answer {
    let begun = Instant::now();
    let (lost, from) = match answer(client, url, id).await {
        Ok((status, body)) => {
            let lost = status.is_server_error() || status.is_client_error();
            (lost, greeting(status, &body))
        }
        Err(cause) => (true, Err(cause)),
    };
    Answer {
        id,
        begun,
        ended: Instant::now(),
        lost,
        from,
    }
}

async fn answer(client: &Client, url: &str, id: u32) -> Result<(StatusCode, Bytes), String> {
    let request = client
        .get(url)
        .insert_header(("X-Request-ID", id.to_string()));
    let mut response = request.send().await.map_err(|error| error.to_string())?;
    let body = response.body().await.map_err(|error| error.to_string())?;
    Ok((response.status(), body))
}

/// Who answered.
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
    let ids = (0..how_many).map(|_| id(&mut rng));
    ids.collect()
}

fn id(rng: &mut Rng) -> u32 {
    rng.u32(100_000..1_000_000)
}

/// One request for each id, so many at once.
pub async fn burst(
    client: &Client,
    url: &str,
    ids: &[u32],
    concurrency: usize,
    each: impl Fn(),
) -> Vec<Answer> {
    futures::stream::iter(ids)
        .map(|&id| ask(client, url, id))
        .buffer_unordered(concurrency)
        .inspect(|_| each())
        .collect()
        .await
}

/// Requests at a steady rate until stopped, whatever becomes of them.
pub struct SteadyLoad {
    stop: Rc<Cell<bool>>,
    answers: Rc<RefCell<Vec<Answer>>>,
    clients: Vec<rt::task::JoinHandle<()>>,
}

impl SteadyLoad {
    /// `rate` requests a second, from as many clients, none of which has more than one
    /// request out.
    pub fn start(client: &Client, url: &str, seed: u64, clients: usize, rate: u32) -> Self {
        let stop = Rc::new(Cell::new(false));
        let answers = Rc::new(RefCell::new(Vec::new()));
        let rng = Rc::new(RefCell::new(Rng::with_seed(seed)));
        let period = Duration::from_secs(1) * u32::try_from(clients).unwrap_or(u32::MAX) / rate;
        let start = tokio::time::Instant::now();
        let clients = (0..clients).map(|place| {
            let (client, url) = (client.clone(), url.to_owned());
            let (stop, answers, rng) = (stop.clone(), answers.clone(), rng.clone());
            // One after the other, not all at the same moment.
            let first = start + period.mul_f64(place as f64 / clients as f64);
            rt::spawn(async move {
                let mut ticks = tokio::time::interval_at(first, period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !stop.get() {
                    ticks.tick().await;
                    let id = id(&mut rng.borrow_mut());
                    let answer = ask(&client, &url, id).await;
                    answers.borrow_mut().push(answer);
                }
            })
        });
        Self {
            clients: clients.collect(),
            stop,
            answers,
        }
    }

    /// Whether an answer of this replica to a request sent after `when` is there.
    pub fn has_answer_since(&self, replica: &str, when: Instant) -> bool {
        let answers = self.answers.borrow();
        answers
            .iter()
            .rev()
            // Answers come roughly in order: nothing before this can be newer.
            .take_while(|answer| answer.ended >= when)
            .any(|answer| answer.begun >= when && answer.from.as_deref() == Ok(replica))
    }

    /// Whether answers tell who gave them, as the demo server's do.
    pub fn tells_who(&self) -> bool {
        self.answers
            .borrow()
            .iter()
            .any(|answer| answer.from.is_ok())
    }

    /// Waits for the requests that are out; all answers, in the order in which they came.
    pub async fn stop(mut self) -> Vec<Answer> {
        self.stop.set(true);
        for client in self.clients.drain(..) {
            // A client that panicked has said so.
            let _ = client.await;
        }
        self.answers.take()
    }
}

impl Drop for SteadyLoad {
    fn drop(&mut self) {
        self.stop.set(true);
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

    /// The name of what calls itself so, or just that if nobody has such a name.
    pub fn name<'a>(&'a self, called: &'a str) -> &'a str {
        self.0.get(called).map_or(called, String::as_str)
    }

    /// How the replica of a name calls itself.
    pub fn called(name: &str) -> String {
        ringmaster_server::display_id(name)
    }
}

/// What went wrong, a few examples of it.
pub fn failures<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> (u64, Vec<String>) {
    let mut count = 0;
    let mut examples = BTreeSet::new();
    for answer in answers {
        if let Err(cause) = &answer.from {
            count += 1;
            if examples.len() < EXAMPLES {
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
