//! A part of the keys to another version first, under load.

use awc::http::{Method, StatusCode};
use ringmaster::ring::{CanaryShare, Key};
use serde_json::{Value, json};

use super::rollouts::Fleet;
use crate::support::{Load, Ringmaster, ask, client, eventually, get, signal};

/// Keys that requests name by their id.
const KEYS: std::ops::Range<u64> = 200_000..200_200;

/// Begins a canary for a fifth of the keys, and waits until they are its.
async fn begin(fleet: &Fleet, version: &str) -> u64 {
    let body = json!({"env": {"VERSION": version}, "canary": "20%"});
    let begun = ask(Method::POST, &fleet.rollouts, Some(body)).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{:?}", begun.body);
    let id = begun.body["id"].as_u64().unwrap();
    fleet.comes_to(id, "canary").await;
    keys_are_its(fleet).await;
    id
}

/// Waits until the canary serves its keys. One answer would show that of a single thread; the history
/// has it when every thread knows.
async fn keys_are_its(fleet: &Fleet) {
    let is_it = |event: &Value| event["replica"] == "canary-1" && event["event"] == "ready";
    fleet.balancer.event(is_it).await;
}

async fn served_by(fleet: &Fleet, key: u64) -> String {
    let request = client().get(fleet.balancer.url("/server"));
    let request = request.insert_header(("X-Request-ID", key.to_string()));
    let body = request.send().await.unwrap().body().await.unwrap();
    String::from_utf8_lossy(&body).into_owned()
}

/// Who serves each key.
async fn served(fleet: &Fleet) -> Vec<String> {
    let mut served = Vec::new();
    for key in KEYS {
        served.push(served_by(fleet, key).await);
    }
    served
}

/// Whether the canary serves its keys, and every other key is served by whom it was before.
fn assert_only_its_keys_moved(before: &[String], during: &[String]) {
    let share: CanaryShare = "20%".parse().unwrap();
    for ((key, before), during) in KEYS.zip(before).zip(during) {
        match share.takes(Key(key)) {
            true => assert_eq!(during, "canary-1", "{key}"),
            false => assert_eq!(during, before, "{key}"),
        }
    }
}

async fn only_replicas_are_left(fleet: &Fleet) {
    eventually("the canary is gone", || async {
        fleet.balancer.children().len() == 3
    })
    .await;
}

async fn metrics(fleet: &Fleet) -> String {
    let url = format!("{}/metrics", fleet.balancer.admin_url().await);
    let metrics = client()
        .get(url)
        .send()
        .await
        .unwrap()
        .body()
        .limit(1 << 20)
        .await;
    String::from_utf8_lossy(&metrics.unwrap()).into_owned()
}

#[actix_web::test]
async fn canary_has_its_keys_until_it_is_promoted_and_no_request_fails() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &[]).await;
    let before = served(&fleet).await;
    let id = begin(&fleet, "two").await;
    assert_only_its_keys_moved(&before, &served(&fleet).await);
    assert_eq!(fleet.versions().await, ["one", "two"]);
    // It is no replica.
    assert_eq!(fleet.balancer.replicas().await.len(), 3);
    assert_eq!(fleet.replicas().await.len(), 3);
    let taken = fleet
        .balancer
        .add(json!({"n": 1, "hostnames": ["canary-1"]}))
        .await;
    assert!(
        taken.message().contains("canary-1 exists already"),
        "{:?}",
        taken.body
    );

    let rollout = fleet.rollout(id).await;
    let canary = &rollout["canary"];
    assert_eq!(canary["share"], "20%");
    let instance = json!({"name": "canary-1", "ready": true, "last_error": null});
    assert_eq!(canary["instances"], json!([instance]));
    for ring in ["served", "served_by_replicas"] {
        let figures = &canary[ring];
        assert!(figures["requests"].as_u64().unwrap() > 20, "{canary}");
        assert_eq!(figures["failed"], 0, "{canary}");
        assert!(
            figures["latency_p99_ms"].as_f64().unwrap() > 0.0,
            "{canary}"
        );
    }
    let metrics = metrics(&fleet).await;
    for ring in ["canary", "stable"] {
        let is_it =
            |line: &&str| line.starts_with("ringmaster_canary_requests") && line.contains(ring);
        let line = metrics
            .lines()
            .find(is_it)
            .unwrap_or_else(|| panic!("{metrics}"));
        assert!(!line.ends_with(" 0"), "{line}");
    }

    let promoted = fleet.direct(id, "promote").await;
    assert_eq!(promoted.body["state"], "rolling", "{:?}", promoted.body);
    let again = fleet.direct(id, "promote").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let done = fleet.comes_to(id, "done").await;
    assert_eq!(done["canary"], Value::Null);
    assert_eq!(fleet.versions().await, ["two"]);
    assert_eq!(served(&fleet).await, before);
    only_replicas_are_left(&fleet).await;
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn canary_that_dies_leaves_its_keys_to_replicas_until_it_is_back_and_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &[]).await;
    let before = served(&fleet).await;
    let id = begin(&fleet, "two").await;
    for generation in [2, 3] {
        signal(fleet.balancer.child("canary-1"), "KILL");
        // Its keys are its again.
        let event = fleet.balancer.event_of("canary-1", generation, "ready");
        event.await;
    }
    assert_only_its_keys_moved(&before, &served(&fleet).await);
    let deaths = get(&format!("{}/deaths", fleet.balancer.status_url().await))
        .await
        .body;
    let of_canary = |death: &&Value| death["replica"] == "canary-1";
    let count = deaths["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(of_canary)
        .count();
    assert_eq!(count, 2, "{deaths}");
    let undone = fleet.direct(id, "undo").await;
    assert_eq!(undone.status, StatusCode::OK, "{:?}", undone.body);
    let ended = fleet.comes_to(id, "rolled_back").await;
    assert_eq!(ended["reason"], "undone on request");
    assert_eq!(served(&fleet).await, before);
    assert_eq!(fleet.versions().await, ["one"]);
    only_replicas_are_left(&fleet).await;
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn canary_that_never_answers_gets_no_key_and_fails_the_rollout() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &["--start-timeout", "6s"]).await;
    let before = served(&fleet).await;
    let body = json!({"env": {"VERSION": "mute"}, "canary": "20%"});
    let begun = ask(Method::POST, &fleet.rollouts, Some(body)).await;
    let id = begun.body["id"].as_u64().unwrap();
    let early = fleet.direct(id, "promote").await;
    assert_eq!(early.status, StatusCode::CONFLICT);
    assert_eq!(early.body["type"], "/api/problems/rollout-state");
    assert_eq!(served(&fleet).await, before);
    let ended = fleet.comes_to(id, "rolled_back").await;
    let reason = ended["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("canary-1: had no good heartbeat within 6 s"),
        "{reason}"
    );
    only_replicas_are_left(&fleet).await;
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn errors_of_a_canary_are_seen_beside_the_replicas() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &["--outlier-failures", "0"]).await;
    let id = begin(&fleet, "broken").await;
    eventually("its errors are counted", || async {
        fleet.rollout(id).await["canary"]["served"]["failed"]
            .as_u64()
            .unwrap()
            > 5
    })
    .await;
    let canary = fleet.rollout(id).await["canary"].clone();
    assert_eq!(canary["served"]["error_rate"], 1.0, "{canary}");
    assert_eq!(canary["served_by_replicas"]["failed"], 0, "{canary}");
    fleet.direct(id, "undo").await;
    fleet.comes_to(id, "rolled_back").await;
}

#[actix_web::test]
async fn canary_outlives_the_balancer() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let state = ["--state", state.to_str().unwrap()];
    let fleet = Fleet::start(&folder, &state).await;
    let before = served(&fleet).await;
    let id = begin(&fleet, "two").await;
    signal(fleet.balancer.pid(), "KILL");
    drop(fleet);
    let fleet = Fleet::start(&folder, &state).await;
    fleet
        .balancer
        .has_logged("rollout 1 goes on with its canary", 1)
        .await;
    // The replicas, and the canary.
    fleet.balancer.has_logged("is ready at", 4).await;
    assert_eq!(fleet.rollout(id).await["state"], "canary");
    keys_are_its(&fleet).await;
    assert_only_its_keys_moved(&before, &served(&fleet).await);
    fleet.direct(id, "promote").await;
    fleet.comes_to(id, "done").await;
    assert_eq!(fleet.versions().await, ["two"]);
    assert_eq!(served(&fleet).await, before);
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn canary_that_cannot_be_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &[]).await;
    let env = json!({"VERSION": "two"});
    for (body, status, kind, part) in [
        (
            json!({"canary": "10%"}),
            422,
            "invalid-change",
            "this changes nothing",
        ),
        (
            json!({"env": env, "canary": "0%"}),
            422,
            "invalid-change",
            "canary: \"0%\" is not",
        ),
        (
            json!({"env": env, "canary": "101%"}),
            422,
            "invalid-change",
            "from 0.1% to 50%",
        ),
        (
            json!({"env": env, "canary": "ten"}),
            422,
            "invalid-change",
            "such as 10%",
        ),
        (
            json!({"env": env, "canary": 10}),
            400,
            "invalid-body",
            "expected a string",
        ),
    ] {
        let refused = ask(Method::POST, &fleet.rollouts, Some(body)).await;
        assert_eq!(refused.status.as_u16(), status, "{:?}", refused.body);
        assert_eq!(refused.body["type"], format!("/api/problems/{kind}"));
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{detail}");
    }
    let missing = fleet.direct(1, "promote").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    // One without a canary.
    let body = json!({"env": env});
    let begun = ask(Method::POST, &fleet.rollouts, Some(body)).await;
    let id = begun.body["id"].as_u64().unwrap();
    let refused = fleet.direct(id, "promote").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let detail = refused.body["detail"].as_str().unwrap();
    assert_eq!(detail, "rollout 1 cannot be promoted: it has no canary");
    fleet.comes_to(id, "done").await;
    let ended = fleet.direct(id, "promote").await;
    assert_eq!(ended.status, StatusCode::CONFLICT);
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

/// `cargo test --test healing canary::sixteen -- --ignored --nocapture` prints the figures.
#[actix_web::test]
#[ignore = "takes minutes"]
async fn sixteen_clients_lose_no_request_to_rollouts_and_canaries() {
    let usual = ["--admin", "127.0.0.1:0", "--rollout-monitor", "500ms"];
    let limits = ["--start-timeout", "4s", "--heartbeat-interval", "200ms"];
    let balancer = Ringmaster::ready(&[usual, limits].concat()).await;
    let quick = Load::start(&balancer.url("/home"), 12);
    let slow = Load::start(&balancer.url("/slow?ms=1500"), 4);
    let rollouts = format!("{}/rollouts", balancer.status_url().await);
    let start = async |body: Value| {
        let begun = ask(Method::POST, &rollouts, Some(body)).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{:?}", begun.body);
        begun.body["id"].as_u64().unwrap()
    };
    let comes_to = async |id: u64, state: &str| {
        eventually(&format!("rollout {id} is {state}"), || async {
            get(&format!("{rollouts}/{id}")).await.body["state"] == state
        })
        .await;
        quick.go_on_for(2_000).await;
    };
    let direct = async |id: u64, command: &str| {
        let directed = ask(Method::POST, &format!("{rollouts}/{id}/{command}"), None).await;
        assert_eq!(directed.status, StatusCode::OK, "{:?}", directed.body);
        directed.body["id"].as_u64().unwrap()
    };
    let env = |colour: &str| json!({"COLOUR": colour});
    let plain = start(json!({"env": env("blue")})).await;
    comes_to(plain, "done").await;
    comes_to(direct(plain, "undo").await, "done").await;
    let broken = start(json!({"command": ["sleep", "600"]})).await;
    comes_to(broken, "rolled_back").await;
    let canary = start(json!({"env": env("red"), "canary": "34%"})).await;
    comes_to(canary, "canary").await;
    direct(canary, "undo").await;
    comes_to(canary, "rolled_back").await;
    let broken = start(json!({"command": ["sleep", "600"], "canary": "34%"})).await;
    comes_to(broken, "rolled_back").await;
    let canary = start(json!({"env": env("red"), "canary": "34%"})).await;
    comes_to(canary, "canary").await;
    let compared = get(&format!("{rollouts}/{canary}")).await.body["canary"].clone();
    direct(canary, "promote").await;
    comes_to(canary, "done").await;
    quick.go_on_for(2_000).await;
    let (quick, slow) = (quick.stop().await, slow.stop().await);
    println!(
        "{} quick requests and {} slow ones; {compared}",
        quick.good, slow.good
    );
    let none = Vec::<String>::new();
    assert_eq!((quick.failures, slow.failures), (none.clone(), none));
    assert!(quick.good + slow.good > 20_000);
}
