//! The access log, and what responses say of their way.

use std::fs;
use std::path::Path;
use std::process::Command;

use awc::http::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::wire::{self, Scripted};
use crate::support::{Ringmaster, client, eventually, get, signal};

/// The lines of a file, once there are as many, without those of the calls that wait for replicas.
async fn lines_of(path: &Path, count: usize) -> Vec<String> {
    let lines = || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.contains("/rep"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    eventually("the lines are written", || async { lines().len() >= count }).await;
    let lines = lines();
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

async fn objects_of(path: &Path, count: usize) -> Vec<Value> {
    let lines = lines_of(path, count).await;
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|wrong| panic!("{wrong}: {line}")))
        .collect()
}

#[actix_web::test]
async fn json_line_follows_a_request_from_its_key_to_its_last_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let file = path.to_str().unwrap();
    let balancer = Ringmaster::ready(&["--access-log", file, "--access-log-format", "json"]).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = client()
        .get(balancer.url("/home?a=1"))
        .insert_header(("x-request-id", "123456"))
        .insert_header(("traceparent", traceparent))
        .insert_header(("user-agent", "test/1"));
    let mut response = request.send().await.unwrap();
    let length = response.body().await.unwrap().len();
    let line = &objects_of(&path, 1).await[0];
    for (field, expected) in [
        ("request_id", "123456"),
        ("client", "127.0.0.1"),
        ("fleet", "default"),
        ("method", "GET"),
        ("target", "/home?a=1"),
        ("protocol", "HTTP/1.1"),
        ("key_hash", "000000000001e240"),
        ("ended", "complete"),
        ("traceparent", traceparent),
        ("user_agent", "test/1"),
    ] {
        assert_eq!(line[field], expected, "{field} of {line}");
    }
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes_in"], 0);
    assert_eq!(line["bytes_out"], length);
    assert!(
        line["slot"].is_u64() && line["connect_ms"].is_f64(),
        "{line}"
    );
    let (first_byte, total) = (&line["first_byte_ms"], &line["total_ms"]);
    assert!(
        first_byte.as_f64().unwrap() <= total.as_f64().unwrap(),
        "{line}"
    );
    let attempts = line["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{line}");
    assert_eq!(attempts[0]["outcome"], "response");
    assert_eq!(attempts[0]["replica"], line["replica"]);

    let request = client().post(balancer.url("/echo"));
    let mut response = request.send_body("twelve bytes").await.unwrap();
    let length = response.body().await.unwrap().len();
    let line = &objects_of(&path, 2).await[1];
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&12.into(), &length.into())
    );
    // What the balancer itself answers has no replica.
    let refused = get(&balancer.url("/add")).await.status.as_u16();
    let line = &objects_of(&path, 3).await[2];
    assert_eq!(
        (line.get("replica"), &line["status"]),
        (None, &refused.into())
    );
    let head = client().head(balancer.url("/home")).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let line = &objects_of(&path, 4).await[3];
    assert_eq!(
        (&line["bytes_out"], &line["ended"]),
        (&0.into(), &"complete".into())
    );
}

#[actix_web::test]
async fn json_line_tells_every_attempt_and_why_a_request_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let file = path.to_str().unwrap();
    // What is not /cut is broken off.
    let replica = Scripted::answering(|request| match request.split(' ').nth(1) {
        Some("/cut") => b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut".to_vec(),
        _ => Vec::new(),
    })
    .await;
    let args = [
        "--access-log",
        file,
        "--access-log-format",
        "json",
        "--idle-timeout",
        "300ms",
    ];
    let balancer = replica.balancer(&args).await;
    let broken = get(&balancer.url("/broken")).await;
    assert_eq!(broken.status, StatusCode::BAD_GATEWAY);
    let line = &objects_of(&path, 1).await[0];
    assert_eq!(
        (&line["status"], &line["ended"]),
        (&502.into(), &"disconnected".into())
    );
    let attempts = line["attempts"].as_array().unwrap();
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt["outcome"] == "disconnected"),
        "{line}"
    );
    let cut = wire::told(
        balancer.address(),
        b"GET /cut HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    assert!(cut.await.ends_with("cut"));
    let line = &objects_of(&path, 2).await[1];
    assert_eq!(
        (&line["status"], &line["ended"], &line["bytes_out"]),
        (&200.into(), &"idle_timeout".into(), &3.into())
    );
}

#[actix_web::test]
async fn client_that_leaves_has_a_line_with_status_499() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let file = path.to_str().unwrap();
    let balancer = Ringmaster::ready(&["--access-log", file, "--access-log-format", "json"]).await;
    let mut stream = TcpStream::connect(balancer.address()).await.unwrap();
    // When the first is answered, the second has been read, too.
    let requests =
        b"GET /home HTTP/1.1\r\nhost: x\r\n\r\nGET /slow?ms=30000 HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(requests).await.unwrap();
    let mut response = [0; 12];
    stream.read_exact(&mut response).await.unwrap();
    objects_of(&path, 1).await;
    // A reset: the client is gone for certain.
    stream.set_zero_linger().unwrap();
    drop(stream);
    let line = &objects_of(&path, 2).await[1];
    assert_eq!(line["target"], "/slow?ms=30000");
    assert_eq!(
        (&line["status"], &line["ended"]),
        (&499.into(), &"client_closed".into())
    );
}

#[actix_web::test]
async fn combined_file_is_opened_anew_at_sigusr1_and_is_whole_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("access.log"), folder.path().join("old"));
    let mut balancer = Ringmaster::ready(&["--access-log", path.to_str().unwrap()]).await;
    get(&balancer.url("/home?first")).await;
    let line = &lines_of(&path, 1).await[0];
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        line.contains("] \"GET /home?first HTTP/1.1\" 200 "),
        "{line}"
    );
    fs::rename(&path, &old).unwrap();
    signal(balancer.pid(), "USR1");
    eventually("it is opened anew", || async { path.exists() }).await;
    get(&balancer.url("/home?second")).await;
    // The end writes what is left.
    signal(balancer.pid(), "TERM");
    assert_eq!(balancer.exited().await.code(), Some(0));
    assert!(lines_of(&path, 1).await[0].contains("/home?second"));
    assert!(lines_of(&old, 1).await[0].contains("/home?first"));
}

#[test]
fn access_log_on_stdout_is_all_that_is_there() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["--listen", "127.0.0.1:0", "--replicas", "1"])
        .args(["--access-log", "stdout", "--access-log-format", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(process.stderr.take().unwrap());
    let url = loop {
        let mut line = String::new();
        assert_ne!(std::io::BufRead::read_line(&mut log, &mut line).unwrap(), 0);
        let mut words = line.split_whitespace();
        if let Some(url) = words.find(|word| word.starts_with("http://127.0.0.1:")) {
            break url.to_owned();
        }
    };
    let served = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["healthcheck", "--url", &format!("{url}/rep")])
        .status()
        .unwrap();
    assert!(served.success());
    signal(process.id(), "TERM");
    let mut stdout = String::new();
    let pipe = process.stdout.as_mut().unwrap();
    std::io::Read::read_to_string(pipe, &mut stdout).unwrap();
    process.wait().unwrap();
    let line: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(line["target"], "/rep");
}

#[test]
fn access_log_that_cannot_be_opened_stops_the_start() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--access-log",
            "/no/such/folder/log",
        ])
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("cannot write to /no/such/folder/log (--access-log)"),
        "{log}"
    );
}

#[actix_web::test]
async fn response_names_its_replica_and_its_times_if_it_is_to() {
    let args = [
        "--server-timing",
        "on",
        "--replica-header",
        "X-Served-By",
        "--replicas",
        "1",
    ];
    let balancer = Ringmaster::ready(&args).await;
    let text = wire::told(
        balancer.address(),
        b"GET /home HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(wire::values(&text, "x-served-by"), ["Server1"], "{text}");
    let timing = wire::values(&text, "server-timing");
    let names: Vec<&str> = timing[0]
        .split(", ")
        .map(|metric| {
            let (name, milliseconds) = metric.split_once(";dur=").unwrap();
            assert!(milliseconds.parse::<f64>().unwrap() >= 0.0);
            name
        })
        .collect();
    assert_eq!(names, ["connect", "first_byte", "total"]);
}

#[actix_web::test]
async fn head_that_cannot_be_read_has_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let long = "a".repeat(140_000);
    let unreadable = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "malformed"),
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), 505, "http_version"),
        (format!("GET /{long}"), 414, "target_too_long"),
        (
            format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"),
            431,
            "head_too_large",
        ),
    ];
    let late = [("GET / HT".to_owned(), 408, "header_timeout")];
    // Only the late one meets a time-out that a busy machine may exceed.
    for (header_timeout, cases) in [("30s", &unreadable[..]), ("300ms", &late)] {
        let path = folder.path().join(header_timeout);
        let file = path.to_str().unwrap();
        let args = [
            "--access-log",
            file,
            "--access-log-format",
            "json",
            "--header-timeout",
            header_timeout,
        ];
        let balancer = replica.balancer(&args).await;
        for (count, (request, status, ended)) in cases.iter().enumerate() {
            let got = wire::told(balancer.address(), request.as_bytes()).await;
            let line = &objects_of(&path, count + 1).await[count];
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
            assert_eq!(line["status"], *status, "{line}");
            assert_eq!(line["ended"], *ended, "{line}");
            assert_eq!(line["method"], "-", "{line}");
            assert_eq!(line["client"], "127.0.0.1", "{line}");
            let body = got.split_once("\r\n\r\n").unwrap().1;
            assert_eq!(line["bytes_out"], body.len(), "{line}");
        }
    }
}
