//! What a heartbeat asks, which answers are good, and how many of them decide: a server that
//! answers each beat as it is told to, and not before.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use common::{Ringmaster, eventually};

const GOOD: &str = "200 OK\r\n\r\nok";
const BAD: &str = "503 Service Unavailable\r\n\r\nno";

/// What the server was asked, and what it is to answer.
#[derive(Default)]
struct Script {
    asked: Vec<String>,
    answers: Vec<&'static str>,
    /// To every beat after those.
    after_that: Option<&'static str>,
}

/// A server that keeps a beat waiting until there is an answer for it.
struct Scripted {
    port: u16,
    script: Arc<(Mutex<Script>, Condvar)>,
}

impl Scripted {
    fn start(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Script {
            answers: answers.to_vec(),
            ..Script::default()
        };
        let script = Arc::new((Mutex::new(script), Condvar::new()));
        let shared = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A prober that has lost its patience is no concern of this server's.
                let _ = answer(stream, &shared);
            }
        });
        Self { port, script }
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.0.lock().unwrap());
        self.script.1.notify_all();
    }

    fn always(&self, answer: &'static str) {
        self.change(|script| script.after_that = Some(answer));
    }

    fn asked(&self) -> Vec<String> {
        self.script.0.lock().unwrap().asked.clone()
    }

    /// Waits for this beat; those before it have been answered, and judged.
    async fn beat(&self, number: usize) {
        eventually("the next beat", || async { self.asked().len() >= number }).await;
        assert_eq!(self.asked().len(), number);
    }

    /// A balancer with this one replica.
    fn balancer(&self, args: &[&str]) -> Ringmaster {
        let upstream = format!("127.0.0.1:{}", self.port);
        Ringmaster::start(&[&["--upstream", &upstream], &PATIENT[..], args].concat())
    }
}

/// No beat is missed because it had to wait for its answer.
const PATIENT: [&str; 4] = ["--heartbeat-interval", "10ms", "--heartbeat-timeout", "1h"];

fn answer(mut stream: TcpStream, shared: &(Mutex<Script>, Condvar)) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            n => head.extend_from_slice(&piece[..n]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (script, told) = shared;
    let mut script = script.lock().unwrap();
    script.asked.push(head.lines().next().unwrap().to_owned());
    let place = script.asked.len() - 1;
    let (status, body) = loop {
        let answer = script.answers.get(place).copied().or(script.after_that);
        match answer {
            Some(answer) => break answer.split_once("\r\n\r\n").unwrap(),
            None => script = told.wait(script).unwrap(),
        }
    };
    drop(script);
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )?;
    if head.starts_with("HEAD ") {
        return Ok(());
    }
    write!(stream, "{body}")
}

async fn on_the_ring(balancer: &Ringmaster, times: usize) {
    eventually("on the ring", || async {
        balancer.count_in_log("is on the ring") == times
    })
    .await;
}

#[actix_web::test]
async fn a_heartbeat_asks_for_what_it_is_told_to() {
    for (args, asked) in [
        (&[][..], "GET /heartbeat HTTP/1.1"),
        (
            &["--heartbeat-path", "/health?deep=1"],
            "GET /health?deep=1 HTTP/1.1",
        ),
        (&["--heartbeat-method", "HEAD"], "HEAD /heartbeat HTTP/1.1"),
        (
            &["--heartbeat-method", "OPTIONS"],
            "OPTIONS /heartbeat HTTP/1.1",
        ),
        (&["--heartbeat-method", "POST"], "POST /heartbeat HTTP/1.1"),
    ] {
        let server = Scripted::start(&[GOOD]);
        let balancer = server.balancer(args);
        on_the_ring(&balancer, 1).await;
        assert_eq!(server.asked()[0], asked);
    }
}

#[actix_web::test]
async fn only_what_is_expected_of_an_answer_makes_it_a_good_one() {
    for (args, bad, good) in [
        (&[][..], "302 Found\r\n\r\n", "204 No Content\r\n\r\n"),
        (
            &["--heartbeat-status", "300-399,404"],
            "200 OK\r\n\r\n",
            "302 Found\r\n\r\n",
        ),
        (
            &["--heartbeat-status", "300-399,404"],
            "403 Forbidden\r\n\r\n",
            "404 Not Found\r\n\r\n",
        ),
        (
            &["--heartbeat-body", "ready"],
            "200 OK\r\n\r\nnot yet",
            "200 OK\r\n\r\nI am ready.",
        ),
        (
            &["--heartbeat-body", "ready"],
            "500 Oh\r\n\r\nI am ready.",
            "200 OK\r\n\r\nready",
        ),
        (&["--heartbeat-method", "HEAD"], BAD, GOOD),
    ] {
        let server = Scripted::start(&[bad, bad]);
        let balancer = server.balancer(args);
        server.beat(3).await;
        assert_eq!(balancer.count_in_log("is on the ring"), 0, "{args:?} {bad}");
        server.always(good);
        on_the_ring(&balancer, 1).await;
    }
}

#[actix_web::test]
async fn so_many_good_answers_in_a_row_bring_a_replica_onto_the_ring() {
    let server = Scripted::start(&[GOOD, GOOD, BAD, GOOD, GOOD]);
    let balancer = server.balancer(&["--heartbeat-successes", "3"]);
    server.beat(6).await;
    assert_eq!(balancer.count_in_log("is on the ring"), 0);
    server.change(|script| script.answers.push(GOOD));
    on_the_ring(&balancer, 1).await;
}

#[actix_web::test]
async fn so_many_misses_in_a_row_take_it_off_and_as_many_answers_as_before_bring_it_back() {
    let thresholds = ["--heartbeat-failures", "9", "--heartbeat-successes", "4"];
    let server = Scripted::start(&[]);
    server.always(GOOD);
    let balancer = server.balancer(&thresholds);
    on_the_ring(&balancer, 1).await;
    let well = server.asked().len();
    server.always(BAD);
    eventually("off the ring", || async {
        balancer.count_in_log("is off the ring: no answer") == 1
    })
    .await;
    let ill = server.asked().len();
    assert!(ill - well >= 9, "{} beats", ill - well);
    server.always(GOOD);
    on_the_ring(&balancer, 2).await;
    let back = server.asked().len() - ill;
    assert!(back >= 4, "{back} beats");
}

#[actix_web::test]
async fn a_slow_starter_is_waited_for_and_admitted_at_its_first_good_answer() {
    let server = Scripted::start(&[BAD; 8]);
    let port = server.port.to_string();
    // The process is only started: this test listens where it should.
    let process = ["--replicas", "1", "--command", "sleep 600"];
    let more = ["--replica-port", &port, "--heartbeat-failures", "1"];
    let balancer = Ringmaster::start(&[&process[..], &more, &PATIENT].concat());
    server.beat(9).await;
    assert_eq!(balancer.count_in_log("starting Server1"), 1);
    assert_eq!(balancer.count_in_log("is off the ring"), 0);
    server.change(|script| script.answers.push(GOOD));
    on_the_ring(&balancer, 1).await;
    // The next one is still waiting for its answer.
    server.beat(10).await;
    assert_eq!(balancer.count_in_log("starting Server1"), 1);
}

#[actix_web::test]
async fn who_never_answers_well_is_started_anew_after_the_start_timeout() {
    let goodbye = ["--heartbeat-path", "/home", "--heartbeat-body", "Goodbye"];
    let impatient = [&goodbye[..], &["--start-timeout", "300ms"]].concat();
    let balancer = Ringmaster::start(&impatient);
    eventually("it is given up", || async {
        balancer.count_in_log("no good heartbeat within 300 ms of its start") >= 3
    })
    .await;
    assert_eq!(balancer.count_in_log("is on the ring"), 0);
}
