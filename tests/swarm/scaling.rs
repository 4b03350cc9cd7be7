//! One of several balancers scales the fleet, by the load of all.

use serde_json::Value;

use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::nodes::{swarm, wait_until};

/// Eight requests in flight at a balancer until this is dropped.
struct SlowRequests {
    goes_on: tempfile::NamedTempFile,
    child: std::process::Child,
}

impl SlowRequests {
    fn begin(balancer: &SwarmBalancer) -> Self {
        let goes_on = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "for client in 1 2 3 4 5 6 7 8; do (n=0; while [ -e {} ]; do n=$((n + 1)); \
             curl -s -m 60 -o /dev/null -H X-Key:$client-$n '{}/slow?ms=1000'; done) & done; wait",
            goes_on.path().display(),
            balancer.url()
        );
        let command = balancer
            .swarm
            .begin_inside(balancer.node, &["sh", "-c", &script]);
        let mut command = command;
        let child = command.spawn().unwrap();
        Self { goes_on, child }
    }

    fn end(mut self) {
        self.goes_on.close().unwrap();
        self.child.wait().unwrap();
    }
}

const TWO: [&str; 2] = ["Server1", "Server2"];
const FOLLOWS: &str = "another balancer scales the fleet";

fn scaling(balancer: &SwarmBalancer) -> Value {
    balancer.status()["scaling"].clone()
}

fn desired(balancer: &SwarmBalancer) -> u64 {
    balancer.status()["desired_replicas"].as_u64().unwrap()
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn the_one_that_leads_adds_replicas_for_the_load_of_the_other() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let flags = [
        "--replicas",
        "2",
        "--target-in-flight",
        "2",
        "--max-replicas",
        "4",
        "--scale-down-after",
        "4s",
    ];
    let one = fleet.balancer(1, &flags);
    one.all_are_ready(&TWO);
    let other = fleet.balancer(2, &flags);
    other.all_are_ready(&TWO);
    let mut follower = &one;
    wait_until("one of them follows", || {
        let found = [&one, &other]
            .into_iter()
            .find(|b| scaling(b)["held"] == FOLLOWS);
        follower = found.unwrap_or(follower);
        found.is_some()
    });
    let leader = if follower.container == one.container {
        &other
    } else {
        &one
    };
    wait_until("the other one leads", || scaling(leader)["held"].is_null());

    // Eight clients, of which the leader sees none.
    let load = SlowRequests::begin(follower);
    wait_until("there are four replicas", || {
        desired(leader) == 4 && desired(follower) == 4
    });
    let decision = scaling(leader)["last_decision"].clone();
    assert_eq!(decision["to"], 4, "{decision}");
    assert!(scaling(leader)["load"].as_f64().unwrap() > 4.0);
    assert_eq!(scaling(follower)["last_decision"], Value::Null);
    load.end();
    wait_until("fewer are enough", || {
        desired(leader) == 2 && desired(follower) == 2
    });

    // The other one takes over.
    leader.kill();
    let load = SlowRequests::begin(follower);
    wait_until("the one that is left adds replicas", || {
        desired(follower) == 4
    });
    assert_eq!(scaling(follower)["last_decision"]["to"], 4);
    load.end();
    follower.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn no_replica_is_removed_while_a_balancer_does_not_say_its_load() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let silent = fleet.balancer(1, &["--replicas", "4"]);
    let four = ["Server1", "Server2", "Server3", "Server4"];
    silent.all_are_ready(&four);
    let flags = [
        "--replicas",
        "4",
        "--min-replicas",
        "2",
        "--target-in-flight",
        "2",
        "--max-replicas",
        "4",
        "--scale-down-after",
        "1s",
    ];
    let scaler = fleet.balancer(2, &flags);
    scaler.all_are_ready(&four);
    wait_until("it holds", || {
        let held = scaling(&scaler)["held"].clone();
        let held = held.as_str().unwrap_or_default();
        held.starts_with("another balancer does not say its load")
    });
    // Longer than the window.
    let from = scaler.times_of("ready", "Server4");
    let seen = std::time::Instant::now();
    wait_until("the window is over", || seen.elapsed().as_secs() >= 4);
    assert_eq!(desired(&scaler), 4);
    assert_eq!(scaler.times_of("ready", "Server4"), from);
    silent.stop();
    wait_until("fewer are enough", || desired(&scaler) == 2);
    scaler.stop();
    assert_eq!(fleet.services(), [""; 0]);
}
