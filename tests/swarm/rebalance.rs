//! Replicas over nodes and zones, and `ctl rebalance` after a node has come back.

use serde_json::{Value, json};

use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::load::SwarmLoad;
use crate::nodes::{swarm, wait_until};

const SIX: [&str; 6] = [
    "Server1", "Server2", "Server3", "Server4", "Server5", "Server6",
];

pub fn rebalance(balancer: &SwarmBalancer, query: &str) -> Value {
    let path = format!("/api/v1/fleets/default/rebalance{query}");
    balancer.call("POST", &path, Some("{}"))
}

fn node(node: &str, zone: Value, replicas: usize, share: usize) -> Value {
    json!({"node": node, "zone": zone, "replicas": replicas, "share": share})
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_node_that_has_come_back_gets_its_share_by_rebalance_alone() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &["--replicas", "6"]);
    balancer.all_are_ready(&SIX);
    assert_eq!(fleet.spread(), [2, 2, 2]);
    let nothing = rebalance(&balancer, "");
    assert_eq!(nothing["moves"], json!([]), "{nothing}");

    let load = SwarmLoad::start(&balancer);
    swarm.run(&["die", "3"]);
    wait_until("two nodes have all replicas", || {
        let replicas = balancer.get("/api/v1/fleets/default/replicas");
        let replicas = replicas["items"].as_array().unwrap();
        replicas
            .iter()
            .all(|one| one["state"] == "ready" && one["node"] != "node3")
    });
    swarm.run(&["start", "3"]);
    let mut plan = Value::Null;
    wait_until("the third node takes replicas again", || {
        plan = rebalance(&balancer, "?dry_run=true");
        plan["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.len() == 3)
    });
    let nodes = [("node1", 3), ("node2", 3), ("node3", 0)];
    let nodes = nodes.map(|(name, replicas)| node(name, Value::Null, replicas, 2));
    assert_eq!(plan["nodes"], json!(nodes));
    let from: Vec<_> = plan["moves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["from"])
        .collect();
    assert_eq!(from.len(), 2, "{plan}");
    assert!(
        from.iter().all(|node| **node != "node3") && from[0] != from[1],
        "{plan}"
    );
    // Not by itself.
    load.go_on_for(200);
    wait_until("what the third node had run has ended", || {
        fleet.spread() == [3, 3, 0]
    });

    let moved = rebalance(&balancer, "");
    let to: Vec<_> = moved["moves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["to"])
        .collect();
    assert_eq!(to, ["node3", "node3"], "{moved}");
    balancer.all_are_ready(&SIX);
    wait_until("each node has two", || fleet.spread() == [2, 2, 2]);
    load.go_on_for(100);
    load.stop_without_failures();
    assert_eq!(rebalance(&balancer, "")["moves"], json!([]));
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn zones_get_their_shares() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    for (name, zone) in [("node1", "a"), ("node2", "b"), ("node3", "b")] {
        let label = format!("zone={zone}");
        swarm.docker(1, &["node", "update", "--label-add", &label, name]);
    }
    let fleet = SwarmFleet::new(swarm);
    let by_zone = ["--placement-pref", "spread=node.labels.zone"];
    let balancer = fleet.balancer(2, &[&by_zone[..], &["--replicas", "6"]].concat());
    balancer.all_are_ready(&SIX);
    let spread = fleet.spread();
    assert_eq!(spread[0], 3, "{spread:?}");
    assert!(spread[1] >= 1 && spread[2] >= 1, "{spread:?}");
    let plan = rebalance(&balancer, "?dry_run=true");
    assert_eq!(plan["nodes"][0], node("node1", json!("a"), 3, 3), "{plan}");
    assert_eq!(plan["nodes"][1]["zone"], "b");
    let other = fleet.balancer(1, &[&by_zone[..], &["--replicas", "6"]].concat());
    other.all_are_ready(&SIX);
    let load = SwarmLoad::start(&other);
    // Another zone of its own.
    swarm.docker(1, &["node", "update", "--label-add", "zone=c", "node3"]);
    let moved = rebalance(&balancer, "");
    wait_until("each zone has two", || fleet.spread() == [2, 2, 2]);
    assert!(!moved["moves"].as_array().unwrap().is_empty(), "{moved}");
    // Another balancer follows.
    let generations = |balancer: &SwarmBalancer| -> Vec<Value> {
        let status = balancer.status();
        let replicas = status["replicas"].as_array().unwrap().iter();
        replicas.map(|one| one["generation"].clone()).collect()
    };
    wait_until("both know of the same instances", || {
        generations(&other) == generations(&balancer)
    });
    other.all_are_ready(&SIX);
    load.go_on_for(100);
    load.stop_without_failures();
    other.stop();
    for name in ["node1", "node2", "node3"] {
        swarm.docker(1, &["node", "update", "--label-rm", "zone", name]);
    }
    balancer.stop();
}
