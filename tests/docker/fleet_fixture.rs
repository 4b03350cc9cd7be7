//! Balancers over a fleet of containers, and what tests of several files ask of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::docker::{TestFleet, quietly};
use crate::support::{Ringmaster, client, eventually, get};

/// Everything that the engine does to a fleet's containers, from now on.
pub struct Witness {
    listener: Child,
    notes: tempfile::NamedTempFile,
}

impl Witness {
    /// The engine keeps only its last events, so a listener has to run.
    pub fn of(fleet: &TestFleet) -> Self {
        let notes = tempfile::NamedTempFile::new().unwrap();
        let label = format!("label=io.ringmaster.fleet={}", fleet.settings.fleet);
        // The client takes a moment to begin: what happens meanwhile is told, too.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since = format!("{:.6}", now.unwrap().as_secs_f64());
        let listener = Command::new("docker")
            .args(["events", "--since", &since, "--filter", &label])
            .args(["--format", "{{.Action}} {{.Actor.Attributes.name}}"])
            .stdin(Stdio::null())
            .stdout(File::create(notes.path()).unwrap())
            .spawn()
            .unwrap();
        Self { listener, notes }
    }

    pub fn count(&self, action: &str) -> usize {
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
pub fn start_with(fleet: &TestFleet, more: &[&str]) -> Ringmaster {
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
pub async fn status(balancer: &Ringmaster) -> Value {
    get(&balancer.status_url().await).await.body
}

/// Name and weight of each replica.
pub async fn weights(balancer: &Ringmaster) -> BTreeMap<String, u64> {
    let status = status(balancer).await;
    let replicas = status["replicas"].as_array().unwrap().iter();
    replicas
        .map(|replica| {
            let name = replica["name"].as_str().unwrap().to_owned();
            (name, replica["weight"].as_u64().unwrap())
        })
        .collect()
}

/// Waits until exactly these replicas are ready, and every worker thread has them.
pub async fn all_are_ready(balancer: &Ringmaster, names: &[&str]) {
    eventually("all are ready", || async {
        let status = status(balancer).await;
        let replicas = status["replicas"].as_array().unwrap();
        replicas.len() == names.len() && replicas.iter().all(|r| r["state"] == "ready")
    })
    .await;
    // The state tells of a replica before every worker thread has it, the history after that.
    let present = status(balancer).await;
    for replica in present["replicas"].as_array().unwrap() {
        let name = replica["name"].as_str().unwrap();
        let generation = replica["generation"].as_u64().unwrap();
        balancer.event_of(name, generation, "ready").await;
    }
    let mut present: Vec<_> = weights(balancer).await.into_keys().collect();
    let mut expected = names.to_vec();
    present.sort();
    expected.sort_unstable();
    assert_eq!(present, expected);
}

/// What the replica's container was started as.
pub fn has_variable(fleet: &TestFleet, replica: &str, variable: &str) -> bool {
    let found = crate::docker::inspect(&fleet.container(replica));
    let env = found["Config"]["Env"].as_array().unwrap();
    env.contains(&json!(variable))
}

/// The record that is on the engine. Of two, one version is being replaced by the next: waits for that.
pub fn record(fleet: &TestFleet) -> Value {
    let deadline = Instant::now() + Duration::from_secs(10);
    let found = loop {
        let names = fleet.records();
        if let [name] = &names[..] {
            let described = quietly(&["inspect", name]);
            let described: Value = serde_json::from_str(&described).unwrap_or_default();
            // Null if the next version has replaced it since it was listed.
            if described[0].is_object() {
                break described[0].clone();
            }
        }
        assert!(Instant::now() < deadline, "{names:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(found["State"]["Status"], "created");
    let text = &found["Config"]["Labels"]["io.ringmaster.record.json"];
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

pub const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

/// Two that start at once on an engine that has neither containers nor network for them.
pub fn start_two(fleet: &TestFleet) -> (Ringmaster, Ringmaster) {
    std::thread::scope(|scope| {
        let one = scope.spawn(|| start(fleet));
        let other = scope.spawn(|| start(fleet));
        (one.join().unwrap(), other.join().unwrap())
    })
}

pub async fn on_the_ring(balancer: &Ringmaster, replica: &str, generation: u64) {
    let line = format!("{replica} (generation {generation}) is ready at");
    eventually(&line, || async { balancer.count_in_log(&line) > 0 }).await;
}

/// Of whatever generation: balancers that share a fleet count together.
pub async fn back_on_the_ring(balancer: &Ringmaster, replica: &str) {
    let name = format!("{replica} (generation ");
    eventually("it is ready at again", || async {
        let log = balancer.log();
        let lines = log.lines().filter(|line| line.contains(&name));
        lines.filter(|line| line.contains("is ready at")).count() >= 2
    })
    .await;
}

/// Container and generation of each replica.
pub fn containers(fleet: &TestFleet) -> BTreeMap<String, String> {
    let label = format!("label=io.ringmaster.fleet={}", fleet.settings.fleet);
    let format =
        "{{.Label \"io.ringmaster.replica\"}} {{.ID}}/{{.Label \"io.ringmaster.generation\"}}";
    let listed = quietly(&["ps", "--filter", &label, "--format", format]);
    let pairs = listed.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// Which replica each of many keys goes to.
pub async fn mapping(balancer: &Ringmaster) -> Vec<String> {
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

/// Waits until both send each key to the same replica: a log tells of a replica before every worker
/// thread has it.
pub async fn route_alike(one: &Ringmaster, other: &Ringmaster) {
    eventually("both send each key to the same replica", || async {
        mapping(one).await == mapping(other).await
    })
    .await;
}

/// Waits until a balancer sends each key where it went before, for the same reason.
pub async fn routes_as(balancer: &Ringmaster, before: &[String]) {
    eventually("each key goes where it went", || async {
        mapping(balancer).await == before
    })
    .await;
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
