//! Rollouts of a compose service, with the real compose: after one it finds nothing to do.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::compose_project::{Project, all_are_ready, id, successor, volume};
use crate::docker::{inspect, quietly};
use crate::support::{Load, Ringmaster, eventually, get, signal};

/// Rolls out what the compose file says, by the documented command; waits for the end. Returns what was
/// printed, and whether it was done.
pub async fn roll_out(project: &Project, balancer: &Ringmaster) -> (String, bool) {
    let resolved = project.compose(&["config", "--format", "json"]);
    let hash = hash_of(project);
    let hash = hash.trim().rsplit(' ').next().unwrap().to_owned();
    let flags = ["--service", "web", "--config-hash", &hash, "--wait", "-"];
    start(balancer, &flags, resolved).await
}

/// Of the resolved file, as documented.
fn hash_of(project: &Project) -> String {
    let file = project.file();
    let command = format!(
        "docker compose -p {name} -f {file} config | docker compose -p {name} -f - config --hash web",
        name = project.name,
        file = file.display()
    );
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn start(balancer: &Ringmaster, flags: &[&str], input: String) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmaster"));
    command
        .args(["ctl", "rollout", "start", "--admin"])
        .arg(balancer.admin_url().await)
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // The load goes on meanwhile.
    let output = actix_web::rt::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (said, output.status.success())
}

fn ids(project: &Project, names: &[&str]) -> Vec<String> {
    names
        .iter()
        .map(|name| id(&project.container(name)))
        .collect()
}

fn has_variable(container: &str, variable: &str) -> bool {
    let env = inspect(container)["Config"]["Env"]
        .as_array()
        .unwrap()
        .clone();
    env.contains(&json!(variable))
}

const TWO: [&str; 2] = ["web-1", "web-2"];

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn up_changes_nothing_after_a_rollout_of_the_file() {
    let Some(project) = Project::new("rollout") else {
        return;
    };
    project.compose(&["up", "--detach"]);
    let balancer = project.balancer_with(&["--rollout-monitor=500ms", "--start-timeout=15s"]);
    all_are_ready(&balancer, &TWO).await;
    let (one, two) = (project.container("web-1"), project.container("web-2"));
    let cache = volume(&one);
    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(50).await;

    project.write(2, "b");
    let (said, done) = roll_out(&project, &balancer).await;
    assert!(done, "{said}\n{}", balancer.log());
    assert!(has_variable(&one, "COLOUR=b") && has_variable(&two, "COLOUR=b"));
    // A volume without a name stays its replica's.
    assert_eq!(volume(&one), cache);
    let rolled = ids(&project, &TWO);
    eventually("old containers are gone", || async {
        project.names().len() == 2
    })
    .await;
    project.compose(&["up", "--detach"]);
    assert_eq!(ids(&project, &TWO), rolled);
    let running = [&one, &two].map(|name| (name.clone(), "running".to_owned()));
    assert_eq!(project.listed(), running);
    assert!(project.compose(&["logs"]).contains("web-2"));
    // A canary would pass for a replica of the service.
    let canary = ["--env", "COLOUR=c", "--canary", "10%"];
    let (said, done) = start(&balancer, &canary, String::new()).await;
    assert!(!done && said.contains("none with --service"), "{said}");
    // Nothing is to be rolled out again.
    let (said, done) = roll_out(&project, &balancer).await;
    assert!(!done && said.contains("changes nothing"), "{said}");

    // What dies is healed with it, also by the next balancer.
    load.go_on_for(50).await;
    let result = load.stop().await;
    assert_eq!(result.failures, Vec::<String>::new());
    quietly(&["exec", &one, "sh", "-c", "kill -TERM 1"]);
    successor(&one, &rolled[0]).await;
    all_are_ready(&balancer, &TWO).await;
    assert!(has_variable(&one, "COLOUR=b"));
    let (status, log) = balancer.terminate().await;
    assert!(status.success(), "{log}");
    let balancer = project.balancer();
    all_are_ready(&balancer, &TWO).await;
    let before = id(&two);
    quietly(&["exec", &two, "sh", "-c", "kill -TERM 1"]);
    successor(&two, &before).await;
    all_are_ready(&balancer, &TWO).await;
    assert!(has_variable(&two, "COLOUR=b"));
    let healed = ids(&project, &TWO);
    project.compose(&["up", "--detach"]);
    assert_eq!(ids(&project, &TWO), healed);
    project.compose(&["down", "--volumes"]);
    assert_eq!(project.listed(), []);
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn a_broken_version_is_rolled_back_to_what_compose_had() {
    let Some(project) = Project::new("broken") else {
        return;
    };
    project.compose(&["up", "--detach"]);
    let balancer = project.balancer_with(&["--rollout-monitor=500ms", "--start-timeout=15s"]);
    all_are_ready(&balancer, &TWO).await;
    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(50).await;
    let before = ids(&project, &TWO);
    let good = std::fs::read_to_string(project.file()).unwrap();
    let broken = good.replace(
        "    stop_grace",
        "    command: [/no-such-program]\n    stop_grace",
    );
    std::fs::write(project.file(), broken).unwrap();
    let (said, done) = roll_out(&project, &balancer).await;
    assert!(!done && said.contains("rolled back"), "{said}");
    assert_eq!(ids(&project, &TWO), before);
    std::fs::write(project.file(), &good).unwrap();
    project.compose(&["up", "--detach"]);
    assert_eq!(ids(&project, &TWO), before);

    // One that is done is undone: compose's own labels are back.
    project.write(2, "b");
    let (said, done) = roll_out(&project, &balancer).await;
    assert!(done, "{said}\n{}", balancer.log());
    let undone = ctl(&balancer, &["undo"]).await;
    assert!(undone.contains("rollout"), "{undone}");
    rollout_is(&balancer, 3, "done").await;
    project.write(2, "a");
    let rolled = ids(&project, &TWO);
    eventually("old containers are gone", || async {
        project.names().len() == 2
    })
    .await;
    project.compose(&["up", "--detach"]);
    assert_eq!(ids(&project, &TWO), rolled);
    let load = load.stop().await;
    assert_eq!(load.failures, Vec::<String>::new());

    // Without a compose file: the next up undoes it, and the log says so.
    let (said, done) = start(&balancer, &["--env", "COLOUR=c", "--wait"], String::new()).await;
    assert!(done, "{said}\n{}", balancer.log());
    assert!(has_variable(&project.container("web-2"), "COLOUR=c"));
    balancer
        .has_logged("the next docker compose up undoes a rollout", 1)
        .await;
    eventually("old containers are gone", || async {
        project.names().len() == 2
    })
    .await;
    project.compose(&["up", "--detach"]);
    all_are_ready(&balancer, &TWO).await;
    assert!(has_variable(&project.container("web-2"), "COLOUR=a"));
    balancer
        .has_logged("without a gap: docker compose config", 1)
        .await;
    // From there a rollout goes on.
    project.write(2, "d");
    let (said, done) = roll_out(&project, &balancer).await;
    assert!(done, "{said}\n{}", balancer.log());
    assert!(has_variable(&project.container("web-1"), "COLOUR=d"));
}

async fn ctl(balancer: &Ringmaster, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["ctl", "rollout"])
        .args(arguments)
        .args(["--admin", &balancer.admin_url().await])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

async fn rollout_is(balancer: &Ringmaster, id: u64, state: &str) {
    let url = format!("{}/rollouts/{id}", balancer.status_url().await);
    eventually(&format!("rollout {id} is {state}"), || async {
        get(&url).await.body["state"] == state
    })
    .await;
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn up_during_a_rollout_ends_no_replica_that_is_done() {
    let Some(project) = Project::new("amid") else {
        return;
    };
    project.compose(&["up", "--detach"]);
    // Long enough to come in between.
    let balancer = project.balancer_with(&["--rollout-monitor=5s"]);
    all_are_ready(&balancer, &TWO).await;
    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(50).await;
    project.write(2, "b");
    let rolling = roll_out(&project, &balancer);
    let meddling = async {
        eventually("one of two is replaced", || async {
            project.names().len() == 2 && has_variable(&project.container("web-1"), "COLOUR=b")
        })
        .await;
        let first = id(&project.container("web-1"));
        project.compose(&["up", "--detach"]);
        assert_eq!(id(&project.container("web-1")), first, "it is up to date");
    };
    let ((said, done), ()) = futures::join!(rolling, meddling);
    assert!(done, "{said}\n{}", balancer.log());
    balancer
        .has_logged("stopped through the engine during a rollout", 1)
        .await;
    all_are_ready(&balancer, &TWO).await;
    assert!(has_variable(&project.container("web-2"), "COLOUR=b"));
    eventually("two are left", || async { project.names().len() == 2 }).await;
    let rolled = ids(&project, &TWO);
    project.compose(&["up", "--detach"]);
    assert_eq!(ids(&project, &TWO), rolled);
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
}

/// A service with a little of everything.
const RICH: &str = "\
services:
  web:
    image: IMAGE
    environment: {PORT: '7070', SERVER_ID: web, PRICE: 'a$$b', UNSET: }
    env_file: [extra.env]
    stop_grace_period: 1s
    volumes: [/cache, 'data:/data', './folder:/folder:ro', {type: tmpfs, target: /t, tmpfs: {size: 1000000}}]
    tmpfs: ['/scratch:size=1m']
    secrets: [key]
    configs: [{source: conf, target: /etc/conf}]
    healthcheck: {disable: true}
    depends_on: [db]
    expose: ['7070']
    ulimits: {nofile: 1000, nproc: {soft: 1000, hard: 2000}}
    extra_hosts: ['a.example:10.0.0.1']
    sysctls: {net.core.somaxconn: 100}
    cap_add: [NET_RAW]
    logging: {options: {max-size: 10m}}
    networks: {default: {aliases: [shopweb]}, side: }
    labels: {team: COLOUR}
    shm_size: 10m
    deploy: {replicas: 1, resources: {limits: {pids: 100, cpus: '0.5', memory: 100M}}}
  db:
    image: IMAGE
    environment: {PORT: '7070', SERVER_ID: db}
    stop_grace_period: 0s
volumes: {data: }
networks: {side: }
secrets: {key: {file: ./key}}
configs: {conf: {file: ./conf}}
";

/// What the engine says of a container, without what is one container's alone.
fn comparable(container: &str) -> Value {
    let mut found = inspect(container);
    let id = found["Id"].as_str().unwrap().to_owned();
    let mut config = found["Config"].take();
    config["Hostname"].take();
    sort(&mut config["Env"]);
    let labels = config["Labels"].as_object_mut().unwrap();
    labels.retain(|key, _| !key.starts_with("io.ringmaster.") && !key.ends_with(".replace"));
    let mut host = found["HostConfig"].take();
    // The balancer restarts.
    host["RestartPolicy"].take();
    host["NetworkMode"].take();
    for list in ["Mounts", "Ulimits"] {
        sort(&mut host[list]);
    }
    for mount in host["Mounts"].as_array_mut().unwrap() {
        if mount["Target"] == "/cache" {
            // That of the replica.
            mount.as_object_mut().unwrap().remove("Source");
        }
    }
    let mut networks = serde_json::Map::new();
    for (name, network) in found["NetworkSettings"]["Networks"].as_object().unwrap() {
        let aliases = network["Aliases"].as_array().unwrap().iter();
        let aliases = aliases.map(|alias| alias.as_str().unwrap());
        let mut aliases: Vec<_> = aliases.filter(|alias| !id.starts_with(*alias)).collect();
        aliases.sort_unstable();
        networks.insert(name.clone(), json!(aliases));
    }
    without_nothing(json!({"config": config, "host": host, "networks": networks}))
}

/// Empty objects and lists mean nothing.
fn without_nothing(value: Value) -> Value {
    let says = |value: &Value| !matches!(value.to_string().as_str(), "null" | "{}" | "[]");
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, value)| (name, without_nothing(value)));
            Value::Object(fields.filter(|(_, value)| says(value)).collect())
        }
        Value::Array(items) => items.into_iter().map(without_nothing).collect(),
        other => other,
    }
}

fn sort(list: &mut Value) {
    if let Some(items) = list.as_array_mut() {
        items.sort_by_key(Value::to_string);
    }
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn a_container_of_a_rollout_is_what_compose_would_have_made() {
    let Some(project) = Project::new("same") else {
        return;
    };
    let folder = project.folder();
    for file in ["key", "conf", "extra.env"] {
        std::fs::write(folder.join(file), "EXTRA=x y\n").unwrap();
    }
    std::fs::create_dir(folder.join("folder")).unwrap();
    let write = |colour: &str| {
        let text = RICH.replace("IMAGE", crate::docker::test_image());
        std::fs::write(project.file(), text.replace("COLOUR", colour)).unwrap();
    };
    write("blue");
    project.compose(&["up", "--detach"]);
    let balancer = project.balancer_with(&["--rollout-monitor=100ms"]);
    all_are_ready(&balancer, &["web-1"]).await;
    write("green");
    let (said, done) = roll_out(&project, &balancer).await;
    assert!(done, "{said}\n{}", balancer.log());
    let one = project.container("web-1");
    let ours = comparable(&one);
    let before = id(&one);
    project.compose(&["up", "--detach", "--force-recreate", "web"]);
    successor(&one, &before).await;
    assert_eq!(ours, comparable(&one));
    drop(balancer);
    project.compose(&["down", "--volumes"]);
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn a_balancer_that_dies_in_a_rollout_leaves_one_container_a_replica() {
    let Some(project) = Project::new("killed") else {
        return;
    };
    project.compose(&["up", "--detach"]);
    let balancer = project.balancer_with(&["--rollout-monitor=60s"]);
    all_are_ready(&balancer, &TWO).await;
    let (one, two) = (project.container("web-1"), project.container("web-2"));
    project.write(2, "b");
    let rolling = roll_out(&project, &balancer);
    let killing = async {
        eventually("one is replaced", || async {
            project.names().len() == 2 && has_variable(&one, "COLOUR=b")
        })
        .await;
        signal(balancer.pid(), "KILL");
    };
    let ((_, done), ()) = futures::join!(rolling, killing);
    assert!(!done);
    drop(balancer);
    let balancer = project.balancer_with(&["--rollout-monitor=100ms"]);
    all_are_ready(&balancer, &TWO).await;
    assert!(has_variable(&one, "COLOUR=b") && has_variable(&two, "COLOUR=a"));
    let status = get(&balancer.status_url().await).await.body;
    let outdated = status["replicas"].as_array().unwrap().iter();
    let outdated: Vec<_> = outdated
        .map(|replica| replica["outdated"].clone())
        .collect();
    assert_eq!(outdated, [false, true], "{status}");
    // Each is healed with what it has, and the rollout can be started again.
    let before = id(&two);
    quietly(&["exec", &two, "sh", "-c", "kill -TERM 1"]);
    successor(&two, &before).await;
    all_are_ready(&balancer, &TWO).await;
    assert!(has_variable(&two, "COLOUR=a"));
    let (said, done) = roll_out(&project, &balancer).await;
    assert!(done, "{said}\n{}", balancer.log());
    assert!(has_variable(&two, "COLOUR=b"));
}
