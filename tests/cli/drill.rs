//! `ringmaster drill`: faults on request, against a real balancer with child processes, and with
//! containers.

use std::process::{Output, Stdio};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};

use crate::docker::{TestFleet, inspect};
use crate::support::{Ringmaster, eventually, get, signal};

async fn drill(balancer: &Ringmaster, args: &[&str]) -> Output {
    command(balancer, "drill", args)
        .await
        .output()
        .await
        .unwrap()
}

/// A subcommand that is a client of this balancer.
async fn command(balancer: &Ringmaster, name: &str, args: &[&str]) -> Command {
    let admin_url = balancer.admin_url().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmaster"));
    command
        .args([name, "--url", &balancer.url(""), "--admin"])
        .arg(admin_url)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// On a busy machine a replica may be slow enough to be given no more for a moment: without
/// such a bound, a key that is elsewhere has moved.
async fn start(args: &[&str]) -> Ringmaster {
    let common = ["--admin", "127.0.0.1:0", "--balance-factor", "none"];
    Ringmaster::ready(&[&common, args].concat()).await
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[actix_web::test]
async fn drill_kill_of_each_process_loses_no_request() {
    let balancer = start(&[]).await;
    let results = json(&drill(&balancer, &["--kill", "all", "--json"]).await);
    assert_eq!(results["failed"], 0, "{results}");
    let drills = results["drills"].as_array().unwrap();
    let names: Vec<_> = drills.iter().map(|one| &one["replica"]).collect();
    assert_eq!(names, ["Server1", "Server2", "Server3"]);
    for one in drills {
        let evicted = one["evicted_ms"].as_f64().unwrap();
        let back = one["ready_ms"].as_f64().unwrap();
        assert!(evicted < back && back < 10_000.0, "{one}");
        assert!(one["silent_ms"].as_f64().unwrap() > 0.0, "{one}");
        assert!(one["requests"].as_u64().unwrap() > 0, "{one}");
        assert_eq!(one["failed"], 0, "{one}");
        assert!(one["retried"].is_u64(), "{one}");
        assert_eq!(one["keys_moved"], 0, "{one}");
        assert_eq!(
            (&one["generation_before"], &one["generation_after"]),
            (&1.into(), &2.into())
        );
    }
}

#[actix_web::test]
async fn drill_hang_below_the_hang_timeout_keeps_the_replica() {
    let quick = [
        "--heartbeat-interval",
        "200ms",
        "--heartbeat-timeout",
        "200ms",
    ];
    let balancer = start(&quick).await;
    let pid = balancer.child("Server2");
    let asked = ["--pause", "Server2", "--for", "2s", "--json"];
    let results = json(&drill(&balancer, &asked).await);
    let one = &results["drills"][0];
    let evicted = one["evicted_ms"].as_f64().unwrap();
    let back = one["ready_ms"].as_f64().unwrap();
    assert!(evicted < 2_000.0 && back >= 2_000.0, "{one}");
    assert_eq!(one["generation_before"], one["generation_after"], "{one}");
    assert_eq!(balancer.child("Server2"), pid);
}

#[actix_web::test]
async fn drill_slow_process_stays_ready() {
    let balancer = start(&[]).await;
    let output = drill(&balancer, &["--delay", "Server1", "--for", "500ms"]).await;
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = "Server1: never evicted; the same instance as before";
    assert!(table.contains(said), "{table}");
    assert!(table.contains(", 0 failed"), "{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
}

#[actix_web::test]
async fn drill_usage_error_injects_nothing_and_lists_the_allowed_values() {
    let balancer = start(&[]).await;
    for (args, said) in [
        (
            &["--kill", "S2"][..],
            "\"S2\": allowed are Server1, Server2, Server3 and all",
        ),
        (&[], "--kill"),
        (&["--kill", "all", "--pause", "all"], "cannot be used with"),
        (&["--pause", "all", "--for", "2h"], "100ms to 1m"),
        (&["--pause", "all", "--for", "2"], "write 2s or 2ms"),
        (&["--kill", "all", "--rate", "0"], "allowed is 1 to 5000"),
        (&["--kill", "all", "--url", "x"], "http://HOST:PORT"),
        (&["--kill", "all", "--path", "x"], "does not start with '/'"),
    ] {
        let args: Vec<&str> = args.to_vec();
        let admin_url = balancer.admin_url().await;
        let url = balancer.url("");
        let mut all = vec!["drill", "--admin", &admin_url];
        if !args.contains(&"--url") {
            all.extend(["--url", &url]);
        }
        all.extend(args);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
            .args(&all)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{all:?}: {output:?}");
        assert!(
            stderr(&output).contains(said),
            "{all:?}: {}",
            stderr(&output)
        );
    }
    let status = get(&balancer.status_url().await).await.body;
    for replica in status["replicas"].as_array().unwrap() {
        assert_eq!(replica["generation"], 1, "{replica}");
    }
}

/// The demo server has /home and /heartbeat; what else it is asked for is not there.
#[actix_web::test]
async fn drill_of_a_missing_path_fails_unless_another_is_given() {
    let balancer = start(&["--replicas", "1"]).await;
    let slow = ["--delay", "all", "--for", "100ms"];
    let missing = [&slow[..], &["--path", "/nothing-here"]].concat();
    let output = drill(&balancer, &missing).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout);
    let said = "GET /nothing-here answers 404, which counts as failed: --path says what to ask for";
    assert!(table.contains(said), "{table}");
    assert!(!table.contains(" 0 failed"), "{table}");

    let there = [&slow[..], &["--path", "/heartbeat", "--json"]].concat();
    let results = json(&drill(&balancer, &there).await);
    assert_eq!(results["failed"], 0, "{results}");
    assert_eq!(results["advice"], Value::Null, "{results}");
}

#[actix_web::test]
async fn drill_refuses_static_servers() {
    let other = Ringmaster::ready(&["--replicas", "1"]).await;
    let balancer = start(&["--upstream", other.address()]).await;
    let output = drill(&balancer, &["--kill", "all"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        stderr(&output).contains("neither a process nor a container"),
        "{output:?}"
    );
}

/// A balancer with three containers. One at a time: faults are measured in seconds, and eighteen
/// containers side by side make a slow machine miss heartbeats.
struct Afloat {
    balancer: Ringmaster,
    fleet: TestFleet,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::const_new(());

impl Afloat {
    /// None without an engine.
    async fn start(args: &[&str]) -> Option<Self> {
        if !crate::docker::engine_answers() {
            return None;
        }
        let _alone = ALONE.lock().await;
        let fleet = TestFleet::new();
        let of_fleet = [
            "--image",
            &fleet.settings.image,
            "--fleet",
            &fleet.settings.fleet,
        ];
        let args = [&of_fleet, &["--memory", "128m"][..], args].concat();
        let balancer = start(&args).await;
        Some(Self {
            balancer,
            fleet,
            _alone,
        })
    }

    fn container(&self, replica: &str) -> Value {
        inspect(&self.fleet.container(replica))
    }
}

#[actix_web::test]
async fn drill_kill_of_each_container_loses_no_request() {
    let Some(afloat) = Afloat::start(&[]).await else {
        return;
    };
    let results = json(&drill(&afloat.balancer, &["--kill", "all", "--json"]).await);
    assert_eq!(results["failed"], 0, "{results}");
    let drills = results["drills"].as_array().unwrap();
    assert_eq!(drills.len(), 3);
    for one in drills {
        let evicted = one["evicted_ms"].as_f64().unwrap();
        assert!(evicted < one["ready_ms"].as_f64().unwrap(), "{one}");
        assert_eq!(one["keys_moved"], 0, "{one}");
        assert_eq!(one["generation_after"], 2, "{one}");
    }
}

#[actix_web::test]
async fn analyze_kills_containers_as_drill_does() {
    let Some(afloat) = Afloat::start(&[]).await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let args = ["--only", "a3", "--out", out];
    let mut analyze = command(&afloat.balancer, "analyze", &args).await;
    let output = analyze.output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let results = std::fs::read(folder.path().join("results.json")).unwrap();
    let results: Value = serde_json::from_slice(&results).unwrap();
    let kills = results["a3"]["kills"].as_array().unwrap();
    assert_eq!(kills.len(), 3);
    for kill in kills {
        assert_eq!(kill["method"], "the engine's kill");
        assert_eq!(kill["failed"], 0, "{kill}");
    }
}

#[actix_web::test]
#[ignore = "takes long: make test-full"]
async fn drill_pause_and_slowdown_of_a_container_keep_it() {
    let quick = [
        "--heartbeat-interval",
        "200ms",
        "--heartbeat-timeout",
        "200ms",
    ];
    let Some(afloat) = Afloat::start(&quick).await else {
        return;
    };
    let id = |replica: &str| afloat.container(replica)["Id"].clone();
    let before = [id("Server1"), id("Server2")];
    let paused = ["--pause", "Server2", "--for", "2s", "--json"];
    let results = json(&drill(&afloat.balancer, &paused).await);
    let one = &results["drills"][0];
    let evicted = one["evicted_ms"].as_f64().unwrap();
    let back = one["ready_ms"].as_f64().unwrap();
    assert!(evicted < 2_000.0 && back >= 2_000.0, "{one}");
    assert!(one["silent_ms"].as_f64().unwrap() > 1_900.0, "{one}");
    let slowed = ["--delay", "Server1", "--for", "1s", "--json"];
    let results = json(&drill(&afloat.balancer, &slowed).await);
    let one = &results["drills"][0];
    assert_eq!(one["generation_before"], one["generation_after"], "{one}");
    assert_eq!([id("Server1"), id("Server2")], before);
}

#[actix_web::test]
#[ignore = "takes long: make test-full"]
async fn drill_pause_beyond_the_hang_timeout_replaces_the_container() {
    let impatient = [
        "--heartbeat-interval",
        "300ms",
        "--heartbeat-timeout",
        "500ms",
        "--hang-timeout",
        "100ms",
    ];
    let Some(afloat) = Afloat::start(&impatient).await else {
        return;
    };
    let paused = ["--pause", "Server2", "--for", "6s", "--json"];
    let results = json(&drill(&afloat.balancer, &paused).await);
    let one = &results["drills"][0];
    assert_eq!(one["generation_after"], 2, "{one}");
}

#[actix_web::test]
async fn drill_interrupted_unpauses_the_container() {
    let Some(afloat) = Afloat::start(&["--hang-timeout", "10m"]).await else {
        return;
    };
    let long = ["--pause", "Server3", "--for", "1m"];
    let running = command(&afloat.balancer, "drill", &long).await.spawn();
    let running = running.unwrap();
    let paused = || afloat.container("Server3")["State"]["Paused"] == true;
    eventually("it is paused", || async { paused() }).await;
    signal(running.id().unwrap(), "INT");
    let output = running.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr(&output).contains("interrupted by SIGINT"),
        "{output:?}"
    );
    assert!(!paused());
}

#[actix_web::test]
#[ignore = "takes long: make test-full"]
async fn drill_of_an_unreachable_container_names_it_with_the_reason() {
    let Some(afloat) = Afloat::start(&["--replicas", "1"]).await else {
        return;
    };
    let engine = "unix:///nowhere/docker.sock";
    let mut elsewhere = command(&afloat.balancer, "drill", &["--kill", "all"]).await;
    let output = elsewhere.env("DOCKER_HOST", engine).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said =
        format!("cannot inject a fault into Server1: cannot reach the Docker engine at {engine}");
    assert!(stderr(&output).contains(&said), "{output:?}");

    // A balancer whose word is not true here: its engine is another one.
    let status = get(&afloat.balancer.status_url().await).await.body;
    let present = afloat.fleet.container("Server1");
    let absent = afloat.fleet.container("Server9");
    for (container, replica, said) in [
        (&absent, "Server9", format!("has no container {absent}")),
        (&present, "Server2", format!("container {present} of")),
    ] {
        let admin = liar(&status, replica, container);
        let url = afloat.balancer.url("");
        let output = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
            .args(["drill", "--kill", "all", "--url", &url])
            .args(["--admin", &admin])
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains(&said), "{output:?}");
    }
    assert_eq!(afloat.balancer.count_in_log("is evicted"), 0);
}

/// An admin address that gives this status, but for its first replica.
fn liar(status: &Value, replica: &str, container: &str) -> String {
    let mut status = status.clone();
    status["replicas"][0]["name"] = json!(replica);
    status["replicas"][0]["container"] = json!(container);
    status["replicas"].as_array_mut().unwrap().truncate(1);
    let server = HttpServer::new(move || {
        let status = status.clone();
        let answer = move || {
            let status = status.clone();
            async move { HttpResponse::Ok().json(status) }
        };
        App::new().default_service(web::to(answer))
    });
    let server = server.workers(1).bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    format!("http://{address}")
}
