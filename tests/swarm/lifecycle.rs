//! A balancer's start, its replicas' deaths, changes by the API, and its end.

use crate::fixture::SwarmFleet;
use crate::load::SwarmLoad;
use crate::nodes::{swarm, wait_until};

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn replicas_start_on_all_nodes_and_everything_goes_with_the_balancer() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &["--env", "COLOUR=blue"]);
    balancer.all_are_ready(&THREE);
    assert_eq!(fleet.spread(), [1, 1, 1]);
    let status = balancer.status();
    let replicas = status["replicas"].as_array().unwrap().iter();
    let mut nodes: Vec<_> = replicas
        .map(|replica| replica["node"].as_str().unwrap().to_owned())
        .collect();
    nodes.sort();
    assert_eq!(nodes, ["node1", "node2", "node3"]);
    let (node, container) = fleet.place("Server2");
    let found = swarm.inspect(node, "container", &container);
    let env = found["Config"]["Env"].as_array().unwrap();
    for variable in ["COLOUR=blue", "PORT=5000", "SERVER_ID=Server2"] {
        assert!(
            env.iter().any(|given| given == variable),
            "{variable}: {env:?}"
        );
    }
    assert_eq!(found["Config"]["User"], "65534:65534");
    assert_eq!(found["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(found["HostConfig"]["Memory"], 128 << 20);
    let record = format!("{}-record", fleet.name);
    assert!(fleet.configs().contains(&record), "{:?}", fleet.configs());
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
    assert_eq!(fleet.configs(), [""; 0]);
    assert_eq!(fleet.networks(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn replicas_are_added_and_removed_by_the_api() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &["--replicas", "2"]);
    balancer.all_are_ready(&["Server1", "Server2"]);
    // A name that is none of a service.
    let added = balancer.call("POST", "/add", Some(r#"{"n":1,"hostnames":["a.b"]}"#));
    assert_eq!(added["status"], "successful", "{added}");
    balancer.all_are_ready(&["Server1", "Server2", "a.b"]);
    assert_eq!(fleet.spread(), [1, 1, 1]);
    let removed = balancer.call("DELETE", "/rm", Some(r#"{"n":1,"hostnames":["Server1"]}"#));
    assert_eq!(
        removed["message"]["replicas"],
        serde_json::json!(["Server2", "a.b"])
    );
    assert_eq!(fleet.try_place("Server1"), None);
    assert!(!fleet.services().iter().any(|name| name.contains("Server1")));
    // The name can be used again at once.
    let again = balancer.call("POST", "/add", Some(r#"{"n":1,"hostnames":["Server1"]}"#));
    assert_eq!(again["status"], "successful", "{again}");
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_killed_task_is_replaced_under_its_name_without_a_failed_request() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &[]);
    balancer.all_are_ready(&THREE);
    let load = SwarmLoad::start(&balancer);
    for replica in THREE {
        let killed = fleet.kill(replica).at;
        let off = balancer.time_until("evicted", replica, killed);
        let back = balancer.time_until("ready", replica, killed);
        println!("{replica} killed: off the ring after {off:.0} ms, back after {back:.0} ms");
        balancer.all_are_ready(&THREE);
    }
    load.stop_without_failures();
    let deaths = balancer.get("/api/v1/fleets/default/deaths");
    let text = deaths.to_string();
    assert!(text.contains("killed by signal 9"), "{text}");
    // The dead one stays for its log until the next death.
    wait_until("one service of each generation", || {
        fleet
            .services()
            .iter()
            .filter(|name| name.contains("Server1"))
            .count()
            == 2
    });
    fleet.kill("Server1");
    balancer.time_until("ready", "Server1", std::time::SystemTime::now());
    wait_until("the older one is removed", || {
        !fleet
            .services()
            .contains(&format!("{}-Server1-1", fleet.name))
    });
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn what_cannot_start_is_told_by_its_reason() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &["--command", "/ringmaster nonsense"]);
    wait_until("the reason is in the log", || {
        balancer.log().contains("cannot start: exited with code 2")
    });
    balancer.stop();
    let missing = ["--command", "/nowhere"];
    let other = fleet.balancer(1, &missing);
    wait_until("the reason is in the log", || {
        other.log().contains("its program was not found")
    });
    other.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_worker_is_refused_at_the_start() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    swarm.docker(1, &["node", "demote", "node3"]);
    // A node is told of it later.
    wait_until("the node is no manager any more", || {
        swarm.try_docker(3, &["node", "ls"]).is_none()
    });
    let balancer = fleet.begin(3, &[], &[]);
    wait_until("it has ended", || !balancer.runs());
    let log = balancer.log();
    swarm.docker(1, &["node", "promote", "node3"]);
    assert!(
        log.contains("is a worker of its Swarm: --runtime swarm needs the engine of a manager"),
        "{log}"
    );
}
