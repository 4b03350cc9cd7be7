//! What happens to nodes and tasks behind the balancer's back, under load: what lives serves on, and what
//! is lost is replaced.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::fixture::{SwarmBalancer, SwarmFleet, Task};
use crate::load::SwarmLoad;
use crate::nodes::{swarm, wait_until};
use crate::rebalance::{have_started, spread_out};
use crate::timeline::Timeline;

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

/// Sees to it that all replicas are ready, one on each node: while the overlay is broken after a node has come back,
/// what takes the place of one that is not reached may be anywhere.
fn each_node_has_one(fleet: &SwarmFleet, balancer: &SwarmBalancer) {
    balancer.all_are_ready(&THREE);
    spread_out(fleet, balancer, [1, 1, 1]);
    balancer.all_are_ready(&THREE);
}

/// The one replica on a node.
fn task_on(fleet: &SwarmFleet, node: u32) -> Task {
    fleet.tasks_on(node).swap_remove(0)
}

fn tell(what: &str, fleet: &SwarmFleet, lost: &Task, balancer: &SwarmBalancer, from: SystemTime) {
    let replica = &lost.replica;
    let off = balancer.time_until_evicted(lost, from);
    let back = balancer.time_until_healed(lost, from);
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
    let mut killed = BTreeSet::new();
    for node in [2, 3] {
        each_node_has_one(&fleet, &balancer);
        let kill = fleet.kill(&task_on(&fleet, node).replica);
        tell("killed at rest", &fleet, &kill.task, &balancer, kill.at);
        killed.insert(kill.task.instance());
        balancer.all_are_ready(&THREE);
    }
    // Read while the successors start.
    wait_until("both deaths are explained", || {
        let log = balancer.log();
        let died = |instance: &String| format!("{instance} died: killed by signal 9");
        killed.iter().all(|one| log.contains(&died(one)))
    });
    let found_dead = balancer.found_dead();
    assert!(found_dead.is_superset(&killed), "{found_dead:?}");
    // Others may have been found dead by their heartbeats alone.
    if found_dead == killed {
        let log = balancer.log();
        let told = ["evicted: refuses connections", "takes no other"];
        assert!(told.iter().any(|text| log.contains(text)), "{log}");
    }
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
    let paused = SystemTime::now();
    let hung = fleet.pause("Server2");
    tell("hung", &fleet, &hung, &balancer, paused);
    let (other, _) = fleet.place("Server2");
    assert_ne!(other, hung.node);
    // It may have been killed by now.
    swarm.try_docker(hung.node, &["unpause", &hung.container]);
    fleet.have_ended(&[hung]);
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
    each_node_has_one(&fleet, &balancer);
    let lost = task_on(&fleet, 3);
    let load = SwarmLoad::start(&balancer);
    let cut = SystemTime::now();
    swarm.cut(3);
    tell("node cut", &fleet, &lost, &balancer, cut);
    balancer.all_are_ready(&THREE);
    let (node, _) = fleet.place(&lost.replica);
    assert_ne!(node, 3);
    load.go_on_for(200);
    swarm.mend(3);
    // It comes back with a task that is not wanted any more.
    fleet.have_ended(&[lost]);
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
    each_node_has_one(&fleet, &balancer);
    let lost = task_on(&fleet, 3);
    let load = SwarmLoad::start(&balancer);
    let died = SystemTime::now();
    swarm.die(3);
    tell("node died", &fleet, &lost, &balancer, died);
    balancer.all_are_ready(&THREE);
    load.stop_without_failures();
    swarm.start_node(3);
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
    each_node_has_one(&fleet, &balancer);
    let moved = task_on(&fleet, 3);
    let replica = &moved.replica;
    let load = SwarmLoad::start(&balancer);
    let drained = SystemTime::now();
    swarm.set_availability(3, "drain");
    let back = balancer.time_until_healed(&moved, drained);
    println!("node drained: {replica} is ready elsewhere after {back:.0} ms");
    wait_until("the node is empty", || fleet.spread()[2] == 0);
    balancer.all_are_ready(&THREE);
    load.go_on_for(100);
    load.stop_without_failures();
    let found_dead = balancer.found_dead();
    assert!(!found_dead.contains(&moved.instance()), "{found_dead:?}");
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
    each_node_has_one(&fleet, &balancer);
    let lost = task_on(&fleet, leader);
    let load = SwarmLoad::start(&balancer);
    let cut = SystemTime::now();
    swarm.cut(leader);
    wait_until("the balancer says that no manager answers", || {
        !balancer.status()["runtime_error"].is_null()
            || !balancer.get("/api/v1/status")["last_error"].is_null()
            || balancer.log().contains("ends of tasks may go unnoticed")
    });
    load.go_on_for(300);
    tell("leader cut", &fleet, &lost, &balancer, cut);
    balancer.all_are_ready(&THREE);
    assert!(balancer.log().contains("the manager answers again"));
    load.stop_without_failures();
    swarm.mend(leader);
    fleet.have_ended(&[lost]);
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
    each_node_has_one(&fleet, &balancer);
    let lost = [2, 3].map(|node| task_on(&fleet, node));
    let load = SwarmLoad::start(&balancer);
    let cut = SystemTime::now();
    for node in [2, 3] {
        swarm.cut(node);
    }
    for task in lost {
        let off = balancer.time_until_evicted(&task, cut);
        println!(
            "quorum lost: {} off the ring after {off:.0} ms",
            task.replica
        );
    }
    wait_until("the balancer says that no manager answers", || {
        balancer.log().contains("ends of tasks may go unnoticed")
    });
    // One of three replicas has all of the keys now.
    load.go_on_for(300);
    for node in [2, 3] {
        swarm.mend(node);
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
    have_started(&fleet, &balancer, [2, 2, 2]);
    balancer.stop();
    swarm.docker(1, &["service", "rm", "foreign"]);
    // Where one node alone takes tasks, all of them start there.
    for node in [2, 3] {
        swarm.set_availability(node, "drain");
    }
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &["--replicas", "2"]);
    balancer.all_are_ready(&["Server1", "Server2"]);
    assert_eq!(fleet.spread(), [2, 0, 0]);
    // It ends in order, also where nothing else could start.
    balancer.stop();
    let ended = swarm.inspect(1, "container", &balancer.container);
    assert_eq!(ended["State"]["ExitCode"], 0, "{}", ended["State"]);
}
