//! A service of docker compose as a fleet, with the real compose: it starts, scales, recreates and
//! removes; the balancer adopts, heals and follows.

use std::process::Command;

use serde_json::{Value, json};

use crate::compose_project::{Project, all_are_ready, id, successor, volume};
use crate::docker::{docker as cli, inspect, quietly, skip};
use crate::support::{Load, eventually};

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn compose_takes_replacements_for_its_own() {
    let Some(project) = Project::new("own") else {
        return;
    };
    project.compose(&["up", "--detach"]);
    let balancer = project.balancer();
    all_are_ready(&balancer, &["web-1", "web-2"]).await;
    let (one, two) = (project.container("web-1"), project.container("web-2"));
    // The engine would restart it, too.
    eventually("restarts are the balancer's", || async {
        inspect(&one)["HostConfig"]["RestartPolicy"]["Name"] == "no"
    })
    .await;

    // Ended by itself: healed at once, with configuration, labels and volumes.
    let (first, before) = (id(&one), inspect(&one));
    let cache = volume(&one);
    quietly(&["exec", &one, "sh", "-c", "kill -TERM 1"]);
    let healed = successor(&one, &first).await;
    all_are_ready(&balancer, &["web-1", "web-2"]).await;
    let after = inspect(&one);
    assert_eq!(volume(&one), cache);
    assert_eq!(after["Config"]["Env"], before["Config"]["Env"]);
    let label = |found: &Value, key: &str| {
        let key = format!("com.docker.compose.{key}");
        found["Config"]["Labels"][&key].clone()
    };
    for key in [
        "config-hash",
        "container-number",
        "project",
        "service",
        "oneoff",
    ] {
        assert_eq!(label(&after, key), label(&before, key), "{key}");
    }
    let running = |names: &[&str]| -> Vec<_> {
        let names = names.iter().map(|name| project.container(name));
        names.map(|name| (name, "running".to_owned())).collect()
    };
    assert_eq!(project.listed(), running(&["web-1", "web-2"]));
    // Compose finds nothing to do.
    project.compose(&["up", "--detach"]);
    assert_eq!(id(&one), healed);
    assert!(project.compose(&["logs"]).contains("web-1"));

    // Stopped through the engine, and left so.
    let stopped = id(&two);
    cli(&["stop", &two]);
    successor(&two, &stopped).await;
    all_are_ready(&balancer, &["web-1", "web-2"]).await;

    // A balancer that ends leaves compose's containers, and the next one adopts them.
    let (status, log) = balancer.terminate().await;
    assert!(status.success(), "{log}");
    assert_eq!(project.listed(), running(&["web-1", "web-2"]));
    let balancer = project.balancer();
    all_are_ready(&balancer, &["web-1", "web-2"]).await;
    assert_eq!(id(&one), healed);
    project.compose(&["down", "--volumes"]);
    assert_eq!(project.listed(), []);
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn the_fleet_follows_what_compose_scales_and_recreates() {
    let Some(project) = Project::new("follow") else {
        return;
    };
    project.compose(&["up", "--detach"]);
    let balancer = project.balancer();
    all_are_ready(&balancer, &["web-1", "web-2"]).await;

    // The service's stop grace and 5 s.
    balancer.has_logged("--wait-timeout is 7 s", 1).await;

    project.compose(&["up", "--detach", "--scale", "web=3"]);
    all_are_ready(&balancer, &["web-1", "web-2", "web-3"]).await;
    project.compose(&["up", "--detach", "--scale", "web=2"]);
    all_are_ready(&balancer, &["web-1", "web-2"]).await;
    balancer.has_logged("one replica less", 1).await;
    assert_eq!(project.listed().len(), 2);

    // Another configuration: all end in the same moment. Requests wait for the next.
    let (one, before) = (project.container("web-1"), id(&project.container("web-1")));
    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(50).await;
    project.write(2, "b");
    project.compose(&["up", "--detach"]);
    successor(&one, &before).await;
    all_are_ready(&balancer, &["web-1", "web-2"]).await;
    load.go_on_for(50).await;
    let result = load.stop().await;
    assert_eq!(result.failures, Vec::<String>::new());
    let env = inspect(&one)["Config"]["Env"].as_array().unwrap().clone();
    assert!(env.contains(&json!("COLOUR=b")), "{env:?}");
    // Healed from what it is now.
    let recreated = id(&one);
    quietly(&["exec", &one, "sh", "-c", "kill -TERM 1"]);
    successor(&one, &recreated).await;
    let env = inspect(&one)["Config"]["Env"].as_array().unwrap().clone();
    assert!(env.contains(&json!("COLOUR=b")), "{env:?}");

    // A name that is not compose's is refused, the next number is not.
    let refused = balancer.add(json!({"n": 1, "hostnames": ["blue"]})).await;
    assert_ne!(refused.status, 200);
    let added = balancer.add(json!({"n": 1})).await;
    assert_eq!(added.names(), ["web-1", "web-2", "web-3"]);
    assert_eq!(project.listed().len(), 3);
}

#[test]
#[ignore = "needs docker compose: make test-full"]
fn what_cannot_be_taken_over_is_said() {
    let Some(project) = Project::new("not") else {
        return;
    };
    let refusal = |service: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
            .args([&format!("--service={service}"), "--listen=127.0.0.1:0"])
            .arg("--admin=127.0.0.1:0")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refusal("web");
    assert!(said.contains("write --service PROJECT/web"), "{said}");
    let text = std::fs::read_to_string(project.file()).unwrap();
    let text = text.replace("  web:\n", "  web:\n    container_name: rmtest-the-web\n");
    std::fs::write(project.file(), text.replace("replicas: 2", "replicas: 1")).unwrap();
    project.compose(&["up", "--detach"]);
    let service = format!("{}/web", project.name);
    let said = refusal(&service);
    assert!(
        said.contains("its container is called rmtest-the-web"),
        "{said}"
    );
    project.compose(&["down", "--volumes"]);

    // Compose v1 has other names.
    let text = text.replace("    container_name: rmtest-the-web\n", "");
    std::fs::write(project.file(), format!("version: '3.8'\n{text}")).unwrap();
    let old = Command::new("docker-compose")
        .args(["--project-name", &project.name, "--file"])
        .arg(project.file())
        .args(["up", "--detach"])
        .output();
    match old {
        Ok(output) if output.status.success() => {
            let said = refusal(&service);
            assert!(
                said.contains("docker-compose 1.29 writes _ for -"),
                "{said}"
            );
        }
        _ => skip("there is no docker-compose 1.29"),
    }
}
