//! The fleet record in the Swarm: over the end of a balancer, and between two on two managers.

use std::time::Instant;

use serde_json::{Value, json};

use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::load::SwarmLoad;
use crate::nodes::{swarm, wait_until};
use crate::rollouts::{ROLLOUTS, all_have, begin, comes_to};

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

/// A part of each replica's state.
fn each(balancer: &SwarmBalancer, key: &str) -> Vec<Value> {
    let status = balancer.status();
    let replicas = status["replicas"].as_array().unwrap().iter();
    replicas.map(|replica| replica[key].clone()).collect()
}

/// Which replica each of some keys goes to.
pub fn mapping(balancer: &SwarmBalancer) -> Vec<String> {
    let node = balancer.node.to_string();
    let script = format!(
        "for key in $(seq 60); do curl -s -m 10 -H X-Key:k$key {}/home; echo; done",
        balancer.url()
    );
    let said = balancer.swarm.run(&["in", &node, "sh", "-c", &script]);
    let owners = said.lines().filter(|line| !line.is_empty());
    owners.map(str::to_owned).collect()
}

/// Waits until a balancer sends each key where it went before: its status tells of a replica before
/// every worker thread has it.
pub fn routes_as(balancer: &SwarmBalancer, before: &[String]) {
    wait_until("each key goes where it went", || {
        mapping(balancer) == before
    });
}

/// The same of two balancers.
pub fn route_alike(one: &SwarmBalancer, other: &SwarmBalancer) {
    wait_until("they route the same", || mapping(one) == mapping(other));
}

fn patch(balancer: &SwarmBalancer, path: &str, body: &Value) -> Value {
    let url = format!("/api/v1/fleets/default{path}");
    balancer.call("PATCH", &url, Some(&body.to_string()))
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_balancer_that_was_killed_is_followed_by_one_that_knows_everything() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let balancer = fleet.balancer(1, &[]);
    balancer.all_are_ready(&THREE);
    patch(&balancer, "/replicas/Server2", &json!({"weight": 3}));
    patch(&balancer, "/replicas/Server1", &json!({"state": "drained"}));
    let before = (
        each(&balancer, "weight"),
        each(&balancer, "generation"),
        each(&balancer, "state"),
    );
    let places = THREE.map(|name| fleet.place(name));
    balancer.kill();
    // What dies meanwhile is started again by the next one.
    fleet.kill("Server3");
    let next = fleet.balancer(1, &[]);
    wait_until("all are as before", || each(&next, "state") == before.2);
    assert_eq!(each(&next, "weight"), before.0);
    assert_eq!(each(&next, "generation"), [json!(1), json!(1), json!(2)]);
    assert_eq!(fleet.place("Server1"), places[0]);
    assert_eq!(fleet.place("Server2"), places[1]);
    next.stop();
    assert_eq!(fleet.services(), [""; 0]);
    assert_eq!(fleet.networks(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn two_balancers_on_two_managers_heal_each_death_once_and_route_the_same() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let one = fleet.balancer(1, &[]);
    one.all_are_ready(&THREE);
    let other = fleet.balancer(2, &[]);
    for balancer in [&one, &other] {
        balancer.all_are_ready(&THREE);
    }
    route_alike(&one, &other);

    let mut deaths = 0;
    for round in 0..2 {
        for replica in THREE {
            let killed = fleet.kill_once_listed(replica, round + 1);
            assert_eq!(killed.task.generation, round + 1, "{replica}");
            deaths += 1;
            for balancer in [&one, &other] {
                wait_until(&format!("{replica} is back"), || {
                    balancer
                        .log()
                        .contains(&format!("{replica} (generation {}) is ready at", round + 2))
                });
            }
        }
    }
    for balancer in [&one, &other] {
        balancer.all_are_ready(&THREE);
        assert_eq!(each(balancer, "generation"), [json!(3), json!(3), json!(3)]);
    }
    println!("{deaths} deaths, each healed once");
    route_alike(&one, &other);

    // Changes are followed.
    let added = one.call("POST", "/add", Some(r#"{"n":1,"hostnames":["late"]}"#));
    assert_eq!(added["status"], "successful", "{added}");
    other.all_are_ready(&["Server1", "Server2", "Server3", "late"]);
    patch(&one, "/replicas/late", &json!({"state": "drained"}));
    let begun = Instant::now();
    wait_until("it is drained there, too", || {
        other.states()["late"] == "drained"
    });
    println!(
        "drained on one, followed by the other after {:?}",
        begun.elapsed()
    );
    patch(&other, "/replicas/Server2", &json!({"weight": 3}));
    let begun = Instant::now();
    wait_until("the weight is the same there", || {
        each(&one, "weight") == each(&other, "weight")
    });
    println!(
        "weighed on one, followed by the other after {:?}",
        begun.elapsed()
    );
    route_alike(&one, &other);
    patch(&other, "", &json!({"key": "header:X-Other"}));
    wait_until("the key is another here, too", || {
        one.log().contains("is header:x-other from now on")
    });
    let removed = other.call("DELETE", "/rm", Some(r#"{"n":1,"hostnames":["late"]}"#));
    assert_eq!(removed["status"], "successful", "{removed}");
    one.all_are_ready(&THREE);

    // The first one that ends leaves the replicas to the other, the last one does not.
    one.stop();
    assert_eq!(
        fleet
            .services()
            .iter()
            .filter(|name| name.contains("-Server"))
            .count(),
        6
    );
    other.all_are_ready(&THREE);
    assert_eq!(each(&other, "generation"), [json!(3), json!(3), json!(3)]);
    other.stop();
    wait_until("nothing is left", || fleet.services().is_empty());
    assert_eq!(fleet.configs(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_rollout_is_followed_and_taken_over_when_its_balancer_is_killed() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let flags = ["--rollout-monitor", "2s"];
    let one = fleet.balancer(1, &flags);
    one.all_are_ready(&THREE);
    let others = [2, 3].map(|node| fleet.balancer(node, &flags));
    for balancer in &others {
        balancer.all_are_ready(&THREE);
    }
    let [two, three] = &others;
    let before = mapping(two);
    routes_as(three, &before);
    let load = SwarmLoad::start(two);

    // The balancer that gets the call carries the rollout out. The others show it, and refuse changes of it.
    let id = begin(&one, &json!({"env": {"COLOUR": "green"}}));
    let path = format!("{ROLLOUTS}/{id}");
    let executor = one.get(&path)["balancer"].clone();
    assert!(executor.is_string(), "{executor}");
    for balancer in &others {
        wait_until("it follows", || balancer.get(&path)["balancer"] == executor);
        let refused = balancer.call("POST", &format!("{path}/undo"), None);
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(executor.as_str().unwrap()), "{refused}");
    }
    wait_until("the first one is replaced", || {
        others.iter().all(|balancer| {
            let ready = balancer.times_of("ready", "Server1");
            balancer.get(&path)["done"].as_u64() >= Some(1) && ready.len() >= 2
        })
    });
    for balancer in &others {
        let followed =
            balancer.times_of("ready", "Server1")[1] - one.times_of("ready", "Server1")[1];
        println!("the swap is followed after {followed:.0} ms");
        assert_eq!(balancer.times_of("evicted", "Server1"), [0.0; 0]);
    }
    let state = one.get(&path)["state"].clone();
    assert_eq!(state, "rolling", "it is killed in the middle");
    one.kill();
    let killed = Instant::now();
    let taken_over = |balancer: &SwarmBalancer| balancer.log().contains("taken over from balancer");
    wait_until("it is taken over", || others.iter().any(taken_over));
    println!(
        "taken over {:.1} s after the kill",
        killed.elapsed().as_secs_f64()
    );
    for balancer in &others {
        comes_to(balancer, id, "done");
        balancer.all_are_ready(&THREE);
        routes_as(balancer, &before);
    }
    assert_eq!(others.iter().filter(|b| taken_over(b)).count(), 1);
    wait_until("all have the new definition", || {
        all_have(&fleet, &THREE, "COLOUR=green", true)
    });
    load.go_on_for(100);
    load.stop_without_failures();
    two.stop();
    three.stop();
    wait_until("nothing is left", || fleet.services().is_empty());
}
