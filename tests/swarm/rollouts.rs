//! Rollouts of services, under load.

use std::time::Instant;

use serde_json::{Value, json};

use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::load::SwarmLoad;
use crate::nodes::{swarm, wait_until};

pub const ROLLOUTS: &str = "/api/v1/fleets/default/rollouts";
const SIX: [&str; 6] = [
    "Server1", "Server2", "Server3", "Server4", "Server5", "Server6",
];

pub fn begin(balancer: &SwarmBalancer, new: &Value) -> u64 {
    let begun = balancer.call("POST", ROLLOUTS, Some(&new.to_string()));
    begun["id"].as_u64().unwrap_or_else(|| panic!("{begun}"))
}

pub fn comes_to(balancer: &SwarmBalancer, id: u64, state: &str) {
    let path = format!("{ROLLOUTS}/{id}");
    wait_until(&format!("rollout {id} is {state}"), || {
        balancer.get(&path)["state"] == state
    });
}

/// Whether every replica's container has this variable, and there is one service a replica beside those of dead ones.
pub fn all_have(fleet: &SwarmFleet, names: &[&str], variable: &str, expected: bool) -> bool {
    let has = |name: &&str| has_variable(fleet, name, variable) == Some(expected);
    fleet.active_services().len() == names.len() && names.iter().all(has)
}

/// Whether the replica's container has this variable; none while it has no container.
fn has_variable(fleet: &SwarmFleet, replica: &str, variable: &str) -> Option<bool> {
    let (node, container) = fleet.try_place(replica)?;
    let found = fleet.swarm.try_inspect(node, "container", &container)?;
    let env = found["Config"]["Env"].as_array().unwrap().clone();
    Some(env.contains(&json!(variable)))
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn another_environment_is_rolled_out_and_undone_without_a_failed_request() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &["--replicas", "6", "--rollout-monitor", "0s"]);
    balancer.all_are_ready(&SIX);
    let load = SwarmLoad::start(&balancer);
    let begun = Instant::now();
    let id = begin(&balancer, &json!({"env": {"COLOUR": "green"}}));
    comes_to(&balancer, id, "done");
    let took = begun.elapsed().as_secs_f64();
    println!("rollout of six: {took:.1} s, {:.2} s a replica", took / 6.0);
    wait_until("old services are gone", || {
        all_have(&fleet, &SIX, "COLOUR=green", true)
    });
    // What dies is healed with the new definition.
    let killed = fleet.kill("Server2").at;
    balancer.time_until("ready", "Server2", killed);
    let (node, container) = fleet.place("Server2");
    let found = swarm.inspect(node, "container", &container);
    assert!(
        found["Config"]["Env"]
            .as_array()
            .unwrap()
            .contains(&json!("COLOUR=green"))
    );
    // A version that ends at once changes nothing.
    let id = begin(&balancer, &json!({"command": ["/ringmaster", "nonsense"]}));
    comes_to(&balancer, id, "rolled_back");
    balancer.all_are_ready(&SIX);

    let undone = balancer.call("POST", &format!("{ROLLOUTS}/1/undo"), None);
    let id = undone["id"].as_u64().unwrap_or_else(|| panic!("{undone}"));
    comes_to(&balancer, id, "done");
    wait_until("it is as before", || {
        SIX.iter()
            .all(|name| has_variable(&fleet, name, "COLOUR=green") == Some(false))
    });
    load.go_on_for(100);
    load.stop_without_failures();
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_server_that_needs_ten_seconds_to_start_is_rolled_out_without_a_failed_request() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let two = ["Server1", "Server2"];
    let balancer = fleet.balancer(1, &["--replicas", "2", "--rollout-monitor", "0s"]);
    balancer.all_are_ready(&two);
    let load = SwarmLoad::start(&balancer);
    let slow = "sleep 10; exec /ringmaster replica --listen 0.0.0.0:$PORT";
    let id = begin(&balancer, &json!({"command": ["sh", "-c", slow]}));
    comes_to(&balancer, id, "done");
    wait_until("old services are gone", || {
        fleet.active_services().len() == 2
    });
    load.go_on_for(100);
    load.stop_without_failures();
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_rollout_outlives_a_balancer_that_is_killed() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let three = ["Server1", "Server2", "Server3"];
    let flags = ["--rollout-monitor", "1s"];
    let balancer = fleet.balancer(1, &flags);
    balancer.all_are_ready(&three);
    let slow = "sleep 2; exec /ringmaster replica --listen 0.0.0.0:$PORT";
    let new = json!({"command": ["sh", "-c", slow], "env": {"COLOUR": "green"}});
    let id = begin(&balancer, &new);
    comes_to(&balancer, id, "rolling");
    // One has been replaced, the successor of another starts.
    wait_until("the next successor is there", || {
        fleet
            .services()
            .iter()
            .filter(|name| name.contains("-Server"))
            .count()
            > 3
    });
    balancer.kill();
    let next = fleet.balancer(1, &flags);
    comes_to(&next, id, "done");
    next.all_are_ready(&three);
    wait_until("all have the new definition", || {
        all_have(&fleet, &three, "COLOUR=green", true)
    });
    // The one that had been replaced before the kill is no exception.
    let status = next.status();
    for replica in status["replicas"].as_array().unwrap() {
        assert_eq!(replica["outdated"], false, "{status}");
    }
    next.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn other_flags_after_a_kill_are_rolled_out_once() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let three = ["Server1", "Server2", "Server3"];
    let balancer = fleet.balancer(1, &["--rollout-monitor", "0s"]);
    balancer.all_are_ready(&three);
    balancer.kill();
    let flags = ["--rollout-monitor", "0s", "--env", "COLOUR=green"];
    let next = fleet.balancer(1, &flags);
    let load = SwarmLoad::start(&next);
    comes_to(&next, 1, "done");
    wait_until("all have the new definition", || {
        all_have(&fleet, &three, "COLOUR=green", true)
    });
    load.go_on_for(50);
    assert_eq!(load.stop().failures, [""; 0]);
    let changed = "the flags have changed since fleet record";
    assert!(next.log().contains(changed), "{}", next.log());
    next.kill();
    let last = fleet.balancer(1, &flags);
    last.all_are_ready(&three);
    assert!(!last.log().contains(changed), "{}", last.log());
    assert_eq!(last.get(ROLLOUTS)["items"].as_array().unwrap().len(), 1);
    last.stop();
    assert_eq!(fleet.services(), [""; 0]);
}
