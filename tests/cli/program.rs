//! The program as a shell sees it: exit codes, and what is said where.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use awc::http::StatusCode;
use serde_json::json;

use crate::support::{Ringmaster, eventually, get, signal};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn exit_code_tells_help_usage_error_and_failure_apart() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, code, part) in [
        (&["--help"][..], 0, "Usage: ringmaster"),
        (&["--version"], 0, env!("CARGO_PKG_VERSION")),
        (&["check"], 0, "replicas"),
        (&["--no-such-flag"], 2, "--no-such-flag"),
        (
            &["--replicas", "many", "--key", "moon"],
            2,
            "replicas = \"many\"",
        ),
        (
            &["--strategy", "classic", "--replicas", "57"],
            1,
            "too many",
        ),
        (
            &["--listen", &taken],
            1,
            &format!("cannot listen on {taken} (--listen): Address already in use"),
        ),
        (&["--listen", &taken], 1, "--listen 127.0.0.1:"),
        (&["--listen", &taken], 1, " is free"),
        (
            &["--listen", "127.0.0.1:0", "--admin", &taken],
            1,
            &format!("cannot listen on {taken} (--admin)"),
        ),
        (
            &["--listen", "127.0.0.1:0", "--command", "no-such-program"],
            1,
            "no program \"no-such-program\"",
        ),
        (
            &["healthcheck", "--url", &format!("http://{taken}/")],
            1,
            "error: ",
        ),
    ] {
        let Output {
            status,
            stdout,
            stderr,
        } = run(args);
        let said = if code == 0 { stdout } else { stderr };
        let said = String::from_utf8(said).unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

#[actix_web::test]
async fn healthcheck_succeeds_until_sigint_stops_cleanly() {
    let mut balancer = Ringmaster::ready(&[]).await;
    let url = balancer.url("/rep");
    assert_eq!(run(&["healthcheck", "--url", &url]).status.code(), Some(0));
    signal(balancer.pid(), "INT");
    assert_eq!(balancer.exited().await.code(), Some(0));
    assert_eq!(run(&["healthcheck", "--url", &url]).status.code(), Some(1));
}

#[actix_web::test]
async fn environment_and_file_set_what_flags_leave_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringmaster.toml");
    std::fs::write(&file, "replicas = 5\nstrategy = \"maglev\"\n").unwrap();
    let file = file.to_str().unwrap();
    let balancer = Ringmaster::start_with(&["--config", file], &[("RINGMASTER_REPLICAS", "2")]);
    assert_eq!(balancer.replicas().await, ["Server1", "Server2"]);
}

#[actix_web::test]
async fn foreign_signals_are_survived_and_sighup_is_logged() {
    let mut balancer = Ringmaster::ready(&[]).await;
    for name in ["HUP", "USR1", "USR2"] {
        signal(balancer.pid(), name);
        eventually("it is told", || async {
            balancer.count_in_log(&format!("SIG{name}: ")) == 1
        })
        .await;
    }
    assert_eq!(balancer.count_in_log("settings cannot be reloaded"), 1);
    assert_eq!(get(&balancer.url("/home")).await.status, StatusCode::OK);
    signal(balancer.pid(), "TERM");
    assert_eq!(balancer.exited().await.code(), Some(0));
}

/// A balancer whose stderr is left unread, and its URL.
fn start_unread(replicas: &str, command: &str) -> (Child, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["--listen", "127.0.0.1:0", "--replicas", replicas])
        .args(["--command", command])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first_line = String::new();
    let stdout = process.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut first_line).unwrap();
    let url = first_line.split_whitespace().last().unwrap();
    (process, url.to_owned())
}

#[actix_web::test]
async fn log_without_a_reader_blocks_nothing() {
    // Each start prints 2 MiB, more than pipe and buffer hold.
    let command = format!(
        "sh -c 'yes $(printf %0500d 0) | head -c 2097152; exec {} replica --listen 127.0.0.1:{{port}}'",
        env!("CARGO_BIN_EXE_ringmaster")
    );
    let (mut process, url) = start_unread("2", &command);
    let mut stderr = process.stderr.take().unwrap();
    eventually("it serves", || async {
        get(&format!("{url}/home")).await.status == StatusCode::OK
    })
    .await;
    // Admin calls, starts and heartbeats go on: a newcomer becomes ready.
    let add = crate::support::client().post(format!("{url}/add"));
    let added = add.send_json(&json!({"n": 1})).await.unwrap();
    assert_eq!(added.status(), StatusCode::OK);
    // So does healing.
    let pid = process.id();
    let children = crate::support::children_of(pid);
    for child in &children {
        signal(*child, "KILL");
    }
    eventually("others serve in their place", || async {
        let now = crate::support::children_of(pid);
        now.len() == children.len()
            && now.iter().all(|child| !children.contains(child))
            && get(&format!("{url}/home")).await.status == StatusCode::OK
    })
    .await;
    // And it stops, with nothing read by then.
    signal(pid, "TERM");
    let reader = std::thread::spawn(move || {
        let code = process.wait().unwrap().code();
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        (code, log)
    });
    eventually("it has ended", || async { reader.is_finished() }).await;
    let (code, log) = reader.join().unwrap();
    assert_eq!(code, Some(0));
    assert!(log.contains("starting Server1"), "{log}");
}

#[actix_web::test]
async fn log_with_a_slow_reader_counts_dropped_lines() {
    let command = format!(
        "sh -c 'yes $(printf %0500d 0) | head -c 4194304; exec {} replica --listen 127.0.0.1:{{port}}'",
        env!("CARGO_BIN_EXE_ringmaster")
    );
    let (mut process, url) = start_unread("1", &command);
    eventually("it serves", || async {
        get(&format!("{url}/home")).await.status == StatusCode::OK
    })
    .await;
    let stderr = process.stderr.take().unwrap();
    let told = std::thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let mut dropped = lines.filter(|line| line.contains("lines dropped"));
        dropped.next().unwrap_or_default()
    });
    eventually("the gap is told", || async { told.is_finished() }).await;
    let told = told.join().unwrap();
    assert!(told.contains("WARN ] ") && told.contains(","), "{told}");
    signal(process.id(), "TERM");
    process.wait().unwrap();
}
