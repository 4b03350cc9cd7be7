//! Slow clients: a connection without progress times out, and a slow one with progress
//! does not.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::Ringmaster;
use crate::support::wire::{Scripted, in_time, rest};

/// What a head may take here.
const TIMEOUT: Duration = Duration::from_millis(200);
/// By then it is noticed that one has taken longer.
const LATE: Duration = Duration::from_millis(1_500);
const ARGS: &[&str] = &["--header-timeout", "200ms"];
const GET: &str = "GET /home HTTP/1.1\r\nHost: x\r\n\r\n";
const CHUNKED: &str =
    "POST /home HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
const MALFORMED: &str =
    "POST /home HTTP/1.1\r\nHost: x y\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";

/// What a client does.
#[derive(Debug, Clone, Copy)]
enum Step {
    Says(&'static str),
    /// This many responses, each with a JSON body.
    Reads(usize),
    /// Says this again and again, as slowly as it may.
    Drips(&'static str),
    /// Says this again and again, as fast as it can.
    Floods(&'static str),
}
use Step::{Drips, Floods, Reads, Says};

/// The statuses that it gets before its connection ends.
#[rustfmt::skip] // One line a case, whatever its length.
const SHOWN_OUT: &[(&str, &[Step], &[u16])] = &[
    ("says nothing", &[], &[408]),
    ("half a request line", &[Says("GET / HT")], &[408]),
    ("half a head", &[Says("GET / HTTP/1.1\r\nHost: x\r\n")], &[408]),
    ("a field now and then", &[Says("GET / HTTP/1.1\r\nHost: x\r\n"), Drips("X-A: b\r\n")], &[408]),
    ("a byte now and then", &[Says("GET /"), Drips("a")], &[408]),
    ("half a second head", &[Says(GET), Reads(1), Says("GET / HT")], &[200, 408]),
    ("a field of a second head now and then", &[Says(GET), Reads(1), Says("GET / HTTP/1.1\r\n"), Drips("X-A: b\r\n")], &[200, 408]),
    ("half a third head", &[Says(GET), Reads(1), Says(GET), Reads(1), Says("G")], &[200, 200, 408]),
    ("half a head right behind chunks", &[Says("POST /home HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HT")], &[404, 408]),
    ("half a head after chunks", &[Says(CHUNKED), Says("lo\r\n0\r\n\r\n"), Reads(1), Says("GET / HT")], &[404, 408]),
    ("a body that nobody waits for, and does not come", &[Says(CHUNKED), Reads(1), Says("l")], &[404]),
    ("a body that nobody waits for, without end", &[Says(CHUNKED), Reads(1), Says("lo\r\n"), Floods("5\r\nhello\r\n")], &[404]),
    ("a refused body that does not come", &[Says(MALFORMED)], &[400]),
    ("a refused body without end", &[Says(MALFORMED), Says("lo\r\n"), Floods("5\r\nhello\r\n")], &[400]),
];

#[actix_web::test]
async fn connection_without_progress_times_out() {
    let args = [&["--replicas", "1", "--workers", "1"], ARGS].concat();
    let balancer = Ringmaster::ready(&args).await;
    let address = balancer.address();
    let wrong = futures::future::join_all(SHOWN_OUT.iter().map(async |(story, acts, statuses)| {
        let got = in_time(acted(address, acts)).await;
        let got: Vec<&str> = got.split("HTTP/1.1 ").skip(1).collect();
        let right = got.len() == statuses.len()
            && got.iter().zip(*statuses).all(|(got, status)| got.starts_with(&status.to_string()))
            // Each has something to say.
            && got.iter().all(|got| got.ends_with('}'));
        (!right).then(|| format!("{story}: {statuses:?} expected\n{got:#?}\n"))
    }));
    let wrong: Vec<String> = wrong.await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
    assert_eq!(
        crate::support::get(&balancer.url("/home")).await.status,
        200
    );
    assert_eq!(balancer.count_in_log("WARN"), 0);
}

/// Plays a client, and returns all that it gets until the connection's end.
async fn acted(address: &str, acts: &[Step]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut got = String::new();
    for act in acts {
        match *act {
            Says(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Reads(count) => {
                let wanted = got.matches('}').count() + count;
                while got.matches('}').count() < wanted {
                    let mut buffer = [0; 1024];
                    let count = stream.read(&mut buffer).await.unwrap();
                    assert!(count > 0, "the end after {got:?}");
                    got += str::from_utf8(&buffer[..count]).unwrap();
                }
            }
            Drips(text) => return got + &with_writes(stream, text, TIMEOUT / 4).await,
            Floods(text) => {
                return got + &with_writes(stream, &text.repeat(100), Duration::ZERO).await;
            }
        }
    }
    got + &rest(&mut stream).await
}

/// What comes until the end, while this is said again and again.
async fn with_writes(stream: TcpStream, text: &str, pause: Duration) -> String {
    let (mut reading, mut writing) = stream.into_split();
    let speaks = async {
        // Until the connection is closed.
        while writing.write_all(text.as_bytes()).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        got = rest(&mut reading) => got,
        () = speaks => unreachable!("it never ends"),
    }
}

#[actix_web::test]
async fn empty_line_behind_a_request_begins_no_head() {
    let replica = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let balancer = replica.balancer(ARGS).await;
    for (behind, statuses) in [("\r\n", &["200", "200"][..]), ("\r\nG", &["200", "408"])] {
        let mut client = TcpStream::connect(balancer.address()).await.unwrap();
        client
            .write_all(format!("{GET}{behind}").as_bytes())
            .await
            .unwrap();
        tokio::time::sleep(LATE).await;
        let next = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        // It is over already in the second case.
        let _ = client.write_all(next.as_bytes()).await;
        let mut got = Vec::new();
        let _ = in_time(client.read_to_end(&mut got)).await;
        let got = String::from_utf8_lossy(&got).into_owned();
        let seen: Vec<_> = got
            .split("HTTP/1.1 ")
            .skip(1)
            .map(|one| &one[..3])
            .collect();
        assert_eq!(seen, statuses, "{behind:?}: {got}");
    }
}

#[actix_web::test]
async fn body_may_take_longer_than_the_head_timeout() {
    let replica = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let balancer = replica.balancer(ARGS).await;
    for (head, pieces) in [
        ("Content-Length: 8", ["ab", "cd", "ef", "gh"]),
        (
            "Transfer-Encoding: chunked",
            ["3\r\nabc\r\n", "2\r\nde", "\r\n", "0\r\n\r\n"],
        ),
    ] {
        let mut client = TcpStream::connect(balancer.address()).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{head}\r\nConnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        for piece in pieces {
            tokio::time::sleep(TIMEOUT * 2).await;
            client.write_all(piece.as_bytes()).await.unwrap();
        }
        let got = in_time(rest(&mut client)).await;
        assert!(got.starts_with("HTTP/1.1 200 OK"), "{head}: {got}");
    }
}

#[actix_web::test]
async fn response_may_take_longer_than_the_head_timeout_with_half_a_request_behind_it() {
    let replica = Scripted::answering(|_| {
        // This holds up the test, and not the balancer.
        std::thread::sleep(TIMEOUT * 4);
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
    })
    .await;
    let balancer = replica.balancer(ARGS).await;
    let mut client = TcpStream::connect(balancer.address()).await.unwrap();
    let (second, half) = GET.split_at(10);
    client
        .write_all(format!("{GET}{second}").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        assert!(in_time(client.read_buf(&mut answer)).await.unwrap() > 0);
    }
    let half = half.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    client.write_all(half.as_bytes()).await.unwrap();
    let got = in_time(rest(&mut client)).await;
    assert!(got.starts_with("HTTP/1.1 200 OK"), "{got}");
}
