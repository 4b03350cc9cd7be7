//! Warm spares of a compose service, with the real compose: it never sees a spare, and has its own container
//! back soon.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::compose_project::{Project, all_are_ready, id, successor, volume};
use crate::docker::{IN_IMAGE, REPLICA_TEST, docker as cli, import_executable, inspect, quietly};
use crate::service_rollouts::roll_out;
use crate::support::{Load, Ringmaster, ask, eventually, get, signal};

const TWO: [&str; 2] = ["web-1", "web-2"];

/// With servers that start slowly.
fn slow_project(case: &str) -> Option<Project> {
    let project = Project::new(case)?;
    write(&project, "a");
    project.compose(&["up", "--detach"]);
    Some(project)
}

fn write(project: &Project, colour: &str) {
    project.write(2, colour);
    let text = std::fs::read_to_string(project.file()).unwrap();
    let slow = format!(
        "    command: [sh, -c, 'sleep 3; exec {IN_IMAGE} --exact {REPLICA_TEST} --nocapture']\n"
    );
    let text = text.replace("    restart:", &format!("{slow}    restart:"));
    std::fs::write(project.file(), text).unwrap();
}

async fn start(project: &Project) -> Ringmaster {
    let balancer = project.balancer_with(&["--spares=1", "--rollout-monitor=100ms"]);
    is_settled(project, &balancer).await;
    balancer
}

/// Both replicas are ready, and nothing else is left but a spare.
async fn is_settled(project: &Project, balancer: &Ringmaster) {
    is_settled_with(project, balancer, &TWO).await;
}

async fn is_settled_with(project: &Project, balancer: &Ringmaster, replicas: &[&str]) {
    all_are_ready(balancer, replicas).await;
    eventually("there is one spare", || async {
        matches!(&spares(project)[..], [one] if one.contains("-of-"))
    })
    .await;
    let fleet = balancer.status_url().await;
    eventually("a spare is ready", || async {
        get(&fleet).await.body["spares"] == json!({"wanted": 1, "ready": 1, "starting": 0})
    })
    .await;
}

/// The names of the containers that were started as spares.
fn spares(project: &Project) -> Vec<String> {
    let fleet = format!("label=io.ringmaster.fleet={}-web", project.name);
    let started_as_spare = "label=io.ringmaster.spare";
    let listed = quietly(&[
        "ps",
        "--all",
        "--filter",
        &fleet,
        "--filter",
        started_as_spare,
        "--format",
        "{{.Names}}",
    ]);
    listed.lines().map(str::to_owned).collect()
}

fn only_spare(project: &Project) -> String {
    let spares = spares(project);
    assert_eq!(spares.len(), 1, "{spares:?}");
    assert!(spares[0].contains("-of-"), "{spares:?}");
    spares[0].clone()
}

fn labels(container: &str) -> Value {
    inspect(container)["Config"]["Labels"].clone()
}

fn generation(container: &str) -> String {
    let label = labels(container)["io.ringmaster.generation"].clone();
    label.as_str().unwrap().to_owned()
}

/// The generation of the instance that plays a replica.
async fn playing(balancer: &Ringmaster, replica: &str) -> String {
    let status = get(&balancer.status_url().await).await.body;
    let replicas = status["replicas"].as_array().unwrap();
    let of = replicas.iter().find(|found| found["name"] == replica);
    of.unwrap()["generation"].to_string()
}

/// Ends what a container runs, not by the engine.
fn end(container: &str) {
    quietly(&["exec", container, "sh", "-c", "kill -TERM 1"]);
}

/// Ends a replica's server, and waits until the spare plays it. Returns the spare's container, as it is
/// called now.
async fn spare_plays(project: &Project, balancer: &Ringmaster, replica: &str) -> String {
    let spare = only_spare(project);
    let (before, generation) = (id(&spare), generation(&spare));
    end(&project.container(replica));
    let back = format!("{replica} (generation {generation}) is ready at");
    balancer.has_logged(&back, 1).await;
    let stand_in = project.container(&format!("{replica}-spare-{generation}"));
    assert_eq!(id(&stand_in), before);
    stand_in
}

fn both_run(project: &Project) -> Vec<(String, String)> {
    let running = |name: &&str| (project.container(name), "running".to_owned());
    TWO.iter().map(running).collect()
}

fn is_gone(container: &str) -> bool {
    quietly(&["ps", "--all", "--format", "{{.Names}}"])
        .lines()
        .all(|name| name != container)
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn a_spare_plays_a_replica_until_compose_has_its_own_again() {
    let Some(project) = slow_project("spare") else {
        return;
    };
    let balancer = start(&project).await;
    let (one, two) = (project.container("web-1"), project.container("web-2"));
    let spare = only_spare(&project);
    // Compose does not see it, nor does who asks for the service by name.
    assert_eq!(project.listed(), both_run(&project));
    let own = [id(&one), id(&two)];
    project.compose(&["up", "--detach"]);
    assert_eq!([id(&one), id(&two)], own);
    let of_compose = |(key, value): (&String, &Value)| {
        key.starts_with("com.docker.compose.") && value.as_str() != Some("")
    };
    assert!(!labels(&spare).as_object().unwrap().iter().any(of_compose));
    let network = format!("{}_default", project.name);
    let known_as = inspect(&spare)["NetworkSettings"]["Networks"][&network].clone();
    assert!(
        !known_as["Aliases"].to_string().contains("\"web\""),
        "{known_as}"
    );
    let volumes: BTreeSet<_> = [&one, &two, &spare]
        .map(|name| volume(name).to_string())
        .into();
    assert_eq!(
        volumes.len(),
        3,
        "each has a volume of its own: {volumes:?}"
    );

    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(50).await;
    let (cache, before) = (volume(&one), labels(&one));
    let dead = playing(&balancer, "web-1").await.parse().unwrap();
    let stand_in = spare_plays(&project, &balancer, "web-1").await;
    let next = generation(&stand_in).parse().unwrap();
    let took = balancer.outage("web-1", dead, next).await;
    println!("back after {took:.3} s, where a start takes 3 s");
    // What compose is to have is being started, and is no replica yet.
    let relief = successor(&one, &own[0]).await;
    assert_eq!(playing(&balancer, "web-1").await, generation(&stand_in));
    project.compose(&["up", "--detach"]);
    assert_eq!(id(&one), relief);
    assert_eq!(project.listed(), both_run(&project));
    load.go_on_for(50).await;
    eventually("it plays the replica", || async {
        playing(&balancer, "web-1").await == generation(&one)
    })
    .await;
    is_settled(&project, &balancer).await;
    load.go_on_for(50).await;
    assert!(is_gone(&stand_in));
    assert_ne!(only_spare(&project), spare);
    assert_eq!((id(&one), volume(&one)), (relief.clone(), cache));
    for key in [
        "config-hash",
        "container-number",
        "project",
        "service",
        "oneoff",
    ] {
        let key = format!("com.docker.compose.{key}");
        assert_eq!(labels(&one)[&key], before[&key], "{key}");
    }
    project.compose(&["up", "--detach"]);
    assert_eq!([id(&one), id(&two)], [relief.clone(), own[1].clone()]);
    assert_eq!(project.listed(), both_run(&project));

    // What the engine was asked to stop is compose's at first, and no spare's.
    let spare = only_spare(&project);
    cli(&["stop", &two]);
    successor(&two, &own[1]).await;
    is_settled(&project, &balancer).await;
    assert_eq!(only_spare(&project), spare);

    // A stand-in that dies: the container with compose's labels plays the replica.
    let stand_in = spare_plays(&project, &balancer, "web-1").await;
    let relief = successor(&one, &relief).await;
    cli(&["kill", &stand_in]);
    is_settled(&project, &balancer).await;
    assert_eq!(id(&one), relief);
    assert_eq!(playing(&balancer, "web-1").await, generation(&one));
    eventually("it is gone", || async { is_gone(&stand_in) }).await;
    load.go_on_for(50).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());

    // A balancer that stops ends what is its own, and leaves compose its containers.
    let stand_in = spare_plays(&project, &balancer, "web-2").await;
    let (status, log) = balancer.terminate().await;
    assert!(status.success(), "{log}");
    assert!(is_gone(&stand_in));
    assert_eq!(spares(&project), [""; 0]);
    assert_eq!(project.listed(), both_run(&project));
    project.compose(&["down", "--volumes"]);
    assert_eq!(project.listed(), []);
    assert!(!quietly(&["network", "ls", "--format", "{{.Name}}"]).contains(&network));
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn the_next_balancer_goes_on_with_what_a_killed_one_has_left() {
    let Some(project) = slow_project("spare-killed") else {
        return;
    };
    let one = project.container("web-1");
    let first = id(&one);
    let balancer = start(&project).await;
    let spare = id(&only_spare(&project));
    signal(balancer.pid(), "KILL");
    drop(balancer);

    // As a spare.
    let balancer = start(&project).await;
    balancer
        .has_logged("was the spare of an earlier balancer", 1)
        .await;
    assert_eq!(id(&only_spare(&project)), spare);

    // As a stand-in, with the relief that the killed one had started.
    let stand_in = spare_plays(&project, &balancer, "web-1").await;
    let relief = successor(&one, &first).await;
    let generation_before = generation(&stand_in);
    signal(balancer.pid(), "KILL");
    drop(balancer);
    let balancer = start(&project).await;
    let back = format!("web-1 (generation {generation_before}) is ready at");
    balancer.has_logged(&back, 1).await;
    assert_eq!(id(&one), relief);
    assert_eq!(playing(&balancer, "web-1").await, generation(&one));
    assert!(is_gone(&stand_in));

    // Meanwhile compose starts the container that it misses: that is the relief.
    let two = project.container("web-2");
    let before = id(&two);
    let stand_in = spare_plays(&project, &balancer, "web-2").await;
    successor(&two, &before).await;
    signal(balancer.pid(), "KILL");
    drop(balancer);
    cli(&["rm", "--force", &two]);
    project.compose(&["up", "--detach"]);
    let composed = id(&two);
    assert!(labels(&two).get("io.ringmaster.generation").is_none());
    let balancer = start(&project).await;
    assert_eq!(id(&two), composed);
    assert!(is_gone(&stand_in));
    assert_eq!(project.listed(), both_run(&project));
    project.compose(&["up", "--detach"]);
    assert_eq!([id(&one), id(&two)], [relief, composed]);

    // A balancer that keeps none ends what is left.
    signal(balancer.pid(), "KILL");
    drop(balancer);
    let balancer = project.balancer();
    all_are_ready(&balancer, &TWO).await;
    eventually("the spare is gone", || async {
        spares(&project).is_empty()
    })
    .await;
    drop(balancer);
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn spares_follow_what_compose_wants() {
    let Some(project) = slow_project("spare-follow") else {
        return;
    };
    let balancer = start(&project).await;
    let (one, two) = (project.container("web-1"), project.container("web-2"));
    let has = |container: &str, colour: &str| {
        let env = inspect(container)["Config"]["Env"].to_string();
        env.contains(&format!("COLOUR={colour}"))
    };

    // A rollout of the file.
    write(&project, "b");
    let (said, done) = roll_out(&project, &balancer).await;
    assert!(done, "{said}");
    eventually("the spare has the new definition", || async {
        matches!(&spares(&project)[..], [one] if has(one, "b"))
    })
    .await;
    is_settled(&project, &balancer).await;
    let (before, cache) = (id(&one), volume(&one));
    let stand_in = spare_plays(&project, &balancer, "web-1").await;
    assert!(has(&stand_in, "b"));
    successor(&one, &before).await;
    is_settled(&project, &balancer).await;
    assert!(has(&one, "b"));
    assert_eq!(volume(&one), cache);
    let ids = [id(&one), id(&two)];
    project.compose(&["up", "--detach"]);
    assert_eq!([id(&one), id(&two)], ids);

    // Compose recreates the containers by itself.
    write(&project, "c");
    project.compose(&["up", "--detach"]);
    eventually("the spare is like them", || async {
        matches!(&spares(&project)[..], [one] if has(one, "c"))
    })
    .await;
    is_settled(&project, &balancer).await;
    let stand_in = spare_plays(&project, &balancer, "web-1").await;
    assert!(has(&stand_in, "c"));
    is_settled(&project, &balancer).await;

    // Compose, or who else, takes away what is to relieve it: one replica less.
    let before = id(&two);
    let stand_in = spare_plays(&project, &balancer, "web-2").await;
    successor(&two, &before).await;
    cli(&["rm", "--force", &two]);
    all_are_ready(&balancer, &["web-1"]).await;
    eventually("its spare is gone, too", || async { is_gone(&stand_in) }).await;
    project.compose(&["up", "--detach"]);
    is_settled(&project, &balancer).await;

    // Added on request: at once, and then as compose's own.
    let spare = generation(&only_spare(&project));
    let add = json!({"n": 1});
    let added = balancer.add(add).await;
    assert_eq!(added.names(), ["web-1", "web-2", "web-3"]);
    balancer
        .has_logged(&format!("web-3 (generation {spare}) is ready at"), 1)
        .await;
    eventually("compose has it", || async { project.listed().len() == 3 }).await;
    project.compose(&["up", "--detach", "--scale", "web=1"]);
    is_settled_with(&project, &balancer, &["web-1"]).await;
    assert_eq!(project.names(), [one]);

    // A restart on request.
    let spare = generation(&only_spare(&project));
    let url = format!("{}/replicas/web-1/restart", balancer.status_url().await);
    ask(awc::http::Method::POST, &url, None).await;
    balancer
        .has_logged(&format!("web-1 (generation {spare}) is ready at"), 1)
        .await;
    eventually("compose has its own", || async {
        project.listed() == [both_run(&project)[0].clone()] && spares(&project).len() == 1
    })
    .await;
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn down_leaves_nothing_while_a_spare_plays_a_replica() {
    let Some(project) = Project::new("spare-down") else {
        return;
    };
    let image = format!("ringmaster-test-spare-down-{}", std::process::id());
    let program = Path::new(env!("CARGO_BIN_EXE_ringmaster"));
    import_executable(&image, program, &["/ringmaster"], None);
    write(&project, "a");
    let text = std::fs::read_to_string(project.file()).unwrap();
    let socket = std::env::var("DOCKER_SOCKET");
    let socket = socket.unwrap_or_else(|_| "/var/run/docker.sock".to_owned());
    let balancer = format!(
        "  ringmaster:\n    image: {image}\n    environment: {{RINGMASTER_SERVICE: web, \
         RINGMASTER_LISTEN: '127.0.0.1:5000', RINGMASTER_SPARES: '1', RINGMASTER_HEARTBEAT_INTERVAL: 200ms}}\n    \
         volumes: ['{socket}:/var/run/docker.sock']\n    user: '0:0'\n"
    );
    std::fs::write(project.file(), format!("{text}{balancer}")).unwrap();
    let one = project.container("web-1");
    for is_playing in [false, true] {
        project.compose(&["up", "--detach"]);
        let log = || project.compose(&["logs", "ringmaster"]);
        eventually("a spare runs", || async { spares(&project).len() == 1 }).await;
        if is_playing {
            eventually("both are ready", || async {
                TWO.iter()
                    .all(|name| log().contains(&format!("{name} (generation")))
            })
            .await;
            let before = id(&one);
            eventually("the spare plays a replica", || async {
                end(&one);
                log().contains("takes its place")
            })
            .await;
            successor(&one, &before).await;
        }
        project.compose(&["down", "--volumes"]);
        assert_eq!(project.names(), [""; 0]);
        assert_eq!(spares(&project), [""; 0]);
        let network = format!("{}_default", project.name);
        let left = quietly(&["network", "ls", "--format", "{{.Name}}"]);
        assert!(!left.contains(&network), "{left}");
    }
    quietly(&["rmi", &image]);
}
