//! The fleet record in a file (`--state`): what has been changed outlives the balancer.

use awc::http::Method;
use awc::http::StatusCode;
use serde_json::json;

use crate::support::{Ringmaster, ask, eventually, get, signal};

/// Name and weight of each replica that is ready.
async fn ready_weights(balancer: &Ringmaster) -> Vec<(String, u64)> {
    let body = get(&balancer.status_url().await).await.body;
    let replicas = body["replicas"].as_array().unwrap().iter();
    let ready = replicas.filter(|replica| replica["state"] == "ready");
    ready
        .map(|replica| {
            let name = replica["name"].as_str().unwrap().to_owned();
            (name, replica["weight"].as_u64().unwrap())
        })
        .collect()
}

#[actix_web::test]
async fn state_file_keeps_requested_changes_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.json");
    let state = path.to_str().unwrap();
    let usual = ["--admin", "127.0.0.1:0", "--state", state];
    let first = Ringmaster::ready(&usual).await;
    let heavy = json!({"n": 1, "hostnames": ["heavy"], "weights": {"heavy": 3}});
    first.add(heavy).await.names();
    let gone = json!({"n": 1, "hostnames": ["Server2"]});
    first.rm(gone).await.names();
    let ring = format!("{}/ring", first.status_url().await);
    let patch = json!({"balance_factor": 1.5, "weights": {"Server1": 2}});
    let patched = ask(Method::PATCH, &ring, Some(patch)).await;
    assert_eq!(patched.status, StatusCode::OK, "{:?}", patched.body);
    signal(first.pid(), "KILL");
    drop(first);

    let expected = [("Server1", 2), ("Server3", 1), ("heavy", 3)];
    let expected = expected.map(|(name, weight)| (name.to_owned(), weight));
    let second = Ringmaster::ready(&usual).await;
    assert_eq!(ready_weights(&second).await, expected);
    let status = get(&second.status_url().await).await.body;
    assert_eq!(status["ring"]["balance_factor"], 1.5);
    assert_eq!(status["record"]["place"], state);
    assert!(!second.log().contains("WARN"), "{}", second.log());
    // No second balancer may use it meanwhile.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["--listen", "127.0.0.1:0", "--state", state])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is in use by another balancer"), "{said}");
    let (status, log) = second.terminate().await;
    assert!(status.success(), "{log}");

    // Nor is a stop on purpose the end of it; and other flags change what they are about.
    let other = [&usual[..], &["--env", "COLOUR=blue"]].concat();
    let third = Ringmaster::ready(&other).await;
    assert_eq!(ready_weights(&third).await, expected);
    assert_eq!(
        third.count_in_log("env: COLOUR is new"),
        1,
        "{}",
        third.log()
    );
    drop(third);

    // What cannot be changes nothing.
    let before = std::fs::read_to_string(&path).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["--listen", "127.0.0.1:0", "--state", state])
        .args(["--replicas", "200", "--slots", "101"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot build the ring"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);

    // A broken file stops the start, and stays as it is.
    std::fs::write(&path, "{\"format\":1,").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["--listen", "127.0.0.1:0", "--state", state])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let error = format!("error: state file {state} is no fleet record: ");
    assert!(said.contains(&error), "{said}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"format\":1,");
}

#[actix_web::test]
async fn state_file_that_is_not_writable_is_logged_and_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.json");
    let state = path.to_str().unwrap();
    let args = [
        "--replicas",
        "1",
        "--admin",
        "127.0.0.1:0",
        "--state",
        state,
    ];
    let balancer = Ringmaster::ready(&args).await;
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let added = balancer.add(json!({"n": 1, "hostnames": ["extra"]})).await;
    assert_eq!(added.status, StatusCode::INTERNAL_SERVER_ERROR);
    let begin = "<Error> done, but it would not outlive a restart of the balancer: ";
    assert!(added.message().starts_with(begin), "{}", added.message());
    assert_eq!(balancer.replicas().await, ["Server1", "extra"]);
    let status = balancer.status_url().await;
    let last_error = async || get(&status).await.body["record"]["last_error"].clone();
    assert!(last_error().await.is_string());
    std::fs::remove_dir(&path).unwrap();
    eventually("it is written", || async { last_error().await.is_null() }).await;
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.contains("\"extra\""), "{written}");
    assert_eq!(balancer.count_in_log("cannot write the fleet record"), 1);
}
