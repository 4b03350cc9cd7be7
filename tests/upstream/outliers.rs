//! A replica that answers heartbeats and fails requests is passed over for a while.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use awc::http::StatusCode;
use ringmaster::api::ReplicaEventKind::{Ejected, Readmitted, Ready};
use ringmaster::api::Timestamp;
use serde_json::{Value, json};

use crate::support::{Ringmaster, eventually, get};

/// How a server treats requests other than heartbeats.
const WELL: u8 = 0;
const UNAVAILABLE: u8 = 1;
const BREAKING_OFF: u8 = 2;
const SILENT: u8 = 3;
const EMPTY: u8 = 4;
const FAILING: u8 = 5;

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
            let mut unanswered = Vec::new();
            for stream in listener.incoming().flatten() {
                // A client that has gone is no concern of this server's.
                if let Ok(Some(stream)) = answer(stream, shared.load(Ordering::SeqCst)) {
                    unanswered.push(stream);
                }
            }
        });
        Self { address, mood }
    }

    fn turn(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }
}

/// What is not answered is given back.
fn answer(mut stream: TcpStream, mood: u8) -> std::io::Result<Option<TcpStream>> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            n => head.extend_from_slice(&piece[..n]),
        }
    }
    let response = match mood {
        _ if head.starts_with(b"GET /heartbeat") => "200 OK\r\ncontent-length: 2\r\n\r\nok",
        SILENT => return Ok(Some(stream)),
        UNAVAILABLE => "503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno",
        FAILING => "500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno",
        EMPTY => "200 OK\r\ncontent-length: 0\r\n\r\n",
        BREAKING_OFF => "200 OK\r\ncontent-length: 100\r\n\r\nnot a hundred",
        _ => "200 OK\r\ncontent-length: 2\r\n\r\nok",
    };
    write!(stream, "HTTP/1.1 ")?;
    let (status, rest) = response.split_once("\r\n").unwrap();
    write!(stream, "{status}\r\nconnection: close\r\n{rest}")?;
    Ok(None)
}

/// A balancer of these, each under its own name.
async fn balancer(servers: &[&Moody], ejection: &str) -> Ringmaster {
    balancer_with(servers, &["--outlier-ejection", ejection]).await
}

async fn balancer_with(servers: &[&Moody], more: &[&str]) -> Ringmaster {
    let names = ["one", "two", "three"];
    let upstreams = servers.iter().zip(names);
    let upstreams: Vec<String> = upstreams
        .map(|(s, name)| format!("{name}={}", s.address))
        .collect();
    let mut args = vec!["--key", "path", "--admin", "127.0.0.1:0"];
    args.extend(more);
    args.extend(upstreams.iter().flat_map(|u| ["--upstream", u]));
    Ringmaster::ready(&args).await
}

/// Sixty keys: each server has some of them.
async fn bad_answers(balancer: &Ringmaster) -> usize {
    let mut bad = 0;
    for key in 0..60 {
        let url = balancer.url(&format!("/k{key}"));
        let response = crate::support::client().get(url).send().await;
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
async fn consecutive_failures_eject_the_replica() {
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
        // It is alive and no heartbeat fails.
        assert!(!log().contains("is evicted"), "{}", log());
    }
}

/// There is nothing of such a body to wait for; it is good all the same.
#[actix_web::test]
async fn empty_success_resets_consecutive_failures() {
    let (well, sick) = (Moody::start(WELL), Moody::start(UNAVAILABLE));
    let balancer = balancer(&[&well, &sick], "1h").await;
    let status = async |key: usize| get(&balancer.url(&format!("/k{key}"))).await.status;
    let mut key = 0;
    while status(key).await == StatusCode::OK {
        key += 1;
    }
    let mut failures = 1;
    while failures < 12 {
        sick.turn(UNAVAILABLE);
        // One less than it takes.
        for _ in failures % 4..4 {
            assert_eq!(status(key).await, StatusCode::SERVICE_UNAVAILABLE);
            failures += 1;
        }
        sick.turn(EMPTY);
        assert_eq!(status(key).await, StatusCode::OK);
    }
}

#[actix_web::test]
async fn ejections_stop_at_half_of_the_replicas() {
    let sick = [UNAVAILABLE; 3].map(Moody::start);
    let sick: Vec<&Moody> = sick.iter().collect();
    let balancer = balancer(&sick, "1h").await;
    assert_eq!(bad_answers(&balancer).await, 60);
    eventually("one is spared", || async {
        balancer
            .log()
            .contains("is not ejected: half of the ready replicas are")
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
async fn ejection_time_grows_until_the_replica_recovers() {
    let (well, sick) = (Moody::start(WELL), Moody::start(UNAVAILABLE));
    let balancer = balancer(&[&well, &sick], "100ms").await;
    eventually("a second ejection", || async {
        bad_answers(&balancer).await;
        balancer
            .log()
            .contains("two (generation 1) is ejected for 200 ms")
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
async fn ejection_is_off_with_a_threshold_of_zero() {
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

async fn status(balancer: &Ringmaster) -> Value {
    get(&balancer.status_url().await).await.body
}

/// What `GET /status` says of one replica.
async fn line(balancer: &Ringmaster, name: &str) -> Value {
    let status = status(balancer).await;
    let mut lines = status["replicas"].as_array().unwrap().iter();
    lines.find(|line| line["name"] == name).unwrap().clone()
}

#[actix_web::test]
async fn ejections_are_in_the_history() {
    let (well, sick) = (Moody::start(WELL), Moody::start(UNAVAILABLE));
    let balancer = balancer(&[&well, &sick], "200ms").await;
    bad_answers(&balancer).await;
    let happened = || async {
        let events = balancer.events().await;
        let of_two = events.iter().filter(|event| event["replica"] == "two");
        let kinds = [Ready, Ejected, Readmitted].map(|kind| json!(kind));
        let ejections = of_two.filter(|event| kinds.contains(&event["event"]));
        ejections.cloned().collect::<Vec<_>>()
    };
    eventually("its time is up", || async { happened().await.len() >= 3 }).await;
    let happened = happened().await;
    let names: Vec<_> = happened.iter().take(3).map(|e| &e["event"]).collect();
    assert_eq!(names, ["ready", "ejected", "readmitted"]);
    assert_eq!(
        happened[1]["reason"],
        "5 failed requests in a row; for 200 ms"
    );
    assert_eq!(happened[1]["generation"], 1);
    let at = |event: &Value| serde_json::from_value::<Timestamp>(event["at"].clone()).unwrap();
    let lasted = at(&happened[2]).millis_since(at(&happened[1]));
    assert!(lasted >= 199.0, "{lasted}");
}

#[actix_web::test]
async fn ejected_replica_is_marked_and_has_no_share_of_the_load() {
    let servers = [WELL, WELL, UNAVAILABLE].map(Moody::start);
    let [one, two, sick] = &servers;
    let bound = ["--outlier-ejection", "1h", "--balance-factor", "1.5"];
    let more = [&bound[..], &["--workers", "1"]].concat();
    let balancer = balancer_with(&[one, two, sick], &more).await;
    bad_answers(&balancer).await;
    eventually("it is ejected", || async {
        line(&balancer, "three").await["ejected"] == true
    })
    .await;
    assert_eq!(line(&balancer, "one").await["ejected"], false);

    one.turn(SILENT);
    two.turn(SILENT);
    let url = balancer.url("/one-key");
    for _ in 0..40 {
        let url = url.clone();
        actix_web::rt::spawn(
            async move { crate::support::client().get(url).send().await.map(drop) },
        );
    }
    let held = || async {
        let held = ["one", "two"].map(|name| line(&balancer, name));
        let held = futures::future::join_all(held).await;
        let mut held: Vec<u64> = held
            .iter()
            .map(|line| line["in_flight"].as_u64().unwrap())
            .collect();
        held.sort_unstable();
        held
    };
    eventually("all are in flight", || async {
        held().await.iter().sum::<u64>() == 40
    })
    .await;
    // Half as much again as its share, which is one of two, and not of three.
    assert_eq!(held().await, [10, 30]);
}

#[actix_web::test]
async fn five_responses_of_500_eject_if_configured() {
    let (well, sick) = (Moody::start(WELL), Moody::start(FAILING));
    let ejection = ["--outlier-ejection", "1h"];
    let balancer = balancer_with(
        &[&well, &sick],
        &[&ejection[..], &["--outlier-on", "5xx"]].concat(),
    )
    .await;
    let bad = bad_answers(&balancer).await;
    assert!((5..20).contains(&bad), "{bad}");
    assert_eq!(bad_answers(&balancer).await, 0);
    // Without that they are the application's answers.
    let balancer = balancer_with(&[&well, &sick], &ejection).await;
    assert!(bad_answers(&balancer).await >= 10);
    assert!(bad_answers(&balancer).await >= 10);
}
