//! Replicas over nodes and zones, and `ctl rebalance` after a node has come back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::load::SwarmLoad;
use crate::nodes::{swarm, wait_longer_until, wait_until};

const SIX: [&str; 6] = [
    "Server1", "Server2", "Server3", "Server4", "Server5", "Server6",
];

/// How long it may take until all replicas are where they belong. To start something on a node that has just come
/// back may take the engines half a minute.
pub const MAX_REBALANCING: Duration = Duration::from_secs(300);

pub fn rebalance(balancer: &SwarmBalancer, query: &str) -> Value {
    let path = format!("/api/v1/fleets/default/rebalance{query}");
    balancer.call("POST", &path, Some("{}"))
}

/// Rebalances until this number of replicas runs on each node.
pub fn spread_out(fleet: &SwarmFleet, balancer: &SwarmBalancer, expected: [usize; 3]) {
    let what = format!("replicas are spread {expected:?}");
    wait_longer_until(MAX_REBALANCING, &what, || {
        fleet.spread() == expected || {
            rebalance(balancer, "");
            false
        }
    });
}

/// Fails if replicas have started elsewhere. What takes the place of one that was found dead may be anywhere:
/// then rebalances.
pub fn have_started(fleet: &SwarmFleet, balancer: &SwarmBalancer, expected: [usize; 3]) {
    let spread = fleet.spread();
    if balancer.found_dead().is_empty() {
        assert_eq!(spread, expected);
    }
    spread_out(fleet, balancer, expected);
}

/// How many replicas a plan counts.
fn total(plan: &Value) -> u64 {
    let nodes = plan["nodes"].as_array().into_iter().flatten();
    nodes.filter_map(|node| node["replicas"].as_u64()).sum()
}

/// Rebalances until there are six replicas and none is above a share, and returns the shares.
fn even_shares(balancer: &SwarmBalancer) -> Value {
    let mut plan = Value::Null;
    wait_longer_until(MAX_REBALANCING, "no replica is above a share", || {
        plan = rebalance(balancer, "?dry_run=true");
        (total(&plan) == 6 && plan["moves"] == json!([])) || {
            rebalance(balancer, "");
            false
        }
    });
    plan["nodes"].take()
}

fn node(node: &str, zone: Value, replicas: usize, share: usize) -> Value {
    json!({"node": node, "zone": zone, "replicas": replicas, "share": share})
}

/// The nodes that a plan's moves are from or to.
fn part_of_moves(plan: &Value, part: &str) -> Vec<String> {
    let moves = plan["moves"].as_array().into_iter().flatten();
    let parts = moves.map(|one| one[part].as_str().unwrap_or_default().to_owned());
    parts.collect()
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
    have_started(&fleet, &balancer, [2, 2, 2]);
    let nothing = rebalance(&balancer, "");
    if balancer.found_dead().is_empty() {
        assert_eq!(nothing["moves"], json!([]), "{nothing}");
    }

    let load = SwarmLoad::start(&balancer);
    let lost = fleet.tasks_on(3);
    swarm.die(3);
    wait_until("two nodes have all replicas", || {
        let replicas = balancer.get("/api/v1/fleets/default/replicas");
        let replicas = replicas["items"].as_array().unwrap();
        replicas
            .iter()
            .all(|one| one["state"] == "ready" && one["node"] != "node3")
    });
    // The overlay may break once more when the node is back: what the balancer does not reach then starts again
    // anywhere.
    let found_dead = balancer.found_dead();
    let is_undisturbed = || balancer.found_dead() == found_dead;
    swarm.start_node(3);
    let mut plan = Value::Null;
    wait_until("the third node takes replicas again", || {
        plan = rebalance(&balancer, "?dry_run=true");
        plan["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.len() == 3 && total(&plan) == 6)
    });
    if is_undisturbed() {
        let nodes = [("node1", 3), ("node2", 3), ("node3", 0)];
        let nodes = nodes.map(|(name, replicas)| node(name, Value::Null, replicas, 2));
        assert_eq!(plan["nodes"], json!(nodes));
        let mut from = part_of_moves(&plan, "from");
        from.sort();
        assert_eq!(from, ["node1", "node2"], "{plan}");
    }
    // Not by itself.
    load.go_on_for(200);
    fleet.have_ended(&lost);
    wait_until("the third node is still empty", || {
        fleet.spread() == [3, 3, 0] || !is_undisturbed()
    });

    let moved = rebalance(&balancer, "");
    let (from, to) = (part_of_moves(&moved, "from"), part_of_moves(&moved, "to"));
    assert!(from.iter().zip(&to).all(|(from, to)| from != to), "{moved}");
    if is_undisturbed() {
        assert_eq!(to, ["node3", "node3"], "{moved}");
    }
    spread_out(&fleet, &balancer, [2, 2, 2]);
    balancer.all_are_ready(&SIX);
    load.go_on_for(100);
    load.stop_without_failures();
    wait_until("nothing is left to move", || {
        rebalance(&balancer, "")["moves"] == json!([])
    });
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn zones_get_their_shares() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    for (node, label) in [(1, "zone=a"), (2, "zone=b"), (3, "zone=b")] {
        swarm.update_node(node, "--label-add", label);
    }
    let fleet = SwarmFleet::new(swarm);
    let by_zone = ["--placement-pref", "spread=node.labels.zone"];
    let balancer = fleet.balancer(2, &[&by_zone[..], &["--replicas", "6"]].concat());
    balancer.all_are_ready(&SIX);
    let plan = rebalance(&balancer, "?dry_run=true");
    if balancer.found_dead().is_empty() {
        assert_eq!(plan["moves"], json!([]), "{plan}");
    }
    let shares = even_shares(&balancer);
    assert_eq!(shares[0], node("node1", json!("a"), 3, 3), "{shares}");
    for other in [1, 2] {
        let other = &shares[other];
        assert_eq!((&other["zone"], &other["share"]), (&json!("b"), &json!(2)));
    }
    let other = fleet.balancer(1, &[&by_zone[..], &["--replicas", "6"]].concat());
    other.all_are_ready(&SIX);
    let load = SwarmLoad::start(&other);
    // Another zone of its own.
    swarm.update_node(3, "--label-add", "zone=c");
    let zones = [("node1", "a"), ("node2", "b"), ("node3", "c")];
    let zones = zones.map(|(name, zone)| node(name, json!(zone), 2, 2));
    assert_eq!(even_shares(&balancer), json!(zones));
    spread_out(&fleet, &balancer, [2, 2, 2]);
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
    for node in 1..=3 {
        swarm.update_node(node, "--label-rm", "zone");
    }
    balancer.stop();
}
