//! The admin listener: what it shows, and the ring changed under load.

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::wire;
use crate::support::{Load, Reply, Ringmaster, ask, eventually, get, signal};

/// Where the admin listener is, from the start-up text.
fn admin(balancer: &Ringmaster) -> String {
    let text = balancer.text();
    let words = text
        .lines()
        .find_map(|line| line.strip_prefix("admin curl "));
    let url = words.unwrap_or_else(|| panic!("no admin address in {text}"));
    url.strip_suffix("/status").unwrap().to_owned()
}

async fn start(args: &[&str]) -> (Ringmaster, String) {
    let args: Vec<&str> = ["--admin", "127.0.0.1:0"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    let balancer = Ringmaster::ready(&args).await;
    eventually("the start-up text", || async {
        balancer.text().contains("stop ")
    })
    .await;
    let admin = admin(&balancer);
    (balancer, admin)
}

async fn patch(admin: &str, query: &str, body: Value) -> Reply {
    ask(Method::PATCH, &format!("{admin}/ring{query}"), Some(body)).await
}

#[actix_web::test]
async fn status_shows_ring_counts_replicas_and_events() {
    let (balancer, admin) = start(&[]).await;
    for _ in 0..10 {
        get(&balancer.url("/home")).await;
    }
    signal(balancer.child("Server2"), "KILL");
    eventually("healed", || async {
        let status = get(&format!("{admin}/status")).await.body;
        status["replicas"][1]["generation"] == 2 && status["replicas"][1]["state"] == "ready"
    })
    .await;
    let status = get(&format!("{admin}/status")).await.body;
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
    let story: Vec<String> = status["events"]
        .as_array()
        .unwrap()
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
    let evicted = status["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["event"] == "evicted");
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
    let status = get(&format!("{admin}/status")).await.body;
    assert_eq!(status["replicas"][0]["weight"], 3);
    assert_eq!(status["ring"]["strategy"], "rendezvous");
    assert_eq!(status["ring"]["balance_factor"], Value::Null);
}

#[actix_web::test]
async fn dry_run_reports_moves_and_changes_nothing() {
    let (_balancer, admin) = start(&[]).await;
    let before = get(&format!("{admin}/status")).await.body;
    let reply = patch(&admin, "?dry_run=true", json!({"weights": {"Server1": 2}})).await;
    assert_eq!(reply.status, StatusCode::OK);
    let would = &reply.body["message"];
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
    let after = get(&format!("{admin}/status")).await.body;
    assert_eq!(after["epoch"], before["epoch"]);
    assert_eq!(after["replicas"][0]["weight"], 1);

    // What was foretold is what happens.
    let reply = patch(&admin, "", json!({"weights": {"Server1": 2}})).await;
    assert_eq!(
        reply.body["message"]["moved_share"].as_f64().unwrap(),
        moved
    );
}

#[actix_web::test]
async fn added_replica_takes_the_given_weight() {
    let (balancer, admin) = start(&["--replicas", "1"]).await;
    let body = json!({"n": 1, "hostnames": ["Big"], "weights": {"Big": 3}});
    assert_eq!(balancer.add(body).await.names(), ["Server1", "Big"]);
    let reply = patch(&admin, "?dry_run=true", json!({})).await;
    let lines = reply.body["message"]["ownership"]
        .as_array()
        .unwrap()
        .clone();
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
    let before = get(&format!("{admin}/status")).await.body["epoch"].clone();
    for (query, body, status, part) in [
        ("", json!({"strategy": "dice"}), 400, "not a strategy"),
        (
            "",
            json!({"strategy": "maglev", "slots": 100}),
            400,
            "prime",
        ),
        (
            "",
            json!({"strategy": "classic", "slots": 5}),
            400,
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
        ("?dry_run=maybe", json!({}), 400, "dry_run=true"),
    ] {
        let reply = patch(&admin, query, body.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{body}: {:?}", reply.body);
        assert!(
            reply.message().contains(part),
            "{body}: {}",
            reply.message()
        );
        assert_eq!(reply.body["status"], "failure");
    }
    let elsewhere = get(&format!("{admin}/home")).await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    let wrong = ask(Method::DELETE, &format!("{admin}/status"), None).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get(&format!("{admin}/status")).await.body["epoch"], before);
}

/// A client that holds a connection without sending a request is disconnected, as on the main
/// listener.
#[actix_web::test]
async fn admin_client_that_is_slow_is_disconnected() {
    let times = [
        "--header-timeout",
        "200ms",
        "--body-timeout",
        "300ms",
        "--keep-alive-timeout",
        "300ms",
    ];
    let (balancer, admin) = start(&[&["--replicas", "1"], &times[..]].concat()).await;
    let admin = admin.strip_prefix("http://").unwrap();
    let half = |path: &str| {
        format!(
            "PATCH {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
        )
    };
    let json = "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let whole = "GET /deaths HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (address, said, last) in [
        (admin, String::new(), " 408 Request Timeout\r\n"),
        (admin, "GET /sta".to_owned(), " 408 Request Timeout\r\n"),
        (admin, whole.to_owned(), " 200 OK\r\n"),
        (
            admin,
            format!("{whole}GET /sta"),
            " 408 Request Timeout\r\n",
        ),
        (admin, half("/ring"), " 408 Request Timeout\r\n"),
        (
            balancer.address(),
            format!("POST /add HTTP/1.1\r\nHost: localhost\r\n{json}"),
            " 408 Request Timeout\r\n",
        ),
        (
            balancer.address(),
            format!("DELETE /rm HTTP/1.1\r\nHost: localhost\r\n{json}"),
            " 408 Request Timeout\r\n",
        ),
    ] {
        let got = wire::told(address, said.as_bytes()).await;
        let answer = got.rsplit("HTTP/1.1").next().unwrap();
        assert!(answer.starts_with(last), "{said:?}: {got:?}");
    }
    // A head after a pause is timed as the first is.
    let mut client = TcpStream::connect(admin).await.unwrap();
    client.write_all(whole.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    wire::in_time(client.read(&mut answer)).await.unwrap();
    client.write_all(b"GET /de").await.unwrap();
    let got = wire::in_time(wire::rest(&mut client)).await;
    assert!(got.starts_with("HTTP/1.1 408 "), "{got}");
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
    let status = get(&format!("{admin}/status")).await.body;
    let replicas = status["replicas"].as_array().unwrap();
    replicas
        .iter()
        .map(|r| r["in_flight"].as_u64().unwrap())
        .collect()
}
