//! Worker threads that accept for themselves: who gets a connection, how many at once, and what
//! becomes of them in the end.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use futures::future::join_all;
use ringmaster::config::Limits;
use ringmaster::http::{self, Server, ServerSettings, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::support::wire::{in_time, rest};
use crate::support::{MAX_WAIT, Ringmaster, eventually};

/// Starts a server with these limits and returns it with its address.
async fn serve(
    workers: usize,
    max_connections: usize,
    drain_timeout: Duration,
    site: impl Fn() -> Site + Clone + Send + 'static,
) -> (Server, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let settings = ServerSettings {
        workers: NonZeroUsize::new(workers).unwrap(),
        max_connections: NonZeroUsize::new(max_connections).unwrap(),
        client_limit: None,
        limits: Limits {
            header_timeout: MAX_WAIT,
            keep_alive_timeout: MAX_WAIT,
            half_closed_timeout: None,
            min_body_rate: None,
            idle_timeout: MAX_WAIT,
            drain_timeout,
            ..Limits::default()
        },
        stats: Arc::default(),
    };
    let server = http::serve(settings, listener, Arc::default(), site).await;
    (server.unwrap(), address)
}

/// A site that answers so to each path.
fn site<F>(answer: impl Fn(String) -> F + Clone + 'static) -> Site
where
    F: Future<Output = String> + 'static,
{
    let answer = move |request: ServiceRequest| {
        let text = answer(request.path().to_owned());
        async move { Ok(request.into_response(HttpResponse::Ok().body(text.await))) }
    };
    Site::new(answer)
}

/// Answers with the thread that does.
fn who() -> Site {
    site(|_| async { format!("{:?}", std::thread::current().id()) })
}

/// Does not answer to `/slow` before it may.
fn slow(may: &Arc<Semaphore>) -> impl Fn() -> Site + Clone + Send + 'static {
    let may = Arc::clone(may);
    move || {
        let may = Arc::clone(&may);
        site(move |path| {
            let may = Arc::clone(&may);
            async move {
                if path != "/slow" {
                    return "at once".to_owned();
                }
                may.acquire().await.unwrap().forget();
                "slowly".to_owned()
            }
        })
    }
}

/// A connection that stays.
struct Client(TcpStream);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn say(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// The body of an answer.
    async fn hear(&mut self) -> String {
        let mut got = Vec::new();
        loop {
            let read = in_time(self.0.read_buf(&mut got)).await.unwrap();
            let text = String::from_utf8_lossy(&got);
            assert!(read > 0, "the end after {text:?}");
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() == length {
                return body.to_owned();
            }
        }
    }

    async fn ask(&mut self, path: &str) -> String {
        self.say(path).await;
        self.hear().await
    }
}

fn per_thread(threads: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for thread in threads {
        *counts.entry(thread.as_str()).or_insert(0) += 1;
    }
    counts
}

#[actix_web::test]
async fn accept_spreads_connections_evenly_over_threads() {
    for (workers, at_once) in [(2, true), (2, false), (4, true), (4, false)] {
        let story = format!("{workers} threads, at once: {at_once}");
        let (server, address) = serve(workers, 1_000, MAX_WAIT, who).await;
        let mut clients = Vec::new();
        let mut threads = Vec::new();
        if at_once {
            clients = join_all((0..100).map(|_| Client::connect(address))).await;
            let asked = clients.iter_mut().map(|client| client.ask("/"));
            threads = join_all(asked).await;
        } else {
            for _ in 0..100 {
                let mut client = Client::connect(address).await;
                threads.push(client.ask("/").await);
                clients.push(client);
            }
        }
        let counts = per_thread(&threads);
        let even = 100 / workers;
        assert_eq!(counts.len(), workers, "{story}: {counts:?}");
        assert!(
            counts.values().all(|count| *count * 4 >= even * 3),
            "{story}: {counts:?}"
        );
        assert_eq!(server.open(), 100, "{story}");
        drop(clients);
        eventually("their end", async || server.open() == 0).await;
    }
}

#[actix_web::test]
async fn accept_pauses_on_a_full_thread_until_a_connection_ends() {
    let (server, address) = serve(2, 4, MAX_WAIT, who).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(address).await;
        let thread = client.ask("/").await;
        clients.push((thread, client));
    }
    clients.sort_by(|(one, _), (other, _)| one.cmp(other));
    let threads: Vec<_> = clients.iter().map(|(thread, _)| thread.clone()).collect();
    assert_eq!(threads[0], threads[1]);
    assert_eq!(threads[2], threads[3]);
    assert_ne!(threads[1], threads[2]);

    // Each waits for a permit, which a closed connection frees.
    let mut next = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(address).await;
        client.say("/").await;
        next.push(client);
    }
    assert_eq!(server.open(), 4);
    drop(clients.remove(3));
    drop(clients.remove(2));
    for mut client in next {
        assert_eq!(client.hear().await, threads[3]);
        clients.push((threads[3].clone(), client));
    }
    assert_eq!(server.open(), 4);
    drop(clients.remove(0));
    let mut last = Client::connect(address).await;
    assert_eq!(last.ask("/").await, threads[0]);
}

#[actix_web::test]
async fn accept_under_load_is_not_starved() {
    const MANY: usize = 64;
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let answered = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&answered);
    let busy = move || {
        let (held, seen) = (Arc::clone(&held), Arc::clone(&seen));
        site(move |path| {
            if path == "/hold" {
                // It keeps its thread from everything else.
                let _ = held.lock().unwrap().recv();
            }
            let seen = Arc::clone(&seen);
            async move {
                // Each request takes a turn of its connection's.
                tokio::task::yield_now().await;
                seen.lock().unwrap().push(path.clone());
                path
            }
        })
    };
    let (server, address) = serve(1, 1_000, MAX_WAIT, busy).await;
    let mut open = join_all((0..MANY).map(|_| Client::connect(address))).await;
    join_all(open.iter_mut().map(|client| client.ask("/first"))).await;
    let mut holder = Client::connect(address).await;
    holder.say("/hold").await;
    eventually("it is in", async || server.open() == MANY + 1).await;

    for client in &mut open {
        let requests = "GET /open HTTP/1.1\r\nHost: x\r\n\r\n".repeat(40);
        client.0.write_all(requests.as_bytes()).await.unwrap();
    }
    let mut new = join_all((0..MANY).map(|_| Client::connect(address))).await;
    for client in &mut new {
        client.say("/new").await;
    }
    let_go.send(()).unwrap();
    for client in &mut new {
        assert_eq!(client.hear().await, "/new");
    }
    let answered = answered.lock().unwrap().clone();
    let last = answered.iter().rposition(|path| path == "/new").unwrap();
    let before = answered[..last].iter().filter(|path| *path == "/open");
    let before = before.count();
    // Some turns pass until they are read and answered; thirty did when they were let in by fours.
    assert!(
        before <= 8 * MANY,
        "{before} answers to those who were there"
    );
}

#[actix_web::test]
async fn handler_panic_ends_only_its_connection() {
    let bad = || {
        site(async |path| {
            assert_ne!(path, "/bad", "this is on purpose");
            path
        })
    };
    let (server, address) = serve(1, 1, MAX_WAIT, bad).await;
    for _ in 0..3 {
        let mut client = Client::connect(address).await;
        client.say("/bad").await;
        let mut nothing = Vec::new();
        let _ = in_time(client.0.read_to_end(&mut nothing)).await;
        assert_eq!(nothing, b"");
        // It has left its place, the only one.
        let mut client = Client::connect(address).await;
        assert_eq!(client.ask("/good").await, "/good");
    }
    eventually("the end", async || server.open() == 0).await;
}

#[actix_web::test]
async fn stop_closes_idle_connections_and_waits_for_requests_in_flight() {
    let may = Arc::new(Semaphore::new(0));
    let (server, address) = serve(2, 100, Duration::from_secs(3600), slow(&may)).await;
    let mut idle: Vec<_> = join_all((0..10).map(|_| Client::connect(address))).await;
    for client in idle.iter_mut().skip(2) {
        assert_eq!(client.ask("/").await, "at once");
    }
    let mut busy = join_all((0..10).map(|_| Client::connect(address))).await;
    for client in &mut busy {
        client.say("/slow").await;
    }
    eventually("all in", async || server.open() == 20).await;
    let stopped = actix_web::rt::spawn(server.stop());
    for mut client in idle {
        assert_eq!(in_time(rest(&mut client.0)).await, "");
    }
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!stopped.is_finished());
    may.add_permits(10);
    for mut client in busy {
        assert_eq!(client.hear().await, "slowly");
        assert_eq!(in_time(rest(&mut client.0)).await, "");
    }
    in_time(stopped).await.unwrap();
}

#[actix_web::test]
async fn stop_answers_connections_in_the_accept_queue() {
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let hold = move || {
        let held = Arc::clone(&held);
        site(move |path| {
            let answer = match path.as_str() {
                "/hold" => {
                    // It keeps its thread from everything else.
                    let _ = held.lock().unwrap().recv();
                    "let go"
                }
                _ => "in time",
            };
            async { answer.to_owned() }
        })
    };
    let (server, address) = serve(1, 100, Duration::from_secs(3600), hold).await;
    let mut holder = Client::connect(address).await;
    holder.say("/hold").await;
    eventually("it is in", async || server.open() == 1).await;
    let mut queue = join_all((0..20).map(|_| Client::connect(address))).await;
    for client in &mut queue {
        client.say("/").await;
    }
    let stopped = actix_web::rt::spawn(server.stop());
    // So that the stop has begun.
    tokio::task::yield_now().await;
    let_go.send(()).unwrap();
    assert_eq!(holder.hear().await, "let go");
    for client in &mut queue {
        assert_eq!(client.hear().await, "in time");
    }
    in_time(stopped).await.unwrap();
}

#[actix_web::test]
async fn thread_that_ends_fails_the_server() {
    let ends = || {
        site(async |_| {
            actix::Arbiter::current().stop();
            "the end".to_owned()
        })
    };
    let (mut server, address) = serve(2, 100, MAX_WAIT, ends).await;
    let mut client = Client::connect(address).await;
    client.say("/end").await;
    let error = in_time(server.failed()).await;
    assert!(error.to_string().contains("has ended"), "{error}");
}

#[actix_web::test]
async fn stop_is_bounded_by_the_drain_timeout() {
    let may = Arc::new(Semaphore::new(0));
    let (server, address) = serve(2, 100, Duration::from_millis(100), slow(&may)).await;
    let mut client = Client::connect(address).await;
    client.say("/slow").await;
    eventually("it is in", async || server.open() == 1).await;
    in_time(server.stop()).await;
    let mut nothing = Vec::new();
    let _ = in_time(client.0.read_to_end(&mut nothing)).await;
    assert_eq!(nothing, b"");
}

#[actix_web::test]
async fn address_in_use_is_reported() {
    let first = Ringmaster::ready(&["--replicas", "1"]).await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["--replicas", "1", "--listen", first.address()])
        .output()
        .unwrap();
    let told = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains("Address already in use"), "{told}");
}
