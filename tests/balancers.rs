//! Balancers that die and come back, and balancers that share a fleet: on a real engine.
//! Without one these tests say so and pass, but under `CI=true` they fail.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod docker;

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use awc::http::Method;
use common::{Load, Ringmaster, ask, client, eventually, get, signal};
use docker::{REPLICA_TEST, TestFleet, docker as cli, quietly};
use serde_json::{Value, json};

/// Not a test: what the containers of the others run.
#[test]
fn be_a_replica() {
    assert_eq!(REPLICA_TEST, "be_a_replica");
    docker::be_a_replica_in_a_container();
}

/// Everything that the engine does to a fleet's containers, from now on.
struct Witness {
    listener: Child,
    notes: tempfile::NamedTempFile,
}

impl Witness {
    /// The engine remembers only so much, so somebody has to listen.
    fn of(fleet: &TestFleet) -> Self {
        let notes = tempfile::NamedTempFile::new().unwrap();
        let label = format!("label=io.ringmaster.fleet={}", fleet.settings.fleet);
        let listener = Command::new("docker")
            .args(["events", "--filter", &label, "--format"])
            .arg("{{.Action}} {{.Actor.Attributes.name}}")
            .stdin(Stdio::null())
            .stdout(File::create(notes.path()).unwrap())
            .spawn()
            .unwrap();
        Self { listener, notes }
    }

    fn count(&self, action: &str) -> usize {
        let notes = std::fs::read_to_string(self.notes.path()).unwrap();
        let actions = notes.lines().filter_map(|line| line.split(' ').next());
        actions.filter(|seen| *seen == action).count()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

fn start(fleet: &TestFleet) -> Ringmaster {
    let name = fleet.settings.fleet.as_str();
    let image = fleet.settings.image.as_str();
    Ringmaster::start(&[
        "--image",
        image,
        "--fleet",
        name,
        "--memory",
        "128m",
        "--key",
        "header:X-Key",
        "--heartbeat-interval",
        "200ms",
    ])
}

/// Two that start at once on an engine that has neither containers nor network for them.
fn start_two(fleet: &TestFleet) -> (Ringmaster, Ringmaster) {
    std::thread::scope(|scope| {
        let one = scope.spawn(|| start(fleet));
        let other = scope.spawn(|| start(fleet));
        (one.join().unwrap(), other.join().unwrap())
    })
}

async fn on_the_ring(balancer: &Ringmaster, replica: &str, generation: u64) {
    let line = format!("{replica} (generation {generation}) is on the ring");
    eventually(&line, || async { balancer.count_in_log(&line) > 0 }).await;
}

/// Of whatever generation: balancers that share a fleet count together.
async fn back_on_the_ring(balancer: &Ringmaster, replica: &str) {
    let name = format!("{replica} (generation ");
    eventually("it is on the ring again", || async {
        let log = balancer.log();
        let lines = log.lines().filter(|line| line.contains(&name));
        lines.filter(|line| line.contains("is on the ring")).count() >= 2
    })
    .await;
}

/// Container and generation of each replica.
fn containers(fleet: &TestFleet) -> BTreeMap<String, String> {
    let label = format!("label=io.ringmaster.fleet={}", fleet.settings.fleet);
    let format =
        "{{.Label \"io.ringmaster.replica\"}} {{.ID}}/{{.Label \"io.ringmaster.generation\"}}";
    let listed = quietly(&["ps", "--filter", &label, "--format", format]);
    let pairs = listed.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// Which replica each of many keys goes to.
async fn mapping(balancer: &Ringmaster) -> Vec<String> {
    let client = client();
    let mut owners = Vec::new();
    for key in 0..200 {
        let request = client.get(balancer.url("/home"));
        let request = request.insert_header(("X-Key", format!("key-{key}")));
        let body = request.send().await.unwrap().body().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        owners.push(body["message"].as_str().unwrap().to_owned());
    }
    owners
}

/// One story at a time: each wants the engine for itself, to be quick.
static TURN: Mutex<()> = Mutex::new(());

fn on_engine<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let turn = TURN.lock();
    if docker::engine_answers() {
        actix::System::new().block_on(async { test().await });
    }
    drop(turn);
}

#[test]
fn two_balancers_share_a_fleet_and_start_nothing_twice() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let witness = Witness::of(&fleet);
        let (one, other) = start_two(&fleet);
        for name in ["Server1", "Server2", "Server3"] {
            on_the_ring(&one, name, 1).await;
            on_the_ring(&other, name, 1).await;
        }
        assert_eq!(mapping(&one).await, mapping(&other).await);
        let begun = containers(&fleet);
        assert_eq!(begun.len(), 3, "{begun:?}");
        assert_eq!(witness.count("start"), 3);

        let loads = [&one, &other].map(|balancer| Load::start(&balancer.url("/home"), 4));
        for load in &loads {
            load.go_on_for(100).await;
        }
        // One dies: one of the two starts it again, and both have it.
        cli(&["kill", &fleet.container("Server1")]);
        back_on_the_ring(&one, "Server1").await;
        back_on_the_ring(&other, "Server1").await;
        let healed = containers(&fleet);
        assert_eq!(
            (&healed["Server2"], &healed["Server3"]),
            (&begun["Server2"], &begun["Server3"])
        );

        // One is added through the one, and removed through the other.
        let heavy = json!({"n": 1, "hostnames": ["heavy"], "weights": {"heavy": 3}});
        let four = one.add(heavy).await.names();
        on_the_ring(&other, "heavy", 1).await;
        assert_eq!(other.replicas().await, four);
        assert_eq!(mapping(&one).await, mapping(&other).await);
        let three = other.rm(json!({"n": 1, "hostnames": ["heavy"]})).await;
        let three = three.names();
        eventually("the other knows", || async {
            one.replicas().await == three
        })
        .await;
        assert_eq!(mapping(&one).await, mapping(&other).await);

        for load in loads {
            load.go_on_for(100).await;
            assert_eq!(load.stop().await.failures, Vec::<String>::new());
        }
        assert_eq!(containers(&fleet), healed);
        // What was killed by hand, and what was removed.
        eventually("both ends are told", || async { witness.count("die") == 2 }).await;
        assert_eq!(witness.count("start"), 5);
        for balancer in [&one, &other] {
            let log = balancer.log();
            assert!(!log.contains("cannot start"), "{log}");
        }
    });
}

#[test]
fn a_balancer_that_stops_leaves_the_replicas_to_the_other_and_the_last_one_stops_them() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (one, other) = start_two(&fleet);
        for name in ["Server1", "Server2", "Server3"] {
            on_the_ring(&one, name, 1).await;
            on_the_ring(&other, name, 1).await;
        }
        let before = containers(&fleet);
        let load = Load::start(&other.url("/home"), 8);
        load.go_on_for(100).await;
        let (status, log) = one.terminate().await;
        assert!(status.success(), "{log}");
        load.go_on_for(100).await;
        // One that was killed is not taken for one that is there.
        let third = start(&fleet);
        on_the_ring(&third, "Server1", 1).await;
        drop(third);
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        assert_eq!(containers(&fleet), before);
        assert_eq!(fleet.containers().len(), 3);

        let (status, log) = other.terminate().await;
        assert!(status.success(), "{log}");
        assert_eq!(fleet.containers(), [""; 0]);
        assert!(!fleet.network_exists());
    });
}

#[test]
fn a_killed_balancer_comes_back_under_load_to_the_fleet_that_it_had() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let witness = Witness::of(&fleet);
        let first = start(&fleet);
        for name in ["Server1", "Server2", "Server3"] {
            on_the_ring(&first, name, 1).await;
        }
        let heavy = json!({"n": 1, "hostnames": ["heavy"], "weights": {"heavy": 3}});
        let names = first.add(heavy).await.names();
        // Not all of the same generation.
        cli(&["kill", &fleet.container("Server1")]);
        on_the_ring(&first, "Server1", 2).await;
        let keys = mapping(&first).await;
        let before = containers(&fleet);
        let begun = witness.count("start");

        // Its clients lose their connections, and nobody else loses anything.
        let load = Load::start(&first.url("/home"), 8);
        load.go_on_for(100).await;
        signal(first.pid(), "KILL");
        load.stop().await;
        drop(first);
        // One dies while nobody looks.
        cli(&["kill", &fleet.container("Server3")]);

        let second = start(&fleet);
        let load = Load::start(&second.url("/home"), 8);
        on_the_ring(&second, "Server1", 2).await;
        on_the_ring(&second, "Server2", 1).await;
        on_the_ring(&second, "heavy", 1).await;
        on_the_ring(&second, "Server3", 2).await;
        load.go_on_for(100).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        assert_eq!(second.replicas().await, names);
        assert_eq!(mapping(&second).await, keys);
        let mut after = containers(&fleet);
        assert_ne!(after.remove("Server3"), before.get("Server3").cloned());
        let mut same = before.clone();
        same.remove("Server3");
        assert_eq!(after, same);
        eventually("its start is told", || async {
            witness.count("start") > begun
        })
        .await;
        assert_eq!(witness.count("start"), begun + 1);
    });
}

#[test]
fn what_keeps_a_replica_from_starting_is_told_once_and_shown_until_it_is_over() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let name = fleet.settings.fleet.as_str();
        let image = fleet.settings.image.as_str();
        let args = [
            "--image",
            image,
            "--fleet",
            name,
            "--memory",
            "128m",
            "--replicas",
            "2",
        ];
        let balancer = Ringmaster::start(&[&args[..], &["--admin", "127.0.0.1:0"]].concat());
        on_the_ring(&balancer, "Server1", 1).await;
        on_the_ring(&balancer, "Server2", 1).await;
        let status = balancer.status_url().await;
        let trouble = async || {
            let body = get(&status).await.body;
            body["replicas"][0]["trouble"].clone()
        };
        let load = Load::start(&balancer.url("/home"), 4);
        load.go_on_for(100).await;

        // By hand: the replica's container gets another name, and its own goes to a stranger.
        let (own, elsewhere) = (fleet.container("Server1"), format!("{name}-elsewhere"));
        cli(&["rename", &own, &elsewhere]);
        let label = format!("io.ringmaster.test={name}");
        cli(&["create", "--name", &own, "--label", &label, image]);
        cli(&["kill", &elsewhere]);
        let line = format!("the container name {own} is taken by a container that is not of fleet");
        eventually("it says who is in the way", || async {
            trouble()
                .await
                .as_str()
                .is_some_and(|text| text.contains(&line))
        })
        .await;
        // Tried several times, told once.
        eventually("it has been tried again", || async {
            let body = get(&status).await.body;
            body["replicas"][0]["generation"].as_u64() > Some(3)
        })
        .await;
        assert_eq!(balancer.count_in_log(&line), 1);
        cli(&["rm", "--force", &own]);
        eventually("it is back, and no trouble any more", || async {
            let body = get(&status).await.body;
            body["replicas"][0]["state"] == "ready" && trouble().await == Value::Null
        })
        .await;
        load.go_on_for(100).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        eventually("nothing is left of the one with another name", || async {
            fleet.containers() == [own.clone(), fleet.container("Server2")]
        })
        .await;
        let answer = ask(Method::GET, &status, None).await.body;
        assert_eq!(
            answer["runtime"],
            json!({"kind": "docker", "trouble": null})
        );
    });
}

#[test]
fn containers_that_are_stopped_added_and_removed_by_hand_are_noticed() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancer = start(&fleet);
        for name in ["Server1", "Server2", "Server3"] {
            on_the_ring(&balancer, name, 1).await;
        }
        let load = Load::start(&balancer.url("/home"), 4);
        load.go_on_for(100).await;
        cli(&["stop", &fleet.container("Server1")]);
        on_the_ring(&balancer, "Server1", 2).await;
        cli(&["rm", "--force", &fleet.container("Server2")]);
        on_the_ring(&balancer, "Server2", 2).await;

        // One that has all that makes a replica joins.
        let (own, image) = (fleet.container("hand"), docker::test_image());
        let name = fleet.settings.fleet.as_str();
        let label = |key: &str, value: &str| format!("--label=io.ringmaster.{key}={value}");
        cli(&[
            "run",
            "--detach",
            &format!("--name={own}"),
            &format!("--network={name}"),
            &label("fleet", name),
            &label("replica", "hand"),
            &label("generation", "4"),
            &label("weight", "2"),
            "--env=PORT=5000",
            "--env=SERVER_ID=hand",
            image,
        ]);
        on_the_ring(&balancer, "hand", 4).await;
        let four = ["Server1", "Server2", "Server3", "hand"];
        assert_eq!(balancer.replicas().await, four);
        // And is like any other: what dies is started again, what is removed is gone.
        cli(&["kill", &own]);
        on_the_ring(&balancer, "hand", 5).await;
        let three = balancer.rm(json!({"n": 1, "hostnames": ["hand"]})).await;
        assert_eq!(three.names(), four[..3]);
        load.go_on_for(100).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        assert_eq!(containers(&fleet).len(), 3);
    });
}
