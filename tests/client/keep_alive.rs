//! Connections that have nothing to say for a while: they cost little, go on where they were,
//! and end when their time is over.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::wire::{Scripted, in_time, rest};
use crate::support::{Ringmaster, eventually, resident_kib, sockets_of};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET /get HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &str = "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\r\n\r\n";
const CHUNKS: &str = "POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n";

/// Longer than a connection is idle before it is parked.
const PAUSE: Duration = Duration::from_millis(1_500);

async fn connect(balancer: &Ringmaster) -> TcpStream {
    TcpStream::connect(balancer.address()).await.unwrap()
}

async fn say(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
}

/// Waits for this many responses, all of them successful.
async fn read_answers(client: &mut TcpStream, count: usize, story: &str) {
    let mut got = Vec::new();
    let ends = |got: &[u8]| got.windows(6).filter(|end| *end == b"\r\n\r\nok").count();
    while ends(&got) < count {
        let read = in_time(client.read_buf(&mut got)).await.unwrap();
        let text = String::from_utf8_lossy(&got);
        assert!(read > 0, "{story}: the end after {text:?}");
    }
    let text = String::from_utf8(got).unwrap();
    assert_eq!(
        text.matches(" 200 OK\r\n").count(),
        count,
        "{story}: {text}"
    );
}

#[actix_web::test]
async fn idle_connection_costs_little_memory() {
    // The second is one that actix has had.
    for request in [GET, CHUNKS] {
        idle_after(request).await;
    }
}

async fn idle_after(request: &str) {
    // As many as a process may usually have without asking for more.
    const CONNECTIONS: u64 = 900;
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&[]).await;
    let mut warm = connect(&balancer).await;
    for _ in 0..100 {
        say(&mut warm, request).await;
        read_answers(&mut warm, 1, "").await;
    }
    let before = resident_kib(balancer.pid());
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = connect(&balancer).await;
        say(&mut client, request).await;
        read_answers(&mut client, 1, "").await;
        clients.push(client);
    }
    // With actix's buffers it would be 15 KiB each. It is 3, and what they left may still be there
    // for those that fell asleep last.
    eventually("little memory", || async {
        resident_kib(balancer.pid()) < before + CONNECTIONS * 8
    })
    .await;
    for client in &mut clients {
        say(client, request).await;
        read_answers(client, 1, "").await;
    }
    drop(clients);
    let open = || sockets_of(balancer.pid());
    eventually("the end of those who left", || async { open() < 100 }).await;
}

/// What a client says before a pause, how many answers that gets, and what it says after it,
/// which gets one more.
#[rustfmt::skip] // One line a case.
const PAUSES: &[(&str, &str, usize, &[&str])] = &[
    ("a request", GET, 1, &[GET]),
    ("nothing", "", 0, &[GET]),
    ("an empty line", "\r\n", 0, &[GET]),
    ("two at once", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", 2, &[GET]),
    ("a request, then one in pieces", GET, 1, &["GET /pieces HT", "TP/1.1\r\nHost: ", "x\r\n\r", "\n"]),
    ("a request and a bit", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nG", 1, &["ET /bit HTTP/1.1\r\nHost: x\r\n\r\n"]),
    ("a request and a line", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /line HTTP/1.1\r\n", 1, &["Host: x\r\n\r\n"]),
    ("a request and most of a head", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /most HTTP/1.1\r\nHost: x\r\n", 1, &["\r\n"]),
    ("a request and empty lines", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\n", 1, &[GET]),
    ("a body", POST, 1, &[GET]),
    ("a body, then another", POST, 1, &[POST]),
    ("chunks", CHUNKS, 1, &[CHUNKS]),
    ("a request, then a body", GET, 1, &[POST]),
    ("a request, then a body later than its head", GET, 1, &["POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", "\r\n\r\n"]),
    ("half a body that looks like a head's end", "POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n\r\n\r\n", 0, &["\r\n"]),
    ("an older version that stays", "GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", 1, &[GET]),
];

#[actix_web::test]
async fn idle_connection_serves_the_next_request() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&[]).await;
    futures::future::join_all(PAUSES.iter().map(async |(story, before, answers, after)| {
        let mut client = connect(&balancer).await;
        // Twice, because waking up is something new for a connection, too.
        for _ in 0..2 {
            say(&mut client, before).await;
            read_answers(&mut client, *answers, story).await;
            tokio::time::sleep(PAUSE).await;
            for (index, piece) in after.iter().enumerate() {
                say(&mut client, piece).await;
                if index + 1 < after.len() {
                    tokio::time::sleep(PAUSE / 10).await;
                }
            }
            read_answers(&mut client, 1, story).await;
        }
    }))
    .await;
    let heard = replica.take_requests();
    for path in ["/pieces", "/bit", "/line", "/most", "/late", "/half"] {
        let times = heard
            .iter()
            .filter(|request| request.contains(&format!(" {path} ")))
            .count();
        assert_eq!(times, 2, "{path}");
    }
}

#[actix_web::test]
async fn idle_connection_closes_silently_after_its_timeout() {
    let replica = Scripted::saying(OK).await;
    for time in ["100ms", "1500ms"] {
        let balancer = replica.balancer(&["--keep-alive-timeout", time]).await;
        futures::future::join_all([GET, POST, CHUNKS].map(async |request| {
            let mut client = connect(&balancer).await;
            say(&mut client, request).await;
            read_answers(&mut client, 1, "").await;
            assert_eq!(in_time(rest(&mut client)).await, "", "{request}");
        }))
        .await;
    }
}

/// Eight clients hold all eight connections, with an hour of time. The ninth is served.
#[actix_web::test]
async fn idle_connection_is_closed_for_a_new_one_at_the_limit() {
    let replica = Scripted::saying(OK).await;
    let args = [
        "--max-connections",
        "8",
        "--keep-alive-timeout",
        "1h",
        "--header-timeout",
        "300ms",
    ];
    let balancer = replica.balancer(&args).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut client = connect(&balancer).await;
        say(&mut client, GET).await;
        read_answers(&mut client, 1, "").await;
        idle.push(client);
    }
    let mut ninth = connect(&balancer).await;
    say(&mut ninth, GET).await;
    read_answers(&mut ninth, 1, "").await;
}

#[actix_web::test]
async fn idle_connection_does_not_delay_the_stop() {
    let replica = Scripted::saying(OK).await;
    let args = [
        "--keep-alive-timeout",
        "1h",
        "--header-timeout",
        "1h",
        "--drain-timeout",
        "1h",
    ];
    let balancer = replica.balancer(&args).await;
    let mut clients = Vec::new();
    for said in ["", GET, POST] {
        let mut client = connect(&balancer).await;
        say(&mut client, said).await;
        read_answers(&mut client, usize::from(!said.is_empty()), "").await;
        clients.push(client);
    }
    tokio::time::sleep(PAUSE).await;
    let (status, log) = in_time(balancer.terminate()).await;
    assert!(status.success(), "{log}");
    for mut client in clients {
        assert_eq!(in_time(rest(&mut client)).await, "");
    }
}
