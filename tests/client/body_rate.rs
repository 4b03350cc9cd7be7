//! Clients that send or take a body as slowly as they can.

use std::io::{Read, Write};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::raw_client::Client;
use crate::replica::{Gate, path_of, replica, the_end};
use crate::with;

#[actix_web::test]
async fn body_below_the_minimum_rate_ends_and_a_silent_stream_does_not() {
    let (pours_no_more, says_more) = (Gate::default(), Gate::default());
    let (over, more) = (pours_no_more.clone(), says_more.clone());
    let port = replica(move |request, stream| {
        match path_of(request) {
            "/pours" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
                while stream.write_all(&[b'x'; 65_536]).is_ok() {}
                over.open();
            }
            "/events" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\ndata: first\n\n")?;
                more.pass();
                stream.write_all(b"data: last\n\n")?;
            }
            _ => drop(stream.read_to_end(&mut Vec::new())),
        }
        the_end()
    });
    let balancer = with(port, &[]).await;
    let mut events = Client::of(&balancer).await;
    events
        .say("GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    let first = events.answer_head().await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");

    let mut stuck = Client::slow(&balancer).await;
    stuck.say("GET /pours HTTP/1.1\r\nHost: x\r\n\r\n").await;

    let mut dripping = Client::of(&balancer).await;
    let head = "POST /drips HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    dripping.say(head).await;
    let got = loop {
        tokio::select! {
            read = dripping.more() => {
                assert!(read > 0, "an end without a response");
                break dripping.line().await;
            }
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                // It may be over just now.
                let _ = dripping.stream.write_all(b"x").await;
            }
        }
    };
    assert!(got.starts_with("HTTP/1.1 408 "), "{got}");
    tokio::task::spawn_blocking(move || pours_no_more.pass())
        .await
        .unwrap();

    // Nothing was ready for this one, so it has taken nothing too slowly.
    says_more.open();
    let rest = events.rest().await;
    assert!(rest.contains("data: last"), "{rest}");
    assert_eq!(balancer.count_in_log("WARN"), 0);
}
