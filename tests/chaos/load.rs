//! The load that never stops while things break: five kinds of clients.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::rt;
use awc::Client;
use awc::http::Method;
use futures::StreamExt;

use crate::support::eventually;

/// Longer than anything may take.
const TIMEOUT: Duration = Duration::from_secs(90);
/// What is uploaded; it fits what a balancer may keep in hand.
const BODY: usize = 16 * 1024;
/// A stream is left after so many events and begun anew.
const EVENTS: usize = 20;
/// Who was refused does not ask again at once.
const AFTER_A_FAILURE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// GET on connections that are kept.
    KeptGet,
    /// GET, a new connection each.
    FreshGet,
    /// PUT with a body.
    Put,
    /// POST, which must not be executed twice.
    Post,
    /// Server-sent events.
    Stream,
}

impl Kind {
    /// Whether a single fault may not make one fail.
    pub fn never_fails(self) -> bool {
        matches!(self, Self::KeptGet | Self::FreshGet | Self::Put)
    }
}

/// One request's end.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub kind: Kind,
    pub begun: Instant,
    pub ended: Instant,
    pub failure: Option<String>,
}

#[derive(Default)]
struct Shared {
    stop: Cell<bool>,
    next_id: Cell<u64>,
    in_flight: RefCell<BTreeSet<u64>>,
    outcomes: RefCell<Vec<Outcome>>,
}

pub struct Load {
    shared: Rc<Shared>,
    clients: Vec<rt::task::JoinHandle<()>>,
}

impl Load {
    /// So many clients, each with one request out at any time.
    pub fn start(url: &str, clients: usize) -> Self {
        let shared = Rc::<Shared>::default();
        let kinds = [
            Kind::KeptGet,
            Kind::KeptGet,
            Kind::KeptGet,
            Kind::FreshGet,
            Kind::FreshGet,
            Kind::Put,
            Kind::Put,
            Kind::Post,
            Kind::Post,
            Kind::Stream,
        ];
        let client = |number: usize| {
            let kind = kinds[number % kinds.len()];
            let (shared, url) = (Rc::clone(&shared), url.to_owned());
            rt::spawn(async move { go_on(kind, &url, &shared).await })
        };
        Self {
            clients: (0..clients).map(client).collect(),
            shared,
        }
    }

    /// Waits until so many more requests have ended.
    pub async fn go_on_for(&self, requests: usize) {
        let ended = || self.shared.outcomes.borrow().len();
        let goal = ended() + requests;
        eventually("the load goes on", || async { ended() >= goal }).await;
    }

    /// Waits until all that is out by now has ended: what was stuck in a fault may fail some
    /// seconds after it.
    pub async fn settle(&self) {
        let last = self.shared.next_id.get();
        eventually("what is out has ended", || async {
            let in_flight = self.shared.in_flight.borrow();
            in_flight.first().is_none_or(|oldest| *oldest >= last)
        })
        .await;
    }

    /// What ended since the last call.
    pub fn take(&self) -> Vec<Outcome> {
        self.shared.outcomes.take()
    }

    /// Waits for the requests that are out.
    pub async fn stop(self) -> Vec<Outcome> {
        self.shared.stop.set(true);
        for client in self.clients {
            client.await.expect("a client does not panic");
        }
        self.shared.outcomes.take()
    }
}

async fn go_on(kind: Kind, url: &str, shared: &Shared) {
    let client = Client::builder()
        .timeout(TIMEOUT)
        .disable_redirects()
        .finish();
    while !shared.stop.get() {
        let id = shared.next_id.get();
        shared.next_id.set(id + 1);
        let begun = Instant::now();
        shared.in_flight.borrow_mut().insert(id);
        let failure = ask(&client, kind, url, id).await.err();
        let refused = failure.is_some();
        shared.in_flight.borrow_mut().remove(&id);
        shared.outcomes.borrow_mut().push(Outcome {
            kind,
            begun,
            ended: Instant::now(),
            failure,
        });
        if refused {
            tokio::time::sleep(AFTER_A_FAILURE).await;
        }
    }
}

async fn ask(client: &Client, kind: Kind, url: &str, id: u64) -> Result<(), String> {
    let (method, path, body) = match kind {
        Kind::KeptGet | Kind::FreshGet => (Method::GET, format!("/{id}"), Vec::new()),
        Kind::Put => (Method::PUT, format!("/{id}"), vec![id as u8; BODY]),
        Kind::Post => (Method::POST, format!("/count/{id}"), Vec::new()),
        Kind::Stream => (Method::GET, "/events".to_owned(), Vec::new()),
    };
    let mut request = client.request(method, format!("{url}{path}"));
    request = request.insert_header(("X-Request-ID", (100_000 + id % 900_000).to_string()));
    if kind == Kind::FreshGet {
        request = request.force_close();
    }
    let sent = request.send_body(body.clone()).await;
    let mut response = sent.map_err(|error| error.to_string())?;
    let status = response.status();
    if kind == Kind::Stream && status.is_success() {
        for _ in 0..EVENTS {
            match response.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the stream ended".to_owned()),
            }
        }
        return Ok(());
    }
    let answer = response.body().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)));
    }
    if kind == Kind::Put && answer != body {
        return Err("another body came back".to_owned());
    }
    Ok(())
}
