//! A canary of services on a real Swarm, under load.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::load::SwarmLoad;
use crate::nodes::{swarm, wait_until};
use crate::rollouts::{ROLLOUTS, all_have, begin, comes_to};
use crate::shared::{mapping, routes_as};
use crate::stack::{COMMAND, ONE, Stack};

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

fn to_green(share: &str) -> Value {
    json!({"env": {"COLOUR": "green"}, "canary": share})
}

/// Asks for something to be done about a rollout.
fn direct(balancer: &SwarmBalancer, id: u64, command: &str) {
    let path = format!("{ROLLOUTS}/{id}/{command}");
    let directed = balancer.call("POST", &path, None);
    assert_eq!(directed["id"], id, "{directed}");
}

/// Waits until these are the fleet's services, of the replicas and beside them.
fn services_are(fleet: &SwarmFleet, extra: &[&str], generation: u64) {
    let name = |replica: &&str| format!("{}-{replica}-{generation}", fleet.name);
    let extra = extra.iter().map(|name| format!("{}-{name}", fleet.name));
    let expected: BTreeSet<_> = extra.chain(THREE.iter().map(name)).collect();
    wait_until(&format!("the services are {expected:?}"), || {
        fleet.services().into_iter().collect::<BTreeSet<_>>() == expected
    });
}

/// Waits until the canary serves some of the keys, and all others go where they went before.
fn only_its_keys_move(balancer: &SwarmBalancer, before: &[String]) {
    wait_until("keys go to the canary", || {
        let during = mapping(balancer);
        let (moved, others): (Vec<_>, Vec<_>) = before
            .iter()
            .zip(&during)
            .partition(|(_, during)| during.contains("canary-"));
        for (before, during) in others {
            assert_eq!(before, during);
        }
        !moved.is_empty()
    });
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_canary_is_healed_undone_and_promoted_without_a_failed_request() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &["--rollout-monitor", "0s"]);
    balancer.all_are_ready(&THREE);
    // The state tells of a replica before every worker thread has it, the history after that.
    for replica in THREE {
        balancer.time_until("ready", replica, SystemTime::UNIX_EPOCH);
    }
    let before = mapping(&balancer);
    let load = SwarmLoad::start(&balancer);

    // Half of three replicas are two.
    let id = begin(&balancer, &to_green("50%"));
    comes_to(&balancer, id, "canary");
    services_are(&fleet, &["canary-1-1", "canary-2-1"], 1);
    let service = format!("{}-canary-1-1", fleet.name);
    let labels = swarm.inspect(1, "service", &service)["Spec"]["Labels"].clone();
    assert_eq!(labels["io.ringmaster.role"], "extra", "{labels}");
    only_its_keys_move(&balancer, &before);
    // They are no replicas, and spread all the same.
    assert!(balancer.states().keys().eq(THREE));
    assert_ne!(fleet.place("canary-1").0, fleet.place("canary-2").0);

    // One that dies is started again, and nothing of it stays.
    let killed = fleet.kill("canary-1").at;
    let back = balancer.time_until("ready", "canary-1", killed);
    println!("canary killed: ready again after {back:.0} ms");
    services_are(&fleet, &["canary-1-2", "canary-2-1"], 1);
    let deaths = balancer.get("/api/v1/fleets/default/deaths");
    assert_eq!(deaths["items"][0]["replica"], "canary-1", "{deaths}");
    assert_eq!(deaths["items"][0]["signal"], 9, "{deaths}");
    only_its_keys_move(&balancer, &before);

    direct(&balancer, id, "undo");
    comes_to(&balancer, id, "rolled_back");
    services_are(&fleet, &[], 1);
    routes_as(&balancer, &before);

    let id = begin(&balancer, &to_green("10%"));
    comes_to(&balancer, id, "canary");
    only_its_keys_move(&balancer, &before);
    direct(&balancer, id, "promote");
    comes_to(&balancer, id, "done");
    services_are(&fleet, &[], 2);
    wait_until("all have the new definition", || {
        all_have(&fleet, &THREE, "COLOUR=green", true)
    });
    routes_as(&balancer, &before);
    load.go_on_for(100);
    load.stop_without_failures();
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_canary_leaves_a_node_that_is_drained_and_ends_with_its_balancer() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &[]);
    balancer.all_are_ready(&THREE);
    let load = SwarmLoad::start(&balancer);
    let id = begin(&balancer, &to_green("10%"));
    comes_to(&balancer, id, "canary");
    let (node, _) = fleet.place("canary-1");
    let drained = SystemTime::now();
    swarm.set_availability(node, "drain");
    wait_until("its successor is ready", || {
        balancer
            .log()
            .contains("canary-1 (generation 2) is ready at")
    });
    let back = balancer.time_until("ready", "canary-1", drained);
    println!("node drained: the canary is ready elsewhere after {back:.0} ms");
    assert!(
        !balancer
            .log()
            .contains("canary-1 (generation 1) is evicted")
    );
    wait_until("the node is empty", || {
        fleet.spread()[node as usize - 1] == 0
    });
    balancer.all_are_ready(&THREE);
    swarm.set_availability(node, "active");
    load.go_on_for(100);
    assert_eq!(load.stop().failures, [""; 0]);
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_canary_of_a_balancer_that_was_killed_is_started_anew_or_removed() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let flags = ["--rollout-monitor", "0s"];
    let balancer = fleet.balancer(1, &flags);
    balancer.all_are_ready(&THREE);
    let id = begin(&balancer, &to_green("10%"));
    comes_to(&balancer, id, "canary");
    let service = format!("{}-canary-1-1", fleet.name);
    let before = swarm.inspect(1, "service", &service)["ID"].clone();
    balancer.kill();
    let next = fleet.balancer(1, &flags);
    wait_until("it says that it goes on", || {
        next.log().contains("rollout 1 goes on with its canary")
    });
    wait_until("it is ready", || {
        let rollout = next.get(&format!("{ROLLOUTS}/{id}"));
        rollout["canary"]["instances"][0]["ready"] == true
    });
    assert_ne!(swarm.inspect(1, "service", &service)["ID"], before);
    services_are(&fleet, &["canary-1-1"], 1);
    next.all_are_ready(&THREE);
    next.kill();

    // Other flags end the rollout, and the canary with it.
    let red = ["--rollout-monitor", "0s", "--env", "COLOUR=red"];
    let last = fleet.balancer(1, &red);
    comes_to(&last, id, "rolled_back");
    comes_to(&last, id + 1, "done");
    services_are(&fleet, &[], 2);
    last.all_are_ready(&THREE);
    // Another balancer would not follow.
    let other = fleet.balancer(2, &red);
    other.all_are_ready(&THREE);
    let refused = last.call("POST", ROLLOUTS, Some(&to_green("10%").to_string()));
    assert_eq!(refused["type"], "/api/problems/cannot-roll-out");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("other balancers"), "{detail}");
    other.stop();
    last.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_canary_goes_with_its_stack() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let stack = Stack::new(swarm);
    stack.deploy(&[], COMMAND, ONE);
    let balancer = stack.balancer(1);
    balancer.all_are_ready(&THREE);
    let id = begin(&balancer, &to_green("10%"));
    comes_to(&balancer, id, "canary");
    services_are(&stack.fleet, &["canary-1-1"], 1);
    stack.rm();
    wait_until("no service is left", || stack.fleet.services().is_empty());
    stack.remove();
}
