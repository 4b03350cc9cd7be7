//! The admin API: fleet, replicas and keys, and the ring changed under load.

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Load, Reply, Ringmaster, ask, eventually, get, items, signal};

pub async fn start(args: &[&str]) -> (Ringmaster, String) {
    let args: Vec<&str> = ["--admin", "127.0.0.1:0"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    let balancer = Ringmaster::ready(&args).await;
    let admin = balancer.admin_url().await;
    (balancer, admin)
}

async fn patch(admin: &str, query: &str, body: Value) -> Reply {
    ask(
        Method::PATCH,
        &format!("{admin}/api/v1/fleets/default/ring{query}"),
        Some(body),
    )
    .await
}

#[actix_web::test]
async fn status_shows_ring_counts_replicas_and_events() {
    let (balancer, admin) = start(&[]).await;
    for _ in 0..10 {
        get(&balancer.url("/home")).await;
    }
    signal(balancer.child("Server2"), "KILL");
    eventually("healed", || async {
        let status = get(&format!("{admin}/api/v1/fleets/default")).await.body;
        status["replicas"][1]["generation"] == 2 && status["replicas"][1]["state"] == "ready"
    })
    .await;
    let status = get(&format!("{admin}/api/v1/fleets/default")).await.body;
    assert_eq!(status["ring"]["strategy"], "rendezvous");
    assert_eq!(status["counters"]["requests"], 10);
    assert_eq!(status["counters"]["failed"], 0);
    let replicas = status["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 3);
    assert_eq!(replicas[0]["name"], "Server1");
    assert_eq!(replicas[0]["weight"], 1);
    for replica in replicas {
        let pid = balancer.child(replica["name"].as_str().unwrap());
        assert_eq!(replica["pid"], pid, "{replica}");
        assert_eq!(replica["container"], Value::Null);
    }
    balancer.event_of("Server2", 2, "ready").await;
    let events = balancer.events().await;
    let story: Vec<String> = events
        .iter()
        .filter(|event| event["replica"] == "Server2")
        .map(|event| {
            format!(
                "{} {}",
                event["event"].as_str().unwrap(),
                event["generation"]
            )
        })
        .collect();
    assert_eq!(
        story,
        [
            "joined null",
            "starting 1",
            "ready 1",
            "evicted 1",
            "starting 2",
            "ready 2"
        ]
    );
    let evicted = events.iter().find(|e| e["event"] == "evicted");
    assert_eq!(evicted.unwrap()["reason"], "killed by signal 9");
}

#[actix_web::test]
async fn ring_change_under_load_loses_no_request() {
    let (balancer, admin) = start(&[]).await;
    let load = Load::start(&balancer.url("/home"), 6);
    for change in [
        json!({"strategy": "maglev"}),
        json!({"weights": {"Server1": 3}}),
        json!({"strategy": "classic"}),
        json!({"virtual_servers": 20, "slots": 1024}),
        json!({"strategy": "rendezvous", "balance_factor": 1.25}),
        json!({"balance_factor": null}),
        json!({"balance_factor": "none"}),
    ] {
        load.go_on_for(30).await;
        let reply = patch(&admin, "", change.clone()).await;
        assert_eq!(reply.status, StatusCode::OK, "{change}: {:?}", reply.body);
    }
    load.go_on_for(30).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    let status = get(&format!("{admin}/api/v1/fleets/default")).await.body;
    assert_eq!(status["replicas"][0]["weight"], 3);
    assert_eq!(status["ring"]["strategy"], "rendezvous");
    assert_eq!(status["ring"]["balance_factor"], Value::Null);
}

#[actix_web::test]
async fn dry_run_reports_moves_and_changes_nothing() {
    let (_balancer, admin) = start(&[]).await;
    let before = get(&format!("{admin}/api/v1/fleets/default")).await.body;
    let reply = patch(&admin, "?dry_run=true", json!({"weights": {"Server1": 2}})).await;
    assert_eq!(reply.status, StatusCode::OK);
    let would = &reply.body;
    assert_eq!(would["dry_run"], true);
    // From a third to a half: a sixth of the keys has to move, and hardly more does.
    let moved = would["moved_share"].as_f64().unwrap();
    assert!((0.16..0.18).contains(&moved), "{moved}");
    let share = |which: &str, name: &str| {
        let lines = would["ownership"].as_array().unwrap();
        let line = lines.iter().find(|line| line["replica"] == name).unwrap();
        line[which].as_f64().unwrap()
    };
    assert!((share("before", "Server1") - 1.0 / 3.0).abs() < 0.01);
    assert!((share("after", "Server1") - 0.5).abs() < 0.01);
    assert!((share("after", "Server2") - 0.25).abs() < 0.01);
    let after = get(&format!("{admin}/api/v1/fleets/default")).await.body;
    assert_eq!(after["epoch"], before["epoch"]);
    assert_eq!(after["replicas"][0]["weight"], 1);

    // What was foretold is what happens.
    let reply = patch(&admin, "", json!({"weights": {"Server1": 2}})).await;
    assert_eq!(reply.body["moved_share"].as_f64().unwrap(), moved);
}

#[actix_web::test]
async fn added_replica_takes_the_given_weight() {
    let (balancer, admin) = start(&["--replicas", "1"]).await;
    let body = json!({"n": 1, "hostnames": ["Big"], "weights": {"Big": 3}});
    assert_eq!(balancer.add(body).await.names(), ["Server1", "Big"]);
    let reply = patch(&admin, "?dry_run=true", json!({})).await;
    let lines = reply.body["ownership"].as_array().unwrap().clone();
    let big = lines.iter().find(|line| line["replica"] == "Big").unwrap();
    assert!(
        (big["before"].as_f64().unwrap() - 0.75).abs() < 0.01,
        "{big}"
    );
    let _ = patch(&admin, "", json!({"strategy": "classic"})).await;
    for (body, part) in [
        (json!({"n": 60}), "too many"),
        (
            json!({"n": 1, "hostnames": ["a"], "weights": {"b": 1}}),
            "which hostnames does not",
        ),
        (
            json!({"n": 1, "hostnames": ["a"], "weights": {"a": 0}}),
            "1 to 1000",
        ),
    ] {
        let reply = balancer.add(body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.message().contains(part), "{reply:?}");
    }
}

#[actix_web::test]
async fn ring_change_that_is_invalid_is_refused_and_changes_nothing() {
    let (_balancer, admin) = start(&[]).await;
    let before = get(&format!("{admin}/api/v1/fleets/default")).await.body["epoch"].clone();
    for (query, body, status, part) in [
        ("", json!({"strategy": "dice"}), 400, "not a strategy"),
        (
            "",
            json!({"strategy": "maglev", "slots": 100}),
            422,
            "prime",
        ),
        (
            "",
            json!({"strategy": "classic", "slots": 5}),
            422,
            "virtual servers",
        ),
        (
            "",
            json!({"weights": {"Server9": 2}}),
            404,
            "no replica Server9",
        ),
        ("", json!({"weights": {"Server1": 0}}), 400, "1 to 1000"),
        ("", json!({"balance_factor": 0.5}), 400, "balance factor"),
        (
            "",
            json!({"balance_factor": "two"}),
            400,
            "expected a number, null or \"none\"",
        ),
        ("", json!({"slot": 5}), 400, "unknown field"),
        (
            "?dry_run=maybe",
            json!({}),
            400,
            "dry_run must be true or false",
        ),
    ] {
        let reply = patch(&admin, query, body.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{body}: {:?}", reply.body);
        assert!(
            reply.body["detail"].as_str().unwrap().contains(part),
            "{body}: {}",
            reply.body
        );
        assert_eq!(reply.body["status"], status);
    }
    let elsewhere = get(&format!("{admin}/home")).await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    let wrong = ask(
        Method::DELETE,
        &format!("{admin}/api/v1/fleets/default"),
        None,
    )
    .await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        get(&format!("{admin}/api/v1/fleets/default")).await.body["epoch"],
        before
    );
}

#[actix_web::test]
async fn load_bound_sends_the_excess_to_other_replicas() {
    for (factor, spills) in [("none", false), ("1.25", true)] {
        let args = ["--balance-factor", factor];
        let args: Vec<&str> = args.iter().chain(&["--key", "path"]).copied().collect();
        let (balancer, admin) = start(&args).await;
        // One key, forty requests at once.
        let held: Vec<_> = (0..40)
            .map(|_| {
                let url = balancer.url("/slow?ms=3000");
                actix_web::rt::spawn(async move { get(&url).await.status })
            })
            .collect();
        eventually("forty in flight", || async {
            in_flight(&admin).await.iter().sum::<u64>() == 40
        })
        .await;
        let loads = in_flight(&admin).await;
        let most = *loads.iter().max().unwrap();
        if spills {
            // ceil(1.25 * 40 / 3) = 17.
            assert!(most <= 17, "{loads:?}");
        } else {
            assert_eq!(most, 40, "{loads:?}");
        }
        for request in held {
            assert_eq!(request.await.unwrap(), StatusCode::OK);
        }
    }
}

async fn in_flight(admin: &str) -> Vec<u64> {
    let status = get(&format!("{admin}/api/v1/fleets/default")).await.body;
    let replicas = status["replicas"].as_array().unwrap();
    replicas
        .iter()
        .map(|r| r["in_flight"].as_u64().unwrap())
        .collect()
}

#[actix_web::test]
async fn api_shows_the_balancer_its_fleet_and_each_replica() {
    let (_balancer, admin) = start(&[]).await;
    let api = format!("{admin}/api/v1");
    let version = get(&format!("{api}/version")).await.body;
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let status = get(&format!("{api}/status")).await.body;
    let fleet = get(&format!("{api}/fleets/default")).await.body;
    assert_eq!(status["fleets"][0]["ring"], fleet["ring"]);
    assert_eq!(fleet["ready_replicas"], 3);
    let first = get(&format!("{api}/fleets?limit=1")).await.body;
    assert_eq!(
        (&first["items"][0]["name"], &first["next"]),
        (&json!("default"), &Value::Null)
    );
    // The list, page by page.
    let replicas = format!("{api}/fleets/default/replicas");
    let page = get(&format!("{replicas}?limit=2")).await.body;
    assert_eq!(page["next"], "Server2");
    let rest = get(&format!("{replicas}?after=Server2")).await.body;
    assert_eq!(
        (items(&rest)[0]["name"].as_str(), &rest["next"]),
        (Some("Server3"), &Value::Null)
    );
    assert_eq!(
        get(&format!("{replicas}/Server3")).await.body,
        rest["items"][0]
    );
    let ring = get(&format!("{api}/fleets/default/ring?samples=300"))
        .await
        .body;
    assert_eq!(ring["owners"].as_array().unwrap().len(), 300);
    let owned = ring["replicas"].as_array().unwrap().iter();
    assert_eq!(
        owned.map(|r| r["slots"].as_u64().unwrap()).sum::<u64>(),
        262_144
    );
    for (path, status, kind) in [
        ("/fleets/other", 404, "unknown-fleet"),
        ("/fleets/default/replicas/none", 404, "unknown-replica"),
        ("/fleets/default/replicas?limit=0", 400, "invalid-query"),
        ("/fleets/default/replicas?most=3", 400, "invalid-query"),
        ("/events?after=x", 400, "invalid-query"),
        ("/nothing", 404, "unknown-path"),
    ] {
        let reply = get(&format!("{api}{path}")).await;
        assert_eq!(reply.status.as_u16(), status, "{path}");
        assert_eq!(
            reply.body["type"],
            format!("/api/problems/{kind}"),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn refusal_names_the_field_of_the_call_and_what_is_allowed() {
    let (_balancer, admin) = start(&[]).await;
    let fleet = format!("{admin}/api/v1/fleets/default");
    let add = format!("{fleet}/replicas");
    let mut replies = Vec::new();
    for body in [
        json!({"count": 0}),
        json!({"count": 1, "names": ["a", "b"]}),
        json!({"names": ["a"], "weights": {"b": 2}}),
    ] {
        replies.push(ask(Method::POST, &add, Some(body)).await);
    }
    for query in [
        "replicas?limit=99999999999999999999",
        "ring?samples=-1",
        "deaths?after=9223372036854775808",
    ] {
        replies.push(get(&format!("{fleet}/{query}")).await);
    }
    let details = replies
        .iter()
        .map(|reply| reply.body["detail"].as_str().unwrap());
    assert_eq!(
        details.collect::<Vec<_>>(),
        [
            "from 1 to 1021 replicas can be added, not 0",
            "names has more names than count says",
            "weights has b, which names does not have",
            "limit must be from 1 to 1000",
            "samples must be from 0 to 4096",
            "after must be a whole number from 0 to 9223372036854775807",
        ]
    );
}

#[actix_web::test]
async fn replicas_are_added_changed_and_removed_by_the_api() {
    let (balancer, admin) = start(&["--replicas", "1"]).await;
    let replicas = format!("{admin}/api/v1/fleets/default/replicas");
    let new = json!({"count": 2, "names": ["Big"], "weights": {"Big": 3}});
    let added = ask(Method::POST, &replicas, Some(new)).await;
    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    assert_eq!(added.body["added"][0], "Big");
    assert_eq!(added.body["added"].as_array().unwrap().len(), 2);
    assert_eq!(added.body["replicas"].as_array().unwrap().len(), 3);
    let big = format!("{replicas}/Big");
    assert_eq!(get(&big).await.body["weight"], 3);
    let patched = ask(Method::PATCH, &big, Some(json!({"weight": 5}))).await;
    assert_eq!(patched.body["weight"], 5, "{patched:?}");
    let removed = ask(Method::DELETE, &big, None).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert!(!balancer.replicas().await.contains(&"Big".to_owned()));
    for (method, url, body, status, kind) in [
        (Method::DELETE, &big, None, 404, "unknown-replica"),
        (
            Method::PATCH,
            &big,
            Some(json!({"weight": 2})),
            404,
            "unknown-replica",
        ),
        (
            Method::POST,
            &replicas,
            Some(json!({"names": ["Server1"]})),
            409,
            "name-taken",
        ),
        (
            Method::POST,
            &replicas,
            Some(json!({"count": 0})),
            422,
            "invalid-change",
        ),
        (
            Method::POST,
            &replicas,
            Some(json!({"n": 1})),
            400,
            "invalid-body",
        ),
        (Method::POST, &replicas, None, 415, "not-json"),
        (Method::PUT, &replicas, None, 405, "wrong-method"),
    ] {
        let reply = ask(method, url, body.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{url} {body:?}: {reply:?}");
        assert_eq!(
            reply.body["type"],
            format!("/api/problems/{kind}"),
            "{reply:?}"
        );
    }
    assert_eq!(balancer.replicas().await.len(), 2);
}

#[actix_web::test]
async fn explanation_of_a_key_names_the_replica_that_serves_it() {
    let (balancer, admin) = start(&["--key", "query:user"]).await;
    let explain = |key: &str| format!("{admin}/api/v1/fleets/default/keys/{key}");
    for (key, text) in [
        ("ada", "ada"),
        ("123456", "123456"),
        ("a%2Fb/c%20d", "a/b/c d"),
    ] {
        let why = get(&explain(key)).await.body;
        assert_eq!(why["key"], text);
        assert_eq!(why["served_by"], why["owner"], "{why}");
        assert_eq!(why["candidates"].as_array().unwrap().len(), 3);
        assert_eq!(why["why"]["by"], "scores");
    }
    // Of bytes that are no text, too, it is the key's own owner.
    let [odd, shown] = [
        get(&explain("%ff")).await.body,
        get(&explain("%EF%BF%BD")).await.body,
    ];
    assert_ne!(odd["number"], shown["number"], "{odd} {shown}");
    let why = get(&explain("ada")).await.body;
    let answer = get(&balancer.url("/home?user=ada")).await.body;
    let served_by = why["served_by"]
        .as_str()
        .unwrap()
        .replace("Server", "Server: ");
    assert_eq!(answer["message"], format!("Hello from {served_by}"));
}
