//! What happens to nodes and tasks behind the balancer's back, under load: what lives serves on, and what
//! is lost is replaced.

use std::time::{Duration, SystemTime};

use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::load::SwarmLoad;
use crate::nodes::{swarm, wait_until};
use crate::timeline::Timeline;

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

/// The replica on a node.
fn replica_on(fleet: &SwarmFleet, node: u32) -> &'static str {
    let is_there = |name: &&str| fleet.try_place(name).is_some_and(|(on, _)| on == node);
    THREE.into_iter().find(is_there).unwrap()
}

fn tell(what: &str, fleet: &SwarmFleet, replica: &str, balancer: &SwarmBalancer, from: SystemTime) {
    let off = balancer.time_until("evicted", replica, from);
    let back = balancer.time_until("ready", replica, from);
    println!("{what}: {replica} off the ring after {off:.0} ms, back after {back:.0} ms");
    println!("  {}", Timeline::of(fleet, balancer, replica, from));
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn the_end_of_a_connection_tells_of_a_death() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &[]);
    balancer.all_are_ready(&THREE);
    // Without requests, which are refused while the network of the container still is there.
    for node in [2, 3] {
        let replica = replica_on(&fleet, node);
        let killed = fleet.kill(replica);
        tell("killed at rest", &fleet, replica, &balancer, killed);
        balancer.all_are_ready(&THREE);
    }
    // Read while the successors start.
    wait_until("both deaths are explained", || {
        let log = balancer.log();
        log.matches("died: killed by signal 9").count() == 2
    });
    let log = balancer.log();
    let told = ["evicted: refuses connections", "takes no other"];
    assert!(told.iter().any(|text| log.contains(text)), "{log}");
    balancer.stop();
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_task_that_hangs_is_replaced_on_another_node() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &[]);
    balancer.all_are_ready(&THREE);
    let load = SwarmLoad::start(&balancer);
    let (node, container) = fleet.place("Server2");
    let paused = SystemTime::now();
    swarm.docker(node, &["pause", &container]);
    tell("hung", &fleet, "Server2", &balancer, paused);
    // It may have been killed by now.
    swarm.try_docker(node, &["unpause", &container]);
    wait_until("the hung one has ended", || {
        swarm.try_docker(node, &["ps", "-q", "--filter", &format!("id={container}")])
            == Some(String::new())
    });
    let (other, _) = fleet.place("Server2");
    assert_ne!(other, node);
    load.stop_without_failures();
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn the_replicas_of_a_node_that_is_cut_off_answer_on_others() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &[]);
    balancer.all_are_ready(&THREE);
    let replica = replica_on(&fleet, 3);
    let load = SwarmLoad::start(&balancer);
    let cut = SystemTime::now();
    swarm.run(&["cut", "3"]);
    tell("node cut", &fleet, replica, &balancer, cut);
    balancer.all_are_ready(&THREE);
    let (node, _) = fleet.place(replica);
    assert_ne!(node, 3);
    load.go_on_for(200);
    swarm.run(&["mend", "3"]);
    // It comes back with a task that is not wanted any more.
    wait_until("the stale task has ended", || fleet.spread()[2] == 0);
    balancer.all_are_ready(&THREE);
    load.stop_without_failures();
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn the_replicas_of_a_node_that_dies_answer_on_others() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &[]);
    balancer.all_are_ready(&THREE);
    let replica = replica_on(&fleet, 3);
    let load = SwarmLoad::start(&balancer);
    let died = SystemTime::now();
    swarm.run(&["die", "3"]);
    tell("node died", &fleet, replica, &balancer, died);
    balancer.all_are_ready(&THREE);
    load.stop_without_failures();
    swarm.run(&["start", "3"]);
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_node_is_drained_without_a_failed_request() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &[]);
    balancer.all_are_ready(&THREE);
    let replica = replica_on(&fleet, 3);
    let load = SwarmLoad::start(&balancer);
    let drained = SystemTime::now();
    swarm.docker(1, &["node", "update", "--availability", "drain", "node3"]);
    let back = balancer.time_until("ready", replica, drained);
    println!("node drained: {replica} is ready elsewhere after {back:.0} ms");
    wait_until("the node is empty", || fleet.spread()[2] == 0);
    balancer.all_are_ready(&THREE);
    load.go_on_for(100);
    load.stop_without_failures();
    let deaths = balancer.get("/api/v1/fleets/default/deaths");
    assert_eq!(deaths["items"], serde_json::json!([]), "{deaths}");
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn requests_go_on_while_the_leader_is_lost() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let leader = (1..=3).find(|node| {
        let name = format!("node{node}");
        let format = ["--format", "{{.ManagerStatus.Leader}}"];
        swarm.docker(1, &[&["node", "inspect", &name], &format[..]].concat()) == "true"
    });
    let leader = leader.unwrap();
    let here = if leader == 2 { 1 } else { 2 };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(here, &[]);
    balancer.all_are_ready(&THREE);
    let replica = replica_on(&fleet, leader);
    let load = SwarmLoad::start(&balancer);
    let cut = SystemTime::now();
    swarm.run(&["cut", &leader.to_string()]);
    wait_until("the balancer says that no manager answers", || {
        !balancer.status()["runtime_error"].is_null()
            || !balancer.get("/api/v1/status")["last_error"].is_null()
            || balancer.log().contains("ends of tasks may go unnoticed")
    });
    load.go_on_for(300);
    tell("leader cut", &fleet, replica, &balancer, cut);
    balancer.all_are_ready(&THREE);
    assert!(balancer.log().contains("the manager answers again"));
    load.stop_without_failures();
    swarm.run(&["mend", &leader.to_string()]);
    wait_until("the stale task has ended", || {
        fleet.spread()[leader as usize - 1] == 0
    });
    balancer.stop();
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn what_lives_serves_on_while_the_quorum_is_lost() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &[]);
    balancer.all_are_ready(&THREE);
    let lost = [replica_on(&fleet, 2), replica_on(&fleet, 3)];
    let load = SwarmLoad::start(&balancer);
    let cut = SystemTime::now();
    for node in ["2", "3"] {
        swarm.run(&["cut", node]);
    }
    for replica in lost {
        let off = balancer.time_until("evicted", replica, cut);
        println!("quorum lost: {replica} off the ring after {off:.0} ms");
    }
    wait_until("the balancer says that no manager answers", || {
        balancer.log().contains("ends of tasks may go unnoticed")
    });
    // One of three replicas has all of the keys now.
    load.go_on_for(300);
    for node in ["2", "3"] {
        swarm.run(&["mend", node]);
    }
    balancer.all_are_ready(&THREE);
    load.go_on_for(100);
    load.stop_without_failures();
    assert!(balancer.log().contains("the manager answers again"));
    wait_until("stale tasks have ended", || {
        fleet.spread().iter().sum::<usize>() == THREE.len()
    });
    balancer.stop();
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn replicas_are_spread_beside_the_tasks_of_others() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let foreign = [
        "service",
        "create",
        "--detach",
        "--name",
        "foreign",
        "--replicas",
        "9",
        "--constraint",
        "node.hostname==node3",
        "--no-resolve-image",
        &swarm.image,
        "sleep",
        "1000",
    ];
    swarm.docker(1, &foreign);
    wait_until("nine foreign tasks run", || {
        let running = [
            "service",
            "ls",
            "--format",
            "{{.Replicas}}",
            "--filter",
            "name=foreign",
        ];
        swarm.docker(1, &running).starts_with("9/9")
    });
    let balancer = fleet.balancer(1, &["--replicas", "6"]);
    let names = [
        "Server1", "Server2", "Server3", "Server4", "Server5", "Server6",
    ];
    balancer.all_are_ready(&names);
    assert_eq!(fleet.spread(), [2, 2, 2]);
    balancer.stop();
    swarm.docker(1, &["service", "rm", "foreign"]);
    // Where one node alone takes tasks, all of them start there.
    for node in ["node2", "node3"] {
        swarm.docker(1, &["node", "update", "--availability", "drain", node]);
    }
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &["--replicas", "2"]);
    balancer.all_are_ready(&["Server1", "Server2"]);
    assert_eq!(fleet.spread(), [2, 0, 0]);
    let begun = std::time::Instant::now();
    balancer.stop();
    assert!(begun.elapsed() < Duration::from_secs(60));
}
