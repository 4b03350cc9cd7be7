//! `GET .../heartbeats`: how the heartbeats of the last minutes came out.

use serde_json::Value;

use crate::support::{Ringmaster, eventually, get, items, signal};

async fn beats(balancer: &Ringmaster, after: u64, limit: usize) -> (Vec<Value>, Value) {
    let status = balancer.status_url().await;
    let page = get(&format!("{status}/heartbeats?after={after}&limit={limit}")).await;
    (items(&page.body), page.body["next"].clone())
}

#[actix_web::test]
async fn heartbeats_are_kept_over_a_hang_and_a_restart() {
    let fast = [
        "--heartbeat-interval",
        "100ms",
        "--heartbeat-timeout",
        "100ms",
    ];
    let args = [
        "--replicas",
        "2",
        "--hang-timeout",
        "1h",
        "--admin",
        "127.0.0.1:0",
    ];
    let balancer = Ringmaster::ready(&[&args[..], &fast].concat()).await;
    let has = async |generation: u64, outcome: &str| {
        let (beats, _) = beats(&balancer, 0, 1_000).await;
        beats.iter().any(|beat| {
            beat["replica"] == "Server2"
                && beat["generation"] == generation
                && beat["outcome"] == outcome
        })
    };
    eventually("a good heartbeat", || has(1, "good")).await;
    let child = balancer.child("Server2");
    signal(child, "STOP");
    eventually("a missed heartbeat", || has(1, "missed")).await;
    signal(child, "KILL");
    eventually("a heartbeat of the next instance", || has(2, "good")).await;
    assert!(has(1, "missed").await);

    let (first, next) = beats(&balancer, 0, 3).await;
    let ids: Vec<u64> = first
        .iter()
        .map(|beat| beat["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(next, "3");
    assert!(first[0]["latency_ms"].as_f64().unwrap() > 0.0);
    let (following, _) = beats(&balancer, 3, 1).await;
    assert_eq!(following[0]["id"], 4);
}
