//! What dies comes back, and clients do not notice: real children, real signals.

use awc::http::Method;
use awc::http::StatusCode;
use serde_json::json;

use crate::support::{Load, Ringmaster, ask, eventually, get, is_alive, items, signal};

#[actix_web::test]
async fn killed_replica_is_replaced_and_no_request_fails() {
    let balancer = Ringmaster::ready(&[]).await;
    let load = Load::start(&balancer.url("/home"), 8);
    for name in ["Server1", "Server2", "Server3"] {
        load.go_on_for(50).await;
        let pid = balancer.child(name);
        signal(pid, "KILL");
        eventually("back on the ring", || async {
            balancer
                .log()
                .contains(&format!("{name} (generation 2) is ready at"))
        })
        .await;
        assert_ne!(balancer.child(name), pid);
        load.go_on_for(50).await;
    }
    let result = load.stop().await;
    assert_eq!(result.failures, Vec::<String>::new());
    assert_eq!(balancer.replicas().await, ["Server1", "Server2", "Server3"]);
}

#[actix_web::test]
async fn keys_move_only_from_the_dead_replica_and_return() {
    let args = ["--key", "query:user", "--admin", "127.0.0.1:0"];
    let balancer = Ringmaster::ready(&args).await;
    let served_by = || async {
        let mut all = Vec::new();
        for user in 0..60 {
            let reply = get(&balancer.url(&format!("/home?user=u{user}"))).await;
            all.push(reply.message().to_owned());
        }
        all
    };
    let before = served_by().await;
    // Stays dead for a while: nothing but a stopped process can be started again.
    signal(balancer.child("Server2"), "KILL");
    // Every thread has it on its ring by then, which the log does not say.
    balancer.event_of("Server2", 2, "ready").await;
    assert_eq!(served_by().await, before);
}

#[actix_web::test]
async fn hung_replica_is_evicted_and_replaced() {
    let balancer = Ringmaster::ready(&[
        "--heartbeat-interval",
        "100ms",
        "--heartbeat-timeout",
        "200ms",
        "--hang-timeout",
        "300ms",
    ])
    .await;
    let pid = balancer.child("Server3");
    signal(pid, "STOP");
    eventually("a successor", || async {
        balancer
            .log()
            .contains("Server3 (generation 2) is ready at")
    })
    .await;
    assert!(
        balancer
            .log()
            .contains("Server3 (generation 1) is evicted: no answer")
    );
    assert!(!is_alive(pid));
}

#[actix_web::test]
async fn request_on_a_hung_replica_is_retried_if_it_may_be() {
    let args = [
        "--hang-timeout",
        "10m",
        "--response-timeout",
        "6s",
        "--key",
        "query:n",
    ];
    let balancer = Ringmaster::ready(&args).await;
    signal(balancer.child("Server2"), "STOP");
    let stuck: Vec<_> = (0..12)
        .map(|number| {
            let (method, path) = match number % 2 {
                0 => (Method::GET, "home"),
                _ => (Method::POST, "echo"),
            };
            let url = balancer.url(&format!("/{path}?n={number}"));
            actix_web::rt::spawn(
                async move { (method.clone(), ask(method, &url, None).await.status) },
            )
        })
        .collect();
    let mut late = 0;
    for request in stuck {
        match request.await.unwrap() {
            (_, StatusCode::OK) => {}
            (Method::POST, StatusCode::GATEWAY_TIMEOUT) => late += 1,
            (method, status) => panic!("{method}: {status}; {}", balancer.log()),
        }
    }
    assert!(late > 0, "no key was Server2's");
}

/// Waits until a replica has a request. (To count sockets would not do: those of heartbeats come and go.)
async fn has_a_request(balancer: &Ringmaster) {
    let status = balancer.status_url().await;
    eventually("the request is in flight", || async {
        let replicas = items(&get(&format!("{status}/replicas")).await.body);
        replicas.iter().any(|replica| replica["in_flight"] == 1)
    })
    .await;
}

#[actix_web::test]
async fn hung_replica_that_recovers_is_readmitted_and_finishes_its_requests() {
    let admin = ["--admin", "127.0.0.1:0"];
    let args = ["--replicas", "1", "--hang-timeout", "10m"];
    let balancer = Ringmaster::ready(&[&admin[..], &args].concat()).await;
    let pid = balancer.child("Server1");
    let url = balancer.url("/slow?ms=2000");
    let slow = actix_web::rt::spawn(async move { get(&url).await.status });
    has_a_request(&balancer).await;
    signal(pid, "STOP");
    eventually("off the ring", || async {
        balancer.count_in_log("Server1 (generation 1) is evicted: no answer") == 1
    })
    .await;
    signal(pid, "CONT");
    eventually("back on the ring", || async {
        balancer.count_in_log("Server1 (generation 1) is ready at") == 2
    })
    .await;
    assert_eq!(slow.await.unwrap(), StatusCode::OK);
    assert_eq!(get(&balancer.url("/home")).await.status, StatusCode::OK);
    assert_eq!(balancer.child("Server1"), pid);
    assert_eq!(balancer.count_in_log("starting Server1"), 1);
}

#[actix_web::test]
async fn requests_without_a_replica_wait_for_the_first_one_ready() {
    let balancer = Ringmaster::ready(&[]).await;
    // A balancer that runs may start the first one again before the last one dies.
    signal(balancer.pid(), "STOP");
    for (_, pid) in balancer.children() {
        signal(pid, "KILL");
    }
    signal(balancer.pid(), "CONT");
    let requests = (0..20).map(|_| {
        let url = balancer.url("/home");
        async move { get(&url).await.status }
    });
    for status in futures::future::join_all(requests).await {
        assert_eq!(status, StatusCode::OK);
    }
    let begins = "0 of 3 replicas are ready: requests wait, then get 503";
    eventually("both ends are told", || async {
        balancer.count_in_log("of 3 replicas are ready again after ") == 1
    })
    .await;
    assert_eq!(balancer.count_in_log(begins), 1, "{}", balancer.log());
}

#[actix_web::test]
async fn requests_without_a_replica_get_503_after_the_queue_timeout() {
    let balancer = Ringmaster::ready(&[
        "--replicas",
        "1",
        "--wait-timeout",
        // All of ten requests have to come while the first two wait.
        "2s",
        "--max-waiting",
        "2",
    ])
    .await;
    balancer.rm(json!({"n": 1})).await.names();
    let one = crate::support::client()
        .get(balancer.url("/home"))
        .send()
        .await;
    let mut one = one.unwrap();
    assert_eq!(one.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(one.headers().get("retry-after").unwrap(), "1");
    let body: serde_json::Value = one.json().await.unwrap();
    assert_eq!(
        body,
        json!({"message": "<Error> no replica is ready", "status": "failure"})
    );
    let many = (0..10).map(|_| {
        let url = balancer.url("/home");
        async move { get(&url).await.message().to_owned() }
    });
    let many = futures::future::join_all(many).await;
    let refused = many.iter().filter(|m| m.contains("too many requests wait"));
    assert_eq!(refused.count(), 8, "{many:?}");
    // The places are free again.
    assert_eq!(
        get(&balancer.url("/home")).await.message(),
        "<Error> no replica is ready"
    );
}

#[actix_web::test]
async fn crash_loop_backs_off() {
    let balancer = Ringmaster::start(&["--command", "sh -c 'exit 1'", "--replicas", "1"]);
    eventually("a third start", || async {
        balancer.count_in_log("starting Server1") >= 3
    })
    .await;
    assert!(
        balancer
            .log()
            .contains("died 2 times in a row, next start in")
    );
    assert_eq!(balancer.replicas().await, ["Server1"]);
}

#[actix_web::test]
async fn crash_loop_degrades_the_replica_and_moves_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    // Server1 dies as soon as there is a file to say so.
    let command = format!(
        "sh -c 'if [ $SERVER_ID = Server1 -a -e {} ]; then exit 7; fi; exec {} replica --listen 127.0.0.1:{{port}}'",
        broken.display(),
        env!("CARGO_BIN_EXE_ringmaster")
    );
    let args = ["--admin", "127.0.0.1:0", "--command", &command];
    let balancer = Ringmaster::ready(&args).await;
    std::fs::write(&broken, "").unwrap();
    signal(balancer.child("Server1"), "KILL");
    eventually("degraded", || async {
        balancer.count_in_log("Server1: is degraded, it died 5 times") == 1
    })
    .await;
    eventually("the start-up text", || async {
        balancer.text().contains("stop ")
    })
    .await;
    let status = balancer.status_url().await;
    let status = get(&status).await.body;
    let of = |name: &str| {
        let mut replicas = status["replicas"].as_array().unwrap().iter();
        replicas.find(|r| r["name"] == name).unwrap().clone()
    };
    assert_eq!(of("Server1")["degraded"], true, "{status}");
    assert_eq!(of("Server1")["state"], "backing_off", "{status}");
    assert_eq!(of("Server2")["degraded"], false, "{status}");
    balancer.event(|event| event["event"] == "degraded").await;
    let events = balancer.events().await;
    let of_kind = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!(of_kind("degraded"), 1, "{events:?}");
    for _ in 0..30 {
        assert_eq!(get(&balancer.url("/home")).await.status, StatusCode::OK);
    }
}

#[actix_web::test]
async fn killed_balancer_leaves_no_child() {
    let balancer = Ringmaster::ready(&[]).await;
    let children = balancer.children();
    assert_eq!(children.len(), 3);
    signal(balancer.pid(), "KILL");
    eventually("the children are gone", || async {
        children.iter().all(|(_, pid)| !is_alive(*pid))
    })
    .await;
}

#[actix_web::test]
async fn sigterm_finishes_requests_in_flight_and_stops_the_replicas() {
    let balancer = Ringmaster::ready(&["--admin", "127.0.0.1:0"]).await;
    let children = balancer.children();
    let url = balancer.url("/slow?ms=2000");
    let slow = actix_web::rt::spawn(async move { get(&url).await.status });
    has_a_request(&balancer).await;
    let (status, log) = balancer.terminate().await;
    assert_eq!(slow.await.unwrap(), StatusCode::OK, "{log}");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(children.iter().all(|(_, pid)| !is_alive(*pid)), "{log}");
}

#[actix_web::test]
async fn removal_under_load_loses_no_request() {
    let balancer = Ringmaster::ready(&["--replicas", "4"]).await;
    let load = Load::start(&balancer.url("/home"), 8);
    for _ in 0..3 {
        load.go_on_for(50).await;
        balancer.rm(json!({"n": 1})).await.names();
        balancer.add(json!({"n": 1})).await.names();
    }
    let result = load.stop().await;
    assert_eq!(result.failures, Vec::<String>::new());
}

#[actix_web::test]
async fn command_gets_its_port_name_and_environment() {
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("app.py");
    std::fs::write(&app, PYTHON_APP).unwrap();
    let command = format!("python3 {} --port {{port}}", app.display());
    let balancer = Ringmaster::ready(&[
        "--command",
        &command,
        "--heartbeat-path",
        "/healthz",
        "--replicas",
        "2",
        "--env",
        "COLOUR=blue",
    ])
    .await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        seen.insert(get(&balancer.url("/who")).await.body.to_string());
    }
    let seen: Vec<_> = seen.into_iter().collect();
    assert_eq!(
        seen,
        [
            r#"{"colour":"blue","name":"Server1","same_port":true}"#,
            r#"{"colour":"blue","name":"Server2","same_port":true}"#,
        ]
    );
}

/// A stranger's server: the standard library's, HTTP/1.0, a heartbeat of its own.
const PYTHON_APP: &str = r#"
import http.server, json, os, sys
port = int(sys.argv[sys.argv.index("--port") + 1])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = {"/healthz": b"ok", "/who": json.dumps({
            "name": os.environ["SERVER_ID"],
            "colour": os.environ["COLOUR"],
            "same_port": os.environ["PORT"] == str(port)}).encode()}
        body = known.get(self.path, b"")
        self.send_response(200 if self.path in known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"#;

#[actix_web::test]
async fn idle_balancer_closes_its_replica_connections() {
    let balancer = Ringmaster::ready(&[]).await;
    let idle = crate::support::sockets_of(balancer.pid());
    let load = Load::start(&balancer.url("/home"), 16);
    load.go_on_for(100).await;
    assert!(crate::support::sockets_of(balancer.pid()) >= idle + 16);
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    eventually("its sockets are closed", || async {
        // A heartbeat may be on its way.
        crate::support::sockets_of(balancer.pid()) <= idle + 3
    })
    .await;
}
