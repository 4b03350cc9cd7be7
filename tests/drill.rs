//! `ringmaster drill`: harm on request, against a real balancer with child processes.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::process::{Output, Stdio};

use common::{Ringmaster, get};
use serde_json::Value;

async fn drill(balancer: &Ringmaster, args: &[&str]) -> Output {
    let status_url = balancer.status_url().await;
    let admin_url = status_url.strip_suffix("/status").unwrap();
    tokio::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["drill", "--url", &balancer.url(""), "--admin-url"])
        .arg(admin_url)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

async fn start(args: &[&str]) -> Ringmaster {
    Ringmaster::ready(&[&["--admin", "127.0.0.1:0"], args].concat()).await
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[actix_web::test]
async fn every_replica_is_killed_in_turn_and_no_request_is_lost() {
    let balancer = start(&[]).await;
    let results = json(&drill(&balancer, &["--kill", "all", "--json"]).await);
    assert_eq!(results["failed"], 0, "{results}");
    let drills = results["drills"].as_array().unwrap();
    let names: Vec<_> = drills.iter().map(|one| &one["replica"]).collect();
    assert_eq!(names, ["Server1", "Server2", "Server3"]);
    for one in drills {
        let evicted = one["evicted_ms"].as_f64().unwrap();
        let back = one["back_ms"].as_f64().unwrap();
        assert!(evicted < back && back < 10_000.0, "{one}");
        assert!(one["silent_ms"].as_f64().unwrap() > 0.0, "{one}");
        assert!(one["requests"].as_u64().unwrap() > 0, "{one}");
        assert_eq!(one["failed"], 0, "{one}");
        assert!(one["retried"].is_u64(), "{one}");
        assert_eq!(one["keys_moved"], 0, "{one}");
        assert_eq!(
            (&one["generation_before"], &one["generation_after"]),
            (&1.into(), &2.into())
        );
    }
}

#[actix_web::test]
async fn a_replica_that_hangs_for_less_than_the_mercy_comes_back_as_it_is() {
    let quick = [
        "--heartbeat-interval",
        "200ms",
        "--heartbeat-timeout",
        "200ms",
    ];
    let balancer = start(&quick).await;
    let pid = balancer.child("Server2");
    let asked = ["--pause", "Server2", "--for", "2s", "--json"];
    let results = json(&drill(&balancer, &asked).await);
    let one = &results["drills"][0];
    let evicted = one["evicted_ms"].as_f64().unwrap();
    let back = one["back_ms"].as_f64().unwrap();
    assert!(evicted < 2_000.0 && back >= 2_000.0, "{one}");
    assert_eq!(one["generation_before"], one["generation_after"], "{one}");
    assert_eq!(balancer.child("Server2"), pid);
}

#[actix_web::test]
async fn a_slowed_replica_stays_on_the_ring_and_the_table_says_so() {
    let balancer = start(&[]).await;
    let output = drill(&balancer, &["--delay", "Server1", "--for", "500ms"]).await;
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = "Server1: never off the ring; the same instance as before";
    assert!(table.contains(said), "{table}");
    assert!(table.contains(", 0 failed"), "{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
}

#[actix_web::test]
async fn wrong_use_harms_nobody_and_says_what_is_allowed() {
    let balancer = start(&[]).await;
    for (args, said) in [
        (
            &["--kill", "S2"][..],
            "\"S2\": allowed are Server1, Server2, Server3 and all",
        ),
        (&[], "--kill"),
        (&["--kill", "all", "--pause", "all"], "cannot be used with"),
        (&["--pause", "all", "--for", "2h"], "100ms to 1m"),
        (&["--pause", "all", "--for", "2"], "write 2s or 2ms"),
        (&["--kill", "all", "--rate", "0"], "1..=5000"),
        (&["--kill", "all", "--url", "x"], "http://HOST:PORT"),
    ] {
        let args: Vec<&str> = args.to_vec();
        let status_url = balancer.status_url().await;
        let url = balancer.url("");
        let mut all = vec![
            "drill",
            "--admin-url",
            status_url.strip_suffix("/status").unwrap(),
        ];
        if !args.contains(&"--url") {
            all.extend(["--url", &url]);
        }
        all.extend(args);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
            .args(&all)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{all:?}: {output:?}");
        assert!(
            stderr(&output).contains(said),
            "{all:?}: {}",
            stderr(&output)
        );
    }
    let status = get(&balancer.status_url().await).await.body;
    for replica in status["replicas"].as_array().unwrap() {
        assert_eq!(replica["generation"], 1, "{replica}");
    }
}

#[actix_web::test]
async fn servers_that_somebody_else_runs_are_not_harmed() {
    let other = Ringmaster::ready(&["--replicas", "1"]).await;
    let balancer = start(&["--upstream", other.address()]).await;
    let output = drill(&balancer, &["--kill", "all"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("no process"), "{output:?}");
}
