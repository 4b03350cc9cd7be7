//! `pause` and `resume`: the balancer holds requests and loses none.

use std::time::{Duration, Instant};

use actix_web::rt::spawn;
use awc::http::{Method, StatusCode};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Load, Reply, Ringmaster, ask, ask_with, eventually, get, signal};

async fn start(more: &[&str]) -> (Ringmaster, String) {
    let admin = ["--admin", "127.0.0.1:0"];
    let balancer = Ringmaster::ready(&[&admin[..], more].concat()).await;
    let fleet = balancer.status_url().await;
    (balancer, fleet)
}

async fn pause(fleet: &str, body: Value) -> Reply {
    ask(Method::POST, &format!("{fleet}/pause"), Some(body)).await
}

async fn resume(fleet: &str) -> Reply {
    ask(Method::POST, &format!("{fleet}/resume"), None).await
}

/// A request that is sent now.
fn send(balancer: &Ringmaster, path: &str) -> JoinHandle<(Reply, Instant)> {
    let url = balancer.url(path);
    spawn(async move { (get(&url).await, Instant::now()) })
}

async fn in_flight(fleet: &str, number: u64) {
    eventually("a request is in flight", || async {
        let replicas = get(&format!("{fleet}/replicas")).await.body["items"].clone();
        let loads = replicas.as_array().unwrap().iter();
        loads
            .map(|replica| replica["in_flight"].as_u64().unwrap())
            .sum::<u64>()
            == number
    })
    .await;
}

async fn waiting(fleet: &str, number: u64) {
    eventually("requests wait", || async {
        get(fleet).await.body["pause"]["waiting"] == number
    })
    .await;
}

async fn metric(balancer: &Ringmaster, name: &str) -> String {
    let url = format!("{}/metrics", balancer.admin_url().await);
    let mut answer = awc::Client::new().get(url).send().await.unwrap();
    let text = answer.body().limit(1 << 20).await.unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

async fn happened(balancer: &Ringmaster, kind: &str) -> usize {
    let events = balancer.events().await;
    events.iter().filter(|event| event["event"] == kind).count()
}

#[actix_web::test]
async fn requests_wait_until_the_fleet_is_resumed() {
    let (balancer, fleet) = start(&["--wait-timeout", "50ms"]).await;
    assert_eq!(get(&fleet).await.body["pause"], Value::Null);
    let begun = Instant::now();
    let slow = send(&balancer, "/slow?ms=700");
    in_flight(&fleet, 1).await;
    // Answered when what was in flight has ended. (This thread may read both answers at once, in either
    // order.)
    let paused = pause(&fleet, json!({"for": "20s"})).await;
    assert!(begun.elapsed() >= Duration::from_millis(700));
    assert_eq!(paused.status, StatusCode::OK, "{:?}", paused.body);
    assert_eq!(paused.body["pause"]["in_flight"], 0);
    assert_eq!(slow.await.unwrap().0.status, StatusCode::OK);
    assert_eq!(metric(&balancer, "ringmaster_paused{").await, "1");

    let held = [send(&balancer, "/home"), send(&balancer, "/home")];
    let url = balancer.url("/echo");
    let posted = spawn(async move { ask(Method::POST, &url, Some(json!({"order": 7}))).await });
    waiting(&fleet, 3).await;
    // What dies is healed meanwhile, without a request.
    signal(balancer.child("Server2"), "KILL");
    balancer
        .has_logged("Server2 (generation 2) is ready at", 1)
        .await;
    // That took longer than a request may wait for a replica: the pause does not count.
    assert!(held.iter().all(|held| !held.is_finished()));

    let resumed = resume(&fleet).await;
    assert_eq!(resumed.status, StatusCode::OK, "{:?}", resumed.body);
    assert_eq!(resumed.body["pause"], Value::Null);
    for held in held {
        assert_eq!(held.await.unwrap().0.status, StatusCode::OK);
    }
    assert_eq!(posted.await.unwrap().body, json!({"order": 7}));
    assert_eq!(metric(&balancer, "ringmaster_paused{").await, "0");
    assert_eq!(happened(&balancer, "paused").await, 1);
    assert_eq!(happened(&balancer, "resumed").await, 1);
}

#[actix_web::test]
async fn no_client_sees_more_of_a_pause_than_the_wait() {
    let (balancer, fleet) = start(&[]).await;
    let load = Load::start(&balancer.url("/slow?ms=20"), 16);
    load.go_on_for(100).await;
    for _ in 0..3 {
        let paused = pause(&fleet, json!({})).await;
        assert_eq!(paused.body["pause"]["in_flight"], 0, "{:?}", paused.body);
        waiting(&fleet, 16).await;
        resume(&fleet).await;
        load.go_on_for(200).await;
    }
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
}

#[actix_web::test]
async fn pause_ends_by_itself() {
    let (balancer, fleet) = start(&["--max-pause", "1s"]).await;
    assert_eq!(pause(&fleet, json!({})).await.status, StatusCode::OK);
    assert_eq!(get(&balancer.url("/home")).await.status, StatusCode::OK);
    balancer
        .has_logged("the pause ends by itself: it has", 1)
        .await;
    assert_eq!(get(&fleet).await.body["pause"], Value::Null);
    let resumed = balancer.event(|event| event["event"] == "resumed").await;
    let reason = resumed["reason"].as_str().unwrap();
    assert!(reason.ends_with("as long as it may"), "{reason}");
    let late = resume(&fleet).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert_eq!(late.body["type"], "/api/problems/not-paused");
}

#[actix_web::test]
async fn second_pause_prolongs_the_first_and_does_not_shorten_it() {
    let (_balancer, fleet) = start(&[]).await;
    let ends_at = async |lasts: &str| {
        let paused = pause(&fleet, json!({"for": lasts})).await;
        assert_eq!(paused.status, StatusCode::OK, "{:?}", paused.body);
        paused.body["pause"]["ends_at"].as_str().unwrap().to_owned()
    };
    let first = ends_at("10s").await;
    assert_eq!(ends_at("1s").await, first);
    assert!(ends_at("20s").await > first);
}

#[actix_web::test]
async fn held_requests_go_over_a_second() {
    let (balancer, fleet) = start(&["--workers", "1"]).await;
    pause(&fleet, json!({})).await;
    let held: Vec<_> = (0..100).map(|_| send(&balancer, "/home")).collect();
    waiting(&fleet, 100).await;
    resume(&fleet).await;
    let answers = join_all(held).await;
    let answers = answers.into_iter().map(Result::unwrap);
    let (answers, mut ends): (Vec<Reply>, Vec<Instant>) = answers.unzip();
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    ends.sort();
    let spread = ends[99] - ends[0];
    assert!(spread.as_millis() >= 500, "{spread:?}");
}

#[actix_web::test]
async fn no_more_wait_than_the_waiting_room_holds() {
    let (balancer, fleet) = start(&["--max-waiting", "2"]).await;
    pause(&fleet, json!({})).await;
    let held = [send(&balancer, "/home"), send(&balancer, "/home")];
    waiting(&fleet, 2).await;
    let refused = get(&balancer.url("/home")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.header("retry-after"), "1");
    resume(&fleet).await;
    for held in held {
        assert_eq!(held.await.unwrap().0.status, StatusCode::OK);
    }
}

#[actix_web::test]
async fn pause_that_makes_no_sense_is_refused() {
    let (balancer, fleet) = start(&["--max-pause", "10s"]).await;
    for (body, status, part) in [
        (json!({"for": "11s"}), 422, "a pause may last for 10 s"),
        (json!({"for": "0s"}), 400, "such as 20s"),
        (json!({"for": "1 minute"}), 400, "such as 20s"),
        (json!({"until": "noon"}), 400, "until"),
    ] {
        let refused = pause(&fleet, body.clone()).await;
        assert_eq!(refused.status, status, "{body}: {:?}", refused.body);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{body}: {detail}");
    }
    let url = format!("{fleet}/pause");
    let outdated = [("If-Match", "\"0-0\"")];
    let refused = ask_with(Method::POST, &url, &outdated, Some(json!({}))).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(resume(&fleet).await.status, StatusCode::CONFLICT);
    assert_eq!(get(&balancer.url("/home")).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn requests_that_are_held_are_served_before_the_balancer_ends() {
    let (balancer, fleet) = start(&[]).await;
    pause(&fleet, json!({})).await;
    let held = send(&balancer, "/home");
    waiting(&fleet, 1).await;
    let (status, log) = balancer.terminate().await;
    assert_eq!(held.await.unwrap().0.status, StatusCode::OK);
    assert!(status.success(), "{log}");
}
