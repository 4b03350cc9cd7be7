//! `--on-event`: who is told of what happens.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{Ringmaster, eventually, signal};

const SECRET: &str = "a secret of 24 bytes and more";

/// What came with one POST.
#[derive(Debug, Clone)]
struct Call {
    headers: String,
    body: String,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        let mut lines = self
            .headers
            .lines()
            .filter_map(|line| line.split_once(": "));
        let found = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A server that takes events, and answers the first ones with these statuses.
struct Receiver {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Receiver {
    fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let calls = Arc::<Mutex<Vec<Call>>>::default();
        let (all, mut statuses) = (Arc::clone(&calls), VecDeque::from(statuses.to_vec()));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let status = statuses.pop_front().unwrap_or(204);
                // A balancer that ends may break off.
                if let Some(call) = take(stream, status) {
                    all.lock().unwrap().push(call);
                }
            }
        });
        Self { url, calls }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn has(&self, event: &str, replica: &str, generation: u64) -> bool {
        self.calls().iter().map(Call::event).any(|found| {
            found["event"] == event
                && found["replica"] == replica
                && found["generation"] == generation
        })
    }
}

fn take(mut stream: TcpStream, status: u16) -> Option<Call> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut headers, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
        headers += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).ok()?;
    let body = String::from_utf8(body).ok()?;
    Some(Call { headers, body })
}

/// The signature as another implementation makes it.
fn signature(call: &Call) -> String {
    let code = "import base64, hashlib, hmac, sys; \
                print('v1,' + base64.b64encode(hmac.new(sys.argv[1].encode(), \
                sys.argv[2].encode(), hashlib.sha256).digest()).decode())";
    let (id, time) = (call.header("webhook-id"), call.header("webhook-timestamp"));
    let signed = format!("{id}.{time}.{}", call.body);
    let mut python = Command::new("python3");
    let output = python.args(["-c", code, SECRET, &signed]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[actix_web::test]
async fn webhook_gets_every_event_signed_and_again_after_a_failure() {
    let receiver = Receiver::start(&[503, 429]);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let args = [
        "--on-event",
        &receiver.url,
        "--on-event-secret-file",
        secret.to_str().unwrap(),
    ];
    let balancer = Ringmaster::ready(&args).await;
    signal(balancer.child("Server1"), "KILL");
    eventually("the death and its healing", || async {
        receiver.has("evicted", "Server1", 1) && receiver.has("ready", "Server1", 2)
    })
    .await;
    let calls = receiver.calls();
    for call in &calls {
        assert_eq!(
            call.header("webhook-signature"),
            signature(call),
            "{call:?}"
        );
        assert_eq!(call.header("content-type"), "application/json");
    }
    // The first one was sent three times under one id, the others once each.
    let ids: Vec<_> = calls
        .iter()
        .map(|call| call.event()["id"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = [1, 1].into_iter().chain(1..=ids[ids.len() - 1]).collect();
    assert_eq!(ids, expected);
    assert_eq!(calls[0].header("webhook-id"), calls[2].header("webhook-id"));
    assert_ne!(calls[2].header("webhook-id"), calls[3].header("webhook-id"));
    balancer
        .has_logged("event 1 is not delivered: status 503", 1)
        .await;
    balancer.has_logged("it takes events again", 1).await;
}

#[actix_web::test]
async fn refused_event_is_not_sent_again() {
    let receiver = Receiver::start(&[410]);
    let balancer = Ringmaster::ready(&["--on-event", &receiver.url]).await;
    eventually("the second event", || async { receiver.calls().len() > 1 }).await;
    let calls = receiver.calls();
    assert_eq!(
        [&calls[0], &calls[1]].map(|call| call.event()["id"].clone()),
        [1, 2]
    );
    assert_eq!(calls[0].header("webhook-signature"), "");
    balancer
        .has_logged("event 1 is refused: status 410", 1)
        .await;
}

#[actix_web::test]
async fn target_that_hangs_delays_no_healing() {
    // Its queue takes connections that nobody accepts.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let balancer = Ringmaster::ready(&["--on-event", &url, "--on-event", "sleep 100"]).await;
    for generation in 2..5 {
        signal(balancer.child("Server2"), "KILL");
        let ready = format!("Server2 (generation {generation}) is ready at");
        eventually("a successor", || async { balancer.log().contains(&ready) }).await;
    }
}

#[actix_web::test]
async fn command_gets_the_event_and_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let script = folder.path().join("hook");
    let text = format!(
        "{{ cat; echo; echo \"$RINGMASTER_EVENT $RINGMASTER_REPLICA $RINGMASTER_GENERATION \
         ${{RINGMASTER_ADMIN_TOKEN-none}}\"; }} >> {}",
        told.display()
    );
    std::fs::write(&script, text).unwrap();
    let command = format!("sh '{}'", script.display());
    let token = [("RINGMASTER_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")];
    let balancer = Ringmaster::start_with(&["--on-event", &command], &token);
    balancer.has_logged("(generation 1) is ready at", 3).await;
    signal(balancer.child("Server3"), "KILL");
    let text = || std::fs::read_to_string(&told).unwrap_or_default();
    eventually("the successor's event", || async {
        text().contains("\nready Server3 2 none\n")
    })
    .await;
    let text = text();
    let evicted = text
        .lines()
        .position(|line| line == "evicted Server3 1 none");
    let event = text.lines().nth(evicted.unwrap() - 1).unwrap();
    let event: Value = serde_json::from_str(event).unwrap();
    assert_eq!(
        (&event["event"], &event["generation"]),
        (&"evicted".into(), &1.into())
    );
}

#[actix_web::test]
async fn failing_command_is_logged_once_with_what_it_printed() {
    let command = "sh -c 'echo out of paper >&2; exit 3'";
    let balancer = Ringmaster::ready(&["--on-event", command]).await;
    let line =
        "--on-event sh: event 1 is not delivered: exit status: 3; it printed: \"out of paper\"";
    balancer.has_logged(line, 1).await;
}

#[test]
fn secret_that_is_too_short_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "short").unwrap();
    let start = |args: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ringmaster"));
        let output = program
            .args(["--listen", "127.0.0.1:0", "--admin", "off"])
            .args(args)
            .output();
        let output = output.unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let path = secret.to_str().unwrap();
    let url = [
        "--on-event",
        "http://127.0.0.1:1/",
        "--on-event-secret-file",
        path,
    ];
    let (code, text) = start(&url);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("a secret of 5 bytes; it must have 24 at least"),
        "{text}"
    );
    let (code, text) = start(&url[2..]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("needs a URL as --on-event"), "{text}");
}
