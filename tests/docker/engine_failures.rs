//! What becomes of traffic and replicas when the Docker engine itself fails: on an engine of
//! our own, really killed and frozen.

use serde_json::Value;
use tokio::sync::SemaphorePermit;

use crate::docker::private_engine::PrivateEngine;
use crate::support::{Load, Ringmaster, eventually, get, signal};

const FLEET: &str = "trouble";

/// An engine, and a balancer with three replicas on it.
struct Scene {
    balancer: Ringmaster,
    engine: PrivateEngine,
    _permits: SemaphorePermit<'static>,
}

impl Scene {
    /// None where there can be no such engine.
    async fn set(live_restore: bool) -> Option<Self> {
        Self::set_on(|| PrivateEngine::start(live_restore)).await
    }

    async fn set_on(engine: impl FnOnce() -> Option<PrivateEngine>) -> Option<Self> {
        // Engines share the kernel's tables of networks: one after the other.
        let permits = crate::ENGINE.acquire_many(2).await.unwrap();
        let engine = engine()?;
        let image = crate::docker::import_image(Some(&engine.host()));
        let args = [
            ["--image", image],
            ["--fleet", FLEET],
            ["--memory", "128m"],
            ["--hang-timeout", "1s"],
            ["--admin", "127.0.0.1:0"],
        ];
        let balancer =
            Ringmaster::start_with(args.as_flattened(), &[("DOCKER_HOST", &engine.host())]);
        let scene = Self {
            balancer,
            engine,
            _permits: permits,
        };
        for name in ["Server1", "Server2", "Server3"] {
            scene.on_the_ring(name, 1).await;
        }
        Some(scene)
    }

    async fn on_the_ring(&self, name: &str, generation: u32) {
        let line = format!("{name} (generation {generation}) is ready at");
        self.logged(&line).await;
    }

    async fn logged(&self, line: &str) {
        let what = format!("the log says {line:?}");
        eventually(&what, || async { self.balancer.count_in_log(line) > 0 }).await;
    }

    /// The whole of `GET /status`.
    async fn status(&self) -> Value {
        get(&self.balancer.status_url().await).await.body
    }

    /// Waits until the engine is said to be in trouble, or not to be.
    async fn engine_in_trouble(&self, expected: bool) {
        eventually("the engine's state is told", || async {
            self.status().await["runtime"]["last_error"].is_string() == expected
        })
        .await;
    }

    /// What keeps a replica from starting.
    async fn trouble_of(&self, name: &str) -> Option<String> {
        let status = self.status().await;
        let replicas = status["replicas"].as_array().unwrap();
        let replica = replicas.iter().find(|r| r["name"] == name).unwrap();
        replica["last_error"].as_str().map(str::to_owned)
    }

    /// Waits until a replica is on the ring for another time.
    async fn back_on_the_ring(&self, name: &str) {
        let line = format!("{name} (generation ");
        eventually("it is ready at again", || async {
            let log = self.balancer.log();
            let lines = log.lines().filter(|text| text.contains(&line));
            lines.filter(|text| text.contains("is ready at")).count() >= 2
        })
        .await;
    }

    /// The ids of the fleet's containers that run.
    fn running(&self) -> Vec<String> {
        let label = format!("label=io.ringmaster.fleet={FLEET}");
        let listed = self
            .engine
            .docker(&["ps", "-q", "--no-trunc", "--filter", &label]);
        let mut ids: Vec<String> = listed.lines().map(str::to_owned).collect();
        ids.sort();
        ids
    }

    /// The process of a replica, as this machine sees it.
    fn process(&self, name: &str) -> u32 {
        let container = format!("{FLEET}-{name}");
        let pid = self
            .engine
            .docker(&["inspect", "--format", "{{.State.Pid}}", &container]);
        pid.parse().unwrap()
    }
}

#[actix_web::test]
#[ignore = "starts an engine of its own, which takes minutes in all: make test-full"]
async fn engine_killed_with_live_restore_costs_no_request() {
    let Some(mut scene) = Scene::set(true).await else {
        return;
    };
    let before = scene.running();
    let load = Load::start(&scene.balancer.url("/home"), 8);
    load.go_on_for(100).await;
    scene.engine.end("KILL");
    scene.logged("event stream lost").await;
    scene.engine_in_trouble(true).await;
    load.go_on_for(300).await;
    scene.engine.begin();
    scene.logged("the engine answers again").await;
    scene.engine_in_trouble(false).await;
    load.go_on_for(100).await;
    assert_eq!(scene.running(), before, "{}", scene.balancer.log());
    // And its news are heard again.
    scene.engine.docker(&["kill", &format!("{FLEET}-Server2")]);
    scene.on_the_ring("Server2", 2).await;
    let result = load.stop().await;
    assert_eq!(result.failures, Vec::<String>::new());
    // A flip each, no storm.
    assert_eq!(scene.balancer.count_in_log("event stream lost"), 1);
    assert_eq!(scene.balancer.count_in_log("answers again"), 1);
}

#[actix_web::test]
#[ignore = "starts an engine of its own, which takes minutes in all: make test-full"]
async fn engine_restarted_without_live_restore_gets_a_whole_fleet() {
    let Some(mut scene) = Scene::set(false).await else {
        return;
    };
    let before = scene.running();
    scene.engine.end("TERM");
    scene.engine.begin();
    eventually("three replicas run", || async {
        let now = scene.running();
        now.len() == 3 && now.iter().all(|id| !before.contains(id))
    })
    .await;
    for name in ["Server1", "Server2", "Server3"] {
        scene.back_on_the_ring(name).await;
    }
    let load = Load::start(&scene.balancer.url("/home"), 4);
    load.go_on_for(100).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    assert_eq!(scene.running().len(), 3, "{}", scene.balancer.log());
}

#[actix_web::test]
#[ignore = "starts an engine of its own, which takes minutes in all: make test-full"]
async fn engine_frozen_delays_only_respawns() {
    let Some(scene) = Scene::set(false).await else {
        return;
    };
    let target = scene.process("Server1");
    let load = Load::start(&scene.balancer.url("/home"), 8);
    load.go_on_for(100).await;
    scene.engine.signal("STOP");
    // No event reports this death: a health check finds it.
    signal(target, "KILL");
    scene.logged("Server1 (generation 1) is evicted").await;
    // The connection to it stands, and yet it is noticed.
    scene.engine_in_trouble(true).await;
    load.go_on_for(300).await;
    scene.engine.signal("CONT");
    scene.on_the_ring("Server1", 2).await;
    scene.engine_in_trouble(false).await;
    assert_eq!(scene.balancer.count_in_log("event stream lost"), 1);
    load.go_on_for(100).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    assert_eq!(scene.running().len(), 3);
}

#[actix_web::test]
#[ignore = "starts an engine of its own, which takes minutes in all: make test-full"]
async fn manual_changes_in_the_engine_are_healed() {
    let Some(scene) = Scene::set(false).await else {
        return;
    };
    let load = Load::start(&scene.balancer.url("/home"), 8);
    load.go_on_for(100).await;
    // A container is removed, without a word.
    scene
        .engine
        .docker(&["rm", "--force", &format!("{FLEET}-Server1")]);
    scene.on_the_ring("Server1", 2).await;
    // One loses its network.
    let network = scene
        .engine
        .docker(&["network", "ls", "--format", "{{.Name}}"]);
    let network = network.lines().find(|name| name.contains(FLEET)).unwrap();
    let container = format!("{FLEET}-Server2");
    scene
        .engine
        .docker(&["network", "disconnect", "--force", network, &container]);
    scene.logged("Server2 (generation 1) is evicted").await;
    scene.on_the_ring("Server2", 2).await;
    // The image is gone, and one dies.
    let image = crate::docker::import_image(Some(&scene.engine.host()));
    scene.engine.docker(&["rmi", "--force", image]);
    scene.engine.docker(&["kill", &format!("{FLEET}-Server3")]);
    scene.logged("no such image").await;
    load.go_on_for(100).await;
    crate::docker::import_image(Some(&scene.engine.host()));
    scene.back_on_the_ring("Server3").await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    assert_eq!(scene.running().len(), 3);
}

#[actix_web::test]
#[ignore = "starts an engine of its own, which takes minutes in all: make test-full"]
async fn network_removed_is_created_again_with_its_replicas() {
    let Some(scene) = Scene::set(false).await else {
        return;
    };
    let disconnect = |name: &str| {
        let container = format!("{FLEET}-{name}");
        let arguments = ["network", "disconnect", "--force", FLEET, &container];
        scene.engine.docker(&arguments)
    };
    // A balancer that runs would start the first one again before the network is gone.
    signal(scene.balancer.pid(), "STOP");
    for name in ["Server1", "Server2", "Server3"] {
        disconnect(name);
    }
    scene.engine.docker(&["network", "rm", FLEET]);
    signal(scene.balancer.pid(), "CONT");
    for name in ["Server1", "Server2", "Server3"] {
        scene.back_on_the_ring(name).await;
    }
    assert_eq!(scene.balancer.count_in_log("created network"), 2);
    // Noticed by the engine's word, whatever answers at the old addresses.
    let line = format!("it is not in network {FLEET} any more");
    assert!(scene.balancer.count_in_log(&line) >= 1);
    let load = Load::start(&scene.balancer.url("/home"), 4);
    load.go_on_for(100).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    assert_eq!(scene.running().len(), 3, "{}", scene.balancer.log());
}

#[actix_web::test]
#[ignore = "starts an engine of its own, which takes minutes in all: make test-full"]
async fn full_disk_delays_only_respawns() {
    let disk = || PrivateEngine::start_on_small_disk(1500);
    let Some(scene) = Scene::set_on(disk).await else {
        return;
    };
    let load = Load::start(&scene.balancer.url("/home"), 8);
    load.go_on_for(100).await;
    let filler = scene.engine.fill_disk();
    signal(scene.process("Server1"), "KILL");
    scene.logged("no space left on device").await;
    eventually("it has been tried several times", || async {
        scene.status().await["replicas"][0]["consecutive_deaths"].as_u64() >= Some(3)
    })
    .await;
    let trouble = scene.trouble_of("Server1").await;
    assert!(trouble.is_some_and(|t| t.contains("no space left on device")));
    // The engine stumbles over one file or another; not every try is told.
    let told = scene.balancer.count_in_log("Server1: cannot start");
    assert!(told <= 2, "{}", scene.balancer.log());
    load.go_on_for(300).await;
    drop(filler);
    scene.back_on_the_ring("Server1").await;
    assert_eq!(scene.trouble_of("Server1").await, None);
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    assert_eq!(scene.running().len(), 3);
}

#[actix_web::test]
async fn engine_without_any_response_fails_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["--image", "whatever", "--listen", "127.0.0.1:0"])
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!(
        "the Docker engine at unix://{} does not answer",
        socket.display()
    );
    assert!(said.contains(&expected), "{said}");
}
