//! What a heartbeat asks, which answers are good, and how many of them decide: a server that
//! answers each beat as it is told to, and not before.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use awc::http::StatusCode;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::{Ringmaster, eventually, get};

const GOOD: &str = "200 OK\r\n\r\nok";
const BAD: &str = "503 Service Unavailable\r\n\r\nno";

/// What the server was asked, and what it is to answer.
#[derive(Default)]
struct Script {
    asked: Vec<String>,
    /// The whole heads.
    heads: Vec<String>,
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
    script.heads.push(head.clone());
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
        balancer.count_in_log("is ready at") == times
    })
    .await;
}

#[actix_web::test]
async fn heartbeat_requests_the_configured_path() {
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
async fn heartbeat_succeeds_only_with_the_expected_response() {
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
        assert_eq!(balancer.count_in_log("is ready at"), 0, "{args:?} {bad}");
        server.always(good);
        on_the_ring(&balancer, 1).await;
    }
}

#[actix_web::test]
async fn rise_threshold_admits_a_replica() {
    let server = Scripted::start(&[GOOD, GOOD, BAD, GOOD, GOOD]);
    let balancer = server.balancer(&["--heartbeat-successes", "3"]);
    server.beat(6).await;
    assert_eq!(balancer.count_in_log("is ready at"), 0);
    server.change(|script| script.answers.push(GOOD));
    on_the_ring(&balancer, 1).await;
}

#[actix_web::test]
async fn fall_threshold_evicts_and_rise_threshold_readmits() {
    let thresholds = ["--heartbeat-failures", "9", "--heartbeat-successes", "4"];
    let server = Scripted::start(&[]);
    server.always(GOOD);
    let balancer = server.balancer(&thresholds);
    on_the_ring(&balancer, 1).await;
    let well = server.asked().len();
    server.always(BAD);
    eventually("off the ring", || async {
        balancer.count_in_log("is unready: GET /heartbeat answers 503") == 1
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
async fn slow_starter_is_admitted_at_its_first_success() {
    let server = Scripted::start(&[BAD; 8]);
    let port = server.port.to_string();
    // The process is only started: this test listens where it should.
    let process = ["--replicas", "1", "--command", "sleep 600"];
    let more = ["--replica-port", &port, "--heartbeat-failures", "1"];
    let balancer = Ringmaster::start(&[&process[..], &more, &PATIENT].concat());
    server.beat(9).await;
    assert_eq!(balancer.count_in_log("starting Server1"), 1);
    assert_eq!(balancer.count_in_log("is evicted"), 0);
    server.change(|script| script.answers.push(GOOD));
    on_the_ring(&balancer, 1).await;
    // The next one is still waiting for its answer.
    server.beat(10).await;
    assert_eq!(balancer.count_in_log("starting Server1"), 1);
}

#[actix_web::test]
async fn replica_never_ready_is_restarted_after_the_start_timeout() {
    let goodbye = ["--heartbeat-path", "/home", "--heartbeat-body", "Goodbye"];
    let impatient = [&goodbye[..], &["--start-timeout", "300ms"]].concat();
    let balancer = Ringmaster::start(&impatient);
    eventually("it is given up", || async {
        balancer.count_in_log("no good heartbeat within 300 ms of its start") >= 3
    })
    .await;
    assert_eq!(balancer.count_in_log("is ready at"), 0);
}

/// The line of the only replica in `GET /status`.
async fn replica(balancer: &Ringmaster) -> Value {
    let status = get(&balancer.status_url().await).await;
    status.body["replicas"][0].clone()
}

/// A balancer whose only replica is a process that does nothing, and this server in its place.
fn in_place_of_a_process(server: &Scripted, more: &[&str]) -> Ringmaster {
    let port = server.port.to_string();
    let process = ["--replicas", "1", "--command", "sleep 600"];
    let place = ["--replica-port", &port, "--admin", "127.0.0.1:0"];
    // What hangs would be replaced at once.
    let quick = ["--hang-timeout", "0s"];
    Ringmaster::start(&[&process[..], &place, &quick, &PATIENT, more].concat())
}

#[actix_web::test]
async fn unready_replica_is_evicted_and_stays_alive() {
    let server = Scripted::start(&[]);
    server.always(GOOD);
    let balancer = in_place_of_a_process(&server, &["--unready-timeout", "off"]);
    on_the_ring(&balancer, 1).await;
    server.always(BAD);
    eventually("it is unready", || async {
        replica(&balancer).await["state"] == "unready"
    })
    .await;
    let line = replica(&balancer).await;
    assert_eq!(line["last_error"], "GET /heartbeat answers 503");
    let told = "is unready: GET /heartbeat answers 503";
    balancer.has_logged(told, 1).await;
    // None of one is ready: it gets the request, and its answer is the client's.
    let mut page = crate::support::client()
        .get(balancer.url("/page"))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.body().await.unwrap(), "no");
    // It keeps failing and is not replaced.
    let asked = server.asked().len();
    eventually("many more beats", || async {
        server.asked().len() > asked + 20
    })
    .await;
    assert_eq!(balancer.count_in_log("starting Server1"), 1);
    server.always(GOOD);
    on_the_ring(&balancer, 2).await;
    assert_eq!(replica(&balancer).await["last_error"], Value::Null);
    assert_eq!(balancer.count_in_log("starting Server1"), 1);
}

#[actix_web::test]
async fn unready_replica_without_panic_threshold_gets_no_request() {
    let server = Scripted::start(&[]);
    server.always(GOOD);
    let never = ["--panic-threshold", "0", "--wait-timeout", "50ms"];
    let balancer = in_place_of_a_process(&server, &never);
    on_the_ring(&balancer, 1).await;
    server.always(BAD);
    eventually("it is unready", || async {
        balancer.count_in_log("is unready") == 1
    })
    .await;
    let page = crate::support::client()
        .get(balancer.url("/page"))
        .send()
        .await;
    assert_eq!(page.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!server.asked().iter().any(|line| line.contains("/page")));
}

#[actix_web::test]
async fn replica_unready_for_too_long_is_replaced() {
    let server = Scripted::start(&[]);
    server.always(GOOD);
    let balancer = in_place_of_a_process(&server, &["--unready-timeout", "100ms"]);
    on_the_ring(&balancer, 1).await;
    server.always(BAD);
    eventually("its successor is started", || async {
        balancer.count_in_log("starting Server1 (generation 2)") == 1
    })
    .await;
    let why = "is evicted: unready for 100 ms: GET /heartbeat answers 503";
    assert_eq!(balancer.count_in_log(why), 1);
}

#[actix_web::test]
async fn heartbeat_has_the_configured_headers_and_port() {
    let (server, other) = (Scripted::start(&[]), Scripted::start(&[]));
    other.always(GOOD);
    let port = other.port.to_string();
    let balancer = server.balancer(&[
        "--heartbeat-port",
        &port,
        "--heartbeat-header",
        "Host: shop.example",
        "--heartbeat-header",
        "X-Probe: 1",
    ]);
    on_the_ring(&balancer, 1).await;
    assert_eq!(server.asked(), Vec::<String>::new());
    let head = other.script.0.lock().unwrap().heads[0].to_lowercase();
    let hosts: Vec<_> = head.lines().filter(|l| l.starts_with("host:")).collect();
    assert_eq!(hosts, ["host: shop.example"]);
    assert!(head.contains("\r\nx-probe: 1\r\n"), "{head}");
}

#[actix_web::test]
async fn tcp_heartbeat_only_connects() {
    // It never accepts, let alone answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let tcp = ["--heartbeat", "tcp", "--heartbeat-interval", "10ms"];
    let balancer = Ringmaster::start(&[&["--upstream", &upstream][..], &tcp].concat());
    on_the_ring(&balancer, 1).await;
    drop(listener);
    eventually("off the ring", || async {
        balancer.count_in_log("is evicted: no answer to heartbeats") == 1
    })
    .await;
}

#[actix_web::test]
async fn reason_for_not_ready_is_logged_once_after_three_seconds() {
    // Bound, so that no other program gets the port; nothing listens there.
    let closed = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    closed.bind(&any.into()).unwrap();
    let closed_port = closed.local_addr().unwrap().as_socket().unwrap().port();
    let down = format!("127.0.0.1:{closed_port}");
    for (answer, upstream, reason) in [
        (
            Some("404 Not Found\r\n\r\n"),
            None,
            "GET /heartbeat answers 404; --heartbeat-path sets the path".to_owned(),
        ),
        (
            Some("400 Bad Request\r\n\r\n"),
            None,
            "status 400: --heartbeat-header 'Host: ...' sets the host".to_owned(),
        ),
        (
            None,
            Some(down.as_str()),
            format!("nothing listens on {closed_port}"),
        ),
    ] {
        let server = Scripted::start(&[]);
        let own = format!("127.0.0.1:{}", server.port);
        if let Some(answer) = answer {
            server.always(answer);
        }
        let upstream = upstream.unwrap_or(&own);
        let args = ["--upstream", upstream, "--admin", "127.0.0.1:0"];
        let balancer = Ringmaster::start(&[&args[..], &PATIENT].concat());
        let told = format!("is not ready: {reason}");
        eventually("the reason is told", || async {
            balancer.count_in_log(&told) == 1
        })
        .await;
        assert_eq!(replica(&balancer).await["last_error"], reason);
        // Many beats later it has not been told again.
        let asked = server.asked().len();
        if answer.is_some() {
            eventually("more beats", || async { server.asked().len() > asked + 10 }).await;
        }
        assert_eq!(balancer.count_in_log("is not ready"), 1, "{reason}");
    }
}

#[actix_web::test]
async fn program_that_ignores_its_port_is_reported() {
    let balancer = Ringmaster::start(&["--replicas", "1", "--command", "sleep 600"]);
    eventually("the reason is told", || async {
        balancer.count_in_log("the program has to listen on $PORT, or on {port} in --command") == 1
    })
    .await;
    assert_eq!(
        balancer.count_in_log("is not ready: nothing listens on "),
        1
    );
}
