//! A replica that answers heartbeats and fails requests is passed over for a while.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use awc::http::StatusCode;
use common::{Ringmaster, eventually, get};

/// How a server treats requests other than heartbeats.
const WELL: u8 = 0;
const UNAVAILABLE: u8 = 1;
const BREAKING_OFF: u8 = 2;

/// A server that is always alive and not always well.
struct Moody {
    address: String,
    mood: Arc<AtomicU8>,
}

impl Moody {
    fn start(mood: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mood = Arc::new(AtomicU8::new(mood));
        let shared = Arc::clone(&mood);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that has gone is no concern of this server's.
                let _ = answer(stream, shared.load(Ordering::SeqCst));
            }
        });
        Self { address, mood }
    }

    fn turn(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }
}

fn answer(mut stream: TcpStream, mood: u8) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            n => head.extend_from_slice(&piece[..n]),
        }
    }
    let response = match mood {
        _ if head.starts_with(b"GET /heartbeat") => "200 OK\r\ncontent-length: 2\r\n\r\nok",
        UNAVAILABLE => "503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno",
        BREAKING_OFF => "200 OK\r\ncontent-length: 100\r\n\r\nnot a hundred",
        _ => "200 OK\r\ncontent-length: 2\r\n\r\nok",
    };
    write!(stream, "HTTP/1.1 ")?;
    let (status, rest) = response.split_once("\r\n").unwrap();
    write!(stream, "{status}\r\nconnection: close\r\n{rest}")
}

/// A balancer of these, each under its own name.
async fn balancer(servers: &[&Moody], ejection: &str) -> Ringmaster {
    let names = ["one", "two", "three"];
    let upstreams = servers.iter().zip(names);
    let upstreams: Vec<String> = upstreams
        .map(|(s, name)| format!("{name}={}", s.address))
        .collect();
    let mut args = vec!["--key", "path", "--outlier-ejection", ejection];
    args.extend(upstreams.iter().flat_map(|u| ["--upstream", u]));
    Ringmaster::ready(&args).await
}

/// Sixty keys: each server has some of them.
async fn bad_answers(balancer: &Ringmaster) -> usize {
    let mut bad = 0;
    for key in 0..60 {
        let url = balancer.url(&format!("/k{key}"));
        let response = common::client().get(url).send().await;
        let good = match response {
            Ok(mut response) => {
                response.status() == StatusCode::OK
                    && response.body().await.is_ok_and(|body| body == "ok")
            }
            Err(_) => false,
        };
        bad += usize::from(!good);
    }
    bad
}

#[actix_web::test]
async fn what_fails_one_request_after_the_other_is_passed_over() {
    for mood in [UNAVAILABLE, BREAKING_OFF] {
        let (well, sick) = (Moody::start(WELL), Moody::start(mood));
        let balancer = balancer(&[&well, &sick], "1h").await;
        // The fifth is the last, but for what is under way while that is decided.
        let bad = bad_answers(&balancer).await;
        assert!((5..20).contains(&bad), "mood {mood}: {bad}");
        let log = || balancer.log();
        eventually("the ejection", || async {
            log().contains("two (generation 1) is ejected")
        })
        .await;
        assert_eq!(bad_answers(&balancer).await, 0, "mood {mood}");
        // It is alive, and nobody says otherwise.
        assert!(!log().contains("is off the ring"), "{}", log());
    }
}

#[actix_web::test]
async fn never_are_more_than_half_ejected_and_the_rest_is_served_as_well_as_can_be() {
    let sick = [UNAVAILABLE; 3].map(Moody::start);
    let sick: Vec<&Moody> = sick.iter().collect();
    let balancer = balancer(&sick, "1h").await;
    assert_eq!(bad_answers(&balancer).await, 60);
    eventually("one is spared", || async {
        balancer.log().contains("half of the ready are ejected")
    })
    .await;
    assert_eq!(balancer.count_in_log("is ejected for"), 1);
    // Every answer came from a replica: none was held back.
    assert_eq!(
        get(&balancer.url("/k1")).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[actix_web::test]
async fn after_its_time_it_is_tried_again_ejected_for_longer_and_forgiven_once_it_is_well() {
    let (well, sick) = (Moody::start(WELL), Moody::start(UNAVAILABLE));
    let balancer = balancer(&[&well, &sick], "100ms").await;
    eventually("a second ejection", || async {
        bad_answers(&balancer).await;
        balancer
            .log()
            .contains("two (generation 1) is ejected for 200ms")
    })
    .await;
    sick.turn(WELL);
    well.turn(UNAVAILABLE);
    eventually("its own keys are its own again", || async {
        // The other is ejected now, so all of them are served by the one that was sick.
        bad_answers(&balancer).await == 0
    })
    .await;
}

#[actix_web::test]
async fn zero_failures_mean_no_ejections() {
    let (well, sick) = (Moody::start(WELL), Moody::start(UNAVAILABLE));
    let balancer = Ringmaster::ready(&[
        "--key",
        "path",
        "--outlier-failures",
        "0",
        "--upstream",
        &well.address,
        "--upstream",
        &sick.address,
    ])
    .await;
    let bad = bad_answers(&balancer).await;
    assert!(bad > 5, "{bad}");
    assert_eq!(bad_answers(&balancer).await, bad);
}
