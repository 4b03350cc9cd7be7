//! Drills: a node that is drained and takes tasks again whatever happens, and faults on the balancer's own
//! node.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fixture::{REPLICA, SwarmBalancer, SwarmFleet};
use crate::load::SwarmLoad;
use crate::nodes::{Swarm, swarm, wait_until};
use crate::rebalance::have_started;

const SIX: [&str; 6] = [
    "Server1", "Server2", "Server3", "Server4", "Server5", "Server6",
];
const DRILLS: &str = "/api/v1/fleets/default/drills";

fn availability(swarm: &Swarm, node: &str) -> String {
    let format = ["--format", "{{.Spec.Availability}} {{.Spec.Labels}}"];
    swarm.docker(1, &[&["node", "inspect", node], &format[..]].concat())
}

/// `ctl drill --node` in the balancer's container: what it prints.
fn ctl_drill(balancer: &SwarmBalancer, node: &str) -> String {
    let script = format!(
        "unset RINGMASTER_TEST_REPLICA; /ringmaster ctl drill --node {node} --rate 50; echo code $?"
    );
    let exec = ["exec", &balancer.container, "sh", "-c", &script];
    balancer.swarm.docker(balancer.node, &exec)
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_drill_drains_a_node_and_gives_it_back() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &["--replicas", "6"]);
    balancer.all_are_ready(&SIX);
    have_started(&fleet, &balancer, [2, 2, 2]);
    let load = SwarmLoad::start(&balancer);
    let there = fleet.tasks_on(3);
    let said = ctl_drill(&balancer, "node3");
    println!("{said}");
    assert!(said.ends_with("code 0"), "{said}");
    assert!(said.contains("node node3 takes tasks again"), "{said}");
    assert_eq!(availability(swarm, "node3"), "active map[]");
    balancer.all_are_ready(&SIX);
    load.stop_without_failures();
    let drills = balancer.get(DRILLS);
    let drill = &drills["items"][0];
    assert_eq!(
        (&drill["node"], &drill["state"]),
        (&json!("node3"), &json!("recovered"))
    );
    let moved = drill["moved"].as_array().unwrap().iter();
    let moved: BTreeMap<_, _> = moved
        .map(|one| (one["replica"].as_str(), one["generation_after"].as_u64()))
        .collect();
    assert_eq!(moved.len(), there.len(), "{drill}");
    for task in &there {
        let after = moved[&Some(task.replica.as_str())];
        assert!(after > Some(task.generation), "{task:?}: {drill}");
    }
    fleet.have_ended(&there);

    for (body, part) in [
        (
            json!({"fault": "drain", "node": "node4"}),
            "no replica runs on node node4",
        ),
        (json!({"fault": "drain"}), "which node"),
        (
            json!({"fault": "kill", "node": "node1"}),
            "it can only be drained",
        ),
    ] {
        let refused = balancer.call("POST", DRILLS, Some(&body.to_string()));
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(part), "{refused}");
    }

    // A fault of a replica, on the balancer's own node alone.
    let killed = balancer.call("POST", DRILLS, Some(r#"{"fault": "kill"}"#));
    assert_eq!(killed["state"], "recovered", "{killed}");
    let mut tasks = fleet.newest_tasks().into_values();
    let elsewhere = tasks.find(|task| task.node != 1).unwrap();
    let body = json!({"fault": "kill", "replica": elsewhere.replica});
    let refused = balancer.call("POST", DRILLS, Some(&body.to_string()));
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("whose engine alone can harm it"),
        "{refused}"
    );
    balancer.stop();
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_node_takes_tasks_again_when_its_drill_breaks_off() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    // A replica needs 15 s to start: the drill is still under way when the test kills the balancer.
    let command = format!("sh -c 'sleep 15; exec {REPLICA}'");
    let flags = ["--replicas", "3", "--command", &command];
    let balancer = fleet.balancer(1, &flags);
    balancer.all_are_ready(&SIX[..3]);
    have_started(&fleet, &balancer, [1, 1, 1]);
    let begin = |balancer: &SwarmBalancer| {
        let url = format!("http://{}:5001{DRILLS}", balancer.address);
        let body = r#"{"fault": "drain", "node": "node3"}"#;
        let json = "Content-Type: application/json";
        let call = ["-H", json, "-H", "Prefer: respond-async", "-d", body, &url];
        let curl = [&["in", "1", "curl", "-s", "-m", "60"], &call[..]].concat();
        swarm.run(&curl);
        wait_until("the node is drained", || {
            availability(swarm, "node3").starts_with("drain")
        });
    };
    begin(&balancer);
    balancer.kill();
    assert!(availability(swarm, "node3").starts_with("drain map[io.ringmaster.drained-by:"));
    let next = fleet.balancer(1, &flags);
    wait_until("the next balancer has restored the node", || {
        availability(swarm, "node3") == "active map[]"
    });
    next.all_are_ready(&SIX[..3]);
    next.stop();
    assert_eq!(fleet.services(), [""; 0]);
}
