//! Drills by the admin API, and long calls that are answered before they are done.

use awc::http::header::LOCATION;
use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Load, Reply, Ringmaster, ask, client, eventually, get, items};

async fn start(more: &[&str]) -> (Ringmaster, String) {
    let args = [
        &["--admin", "127.0.0.1:0", "--heartbeat-interval", "200ms"],
        more,
    ]
    .concat();
    let balancer = Ringmaster::ready(&args).await;
    let fleet = balancer.status_url().await;
    (balancer, fleet)
}

async fn drill(fleet: &str, body: Value) -> Reply {
    ask(Method::POST, &format!("{fleet}/drills"), Some(body)).await
}

/// A call that prefers to be answered at once: its status, and where to look.
async fn ask_async(method: Method, url: &str, body: Option<Value>) -> (StatusCode, String) {
    let request = client().request(method, url);
    let request = request.insert_header(("Prefer", "respond-async"));
    let sent = match body {
        Some(body) => request.send_json(&body).await,
        None => request.send().await,
    };
    let response = sent.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    if response.status() == StatusCode::ACCEPTED {
        assert_eq!(header("preference-applied"), "respond-async");
    }
    (response.status(), header(LOCATION.as_str()))
}

fn assert_refused(reply: &Reply, status: StatusCode, kind: &str, part: &str) {
    assert_eq!(reply.status, status, "{:?}", reply.body);
    assert_eq!(reply.body["type"], format!("/api/problems/{kind}"));
    let detail = reply.body["detail"].as_str().unwrap();
    assert!(detail.contains(part), "{detail}");
}

#[actix_web::test]
async fn drill_that_kills_reports_eviction_and_recovery_and_fails_no_request() {
    let (balancer, fleet) = start(&[]).await;
    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(20).await;
    let before = balancer.child("Server2");
    let reply = drill(&fleet, json!({"replica": "Server2", "fault": "kill"})).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    let drill = reply.body;
    assert_eq!(
        (&drill["state"], &drill["id"]),
        (&json!("recovered"), &json!(1))
    );
    assert_eq!(
        (&drill["generation_before"], &drill["generation_after"]),
        (&json!(1), &json!(2))
    );
    // Whichever shows it first.
    let reason = drill["reason"].as_str().unwrap();
    assert!(
        ["killed by signal 9", "refuses connections"].contains(&reason),
        "{drill}"
    );
    assert_eq!(drill["lasts_ms"], Value::Null);
    let ms = |key: &str| drill[key].as_f64().unwrap();
    assert!(ms("evicted_after_ms") <= ms("ready_after_ms"), "{drill}");
    assert_ne!(balancer.child("Server2"), before);
    assert_eq!(get(&format!("{fleet}/drills/1")).await.body, drill);
    assert_eq!(items(&get(&format!("{fleet}/drills")).await.body), [drill]);
    load.go_on_for(20).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    balancer.has_logged("drill of Server2: kill", 1).await;
}

#[actix_web::test]
async fn drill_that_pauses_a_random_replica_lets_it_go_on_as_it_was() {
    let (_balancer, fleet) = start(&[]).await;
    // An eviction takes 1.7 s, and longer where answers have been slow lately.
    let reply = drill(&fleet, json!({"fault": "pause", "for": "5s"})).await;
    assert_eq!(reply.body["state"], "recovered", "{:?}", reply.body);
    assert_eq!(reply.body["reason"], "no answer to heartbeats");
    assert_eq!(reply.body["generation_after"], 1);
    assert_eq!(reply.body["lasts_ms"], 5000);
    let reply = drill(&fleet, json!({"fault": "delay", "for": "100ms"})).await;
    assert_eq!(reply.body["state"], "recovered", "{:?}", reply.body);
    assert_eq!(reply.body["evicted_after_ms"], Value::Null);
    assert_eq!(reply.body["generation_after"], 1);
}

#[actix_web::test]
async fn second_drill_at_once_is_refused_and_the_first_goes_on_without_its_caller() {
    let (balancer, fleet) = start(&[]).await;
    let body = json!({"replica": "Server1", "fault": "pause", "for": "1s"});
    let url = format!("{fleet}/drills");
    let (status, place) = ask_async(Method::POST, &url, Some(body)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(place, "/api/v1/fleets/default/drills/1");
    let refused = drill(&fleet, json!({"replica": "Server2", "fault": "kill"})).await;
    assert_refused(
        &refused,
        StatusCode::CONFLICT,
        "drill-running",
        "a drill of Server1 runs",
    );
    let place = format!("{}{place}", balancer.admin_url().await);
    eventually("it is over", || async {
        get(&place).await.body["state"] == "recovered"
    })
    .await;
    let next = drill(&fleet, json!({"replica": "Server2", "fault": "kill"})).await;
    assert_eq!(next.body["state"], "recovered", "{:?}", next.body);
}

#[actix_web::test]
async fn nodes_are_those_of_a_swarm() {
    let (_balancer, fleet) = start(&["--replicas", "1"]).await;
    let why = "the runtime process has no nodes";
    let refused = drill(&fleet, json!({"fault": "drain", "node": "node1"})).await;
    assert_refused(&refused, StatusCode::CONFLICT, "no-nodes", why);
    for path in ["rebalance", "rebalance?dry_run=true"] {
        let refused = ask(Method::POST, &format!("{fleet}/{path}"), Some(json!({}))).await;
        assert_refused(&refused, StatusCode::CONFLICT, "no-nodes", why);
    }
    for (body, part) in [
        (json!({"fault": "drain"}), "which node?"),
        (
            json!({"fault": "kill", "node": "node1"}),
            "it can only be drained",
        ),
        (
            json!({"fault": "drain", "node": "node1", "for": "1s"}),
            "a node alone",
        ),
    ] {
        let refused = drill(&fleet, body).await;
        let invalid = StatusCode::UNPROCESSABLE_ENTITY;
        assert_refused(&refused, invalid, "invalid-change", part);
    }
}

#[actix_web::test]
async fn drill_that_cannot_be_is_refused_and_harms_nothing() {
    let (balancer, fleet) = start(&["--replicas", "1"]).await;
    let child = balancer.child("Server1");
    for (body, part) in [
        (json!({"fault": "burn"}), "unknown value `burn`"),
        (
            json!({"fault": "kill", "for": "1s"}),
            "for: a kill does not last",
        ),
        (json!({"fault": "pause", "for": "2"}), "for: "),
        (
            json!({"fault": "pause", "for": "61s"}),
            "1ms to 60s are allowed",
        ),
        (
            json!({"fault": "pause", "for": "1us"}),
            "1ms to 60s are allowed",
        ),
        (json!({"fault": "kill", "who": "Server1"}), "unknown field"),
        (json!({}), "missing field `fault`"),
    ] {
        let reply = drill(&fleet, body).await;
        let is_contradiction = part.contains("for:") || part.contains("60s");
        let (expected, kind) = match is_contradiction {
            true => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-change"),
            false => (StatusCode::BAD_REQUEST, "invalid-body"),
        };
        assert_refused(&reply, expected, kind, part);
    }
    let unknown = drill(&fleet, json!({"fault": "kill", "replica": "Server9"})).await;
    assert_refused(
        &unknown,
        StatusCode::NOT_FOUND,
        "unknown-replica",
        "Server9",
    );
    let unknown = get(&format!("{fleet}/drills/1")).await;
    assert_refused(
        &unknown,
        StatusCode::NOT_FOUND,
        "unknown-drill",
        "no drill 1",
    );
    assert_eq!(balancer.child("Server1"), child);

    let status = get(&fleet).await.body;
    let endpoint = status["replicas"][0]["endpoint"].as_str().unwrap();
    let (others, fleet) = start(&["--upstream", endpoint]).await;
    let name = &others.replicas().await[0];
    let refused = drill(&fleet, json!({"fault": "kill", "replica": name})).await;
    let part = "neither a process nor a container";
    assert_refused(&refused, StatusCode::CONFLICT, "no-drill-target", part);
    assert_eq!(balancer.child("Server1"), child);
}

#[actix_web::test]
async fn long_call_that_prefers_it_is_answered_at_once_and_goes_on() {
    let (balancer, fleet) = start(&["--replicas", "2"]).await;
    let replicas = format!("{fleet}/replicas");
    let path = "/api/v1/fleets/default/replicas";
    let new = Some(json!({"names": ["extra"]}));
    let added = ask_async(Method::POST, &replicas, new.clone()).await;
    assert_eq!(added, (StatusCode::ACCEPTED, format!("{path}/extra")));
    let extra = format!("{replicas}/extra");
    eventually("it is added", || async {
        get(&extra).await.body["state"] == "ready"
    })
    .await;
    // What is refused is no work to wait for; on a busy machine the refusal may take too long.
    eventually("it is refused", || async {
        let again = ask_async(Method::POST, &replicas, new.clone()).await;
        again.0 == StatusCode::CONFLICT
    })
    .await;
    let unknown = format!("{replicas}/Server9/restart");
    let unknown = ask_async(Method::POST, &unknown, None).await;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND);

    let restarted = ask_async(Method::POST, &format!("{extra}/restart"), None).await;
    assert_eq!(restarted, (StatusCode::ACCEPTED, format!("{path}/extra")));
    eventually("it is restarted", || async {
        let extra = get(&extra).await.body;
        extra["state"] == "ready" && extra["generation"] == 2
    })
    .await;
    let scaled = ask_async(Method::PATCH, &fleet, Some(json!({"desired_replicas": 4}))).await;
    let place = "/api/v1/fleets/default".to_owned();
    assert_eq!(scaled, (StatusCode::ACCEPTED, place));
    eventually("there are four", || async {
        balancer.replicas().await.len() == 4
    })
    .await;
    let removed = ask_async(Method::DELETE, &extra, None).await;
    assert_eq!(removed, (StatusCode::ACCEPTED, format!("{path}/extra")));
    eventually("it is gone", || async {
        get(&extra).await.status == StatusCode::NOT_FOUND
    })
    .await;
}
