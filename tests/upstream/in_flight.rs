//! What replicas are spared: more requests at once than they may have, and retry storms.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use awc::http::StatusCode;
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::support::wire::{self, Scripted};
use crate::support::{Ringmaster, client, eventually};

/// A server that answers a request only when it is told to, and counts those it holds.
struct Holding {
    port: u16,
    held: Arc<AtomicUsize>,
    most_held: Arc<AtomicUsize>,
    let_go: Arc<Semaphore>,
}

impl Holding {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let holding = Self {
            port: listener.local_addr().unwrap().port(),
            held: Arc::default(),
            most_held: Arc::default(),
            let_go: Arc::new(Semaphore::new(0)),
        };
        let (held, most) = (Arc::clone(&holding.held), Arc::clone(&holding.most_held));
        let let_go = Arc::clone(&holding.let_go);
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (held, most) = (Arc::clone(&held), Arc::clone(&most));
                let let_go = Arc::clone(&let_go);
                actix_web::rt::spawn(async move { hold(stream, &held, &most, &let_go).await });
            }
        });
        holding
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    fn most_held(&self) -> usize {
        self.most_held.load(Ordering::SeqCst)
    }

    async fn balancer(replicas: &[&Self], args: &[&str]) -> Ringmaster {
        let upstreams = replicas
            .iter()
            .map(|r| format!("--upstream=127.0.0.1:{}", r.port));
        let upstreams: Vec<String> = upstreams.collect();
        let upstreams: Vec<&str> = upstreams.iter().map(String::as_str).collect();
        Ringmaster::ready(&[&upstreams, args].concat()).await
    }
}

async fn hold(mut stream: TcpStream, held: &AtomicUsize, most: &AtomicUsize, let_go: &Semaphore) {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let mut request = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut request).await {
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        if !request.starts_with(b"GET /heartbeat ") {
            let now = held.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            let_go.acquire().await.unwrap().forget();
            held.fetch_sub(1, Ordering::SeqCst);
        }
        request.clear();
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// Sends this many requests at once and returns their statuses in the order of the responses.
fn send(balancer: &Ringmaster, requests: usize) -> actix_web::rt::task::JoinHandle<Vec<u16>> {
    let url = balancer.url("/x");
    let one = move |_| {
        let sent = client().get(&url).send();
        async move { sent.await.map_or(0, |response| response.status().as_u16()) }
    };
    actix_web::rt::spawn(join_all((0..requests).map(one)))
}

#[actix_web::test]
async fn in_flight_limit_queues_the_excess() {
    let (first, second) = (Holding::start().await, Holding::start().await);
    let balancer = Holding::balancer(
        &[&first, &second],
        &["--max-in-flight", "3", "--workers", "2"],
    )
    .await;
    let answers = send(&balancer, 40);
    eventually("both are full", || async {
        first.held() == 3 && second.held() == 3
    })
    .await;
    // Each that ends wakes one that waits, whichever thread it is on.
    first.let_go.add_permits(40);
    second.let_go.add_permits(40);
    assert_eq!(answers.await.unwrap(), [200; 40]);
    assert_eq!((first.most_held(), second.most_held()), (3, 3));
}

#[actix_web::test]
async fn queue_timeout_or_full_queue_gets_503_with_retry_after() {
    let replica = Holding::start().await;
    let args = [
        "--max-in-flight",
        "1",
        "--max-waiting",
        "2",
        "--wait-timeout",
        // All of five requests have to come while the first two wait.
        "2s",
    ];
    let balancer = Holding::balancer(&[&replica], &args).await;
    let served = send(&balancer, 1);
    eventually("it is full", || async { replica.held() == 1 }).await;
    let url = balancer.url("/x");
    let asked = (0..5).map(|_| {
        let sent = client().get(&url).send();
        async move {
            let mut response = sent.await.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers().contains_key("retry-after"));
            String::from_utf8(response.body().await.unwrap().to_vec()).unwrap()
        }
    });
    let told = join_all(asked).await;
    let busy = told
        .iter()
        .filter(|text| text.contains("every replica has as many"));
    let seated = told
        .iter()
        .filter(|text| text.contains("too many requests wait"));
    assert_eq!((busy.count(), seated.count()), (2, 3), "{told:?}");
    eventually("the log tells of it", || async {
        balancer.count_in_log("overload: requests got 503 because every replica is as busy") == 1
    })
    .await;
    replica.let_go.add_permits(1);
    assert_eq!(served.await.unwrap(), [200]);
    // The end is told at the stop, if not before.
    let (status, log) = balancer.terminate().await;
    assert!(status.success(), "{log}");
    assert!(
        log.contains("overload is over: 5 requests got 503"),
        "{log}"
    );
}

#[actix_web::test]
async fn retry_budget_bounds_the_load_when_everything_fails() {
    let (first, second) = (
        Scripted::answering(|_| Vec::new()).await,
        Scripted::answering(|_| Vec::new()).await,
    );
    let upstreams = [&first, &second].map(|one| format!("--upstream=127.0.0.1:{}", one.port));
    let [a, b] = &upstreams;
    let budget = ["--retry-budget", "1", "--max-in-flight", "4"];
    let others = ["--workers", "1", "--outlier-failures", "0"];
    let balancer = Ringmaster::ready(&[&[a.as_str(), b], &budget[..], &others].concat()).await;
    let begun = Instant::now();
    for _ in 0..50 {
        let answer = client().get(balancer.url("/x")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    }
    // Four at once and three a second.
    let re_sent = first.take_requests().len() + second.take_requests().len() - 50;
    let allowed = 4 + 3 * (1 + begun.elapsed().as_secs() as usize);
    assert!((4..=allowed).contains(&re_sent), "{re_sent} of {allowed}");
}

#[actix_web::test]
async fn failure_without_budget_or_retry_is_returned() {
    for args in [
        ["--retry-budget", "0"],
        ["--retry", "never"],
        ["--retry", "unsent"],
    ] {
        let (first, second) = (
            Scripted::answering(|_| Vec::new()).await,
            Scripted::answering(|_| Vec::new()).await,
        );
        let upstreams = [&first, &second].map(|one| format!("--upstream=127.0.0.1:{}", one.port));
        let [a, b] = &upstreams;
        let line = [a.as_str(), b, args[0], args[1], "--outlier-failures", "0"];
        let balancer = Ringmaster::ready(&line).await;
        for _ in 0..10 {
            let answer = client().get(balancer.url("/x")).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        }
        let sent = first.take_requests().len() + second.take_requests().len();
        assert_eq!(sent, 10, "{args:?}");
    }
}

#[actix_web::test]
async fn connections_per_client_are_limited_except_of_trusted_proxies() {
    let limit = "--max-connections-per-client=2";
    let balancer = Ringmaster::ready(&["--replicas=1", "--workers=2", limit]).await;
    let told = async || {
        let mut stream = TcpStream::connect(balancer.address()).await.unwrap();
        let get = b"GET /home HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(get).await.unwrap();
        let mut got = Vec::new();
        while !got.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = wire::in_time(stream.read_buf(&mut got)).await.unwrap();
            assert!(read > 0, "{got:?}");
        }
        (stream, String::from_utf8(got).unwrap())
    };
    // The test's own look whether it is ready had a connection, too.
    let mut held = Vec::new();
    while held.len() < 2 {
        let (stream, got) = told().await;
        if got.starts_with("HTTP/1.1 200 ") {
            held.push(stream);
        }
    }
    let (mut refused, got) = told().await;
    assert!(got.starts_with("HTTP/1.1 429 "), "{got}");
    assert!(got.contains("connection: close"), "{got}");
    // With its end.
    wire::rest(&mut refused).await;
    drop(held.pop());
    while !told().await.1.starts_with("HTTP/1.1 200 ") {}

    let balancer = Ringmaster::ready(&[
        "--replicas=1",
        "--max-connections-per-client=1",
        "--trusted-proxy=127.0.0.0/8",
    ])
    .await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(balancer.address()).await.unwrap();
        stream
            .write_all(b"GET /home HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut got = [0; 12];
        wire::in_time(stream.read_exact(&mut got)).await.unwrap();
        assert_eq!(&got, b"HTTP/1.1 200");
        held.push(stream);
    }
}
