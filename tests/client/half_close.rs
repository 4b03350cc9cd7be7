//! Clients that close their side before they have their response: some still listen, most have
//! left, and only writing tells which.

use std::io::{Read, Write};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;

use crate::raw_client::Client;
use crate::replica::{Gate, path_of, replica, the_end};
use crate::support::get;
use crate::with;

const QUICK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get_of(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Says what `asked` and `over` wait for when a request comes and when its connection ends.
/// `/quick` is answered at once, `/pauses` in part, and anything else never.
fn silent(asked: &Gate, over: &Gate) -> u16 {
    let (asked, over) = (asked.clone(), over.clone());
    replica(move |request, stream| {
        match path_of(request) {
            "/quick" => return stream.write_all(QUICK),
            "/pauses" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")?,
            _ => {}
        }
        asked.open();
        // Hears the end.
        drop(stream.read(&mut [0]));
        over.open();
        the_end()
    })
}

#[actix_web::test]
async fn half_closed_client_gets_its_response_without_a_queue() {
    let port = replica(|_, stream| {
        std::thread::sleep(Duration::from_millis(1_500));
        stream.write_all(QUICK)
    });
    // One permit, and no queue for it.
    let balancer = with(port, &["--max-in-flight", "1"]).await;
    let mut client = Client::of(&balancer).await;
    client.say(&get_of("/slow")).await;
    client.stream.shutdown().await.unwrap();
    let got = client.rest().await;
    assert!(
        got.starts_with("HTTP/1.1 200 OK") && got.ends_with("ok"),
        "{got}"
    );
}

#[actix_web::test]
async fn half_closed_client_is_abandoned_after_its_timeout() {
    let (asked, over) = (Gate::default(), Gate::default());
    let port = silent(&asked, &over);
    let balancer = with(port, &["--half-closed-timeout", "300ms"]).await;
    for (path, expected) in [("/never", "HTTP/1.1 504 "), ("/pauses", "HTTP/1.1 200 ")] {
        let mut client = Client::of(&balancer).await;
        client.say(&get_of(path)).await;
        // Its time begins with its close: the replica is not to need any of it for its own part.
        asked.pass();
        client.stream.shutdown().await.unwrap();
        let got = client.rest().await;
        assert!(got.starts_with(expected), "{path}: {got}");
        over.pass();
    }
    // It counts as no replica's failure.
    assert_eq!(balancer.count_in_log("WARN"), 0);
}

#[actix_web::test]
async fn closed_client_frees_its_permit() {
    const CLOSED: usize = 400;
    const PLACES: usize = 100;
    let (asked, over) = (Gate::default(), Gate::default());
    let port = silent(&asked, &over);
    let balancer = with(
        port,
        &[
            "--max-in-flight=100",
            "--max-waiting=1000",
            "--wait-timeout=10m",
            "--half-closed-timeout=off",
        ],
    )
    .await;
    for number in 0..CLOSED {
        let mut client = Client::of(&balancer).await;
        let path = if number % 2 == 0 { "/never" } else { "/pauses" };
        client.say(&get_of(path)).await;
        // It closes, and resets the connection only if it is sent something.
        drop(client);
    }
    // No more than may be are at the replica, and the others do not wait for a turn.
    for _ in 0..PLACES {
        asked.pass();
    }
    assert_eq!(get(&balancer.url("/quick")).await.status, 200);
    // Every place is free for whoever stays, for as long as they need it.
    let mut staying = Vec::new();
    for _ in 0..PLACES {
        let mut client = Client::of(&balancer).await;
        client.say(&get_of("/pauses")).await;
        staying.push(client);
    }
    for client in &mut staying {
        let head = client.answer_head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
}

#[actix_web::test]
async fn half_closed_client_is_not_queued() {
    let (asked, over) = (Gate::default(), Gate::default());
    let port = silent(&asked, &over);
    let balancer = with(port, &["--max-in-flight=1", "--wait-timeout=10m"]).await;
    let mut first = Client::of(&balancer).await;
    first.say(&get_of("/never")).await;
    asked.pass();
    let mut second = Client::of(&balancer).await;
    second.say(&get_of("/quick")).await;
    second.stream.shutdown().await.unwrap();
    let got = second.rest().await;
    assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
    assert!(got.contains("the client had closed its side"), "{got}");
    // Another client that listens has its turn.
    drop(first);
    assert_eq!(get(&balancer.url("/quick")).await.status, 200);
}

#[actix_web::test]
async fn half_closed_client_that_resets_is_abandoned_at_once() {
    let (asked, over) = (Gate::default(), Gate::default());
    let port = silent(&asked, &over);
    let args = ["--half-closed-timeout=off", "--response-timeout=1day"];
    let balancer = with(port, &args).await;
    let mut client = Client::of(&balancer).await;
    client.say(&get_of("/never")).await;
    asked.pass();
    client.stream.shutdown().await.unwrap();
    let linger = Some(Duration::ZERO);
    SockRef::from(&client.stream).set_linger(linger).unwrap();
    drop(client);
    over.pass();
}
