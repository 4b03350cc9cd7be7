//! What operators do with replicas by the admin API: drain, activate, restart, scale.

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Load, Reply, Ringmaster, ask, eventually, get, items, signal};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

async fn start(more: &[&str]) -> (Ringmaster, String) {
    let balancer = Ringmaster::ready(&[&ADMIN[..], more].concat()).await;
    let fleet = balancer.status_url().await;
    (balancer, fleet)
}

async fn patch(url: &str, body: Value) -> Reply {
    ask(Method::PATCH, url, Some(body)).await
}

async fn drain(fleet: &str, name: &str) -> Reply {
    let url = format!("{fleet}/replicas/{name}");
    patch(&url, json!({"state": "drained"})).await
}

async fn activate(fleet: &str, name: &str) -> Reply {
    let url = format!("{fleet}/replicas/{name}");
    patch(&url, json!({"state": "active"})).await
}

async fn restart(fleet: &str, name: &str, query: &str) -> Reply {
    let url = format!("{fleet}/replicas/{name}/restart{query}");
    ask(Method::POST, &url, None).await
}

async fn replica(fleet: &str, name: &str) -> Value {
    get(&format!("{fleet}/replicas/{name}")).await.body
}

/// Where a request of this key goes.
async fn served_by(balancer: &Ringmaster, key: usize) -> String {
    let reply = get(&balancer.url(&format!("/home?key={key}"))).await;
    assert_eq!(reply.status, StatusCode::OK);
    reply.message().to_owned()
}

/// Where each of some keys goes.
async fn placement(balancer: &Ringmaster) -> Vec<String> {
    let mut replicas = Vec::new();
    for key in 0..40 {
        replicas.push(served_by(balancer, key).await);
    }
    replicas
}

fn assert_refused(reply: &Reply, status: StatusCode, kind: &str, part: &str) {
    assert_eq!(reply.status, status, "{:?}", reply.body);
    assert_eq!(reply.body["type"], format!("/api/problems/{kind}"));
    let detail = reply.body["detail"].as_str().unwrap();
    assert!(detail.contains(part), "{detail}");
}

/// What happened to a replica, with the generation.
async fn story(balancer: &Ringmaster, name: &str) -> Vec<String> {
    let events = balancer.events().await;
    let own = events.iter().filter(|event| event["replica"] == name);
    own.map(|e| format!("{} {}", e["event"].as_str().unwrap(), e["generation"]))
        .collect()
}

#[actix_web::test]
async fn drained_replica_gets_no_requests_and_has_its_own_keys_again_when_active() {
    // On a busy machine the requests of the load may all be at one replica for a moment: with a bound,
    // another key's request would go elsewhere.
    let more = ["--key", "query:key", "--balance-factor", "none"];
    let (balancer, fleet) = start(&more).await;
    // A replica is ready in the log before every worker thread knows; the event comes after that.
    for name in ["Server1", "Server2", "Server3"] {
        balancer.event_of(name, 1, "ready").await;
    }
    let before = placement(&balancer).await;
    assert!(before.iter().any(|by| by.ends_with(": 2")), "{before:?}");
    let child = balancer.child("Server2");
    let load = Load::start(&balancer.url("/home?key=7"), 4);
    load.go_on_for(20).await;

    let drained = drain(&fleet, "Server2").await;
    assert_eq!(drained.status, StatusCode::OK, "{:?}", drained.body);
    assert_eq!(drained.body["state"], "drained");
    assert_eq!(drained.body["drained"], true);
    let during = placement(&balancer).await;
    assert!(!during.iter().any(|by| by.ends_with(": 2")), "{during:?}");
    for (was, is) in before.iter().zip(&during) {
        assert!(was == is || was.ends_with(": 2"), "{was} moved to {is}");
    }
    // It runs on, and is watched.
    assert_eq!(balancer.child("Server2"), child);
    assert!(replica(&fleet, "Server2").await["endpoint"].is_string());
    let metrics = format!("{}/metrics", balancer.admin_url().await);
    let mut metrics = awc::Client::new().get(metrics).send().await.unwrap();
    let metrics = metrics.body().limit(1 << 20).await.unwrap();
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    let mut lines = metrics.lines();
    let state = lines.find(|line| {
        let parts = ["ringmaster_replica_state", "\"Server2\"", "\"drained\""];
        parts.iter().all(|part| line.contains(part))
    });
    assert!(
        state.is_some_and(|line| line.ends_with("} 1.0")),
        "{state:?}"
    );

    let active = activate(&fleet, "Server2").await;
    assert_eq!(active.body["state"], "ready", "{:?}", active.body);
    assert_eq!(placement(&balancer).await, before);
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    let expected = [
        "joined null",
        "starting 1",
        "ready 1",
        "drained 1",
        "activated 1",
    ];
    let story = story(&balancer, "Server2").await;
    assert_eq!(story[..5], expected, "{story:?}");
    for line in ["is drained on request", "is active again on request"] {
        balancer.has_logged(line, 1).await;
    }
}

#[actix_web::test]
async fn drain_with_a_weight_changes_both_or_nothing() {
    let (_balancer, fleet) = start(&[]).await;
    let url = format!("{fleet}/replicas/Server1");
    let both = patch(&url, json!({"weight": 3, "state": "drained"})).await;
    assert_eq!(
        (&both.body["weight"], &both.body["state"]),
        (&json!(3), &json!("drained"))
    );
    for (body, part) in [
        (
            json!({"weight": 0, "state": "active"}),
            "1 to 1000 are allowed",
        ),
        (
            json!({"state": "resting"}),
            "expected `active` or `drained`",
        ),
        (json!({"drained": true}), "unknown field"),
    ] {
        let reply = patch(&url, body).await;
        assert_refused(&reply, StatusCode::BAD_REQUEST, "invalid-body", part);
    }
    let after = replica(&fleet, "Server1").await;
    assert_eq!(
        (&after["weight"], &after["state"]),
        (&json!(3), &json!("drained"))
    );
}

#[actix_web::test]
async fn drained_replica_that_dies_is_healed_and_stays_drained() {
    let (balancer, fleet) = start(&[]).await;
    drain(&fleet, "Server2").await;
    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(20).await;
    signal(balancer.child("Server2"), "KILL");
    eventually("it is healed", || async {
        let server2 = replica(&fleet, "Server2").await;
        server2["generation"] == 2 && server2["state"] == "drained"
    })
    .await;
    load.go_on_for(20).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    for _ in 0..30 {
        let by = get(&balancer.url("/home")).await;
        assert!(!by.message().ends_with(": 2"), "{by:?}");
    }
    assert_eq!(activate(&fleet, "Server2").await.body["state"], "ready");
}

/// A slow request that is in flight.
async fn slow_request(fleet: &str, url: String) -> actix_web::rt::task::JoinHandle<Reply> {
    let slow = actix_web::rt::spawn(async move { get(&url).await });
    eventually("it is in flight", || async {
        let status = get(fleet).await.body;
        let mut replicas = status["replicas"].as_array().unwrap().iter();
        replicas.any(|one| one["in_flight"] == 1)
    })
    .await;
    slow
}

/// The replica that works on something.
async fn busy_replica(fleet: &str) -> String {
    let status = get(fleet).await.body;
    let mut replicas = status["replicas"].as_array().unwrap().iter();
    let busy = replicas.find(|one| one["in_flight"] == 1).unwrap();
    busy["name"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn request_in_flight_on_a_drained_replica_is_finished() {
    let (balancer, fleet) = start(&[]).await;
    let slow = slow_request(&fleet, balancer.url("/slow?ms=3000")).await;
    let busy = busy_replica(&fleet).await;
    let drained = drain(&fleet, &busy).await;
    assert_eq!(drained.body["in_flight"], 1, "{:?}", drained.body);
    let reply = slow.await.unwrap();
    assert_eq!(reply.status, StatusCode::OK);
    eventually("it has nothing in flight", || async {
        replica(&fleet, &busy).await["in_flight"] == 0
    })
    .await;
    // Its place on the ring is as good as before.
    assert_eq!(activate(&fleet, &busy).await.body["state"], "ready");
    for _ in 0..30 {
        assert_eq!(get(&balancer.url("/home")).await.status, StatusCode::OK);
    }
}

#[actix_web::test]
async fn request_in_flight_on_a_drained_replica_ends_with_the_drain_timeout() {
    let more = ["--drain-timeout", "300ms", "--retry-budget", "0"];
    let (balancer, fleet) = start(&more).await;
    let slow = slow_request(&fleet, balancer.url("/slow?ms=60000")).await;
    let busy = busy_replica(&fleet).await;
    drain(&fleet, &busy).await;
    assert!(slow.await.unwrap().status.is_server_error());
    balancer
        .has_logged("still has 1 requests in flight", 1)
        .await;
    assert_eq!(activate(&fleet, &busy).await.body["state"], "ready");
    for _ in 0..30 {
        assert_eq!(get(&balancer.url("/home")).await.status, StatusCode::OK);
    }
}

#[actix_web::test]
async fn last_active_replica_is_not_drained() {
    let (balancer, fleet) = start(&["--replicas", "2"]).await;
    drain(&fleet, "Server1").await;
    let refused = drain(&fleet, "Server2").await;
    let part = "Server2 cannot be drained: no other active replica is ready";
    assert_refused(&refused, StatusCode::CONFLICT, "last-active", part);
    assert_eq!(replica(&fleet, "Server2").await["state"], "ready");
    assert_eq!(get(&balancer.url("/home")).await.status, StatusCode::OK);
    let unknown = drain(&fleet, "Server9").await;
    assert_refused(
        &unknown,
        StatusCode::NOT_FOUND,
        "unknown-replica",
        "Server9",
    );
}

#[actix_web::test]
async fn drained_state_outlives_the_balancer() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("fleet.json");
    let more = ["--state", state.to_str().unwrap()];
    let (first, fleet) = start(&more).await;
    drain(&fleet, "Server2").await;
    signal(first.pid(), "KILL");
    drop(first);

    let second = Ringmaster::start(&[&ADMIN[..], &more].concat());
    let fleet = second.status_url().await;
    eventually("it is drained", || async {
        replica(&fleet, "Server2").await["state"] == "drained"
    })
    .await;
    second.has_logged("and stays drained", 1).await;
    activate(&fleet, "Server2").await;
    let written = std::fs::read_to_string(&state).unwrap();
    assert!(!written.contains("drained"), "{written}");
}

#[actix_web::test]
async fn restart_under_load_loses_no_request() {
    let (balancer, fleet) = start(&[]).await;
    let before = balancer.child("Server2");
    let load = Load::start(&balancer.url("/home"), 8);
    for generation in 2..5 {
        load.go_on_for(50).await;
        let restarted = restart(&fleet, "Server2", "").await;
        assert_eq!(restarted.status, StatusCode::OK, "{:?}", restarted.body);
        assert_eq!(restarted.body["generation"], generation);
        assert_eq!(restarted.body["state"], "ready");
        assert_eq!(restarted.body["consecutive_deaths"], 0);
    }
    load.go_on_for(50).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    assert_ne!(balancer.child("Server2"), before);
    let story = story(&balancer, "Server2").await;
    let expected = [
        "ready 1",
        "restarting 1",
        "stopped 1",
        "starting 2",
        "ready 2",
    ];
    assert_eq!(story[2..7], expected, "{story:?}");
    balancer.has_logged("is restarted on request", 3).await;
    let deaths = get(&format!("{fleet}/deaths")).await.body;
    assert_eq!(items(&deaths), Vec::<Value>::new());
}

#[actix_web::test]
async fn restart_waits_for_requests_in_flight_unless_it_is_to_be_now() {
    let (balancer, fleet) = start(&["--stop-grace", "0s", "--retry-budget", "0"]).await;
    let slow = slow_request(&fleet, balancer.url("/slow?ms=700")).await;
    let busy = busy_replica(&fleet).await;
    let restarted = restart(&fleet, &busy, "").await;
    assert_eq!(restarted.status, StatusCode::OK, "{:?}", restarted.body);
    assert_eq!(slow.await.unwrap().status, StatusCode::OK);

    let slow = slow_request(&fleet, balancer.url("/slow?ms=60000")).await;
    let busy = busy_replica(&fleet).await;
    let restarted = restart(&fleet, &busy, "?now=true").await;
    assert_eq!(restarted.status, StatusCode::OK, "{:?}", restarted.body);
    assert!(slow.await.unwrap().status.is_server_error());
    let wrong = restart(&fleet, &busy, "?soon=true").await;
    assert_refused(&wrong, StatusCode::BAD_REQUEST, "invalid-query", "soon");
    let unknown = restart(&fleet, "Server9", "").await;
    assert_refused(
        &unknown,
        StatusCode::NOT_FOUND,
        "unknown-replica",
        "Server9",
    );
}

#[actix_web::test]
async fn request_on_a_replica_that_hangs_while_it_is_drained_goes_elsewhere() {
    let (balancer, fleet) = start(&["--drain-timeout", "1h", "--stop-grace", "0s"]).await;
    let slow = slow_request(&fleet, balancer.url("/slow?ms=2000")).await;
    let busy = busy_replica(&fleet).await;
    signal(balancer.child(&busy), "STOP");
    let restarted = restart(&fleet, &busy, "").await;
    assert_eq!(restarted.status, StatusCode::OK, "{:?}", restarted.body);
    assert_eq!(slow.await.unwrap().status, StatusCode::OK);
    let told = "does not answer while it is to finish its requests";
    balancer.has_logged(told, 1).await;
}

#[actix_web::test]
async fn restart_of_a_drained_replica_leaves_it_drained() {
    let (_balancer, fleet) = start(&[]).await;
    drain(&fleet, "Server3").await;
    let restarted = restart(&fleet, "Server3", "").await;
    assert_eq!(restarted.status, StatusCode::OK, "{:?}", restarted.body);
    assert_eq!(restarted.body["state"], "drained");
    assert_eq!(restarted.body["generation"], 2);
}

#[actix_web::test]
async fn restart_ends_a_back_off_and_says_why_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    let command = format!(
        "sh -c 'if [ $SERVER_ID = Server1 -a -e {} ]; then echo no database; exit 7; fi; \
         exec {} replica --listen 127.0.0.1:{{port}}'",
        broken.display(),
        env!("CARGO_BIN_EXE_ringmaster")
    );
    let (balancer, fleet) = start(&["--command", &command]).await;
    std::fs::write(&broken, "").unwrap();
    let failed = restart(&fleet, "Server1", "").await;
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let part = "cannot start Server1: exited with code 7";
    assert_refused(&failed, status, "start-failed", part);
    // It is wanted as before, and still tried.
    eventually("it backs off", || async {
        replica(&fleet, "Server1").await["degraded"] == true
    })
    .await;
    std::fs::remove_file(&broken).unwrap();
    let restarted = restart(&fleet, "Server1", "").await;
    assert_eq!(restarted.status, StatusCode::OK, "{:?}", restarted.body);
    assert_eq!(restarted.body["state"], "ready");
    assert_eq!(restarted.body["degraded"], false);
    assert_eq!(balancer.replicas().await.len(), 3);
}

#[actix_web::test]
async fn fleet_is_scaled_up_and_down() {
    let (balancer, fleet) = start(&["--replicas", "2"]).await;
    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(20).await;
    drain(&fleet, "Server2").await;
    let up = patch(
        &fleet,
        json!({"desired_replicas": 4, "balance_factor": 1.5}),
    )
    .await;
    assert_eq!(up.status, StatusCode::OK, "{:?}", up.body);
    assert_eq!(up.body["desired_replicas"], 4);
    assert_eq!(up.body["ready_replicas"], 3);
    assert_eq!(up.body["ring"]["balance_factor"], 1.5);
    let named = balancer.replicas().await;
    assert_eq!(named[..2], ["Server1", "Server2"]);
    // The drained one goes first.
    let down = patch(
        &fleet,
        json!({"desired_replicas": 3, "balance_factor": "none"}),
    )
    .await;
    assert_eq!(down.body["ready_replicas"], 3, "{:?}", down.body);
    assert_eq!(down.body["ring"]["balance_factor"], Value::Null);
    assert_eq!(balancer.replicas().await.len(), 3);
    assert!(!balancer.replicas().await.contains(&"Server2".to_owned()));
    let same = patch(&fleet, json!({"desired_replicas": 3})).await;
    assert_eq!(same.status, StatusCode::OK);
    load.go_on_for(20).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    for (body, part) in [
        (json!({"desired_replicas": 1025}), "0 to 1024 are allowed"),
        (json!({"desired_replicas": -1}), "-1"),
        (json!({"replicas": 3}), "unknown field `replicas`"),
        (
            json!({"desired_replicas": 1, "balance_factor": 0.5}),
            "balance factor",
        ),
    ] {
        let reply = patch(&fleet, body).await;
        assert_refused(&reply, StatusCode::BAD_REQUEST, "invalid-body", part);
    }
    assert_eq!(balancer.replicas().await.len(), 3);
}

#[actix_web::test]
async fn static_server_is_drained_and_not_restarted() {
    let (others, _) = start(&["--replicas", "2"]).await;
    let fleet = get(&others.status_url().await).await.body;
    let endpoint = |place: usize| {
        fleet["replicas"][place]["endpoint"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let upstreams = [endpoint(0), endpoint(1)];
    let more = ["--upstream", &upstreams[0], "--upstream", &upstreams[1]];
    let (balancer, fleet) = start(&more).await;
    let names = balancer.replicas().await;
    let drained = drain(&fleet, &names[0]).await;
    assert_eq!(drained.body["state"], "drained", "{:?}", drained.body);
    for _ in 0..20 {
        let by = get(&balancer.url("/home")).await;
        assert_eq!(by.message(), "Hello from Server: 2");
    }
    let refused = restart(&fleet, &names[0], "").await;
    let part = "with the runtime static";
    assert_refused(&refused, StatusCode::CONFLICT, "static-fleet", part);
    let refused = patch(&fleet, json!({"desired_replicas": 3})).await;
    assert_refused(&refused, StatusCode::CONFLICT, "static-fleet", part);
    assert_eq!(activate(&fleet, &names[0]).await.body["state"], "ready");
}
