//! `make bench-swarm`: times and failed requests of Ringmaster on a Swarm of three managers, beside the
//! Swarm's own healing behind a proxy that polls, in one run. Prints a table; judges only that no request
//! of Ringmaster's fails that can be repeated.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::fixture::{REPLICA, SwarmBalancer, SwarmFleet};
use crate::load::{LoadReport, SwarmLoad};
use crate::nodes::{Swarm, swarm, wait_until};
use crate::polling;
use crate::rebalance::spread_out;
use crate::rollouts::{begin, comes_to};

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];
const SIX: [&str; 6] = [
    "Server1", "Server2", "Server3", "Server4", "Server5", "Server6",
];

/// The service that the Swarm itself heals.
const OWN: &str = "own";
const OWN_NETWORK: &str = "own-net";

/// Set by `make bench-swarm`: nodes are cut off, too, and there are rollouts for as long as
/// [`ROLLOUT_REQUESTS`] take, which is minutes.
const ALL: &str = "RINGMASTER_FIGURES";
const ROLLOUT_REQUESTS: usize = 20_000;

/// How long the Swarm may take.
const OWN_TIMEOUT: Duration = Duration::from_secs(180);

/// The table's rows.
#[derive(Default)]
struct Table(Vec<String>);

impl Table {
    fn row(&mut self, what: &str, ringmaster: &str, swarm: &str, polling: &str) {
        let row = format!("| {what} | {ringmaster} | {swarm} | {polling} |");
        println!("{row}");
        self.0.push(row);
    }

    fn print(&self) {
        println!("| what | Ringmaster | the Swarm itself | a proxy that polls every 15 s |");
        println!("| --- | --- | --- | --- |");
        println!("{}", self.0.join("\n"));
    }
}

fn seconds(time: Duration) -> String {
    if time >= OWN_TIMEOUT {
        return format!("more than {} s", OWN_TIMEOUT.as_secs());
    }
    format!("{:.2} s", time.as_secs_f64())
}

fn requests(report: &LoadReport) -> String {
    let (failed, all) = (report.failures.len(), report.good + report.failures.len());
    format!(
        "{failed} of {all} requests failed, slowest {:.0} ms",
        report.slowest_ms
    )
}

/// The tasks of the Swarm's own service that are to run and do, as the manager of a node has them.
fn running(swarm: &Swarm, manager: u32) -> Vec<Value> {
    let filters = format!("%7B%22service%22%3A%5B%22{OWN}%22%5D%7D");
    let url = format!("http://engine/tasks?filters={filters}");
    let socket = swarm.socket(manager);
    let arguments = ["-s", "-m", "5", "--unix-socket", &socket, &url];
    let asked = Command::new("curl").args(arguments).output().unwrap();
    let tasks: Vec<Value> = serde_json::from_slice(&asked.stdout).unwrap_or_default();
    let runs =
        |task: &Value| task["DesiredState"] == "running" && task["Status"]["State"] == "running";
    tasks.into_iter().filter(runs).collect()
}

/// Waits until three tasks run that are good ones, or for [`OWN_TIMEOUT`], and says how long that took: after the
/// loss of a leader the Swarm may take longer.
fn until_three(swarm: &Swarm, manager: u32, is_good: impl Fn(&Value) -> bool) -> Duration {
    let begun = Instant::now();
    let good = || running(swarm, manager).into_iter().filter(&is_good).count();
    while good() != 3 && begun.elapsed() < OWN_TIMEOUT {
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

/// A service of three tasks that the Swarm heals.
fn start_own(swarm: &Swarm) {
    let command = ["sh", "-c", "exec /ringmaster replica --listen 0.0.0.0:7070"];
    let create = [
        "service",
        "create",
        "--quiet",
        "--detach",
        "--no-resolve-image",
        "--name",
        OWN,
        "--replicas",
        "3",
        "--restart-condition",
        "any",
        "--restart-delay",
        "0s",
        "--endpoint-mode",
        "dnsrr",
        "--update-order",
        "start-first",
        "--stop-grace-period",
        "10s",
        "--network",
        OWN_NETWORK,
        &swarm.image,
    ];
    // As the replicas have one.
    let overlay = ["network", "create", "--driver", "overlay", "--attachable"];
    swarm.docker(1, &[&overlay[..], &[OWN_NETWORK]].concat());
    swarm.docker(1, &[&create[..], &command].concat());
    until_three(swarm, 1, |_| true);
}

/// What the clients of a proxy that polls got meanwhile.
fn polled(swarm: &Swarm, happens: impl FnOnce()) -> String {
    let proxy = polling::start(swarm, 2, OWN, OWN_NETWORK);
    happens();
    requests(&proxy.stop())
}

fn node_of(swarm: &Swarm, task: &Value) -> u32 {
    let id = task["NodeID"].as_str().unwrap();
    let nodes = 1..=3;
    let mut found =
        nodes.filter(|node| swarm.inspect(1, "node", &format!("node{node}"))["ID"] == id);
    found.next().unwrap()
}

fn kill_own(swarm: &Swarm) -> Duration {
    let target = running(swarm, 1).swap_remove(0);
    let node = node_of(swarm, &target);
    let container = target["Status"]["ContainerStatus"]["ContainerID"]
        .as_str()
        .unwrap();
    swarm.docker(node, &["kill", container]);
    until_three(swarm, 1, |task| task["ID"] != target["ID"])
}

/// Has the Swarm replace its tasks one after the other, and says how long that took.
fn update_own(swarm: &Swarm) -> Duration {
    let old: Vec<Value> = running(swarm, 1);
    let begun = Instant::now();
    let update = ["service", "update", "--quiet", "--detach", "--force", OWN];
    swarm.docker(1, &update);
    until_three(swarm, 1, |task| {
        old.iter().all(|old| old["ID"] != task["ID"])
    });
    begun.elapsed()
}

fn list(times: &[f64]) -> String {
    let times: Vec<_> = times.iter().map(|ms| format!("{ms:.0}")).collect();
    times.join(", ")
}

/// Kills each replica in turn, under load: when they were off the ring and back, and the requests.
fn kill_each(fleet: &SwarmFleet, balancer: &SwarmBalancer) -> String {
    let load = SwarmLoad::start(balancer);
    let (mut off, mut back) = (Vec::new(), Vec::new());
    for replica in THREE {
        let killed = fleet.kill(replica).at;
        off.push(balancer.time_until("evicted", replica, killed));
        back.push(balancer.time_until("ready", replica, killed));
        balancer.all_are_ready(&THREE);
    }
    let report = load.stop();
    assert_eq!(report.failures, [""; 0]);
    let (off, back, requests) = (list(&off), list(&back), requests(&report));
    format!("off the ring after {off} ms, back after {back} ms; {requests}")
}

/// Ready again, all of those that were on a node.
fn ready_after(balancer: &SwarmBalancer, names: &[&str], from: SystemTime) -> Duration {
    let times = names
        .iter()
        .map(|name| balancer.time_until("ready", name, from));
    Duration::from_secs_f64(times.fold(0.0, f64::max) / 1e3)
}

fn on_node(fleet: &SwarmFleet, node: u32) -> Vec<&'static str> {
    let is_there = |name: &&&str| fleet.try_place(name).is_some_and(|(on, _)| on == node);
    THREE.iter().filter(is_there).copied().collect()
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn figures_beside_the_swarms_own_healing() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let all = std::env::var_os(ALL).is_some();
    let mut table = Table::default();
    let fleet = SwarmFleet::new(swarm);
    // On a node that is not cut off.
    let balancer = fleet.balancer(2, &[]);
    balancer.all_are_ready(&THREE);
    start_own(swarm);

    // A task is killed.
    let killed = kill_each(&fleet, &balancer);
    let mut own = Vec::new();
    let polling = polled(swarm, || {
        own = (0..3)
            .map(|_| kill_own(swarm).as_secs_f64() * 1e3)
            .collect();
    });
    let own = format!("runs again after {} ms", list(&own));
    table.row("task killed (3)", &killed, &own, &polling);

    // Of servers that end each connection, none is left to tell of a death.
    let closing = SwarmFleet::new(swarm);
    let command = format!("{REPLICA} --no-keep-alive");
    let other = closing.balancer(2, &["--command", &command]);
    other.all_are_ready(&THREE);
    let killed = kill_each(&closing, &other);
    other.stop();
    let what = "task killed that ends each connection (3)";
    table.row(what, &killed, "as above", "as above");

    // A node is drained.
    let there = on_node(&fleet, 3);
    let proxy = polling::start(swarm, 2, OWN, OWN_NETWORK);
    let load = SwarmLoad::start(&balancer);
    let drained = SystemTime::now();
    swarm.set_availability(3, "drain");
    let node3 = swarm.inspect(1, "node", "node3")["ID"].clone();
    let own = until_three(swarm, 1, |task| task["NodeID"] != node3);
    let back = ready_after(&balancer, &there, drained);
    load.go_on_for(100);
    let report = load.stop();
    let text = format!("back after {}; {}", seconds(back), requests(&report));
    table.row(
        "node drained",
        &text,
        &format!("run elsewhere after {}", seconds(own)),
        &requests(&proxy.stop()),
    );
    assert_eq!(report.failures, [""; 0]);
    swarm.set_availability(3, "active");

    // Rollout of six.
    let rolled = SwarmFleet::new(swarm);
    let six = rolled.balancer(2, &["--replicas", "6", "--rollout-monitor", "0s"]);
    six.all_are_ready(&SIX);
    let least = if all { ROLLOUT_REQUESTS } else { 0 };
    let load = SwarmLoad::start(&six);
    let mut took = Vec::new();
    while took.is_empty() || load.good() < least {
        let new = json!({"env": {"COLOUR": format!("shade{}", took.len())}});
        let begun = SystemTime::now();
        let id = begin(&six, &new);
        let replaced = SIX
            .iter()
            .map(|name| six.time_until("replaced", name, begun));
        took.push(replaced.fold(0.0, f64::max) / 1e3);
        comes_to(&six, id, "done");
    }
    load.go_on_for(100);
    let report = load.stop();
    let a_replica = took.iter().sum::<f64>() / took.len() as f64 / SIX.len() as f64;
    let requests = requests(&report);
    let text = format!(
        "{a_replica:.2} s a replica, {} rollouts; {requests}",
        took.len()
    );
    assert_eq!(report.failures, [""; 0]);
    six.stop();
    let mut own = Duration::ZERO;
    let polling = polled(swarm, || own = update_own(swarm));
    let own = format!("{} a task, of three, start-first", seconds(own / 3));
    table.row("rollout of six", &text, &own, &polling);

    if all {
        let row = cut_off(&fleet, &balancer, 3);
        table.row("node cut off", &row.0, &row.1, &row.2);
        let row = cut_off(&fleet, &balancer, 1);
        table.row("leader's node cut off", &row.0, &row.1, &row.2);
    }
    table.print();
    balancer.stop();
}

/// Cuts a node off until its replicas and the tasks of the Swarm's own service answer elsewhere.
fn cut_off(fleet: &SwarmFleet, balancer: &SwarmBalancer, node: u32) -> (String, String, String) {
    let swarm = fleet.swarm;
    // Faults before have left nodes empty: one of each on each node, as after a start. To start something on a
    // node that has just come back may take the engines half a minute.
    spread_out(fleet, balancer, [1, 1, 1]);
    let there = on_node(fleet, node);
    let id = swarm.inspect(2, "node", &format!("node{node}"))["ID"].clone();
    let own_tasks = || running(swarm, 2).into_iter();
    let own_there = || own_tasks().filter(|task| task["NodeID"] == id).count();
    wait_until("the Swarm's own service is on the node", || {
        own_there() > 0 || {
            update_own(swarm);
            false
        }
    });
    let own_there = own_there();
    let proxy = polling::start(swarm, 2, OWN, OWN_NETWORK);
    let load = SwarmLoad::start(balancer);
    let cut = SystemTime::now();
    swarm.cut(node);
    let own = until_three(swarm, 2, |task| task["NodeID"] != id);
    let back = ready_after(balancer, &there, cut);
    load.go_on_for(100);
    let report = load.stop();
    let polling = requests(&proxy.stop());
    swarm.mend(node);
    wait_until("three nodes are ready", || {
        let listed = swarm.try_docker(2, &["node", "ls"]).unwrap_or_default();
        listed.matches(" Ready ").count() == 3
    });
    balancer.all_are_ready(&THREE);
    let ours = format!(
        "{} back elsewhere after {}; {}",
        there.len(),
        seconds(back),
        requests(&report)
    );
    (
        ours,
        format!("{own_there} run elsewhere after {}", seconds(own)),
        polling,
    )
}
