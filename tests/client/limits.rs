//! What clients may not do without end: one row each, over raw sockets.

use actix_web::rt;

use awc::http::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::wire::{Scripted, in_time, rest, told, values};
use crate::support::{Ringmaster, ask, eventually, forget_peak, free_port, get, peak_kib};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// What every refused request has behind it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// Bodies for a limit of 8 bytes: the status, and whether a replica hears of the request.
#[rustfmt::skip] // One line a case, whatever its length.
const BODIES: &[(u16, &str, &str)] = &[
    (200, "as long as is allowed", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n12345678"),
    (200, "as long as is allowed, in chunks", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n4\r\n5678\r\n0\r\n\r\n"),
    (200, "of no length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
    (200, "none", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (413, "a byte too long", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789"),
    (413, "too long, and not there yet", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"),
    (413, "too long, and idempotent", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789"),
    (413, "as long as lengths can be", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n"),
    (413, "a chunk too long", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n"),
    (413, "a chunk too many", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n1\r\n9\r\n0\r\n\r\n"),
    (413, "a chunk too many, and idempotent", "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n1\r\n9\r\n0\r\n\r\n"),
];

#[actix_web::test]
async fn body_too_large_gets_413_and_reaches_no_replica() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&["--max-body", "8"]).await;
    for (status, what, request) in BODIES {
        let closing = if *status == 200 {
            let fields = format!(
                "\r\nConnection: close\r\n{}",
                &request[request.find("Host").unwrap()..]
            );
            format!("{}{fields}", request.lines().next().unwrap())
        } else {
            format!("{request}{SMUGGLED}")
        };
        let got = told(balancer.address(), closing.as_bytes()).await;
        let first = got.split(' ').nth(1).and_then(|status| status.parse().ok());
        assert_eq!(first, Some(*status), "{what}: {got}");
        assert_eq!(values(&got, "connection"), ["close"], "{what}: {got}");
        assert_eq!(got.matches("\r\n\r\n").count(), 1, "{what}: {got}");
        let heard = usize::from(*status == 200);
        assert_eq!(replica.take_requests().len(), heard, "{what}");
    }
    assert_eq!(balancer.count_in_log("WARN"), 0);
    assert_eq!(
        ask(Method::GET, &balancer.url("/"), None).await.status,
        StatusCode::OK
    );
}

/// A client that has sent much of it must be able to read the response before the close.
#[actix_web::test]
async fn body_too_large_gets_413_while_it_is_sent() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&["--max-body", "1m"]).await;
    for framing in ["Content-Length: 4194304", "Transfer-Encoding: chunked"] {
        let mut client = TcpStream::connect(balancer.address()).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let chunk = format!("10000\r\n{}\r\n", "a".repeat(65_536));
        let body = chunk.repeat(64);
        let (mut reading, mut writing) = client.into_split();
        let sent = async move {
            // The balancer may have had enough of it.
            let _ = writing.write_all(body.as_bytes()).await;
            writing
        };
        let (got, _) = in_time(futures::future::join(rest(&mut reading), sent)).await;
        assert!(got.starts_with("HTTP/1.1 413 "), "{framing}: {got}");
        assert!(got.contains("is larger than this server allows"), "{got}");
    }
}

/// A client that sends `Expect: 100-continue` gets the refusal at once and sends no body.
#[actix_web::test]
async fn body_too_large_gets_no_100_continue() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&["--max-body", "8"]).await;
    for (status, host, framing, body) in [
        ("413", "x", "Content-Length: 9", "123456789"),
        ("400", "x y", "Content-Length: 8", "12345678"),
        ("400", "x y", "Transfer-Encoding: chunked", "0\r\n\r\n"),
    ] {
        let request =
            format!("PUT / HTTP/1.1\r\nHost: {host}\r\n{framing}\r\nExpect: 100-continue\r\n\r\n");
        let got = told(balancer.address(), request.as_bytes()).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
        assert_eq!(values(&got, "connection"), ["close"], "{got}");
        assert!(got.ends_with("\"status\":\"failure\"}"), "{got}");
        // Input behind a refusal is discarded, and no 100 is sent.
        let behind = format!("{request}{body}{request}{body}{SMUGGLED}");
        let got = told(balancer.address(), behind.as_bytes()).await;
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{got}");
    }
    assert_eq!(replica.take_requests(), [""; 0]);
    let good = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n12345678";
    let got = told(balancer.address(), good.as_bytes()).await;
    let expected = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(got.starts_with(expected), "{got}");
}

/// Clients that say all they have to say while no replica is there; every other in chunks of
/// a byte, each of which takes as much memory as one of forty.
#[actix_web::test]
async fn queued_request_buffers_little_of_its_body_and_sends_it_later() {
    const CLIENTS: usize = 50;
    const BODY: usize = 128 * 1024;
    /// What a waiting request has in memory: its task, its head, what was read in one go.
    const MAX_KIB_EACH: u64 = 256;
    // A port without a listener yet.
    let port = free_port();
    let upstream = format!("127.0.0.1:{port}");
    #[rustfmt::skip] // One line an option.
    let balancer = Ringmaster::start(&[
        "--workers", "1",
        "--upstream", &upstream,
        "--admin", "127.0.0.1:0",
        "--wait-timeout", "60s",
    ]);
    let before = forget_peak(balancer.pid());

    let large = format!("Content-Length: {BODY}\r\n\r\n{}", "a".repeat(BODY));
    let tiny = "1\r\na\r\n".repeat(BODY / 6);
    let tiny = format!("Transfer-Encoding: chunked\r\n\r\n{tiny}0\r\n\r\n");
    let clients = (0..CLIENTS).map(|client| {
        let body = if client % 2 == 0 { &large } else { &tiny };
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{body}");
        let address = balancer.address().to_owned();
        rt::spawn(async move { told(&address, request.as_bytes()).await })
    });
    let clients: Vec<_> = clients.collect();
    let status = balancer.status_url().await;
    eventually("all wait", || async {
        get(&status).await.body["counters"]["queued"] == CLIENTS
    })
    .await;
    let grown = peak_kib(balancer.pid()).saturating_sub(before);
    assert!(grown < MAX_KIB_EACH * CLIENTS as u64, "grew by {grown} KiB");

    let replica = Scripted::answering_at(port, |_| OK.as_bytes().to_vec()).await;
    for client in clients {
        let got = client.await.unwrap();
        assert!(got.starts_with("HTTP/1.1 200 OK"), "{got}");
    }
    let requests = replica.take_requests();
    let of_kind = |piece: &str| requests.iter().filter(|all| all.contains(piece)).count();
    assert_eq!(requests.len(), CLIENTS);
    assert_eq!(of_kind(&"a".repeat(BODY)), CLIENTS / 2);
}

/// actix's limits on a head, which it refuses itself.
#[actix_web::test]
async fn head_limits_are_96_headers_and_128_kib() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&[]).await;
    let fields = |count: usize| "X-A: b\r\n".repeat(count - 2);
    let bytes = |count: usize| format!("X-A: {}\r\n", "b".repeat(count - 64));
    for (status, what, fields) in [
        (200, "96 fields", fields(96)),
        (431, "97 fields", fields(97)),
        (200, "a little less than 128 KiB", bytes(128 * 1024)),
        (431, "more than that", bytes(128 * 1024 + 64)),
        (431, "much more", bytes(1024 * 1024)),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        let got = told(balancer.address(), request.as_bytes()).await;
        let first = got.split(' ').nth(1).and_then(|status| status.parse().ok());
        assert_eq!(first, Some(status), "{what}: {got}");
        assert_eq!(values(&got, "connection"), ["close"], "{what}: {got}");
        let heard = usize::from(status == 200);
        assert_eq!(replica.take_requests().len(), heard, "{what}");
    }
}
