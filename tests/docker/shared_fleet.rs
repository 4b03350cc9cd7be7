//! Balancers that die and come back, and balancers that share a fleet: on a real engine.
//! Without one these tests say so and pass, but under `CI=true` they fail.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};

use awc::http::Method;
use serde_json::{Value, json};

use crate::docker::{TestFleet, docker as cli, quietly};
use crate::support::{Load, Ringmaster, ask, client, eventually, get, signal};

/// Everything that the engine does to a fleet's containers, from now on.
struct Witness {
    listener: Child,
    notes: tempfile::NamedTempFile,
}

impl Witness {
    /// The engine keeps only its last events, so a listener has to run.
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

pub fn start(fleet: &TestFleet) -> Ringmaster {
    start_with(fleet, &[])
}

/// The same, with more flags.
fn start_with(fleet: &TestFleet, more: &[&str]) -> Ringmaster {
    let name = fleet.settings.fleet.as_str();
    let image = fleet.settings.image.as_str();
    let usual = [
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
        "--admin",
        "127.0.0.1:0",
    ];
    Ringmaster::start(&[&usual, more].concat())
}

/// `GET /status`.
async fn status(balancer: &Ringmaster) -> Value {
    get(&balancer.status_url().await).await.body
}

/// Name and weight of each replica.
async fn weights(balancer: &Ringmaster) -> BTreeMap<String, u64> {
    let status = status(balancer).await;
    let replicas = status["replicas"].as_array().unwrap().iter();
    replicas
        .map(|replica| {
            let name = replica["name"].as_str().unwrap().to_owned();
            (name, replica["weight"].as_u64().unwrap())
        })
        .collect()
}

pub async fn all_are_ready(balancer: &Ringmaster, names: &[&str]) {
    eventually("all are ready", || async {
        let status = status(balancer).await;
        let replicas = status["replicas"].as_array().unwrap();
        replicas.len() == names.len() && replicas.iter().all(|r| r["state"] == "ready")
    })
    .await;
    let mut present: Vec<_> = weights(balancer).await.into_keys().collect();
    let mut expected = names.to_vec();
    present.sort();
    expected.sort_unstable();
    assert_eq!(present, expected);
}

/// What the replica's container was started as.
fn has_variable(fleet: &TestFleet, replica: &str, variable: &str) -> bool {
    let found = crate::docker::inspect(&fleet.container(replica));
    let env = found["Config"]["Env"].as_array().unwrap();
    env.contains(&json!(variable))
}

/// The record that is on the engine.
fn record(fleet: &TestFleet) -> Value {
    let names = fleet.records();
    assert_eq!(names.len(), 1, "{names:?}");
    let found = crate::docker::inspect(&names[0]);
    assert_eq!(found["State"]["Status"], "created");
    let text = &found["Config"]["Labels"]["io.ringmaster.record.json"];
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

/// Two that start at once on an engine that has neither containers nor network for them.
fn start_two(fleet: &TestFleet) -> (Ringmaster, Ringmaster) {
    std::thread::scope(|scope| {
        let one = scope.spawn(|| start(fleet));
        let other = scope.spawn(|| start(fleet));
        (one.join().unwrap(), other.join().unwrap())
    })
}

async fn on_the_ring(balancer: &Ringmaster, replica: &str, generation: u64) {
    let line = format!("{replica} (generation {generation}) is ready at");
    eventually(&line, || async { balancer.count_in_log(&line) > 0 }).await;
}

/// Of whatever generation: balancers that share a fleet count together.
async fn back_on_the_ring(balancer: &Ringmaster, replica: &str) {
    let name = format!("{replica} (generation ");
    eventually("it is ready at again", || async {
        let log = balancer.log();
        let lines = log.lines().filter(|line| line.contains(&name));
        lines.filter(|line| line.contains("is ready at")).count() >= 2
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

/// Runs a test that shares the engine with one other.
pub fn on_engine<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    if crate::docker::engine_answers() {
        actix::System::new().block_on(async {
            let _permit = crate::ENGINE.acquire().await.unwrap();
            test().await;
        });
    }
}

#[test]
fn two_balancers_share_a_fleet_and_start_each_replica_once() {
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
fn stopped_balancer_leaves_the_replicas_until_the_last_one_stops() {
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
        assert_eq!(fleet.records().len(), 1);
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
        assert_eq!(fleet.records(), [""; 0]);
        assert!(!fleet.network_exists());
    });
}

#[test]
fn killed_balancer_restarts_under_load_with_its_fleet() {
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

        // Its clients lose their connections; no others lose anything.
        let load = Load::start(&first.url("/home"), 8);
        load.go_on_for(100).await;
        signal(first.pid(), "KILL");
        load.stop().await;
        drop(first);
        // One dies while no balancer runs.
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
fn launch_error_is_logged_once_and_shown_until_it_is_over() {
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
            body["replicas"][0]["last_error"].clone()
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
        // What died stays for its log, under the name that it has, and is no stranger.
        let left = [own, fleet.container("Server2"), elsewhere];
        eventually("one dead container is left", || async {
            fleet.containers() == left
        })
        .await;
        let answer = ask(Method::GET, &status, None).await.body;
        assert_eq!(
            answer["runtime"],
            json!({"kind": "docker", "last_error": null})
        );
        let (status, log) = balancer.terminate().await;
        assert!(status.success(), "{log}");
        assert_eq!(fleet.containers(), [""; 0]);
    });
}

#[test]
fn manual_changes_of_containers_are_noticed() {
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
        let (own, image) = (fleet.container("hand"), crate::docker::test_image());
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

#[test]
fn restart_restores_missing_replicas_and_keeps_requested_changes() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let first = start(&fleet);
        all_are_ready(&first, &THREE).await;
        first
            .add(json!({"n": 1, "hostnames": ["heavy"], "weights": {"heavy": 3}}))
            .await
            .names();
        first
            .rm(json!({"n": 1, "hostnames": ["Server2"]}))
            .await
            .names();
        let admin = format!("{}/ring", first.status_url().await);
        let patch = json!({"strategy": "maglev", "balance_factor": 1.5, "weights": {"Server1": 2}});
        let patched = ask(Method::PATCH, &admin, Some(patch)).await;
        assert_eq!(patched.status, 200, "{:?}", patched.body);
        let keys = mapping(&first).await;
        let before = record(&fleet);
        assert_eq!(status(&first).await["record"]["version"], before["version"]);

        // Acknowledged is written: it is killed at once, and all but one container removed.
        signal(first.pid(), "KILL");
        drop(first);
        for name in ["Server3", "heavy"] {
            cli(&["rm", "--force", &fleet.container(name)]);
        }
        let second = start(&fleet);
        all_are_ready(&second, &["Server1", "Server3", "heavy"]).await;
        let expected = [("Server1", 2), ("Server3", 1), ("heavy", 3)];
        let expected = expected
            .map(|(name, weight)| (name.to_owned(), weight))
            .into();
        assert_eq!(weights(&second).await, expected);
        let status = status(&second).await;
        assert_eq!(status["ring"]["strategy"], "maglev");
        assert_eq!(status["ring"]["balance_factor"], 1.5);
        assert_eq!(status["record"]["drift"], Value::Null);
        assert_eq!(mapping(&second).await, keys);
        assert_eq!(record(&fleet), before);
        assert!(
            !second.log().contains("flags have changed"),
            "{}",
            second.log()
        );
    });
}

#[test]
fn restart_with_changed_flags_applies_them_to_new_replicas() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let first = start(&fleet);
        all_are_ready(&first, &THREE).await;
        let before = containers(&fleet);
        signal(first.pid(), "KILL");
        drop(first);
        cli(&["rm", "--force", &fleet.container("Server3")]);

        let second = start_with(&fleet, &["--replicas", "4", "--env", "COLOUR=blue"]);
        all_are_ready(&second, &["Server1", "Server2", "Server3", "Server4"]).await;
        let words = "env: COLOUR is new; replicas 3 -> 4";
        assert_eq!(second.count_in_log(words), 1, "{}", second.log());
        assert!(!second.log().contains("blue"), "{}", second.log());
        let fleet_status = status(&second).await["record"].clone();
        let differs = json!({
            "differences": ["env: COLOUR is new", "replicas 3 -> 4"],
            "in_effect": "flags",
        });
        assert_eq!(fleet_status["drift"], differs);
        let outdated = async || -> Vec<bool> {
            let status = status(&second).await;
            let replicas = status["replicas"].as_array().unwrap().iter();
            replicas.map(|r| r["outdated"] == true).collect()
        };
        assert_eq!(outdated().await, [true, true, false, false]);
        // What runs is left alone, what is started follows the flags.
        let now = containers(&fleet);
        for name in ["Server1", "Server2"] {
            assert_eq!(now[name], before[name]);
            assert!(!has_variable(&fleet, name, "COLOUR=blue"));
        }
        for name in ["Server3", "Server4"] {
            assert!(has_variable(&fleet, name, "COLOUR=blue"));
        }
        for name in ["Server1", "Server2"] {
            cli(&["kill", &fleet.container(name)]);
            on_the_ring(&second, name, 2).await;
            assert!(has_variable(&fleet, name, "COLOUR=blue"));
        }
        assert_eq!(outdated().await, [false; 4]);
        assert_eq!(status(&second).await["record"]["drift"], Value::Null);

        // The next start with these flags finds nothing to tell.
        signal(second.pid(), "KILL");
        drop(second);
        let third = start_with(&fleet, &["--replicas", "4", "--env", "COLOUR=blue"]);
        all_are_ready(&third, &["Server1", "Server2", "Server3", "Server4"]).await;
        assert!(!third.log().contains("WARN"), "{}", third.log());
    });
}

#[test]
fn joining_with_other_flags_adopts_the_record() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let one = start(&fleet);
        all_are_ready(&one, &THREE).await;
        let before = (containers(&fleet), record(&fleet));
        let flags = [
            "--replicas",
            "5",
            "--env",
            "COLOUR=blue",
            "--strategy",
            "maglev",
        ];
        let other = start_with(&fleet, &flags);
        all_are_ready(&other, &THREE).await;
        let words = "definition differs: env: COLOUR is new; replicas 3 -> 5; strategy ";
        assert_eq!(other.count_in_log(words), 1, "{}", other.log());
        let fleet_status = status(&other).await["record"].clone();
        assert_eq!(fleet_status["drift"]["in_effect"], "record");
        assert_eq!((containers(&fleet), record(&fleet)), before);
        assert_eq!(mapping(&one).await, mapping(&other).await);

        // It heals by the record, too.
        signal(one.pid(), "KILL");
        drop(one);
        cli(&["kill", &fleet.container("Server1")]);
        on_the_ring(&other, "Server1", 2).await;
        assert!(!has_variable(&fleet, "Server1", "COLOUR=blue"));
    });
}

#[test]
fn record_is_one_and_is_written_again_when_removed() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (one, other) = start_two(&fleet);
        all_are_ready(&one, &THREE).await;
        all_are_ready(&other, &THREE).await;
        let add = async |balancer: &Ringmaster, names: [&str; 2]| {
            for name in names {
                balancer
                    .add(json!({"n": 1, "hostnames": [name]}))
                    .await
                    .names();
            }
        };
        futures::join!(add(&one, ["a1", "a2"]), add(&other, ["b1", "b2"]));
        one.rm(json!({"n": 1, "hostnames": ["Server2"]}))
            .await
            .names();
        let all = ["Server1", "Server3", "a1", "a2", "b1", "b2"];
        all_are_ready(&one, &all).await;
        all_are_ready(&other, &all).await;
        let names = |record: &Value| {
            let replicas = record["replicas"].as_array().unwrap().iter();
            let mut names: Vec<_> = replicas.map(|r| r["name"].to_string()).collect();
            names.sort();
            names
        };
        let quoted = all.map(|name| format!("\"{name}\""));
        eventually("the record is settled", || async {
            fleet.records().len() == 1
        })
        .await;
        assert_eq!(names(&record(&fleet)), quoted);

        // By hand, while they run: one of them writes it again.
        let removed = fleet.records().remove(0);
        cli(&["rm", &removed]);
        eventually("the record is back", || async {
            fleet.records().len() == 1
        })
        .await;
        assert_eq!(names(&record(&fleet)), quoted);
        let line = "the fleet record was removed by hand or by another program";
        assert_eq!(one.count_in_log(line) + other.count_in_log(line), 1);

        // And while none runs: rebuilt from what does.
        for balancer in [one, other] {
            signal(balancer.pid(), "KILL");
        }
        cli(&["rm", &fleet.records().remove(0)]);
        cli(&["rm", "--force", &fleet.container("b2")]);
        let third = start(&fleet);
        all_are_ready(&third, &all[..5]).await;
        assert_eq!(third.count_in_log("there is no fleet record"), 1);
        assert_eq!(names(&record(&fleet)), quoted[..5]);
    });
}

#[test]
fn balancers_without_a_fleet_name_share_nothing() {
    on_engine(|| async {
        let image = crate::docker::test_image();
        let start = || {
            let args = ["--image", image, "--memory", "128m", "--replicas", "1"];
            Ringmaster::start(&[&args[..], &["--admin", "127.0.0.1:0"]].concat())
        };
        let mut fleets = Vec::new();
        for balancer in [start(), start()] {
            all_are_ready(&balancer, &["Server1"]).await;
            let container = status(&balancer).await["replicas"][0]["container"].to_string();
            let port = balancer.address().rsplit(':').next().unwrap().to_owned();
            assert_eq!(container, format!("\"ringmaster-{port}-Server1\""));
            fleets.push(container);
            let (status, log) = balancer.terminate().await;
            assert!(status.success(), "{log}");
        }
        assert_ne!(fleets[0], fleets[1]);
    });
}

/// Debian's registry on loopback, with one user (`me`, `secret`); it ends when dropped.
struct Registry {
    process: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Registry {
    /// None without the programs, which under CI is a failure.
    async fn start() -> Option<Self> {
        for program in ["docker-registry", "htpasswd"] {
            let found = Command::new("which").arg(program).output();
            if !found.is_ok_and(|output| output.status.success()) {
                crate::docker::skip(&format!("there is no {program}"));
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let users = Command::new("htpasswd")
            .args(["-Bbn", "me", "secret"])
            .output();
        std::fs::write(folder.path().join("users"), users.unwrap().stdout).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("127.0.0.1:{}", port.local_addr().unwrap().port());
        drop(port);
        let place = folder.path().display();
        let settings = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {place}/data}}}}\n\
             http: {{addr: \"{address}\"}}\n\
             auth: {{htpasswd: {{realm: test, path: {place}/users}}}}\n"
        );
        let file = folder.path().join("registry.yml");
        std::fs::write(&file, settings).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self {
            process,
            address,
            folder,
        };
        eventually("the registry listens", || async {
            std::net::TcpStream::connect(&registry.address).is_ok()
        })
        .await;
        Some(registry)
    }

    /// A folder for `DOCKER_CONFIG` with this configuration.
    fn config(&self, name: &str, text: &str) -> String {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("config.json"), text).unwrap();
        folder.display().to_string()
    }

    /// A folder for `DOCKER_CONFIG` in which `docker login` has put the credentials.
    fn logged_in(&self) -> String {
        let config = self.config("login", "{}");
        let login = ["--config", &config, "login", "-u", "me", "-p", "secret"];
        cli(&[&login[..], &[self.address.as_str()]].concat());
        config
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An image's name in one engine, which goes when dropped.
struct Tag(String);

impl Drop for Tag {
    fn drop(&mut self) {
        quietly(&["rmi", &self.0]);
    }
}

#[test]
fn private_image_is_pulled_with_credentials_and_not_by_a_respawn() {
    on_engine(|| async {
        let Some(mut registry) = Registry::start().await else {
            return;
        };
        let mut fleet = TestFleet::new();
        let tag = Tag(format!("{}/replica:1", registry.address));
        cli(&["tag", &fleet.settings.image, &tag.0]);
        let login = registry.logged_in();
        cli(&["--config", &login, "push", &tag.0]);
        cli(&["rmi", &tag.0]);
        fleet.settings.image = tag.0.clone();

        let empty = registry.config("empty", "{}");
        let auth = r#"{"auth": "bWU6d3Jvbmc="}"#;
        let wrong = format!(r#"{{"auths": {{"{}": {auth}}}}}"#, registry.address);
        let wrong = registry.config("wrong", &wrong);
        let refusal = |config: &str, pull: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
                .args(["--listen", "127.0.0.1:0", "--image", &tag.0, "--pull", pull])
                .args(["--fleet", &fleet.settings.fleet])
                .env("DOCKER_CONFIG", config)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(1));
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        for (config, pull, told) in [
            (&empty, "missing", "no credentials for 127.0.0.1"),
            (&wrong, "missing", "has user \"me\" for 127.0.0.1"),
            (&login, "never", "--pull never forbids pulling it"),
        ] {
            let log = refusal(config, pull);
            assert!(log.contains(told), "{log}");
        }

        let start = |config: &str, pull: &str, path: &str| {
            let name = fleet.settings.fleet.as_str();
            let args = ["--image", &tag.0, "--fleet", name, "--pull", pull];
            let more = ["--replicas", "1", "--heartbeat-interval", "200ms"];
            let env = [("DOCKER_CONFIG", config), ("PATH", path)];
            Ringmaster::start_with(&[&args[..], &more].concat(), &env)
        };
        let path = std::env::var("PATH").unwrap();
        let balancer = start(&login, "missing", &path);
        on_the_ring(&balancer, "Server1", 1).await;
        assert_eq!(balancer.count_in_log("pulling image"), 1);
        assert!(balancer.terminate().await.0.success());

        // A credential helper, whose answer is the one that counts.
        let helper = "#!/bin/sh\n[ \"$1 $(cat)\" = \"get $REGISTRY\" ] || exit 1\n\
             echo '{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"secret\"}'\n"
            .replace("$REGISTRY", &registry.address);
        let helpers = registry.folder.path().join("bin");
        std::fs::create_dir(&helpers).unwrap();
        let program = helpers.join("docker-credential-rmtest");
        std::fs::write(&program, helper).unwrap();
        make_executable(&program);
        let config = format!(r#"{{"credHelpers": {{"{}": "rmtest"}}}}"#, registry.address);
        let config = registry.config("helper", &config);
        let path = format!("{}:{path}", helpers.display());
        let balancer = start(&config, "always", &path);
        on_the_ring(&balancer, "Server1", 1).await;
        assert_eq!(balancer.count_in_log("pulling image"), 1);

        // Without the registry a respawn takes what the engine has, and a start must not pull.
        registry.process.kill().unwrap();
        registry.process.wait().unwrap();
        cli(&["kill", &fleet.container("Server1")]);
        on_the_ring(&balancer, "Server1", 2).await;
        assert_eq!(balancer.count_in_log("pulling image"), 1);
        assert!(balancer.terminate().await.0.success());
        let log = refusal(&login, "always");
        assert!(log.contains("no image"), "{log}");
        let balancer = start(&login, "never", &path);
        on_the_ring(&balancer, "Server1", 1).await;
    });
}

fn make_executable(program: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(program, executable).unwrap();
}
