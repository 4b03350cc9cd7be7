//! Rollouts of processes: another definition for every replica, under load.

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Load, Reply, Ringmaster, ask, eventually, free_port, get, items, signal};

/// A server that says its version, and is healthy unless its version is `mute`; the version `dies`
/// ends a moment after its first good heartbeat.
const APP: &str = r#"
import http.server, os, sys, threading
VERSION = os.environ.get("VERSION", "one")
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        heartbeat = self.path == "/heartbeat"
        if heartbeat and VERSION == "dies":
            threading.Timer(0.3, os._exit, [3]).start()
        bad = heartbeat and VERSION == "mute" or not heartbeat and VERSION == "broken"
        body = (os.environ["SERVER_ID"] if self.path == "/server" else VERSION).encode()
        self.send_response(500 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

pub struct Fleet {
    pub balancer: Ringmaster,
    pub rollouts: String,
    load: Load,
}

impl Fleet {
    /// A fleet of the first version, under load.
    pub async fn start(folder: &tempfile::TempDir, more: &[&str]) -> Self {
        let app = folder.path().join("app.py");
        std::fs::write(&app, APP).unwrap();
        let command = format!("python3 {}", app.display());
        let usual = [
            "--command",
            &command,
            "--admin",
            "127.0.0.1:0",
            "--heartbeat-interval",
            "200ms",
        ];
        let monitor = match more.contains(&"--rollout-monitor") {
            true => &[][..],
            false => &["--rollout-monitor", "500ms"],
        };
        let balancer = Ringmaster::ready(&[&usual[..], monitor, more].concat()).await;
        let rollouts = format!("{}/rollouts", balancer.status_url().await);
        let load = Load::start(&balancer.url("/version"), 4);
        load.go_on_for(20).await;
        Self {
            balancer,
            rollouts,
            load,
        }
    }

    async fn roll_out(&self, version: &str) -> Reply {
        let body = json!({"env": {"VERSION": version}});
        ask(Method::POST, &self.rollouts, Some(body)).await
    }

    async fn begin(&self, version: &str) -> u64 {
        let begun = self.roll_out(version).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{:?}", begun.body);
        begun.body["id"].as_u64().unwrap()
    }

    pub async fn rollout(&self, id: u64) -> Value {
        get(&format!("{}/{id}", self.rollouts)).await.body
    }

    pub async fn direct(&self, id: u64, command: &str) -> Reply {
        ask(
            Method::POST,
            &format!("{}/{id}/{command}", self.rollouts),
            None,
        )
        .await
    }

    pub async fn comes_to(&self, id: u64, state: &str) -> Value {
        eventually(&format!("rollout {id} is {state}"), || async {
            self.rollout(id).await["state"] == state
        })
        .await;
        self.rollout(id).await
    }

    /// What each replica answers.
    pub async fn versions(&self) -> Vec<String> {
        let mut versions = std::collections::BTreeSet::new();
        for _ in 0..40 {
            let answer = awc::Client::new().get(self.balancer.url("/version")).send();
            let body = answer.await.unwrap().body().await.unwrap();
            versions.insert(String::from_utf8_lossy(&body).into_owned());
        }
        versions.into_iter().collect()
    }

    pub async fn replicas(&self) -> Vec<Value> {
        let fleet = get(&self.balancer.status_url().await).await.body;
        fleet["replicas"].as_array().unwrap().clone()
    }

    /// Ends the load, and says how it went.
    pub async fn failures(self) -> Vec<String> {
        self.load.go_on_for(20).await;
        self.load.stop().await.failures
    }
}

#[actix_web::test]
async fn rollout_replaces_every_replica_and_fails_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &[]).await;
    let epoch = get(&fleet.balancer.status_url().await).await.body["ring"].clone();
    let id = fleet.begin("two").await;
    let again = fleet.roll_out("three").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(again.body["type"], "/api/problems/rollout-under-way");
    let done = fleet.comes_to(id, "done").await;
    assert_eq!(done["changes"], json!(["env: VERSION is new"]));
    assert_eq!(done["replicas"], 3);
    assert!(done["finished_at"].is_string() && done["reason"].is_null());
    assert_eq!(fleet.versions().await, ["two"]);
    for replica in fleet.replicas().await {
        assert_eq!(
            (&replica["state"], &replica["generation"]),
            (&json!("ready"), &json!(2))
        );
    }
    let ring = get(&fleet.balancer.status_url().await).await.body["ring"].clone();
    assert_eq!(ring, epoch);
    // One that is added later has it, too.
    fleet
        .balancer
        .add(json!({"n": 1, "hostnames": ["S4"]}))
        .await;
    assert_eq!(fleet.versions().await, ["two"]);

    let events = fleet.balancer.events().await;
    let kinds: Vec<_> = events.iter().filter_map(|e| e["event"].as_str()).collect();
    for kind in ["rollout_started", "rollout_continued", "rollout_done"] {
        let count = kinds.iter().filter(|k| **k == kind).count();
        assert_eq!(count, 1, "{kind}: {kinds:?}");
    }
    assert_eq!(kinds.iter().filter(|k| **k == "replaced").count(), 3);
    let metrics = awc::Client::new()
        .get(format!("{}/metrics", fleet.balancer.admin_url().await))
        .send();
    let metrics = metrics.await.unwrap().body().limit(1 << 20).await.unwrap();
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    let line = "ringmaster_rollouts_total{outcome=\"done\",fleet=\"default\"} 1";
    let other = "ringmaster_rollouts_total{fleet=\"default\",outcome=\"done\"} 1";
    assert!(
        metrics.contains(line) || metrics.contains(other),
        "{metrics}"
    );

    // Undone: by another rollout.
    let undone = fleet.direct(id, "undo").await;
    assert_eq!(undone.status, StatusCode::OK, "{:?}", undone.body);
    assert_eq!(undone.body["changes"], json!(["env: VERSION is gone"]));
    let back = undone.body["id"].as_u64().unwrap();
    fleet.comes_to(back, "done").await;
    assert_eq!(fleet.versions().await, ["one"]);
    let refused = fleet.direct(id, "undo").await;
    assert_eq!(refused.body["type"], "/api/problems/rollout-state");
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn version_that_never_answers_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &["--start-timeout", "6s"]).await;
    let before = fleet.replicas().await;
    let id = fleet.begin("mute").await;
    let ended = fleet.comes_to(id, "rolled_back").await;
    let reason = ended["reason"].as_str().unwrap();
    assert!(reason.contains("no good heartbeat within 6 s"), "{reason}");
    assert!(reason.contains("500"), "{reason}");
    let of = |replicas: &[Value]| {
        let each = replicas.iter().map(|r| r["generation"].clone());
        each.collect::<Vec<_>>()
    };
    assert_eq!(of(&fleet.replicas().await), of(&before));
    assert_eq!(fleet.versions().await, ["one"]);
    // The balancer has no other child left.
    eventually("its instance is gone", || async {
        fleet.balancer.children().len() == 3
    })
    .await;
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn version_that_dies_after_the_swap_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &["--rollout-monitor", "3s"]).await;
    let id = fleet.begin("dies").await;
    let ended = fleet.comes_to(id, "rolled_back").await;
    let reason = ended["reason"].as_str().unwrap();
    // Whichever is noticed first.
    let signs = ["exited with code 3", "refuses connections"];
    assert!(signs.iter().any(|sign| reason.contains(sign)), "{reason}");
    eventually("all are ready", || async {
        let replicas = fleet.replicas().await;
        replicas.iter().all(|replica| replica["state"] == "ready")
    })
    .await;
    assert_eq!(fleet.versions().await, ["one"]);
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn version_that_answers_errors_pauses_the_rollout_and_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    // Ten requests have to come while the first instance is watched, however busy the machine is.
    let fleet = Fleet::start(
        &folder,
        &[
            "--rollout-failure",
            "pause",
            "--outlier-failures",
            "0",
            "--rollout-monitor",
            "4s",
        ],
    )
    .await;
    let id = fleet.begin("broken").await;
    let paused = fleet.comes_to(id, "paused").await;
    let reason = paused["reason"].as_str().unwrap();
    assert!(reason.contains("requests have failed"), "{reason}");
    assert_eq!(paused["done"], 1);
    fleet.direct(id, "undo").await;
    fleet.comes_to(id, "rolled_back").await;
    assert_eq!(fleet.versions().await, ["one"]);
}

#[actix_web::test]
async fn replicas_are_healed_added_and_removed_while_a_rollout_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &["--rollout-monitor", "1s"]).await;
    let id = fleet.begin("two").await;
    fleet.comes_to(id, "rolling").await;
    let paused = fleet.direct(id, "pause").await;
    assert_eq!(paused.body["state"], "paused", "{:?}", paused.body);
    eventually("the first one is done", || async {
        fleet.rollout(id).await["done"] == 1
    })
    .await;
    // Each is healed with what it has. One after the other: a request that loses both fails.
    for (place, name, generation) in [(0, "Server1", 3), (1, "Server2", 2)] {
        signal(fleet.balancer.child(name), "KILL");
        eventually("it is back", || async {
            let replica = &fleet.replicas().await[place];
            replica["state"] == "ready" && replica["generation"] == generation
        })
        .await;
    }
    assert_eq!(fleet.versions().await, ["one", "two"]);
    let url = format!("{}/replicas/Server2", fleet.balancer.status_url().await);
    ask(Method::PATCH, &url, Some(json!({"state": "drained"}))).await;
    fleet
        .balancer
        .add(json!({"n": 1, "hostnames": ["S4"]}))
        .await;
    assert_eq!(fleet.rollout(id).await["replicas"], 4);
    fleet.direct(id, "resume").await;
    eventually("one is in hand", || async {
        fleet.rollout(id).await["in_hand"] != json!([])
    })
    .await;
    fleet
        .balancer
        .rm(json!({"n": 1, "hostnames": ["Server3"]}))
        .await;
    let done = fleet.comes_to(id, "done").await;
    assert_eq!(done["replicas"], 3);
    let drained: Vec<_> = fleet
        .replicas()
        .await
        .iter()
        .map(|r| r["state"].clone())
        .collect();
    assert_eq!(drained, ["ready", "drained", "ready"]);
    assert_eq!(fleet.versions().await, ["two"]);
    // What was killed may have had requests that cannot be repeated, but GETs can.
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn rollout_outlives_the_balancer() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let state = ["--state", state.to_str().unwrap()];
    let fleet = Fleet::start(&folder, &state).await;
    let id = fleet.begin("two").await;
    eventually("one is done", || async {
        fleet.rollout(id).await["done"] != 0
    })
    .await;
    signal(fleet.balancer.pid(), "KILL");
    drop(fleet);
    // It goes on where it was.
    let fleet = Fleet::start(&folder, &state).await;
    fleet.comes_to(id, "done").await;
    assert_eq!(fleet.versions().await, ["two"]);
    drop(fleet);
    // It is not undone by a start with the same flags, and can be by request.
    let fleet = Fleet::start(&folder, &state).await;
    assert_eq!(fleet.versions().await, ["two"]);
    assert_eq!(items(&get(&fleet.rollouts).await.body).len(), 1);
    let undone = fleet.direct(id, "undo").await.body;
    fleet.comes_to(undone["id"].as_u64().unwrap(), "done").await;
    assert_eq!(fleet.versions().await, ["one"]);
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn stop_first_replaces_the_process_of_a_fixed_port() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    let fixed = ["--replicas", "1", "--replica-port", &port];
    let fleet = Fleet::start(&folder, &fixed).await;
    let refused = fleet.roll_out("two").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.body["type"], "/api/problems/cannot-roll-out");
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("stop-first")
    );
    drop(fleet);
    let stop_first = [&fixed[..], &["--rollout-order", "stop-first"]].concat();
    let fleet = Fleet::start(&folder, &stop_first).await;
    let id = fleet.begin("two").await;
    fleet.comes_to(id, "done").await;
    assert_eq!(fleet.versions().await, ["two"]);
    // Requests wait for the one replica meanwhile.
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}

#[actix_web::test]
async fn what_cannot_be_rolled_out_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&folder, &[]).await;
    for (body, status, kind, part) in [
        (json!({}), 422, "invalid-change", "this changes nothing"),
        (
            json!({"image": "shop:2"}),
            422,
            "invalid-change",
            "no containers",
        ),
        (
            json!({"command": ["no-such-program"]}),
            422,
            "cannot-roll-out",
            "no program",
        ),
        (
            json!({"env": {"PORT": "1"}}),
            422,
            "invalid-change",
            "sets PORT",
        ),
        (json!({"envs": {}}), 400, "invalid-body", "envs"),
    ] {
        let refused = ask(Method::POST, &fleet.rollouts, Some(body)).await;
        assert_eq!(refused.status.as_u16(), status, "{:?}", refused.body);
        assert_eq!(refused.body["type"], format!("/api/problems/{kind}"));
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{detail}");
    }
    let unknown = fleet.direct(7, "pause").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.body["type"], "/api/problems/unknown-rollout");
    assert_eq!(items(&get(&fleet.rollouts).await.body), Vec::<Value>::new());
    assert_eq!(fleet.failures().await, Vec::<String>::new());
}
