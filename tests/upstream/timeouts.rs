//! What takes too long is ended, and each end says what it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::wire::{Scripted, in_time, rest, told};
use crate::support::{Ringmaster, eventually};

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A server that begins each answer alike and then says a piece again and again, or nothing.
struct Trickling {
    port: u16,
    open: Arc<AtomicUsize>,
}

impl Trickling {
    async fn start(begin: &'static str, piece: &'static [u8], every: Option<Duration>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&open);
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let open = Arc::clone(&counted);
                actix_web::rt::spawn(async move {
                    open.fetch_add(1, Ordering::SeqCst);
                    let _ = trickle(stream, begin, piece, every).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, open }
    }

    /// A balancer over it, and no connection left of its start.
    async fn balancer(&self, args: &[&str]) -> Ringmaster {
        let upstream = format!("127.0.0.1:{}", self.port);
        // Heartbeats would be connections, too.
        let common = ["--workers", "1", "--heartbeat-interval", "1h", "--upstream"];
        let balancer = Ringmaster::ready(&[&common[..], &[upstream.as_str()], args].concat()).await;
        self.is_left().await;
        balancer
    }

    async fn is_left(&self) {
        eventually("no connection is left", || async {
            self.open.load(Ordering::SeqCst) == 0
        })
        .await;
    }
}

async fn trickle(
    mut stream: TcpStream,
    begin: &str,
    piece: &[u8],
    every: Option<Duration>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    if request.starts_with(b"GET /heartbeat ") {
        let well = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return stream.write_all(well).await;
    }
    stream.write_all(begin.as_bytes()).await?;
    match every {
        Some(pause) => loop {
            stream.write_all(piece).await?;
            tokio::time::sleep(pause).await;
        },
        None => {
            stream.write_all(piece).await?;
            // Until the other side has had enough.
            while stream.read_buf(&mut request).await? > 0 {}
            Ok(())
        }
    }
}

#[actix_web::test]
async fn request_body_that_pauses_gets_408() {
    let replica = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let balancer = replica.balancer(&["--body-timeout", "200ms"]).await;
    for head in [
        "content-length: 10\r\n\r\nabc",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let request = format!("POST /x HTTP/1.1\r\nHost: x\r\n{head}");
        let answer = told(balancer.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{head:?}: {answer}");
        assert!(answer.contains("did not come in time"), "{answer}");
    }
    // The replica is not to blame.
    assert_eq!(balancer.count_in_log("WARN"), 0, "{}", balancer.log());
}

#[actix_web::test]
async fn upload_that_moves_outlives_the_response_timeout() {
    let replica = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let balancer = replica.balancer(&["--response-timeout", "400ms"]).await;
    let mut client = TcpStream::connect(balancer.address()).await.unwrap();
    let head = b"PUT /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\ncontent-length: 10\r\n\r\n";
    client.write_all(head).await.unwrap();
    for _ in 0..10 {
        // Slow on purpose: all in all longer than the response may take.
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.write_all(b"x").await.unwrap();
    }
    let answer = in_time(rest(&mut client)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[actix_web::test]
async fn response_timeouts_have_their_own_errors() {
    let silent = Trickling::start("", b"", None).await;
    for (args, status, text, log) in [
        (
            ["--response-timeout", "200ms"],
            504,
            "did not respond in time",
            "no response within --response-timeout",
        ),
        (
            ["--request-timeout", "200ms"],
            504,
            "took longer than it may",
            "no response within --request-timeout",
        ),
    ] {
        let balancer = silent.balancer(&args).await;
        let answer = told(balancer.address(), GET).await;
        let begin = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&begin), "{args:?}: {answer}");
        assert!(answer.contains(text), "{args:?}: {answer}");
        eventually("the log says so", || async {
            balancer.count_in_log(log) == 1
        })
        .await;
    }
}

#[actix_web::test]
async fn response_that_pauses_or_never_ends_is_aborted() {
    const SIZED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    const CHUNK: &[u8] = b"1\r\na\r\n";
    let often = Some(Duration::from_millis(20));
    for (begin, piece, every, args, log) in [
        (
            SIZED,
            &b"a"[..],
            None,
            ["--idle-timeout", "200ms"],
            "--idle-timeout",
        ),
        (
            CHUNKED,
            CHUNK,
            None,
            ["--idle-timeout", "200ms"],
            "--idle-timeout",
        ),
        (
            SIZED,
            b"a",
            often,
            ["--request-timeout", "300ms"],
            "--request-timeout",
        ),
        (
            CHUNKED,
            CHUNK,
            often,
            ["--request-timeout", "300ms"],
            "--request-timeout",
        ),
    ] {
        let replica = Trickling::start(begin, piece, every).await;
        let balancer = replica.balancer(&args).await;
        let answer = told(balancer.address(), GET).await;
        let story = format!("{args:?} {answer:?} {}", balancer.log());
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains('a'),
            "{story}"
        );
        assert!(!answer.ends_with("0\r\n\r\n"), "a clean end: {story}");
        let line = "is broken off";
        eventually("the log says so", || async {
            balancer.count_in_log(line) > 0
        })
        .await;
        assert_eq!(balancer.count_in_log(line), 1, "{story}");
        assert_eq!(balancer.count_in_log(log), 1, "{story}");
        replica.is_left().await;
    }
}

#[actix_web::test]
async fn response_that_moves_outlives_the_idle_timeout() {
    let every = Some(Duration::from_millis(50));
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n";
    let replica = Trickling::start(head, b"a", every).await;
    let balancer = replica.balancer(&["--idle-timeout", "400ms"]).await;
    let answer = told(balancer.address(), GET).await;
    assert!(answer.ends_with(&"a".repeat(20)), "{answer}");
}

#[actix_web::test]
async fn stalled_reader_is_disconnected() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let replica = Trickling::start(head, b"8\r\naaaaaaaa\r\n", Some(Duration::ZERO)).await;
    let balancer = replica.balancer(&["--idle-timeout", "500ms"]).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket
        .connect(balancer.address().parse().unwrap())
        .await
        .unwrap();
    client.write_all(GET).await.unwrap();
    eventually("the replica is asked", || async {
        replica.open.load(Ordering::SeqCst) == 1
    })
    .await;
    replica.is_left().await;
}

#[actix_web::test]
async fn silent_tunnel_ends_after_its_timeout() {
    let agreed =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let replica = Trickling::start(agreed, b"", None).await;
    let balancer = replica.balancer(&["--tunnel-timeout", "300ms"]).await;
    let mut client = TcpStream::connect(balancer.address()).await.unwrap();
    let ask = b"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    client.write_all(ask).await.unwrap();
    for _ in 0..10 {
        // Traffic keeps it open beyond its timeout.
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.write_all(b"hello").await.unwrap();
    }
    assert_eq!(
        balancer.count_in_log("ends, silent for"),
        0,
        "{}",
        balancer.log()
    );
    let answer = in_time(rest(&mut client)).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    eventually("the end is logged", || async {
        balancer.count_in_log("ends, silent for 300 ms") == 1
    })
    .await;
    replica.is_left().await;
}
