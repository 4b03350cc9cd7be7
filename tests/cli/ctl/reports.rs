//! What shows how a balancer is and what happened.

use std::process::Stdio;

use ringmaster::api::{
    Death, KeyExplanation, ListPage, ReplicaEvent, ReplicaEventKind, ReplicaStatus, RingDetails,
    Status,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::{ctl, json, start, start_with, text};
use crate::support::wire::in_time;
use crate::support::{Ringmaster, eventually, get, signal};

#[actix_web::test]
async fn status_and_replicas_show_each_replica_and_its_process() {
    let balancer = start().await;
    for command in ["status", "replicas"] {
        let text = text(&balancer, &[command]).await;
        for (name, pid) in balancer.children() {
            let row = text.lines().find(|line| line.starts_with(&name)).unwrap();
            assert!(
                row.contains(" ready ") && row.contains(&format!("process {pid}")),
                "{text}"
            );
        }
    }
    let status = text(&balancer, &["status"]).await;
    assert!(
        status.contains("3 of 3 replicas ready, run by process"),
        "{status}"
    );
    let status: Status = json(&balancer, &["status"]).await;
    assert_eq!(status.fleets[0].ready_replicas, 3);
    let page: ListPage<ReplicaStatus> = json(&balancer, &["replicas"]).await;
    assert_eq!(page.items.len(), 3);
}

#[actix_web::test]
async fn json_is_the_apis_to_the_byte() {
    let balancer = start().await;
    let admin = balancer.admin_url().await;
    let output = super::run(&balancer, &["--json", "ring"]).await;
    let ring: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        ring,
        get(&format!("{admin}/api/v1/fleets/default/ring"))
            .await
            .body
    );
    let ring: RingDetails = json(&balancer, &["ring"]).await;
    let slots: u64 = ring.replicas.iter().map(|replica| replica.slots).sum();
    assert_eq!(slots, u64::from(ring.ring.slots));
    let table = text(&balancer, &["ring"]).await;
    assert!(
        table.starts_with("rendezvous: 262,144 slots, balance factor 2"),
        "{table}"
    );
    assert!(table.contains("Server3 "), "{table}");
}

#[actix_web::test]
async fn explain_names_the_replica_that_serves_the_key() {
    let balancer = start_with(&["--key", "query:user"]).await;
    let why: KeyExplanation = json(&balancer, &["explain", "ada"]).await;
    let answer = get(&balancer.url("/home?user=ada")).await.body;
    let served_by = why.served_by.unwrap();
    let hello = served_by.replace("Server", "Hello from Server: ");
    assert_eq!(answer["message"], hello);
    let said = text(&balancer, &["explain", "ada"]).await;
    assert!(said.contains(&format!("goes to {served_by}.")), "{said}");
    assert!(said.contains("Failover"), "{said}");
    let odd: KeyExplanation = json(&balancer, &["explain", "a/b c?d%e\u{e9}"]).await;
    assert_eq!(odd.explained.key, "a/b c?d%e\u{e9}");
}

#[actix_web::test]
async fn deaths_and_events_say_what_a_kill_did() {
    let balancer = start().await;
    assert_eq!(text(&balancer, &["deaths"]).await, "no instance has died\n");
    signal(balancer.child("Server2"), "KILL");
    eventually("its successor is ready", || async {
        balancer.count_in_log("Server2 (generation 2) is ready") == 1
    })
    .await;
    let deaths: ListPage<Death> = json(&balancer, &["deaths", "Server2"]).await;
    assert_eq!(deaths.items[0].signal, Some(9));
    let none: ListPage<Death> = json(&balancer, &["deaths", "Server1"]).await;
    assert!(none.items.is_empty());
    let said = text(&balancer, &["deaths", "--details"]).await;
    assert!(said.starts_with("Server2 (generation 1), "), "{said}");
    assert!(
        said.contains("killed by signal 9") && said.contains("heartbeat "),
        "{said}"
    );
    let events: ListPage<ReplicaEvent> = json(&balancer, &["events"]).await;
    let evicted = |event: &ReplicaEvent| event.event == ReplicaEventKind::Evicted;
    assert!(events.items.iter().any(evicted));
    let said = text(&balancer, &["events"]).await;
    let row = said.lines().find(|line| line.contains("evicted")).unwrap();
    assert!(row.contains(" ago ") && row.contains("Server2"), "{said}");
}

/// `ctl events --follow`, and its lines.
async fn follow(admin: &str, more: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let args = [&["--admin", admin, "events", "--follow"], more].concat();
    let mut process = ctl(&args).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    (process, lines)
}

#[actix_web::test]
async fn events_are_followed_one_by_one_and_through_a_restart_of_the_balancer() {
    let balancer = start_with(&["--replicas", "1"]).await;
    let admin = balancer.admin_url().await;
    let (process, mut lines) = follow(&admin, &["--json"]).await;
    let mut next = async || -> ReplicaEvent {
        let line = in_time(lines.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let first = next().await;
    assert_eq!(first.id, 1);
    let mut last = first.id;
    let mut killed = false;
    loop {
        let event = next().await;
        assert_eq!(event.id, last + 1);
        last = event.id;
        if event.event == ReplicaEventKind::Ready && !killed {
            signal(balancer.child("Server1"), "KILL");
            killed = true;
        }
        if event.event == ReplicaEventKind::Evicted {
            assert!(killed);
            break;
        }
    }
    balancer.terminate().await;
    let address = admin.strip_prefix("http://").unwrap();
    let _other = Ringmaster::ready(&["--admin", address, "--replicas", "1"]).await;
    loop {
        let event = next().await;
        if event.id == 1 {
            break;
        }
        assert_eq!(event.id, last + 1, "the end of the first balancer");
        last = event.id;
    }
    drop(process);
}

#[actix_web::test]
async fn events_that_are_followed_are_lines_with_times() {
    let balancer = start_with(&["--replicas", "1"]).await;
    let (_process, mut lines) = follow(&balancer.admin_url().await, &[]).await;
    loop {
        let line = in_time(lines.next_line()).await.unwrap().unwrap();
        assert!(
            line.starts_with("20") && line.contains("Z Server1"),
            "{line}"
        );
        if line.ends_with("(generation 1) ready") {
            return;
        }
    }
}
