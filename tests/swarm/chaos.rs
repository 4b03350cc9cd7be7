//! A campaign of faults under constant load, with two balancers, and then many deaths with three:
//! `make chaos ARGS='--runtime swarm'` (`--seed N`, `--rounds N`, `--deaths N`). As a test it is one round,
//! and few deaths. Prints a table; fails if a request fails that may be repeated, if a death is healed
//! twice or not at all, or if two balancers send a key to different replicas afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::load::SwarmLoad;
use crate::nodes::{Swarm, swarm, wait_longer_until, wait_until};
use crate::rebalance::rebalance;
use crate::shared::route_alike;
use crate::timeline::Timeline;

const REPLICAS: [&str; 6] = [
    "Server1", "Server2", "Server3", "Server4", "Server5", "Server6",
];

/// Replicas die more often here than one does that is given up for a minute.
const OPTIONS: [&str; 4] = ["--replicas", "6", "--restart-limit", "1000"];

/// The longest pause before a start, with its jitter.
const MAX_BACKOFF: Duration = Duration::from_secs(75);

/// How long a part of the overlay may be broken after a node has come back: its engines take it apart when they
/// give the node up, and put it together when they exchange what they know, every 30 s. Meanwhile a balancer
/// finds replicas dead that it does not reach.
const OVERLAY_SETTLES: Duration = Duration::from_secs(120);

/// What `make chaos` says.
const VARIABLE: &str = "RINGMASTER_CHAOS";

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A task's container is killed on its node.
    Kill,
    /// It is paused.
    Hang,
    /// Its service is removed by hand.
    Remove,
    /// A node gives its tasks up, and takes some again later.
    Drain,
    /// A node is cut off, and comes back with stale tasks.
    Cut,
    /// A node dies, and starts again.
    Die,
    /// The other balancer is killed, and another one takes its place.
    KillBalancer,
}

const FAULTS: [Fault; 7] = [
    Fault::Kill,
    Fault::Hang,
    Fault::Remove,
    Fault::Drain,
    Fault::Cut,
    Fault::Die,
    Fault::KillBalancer,
];

struct Options {
    seed: u64,
    rounds: usize,
    deaths: u64,
}

impl Options {
    fn read() -> Self {
        let said = std::env::var(VARIABLE).unwrap_or_default();
        let words: Vec<&str> = said.split_whitespace().collect();
        let value = |name: &str, default: u64| {
            let place = words.iter().position(|word| *word == name);
            place.map_or(default, |place| {
                let text = words.get(place + 1).copied().unwrap_or_default();
                let number = text.parse();
                number.unwrap_or_else(|_| panic!("{name} {text:?} is no number"))
            })
        };
        for word in words.iter().filter(|word| word.starts_with("--")) {
            let known = ["--runtime", "--seed", "--rounds", "--deaths"];
            assert!(known.contains(word), "{word} is none of {known:?}");
        }
        Self {
            seed: value("--seed", 1),
            rounds: value("--rounds", 1) as usize,
            deaths: value("--deaths", if said.is_empty() { 6 } else { 100 }),
        }
    }
}

/// Chooses by a seed: a multiplier of Knuth's MMIX generator.
struct Choice(u64);

impl Choice {
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        all[(self.0 >> 33) as usize % all.len()]
    }
}

struct Campaign {
    swarm: &'static Swarm,
    fleet: SwarmFleet,
    /// Requests go through this one.
    near: SwarmBalancer,
    far: SwarmBalancer,
    choice: Choice,
    /// When a node that was lost has come back last.
    came_back: Option<Instant>,
}

fn generations(balancer: &SwarmBalancer) -> BTreeMap<String, u64> {
    let status = balancer.status();
    let replicas = status["replicas"].as_array().unwrap().iter();
    replicas
        .map(|replica| {
            let name = replica["name"].as_str().unwrap().to_owned();
            (name, replica["generation"].as_u64().unwrap())
        })
        .collect()
}

/// The instances that one of these balancers has found dead.
fn evicted(balancers: &[&SwarmBalancer]) -> BTreeSet<String> {
    let logs: Vec<String> = balancers.iter().map(|balancer| balancer.log()).collect();
    logs.iter()
        .flat_map(|log| log.lines())
        .filter_map(|line| {
            let (instance, _) = line.split_once(" is evicted")?;
            let (_, instance) = instance.rsplit_once("] ")?;
            Some(instance.to_owned())
        })
        .collect()
}

impl Campaign {
    fn new(swarm: &'static Swarm, seed: u64) -> Self {
        let fleet = SwarmFleet::new(swarm);
        let near = fleet.balancer(1, &OPTIONS);
        near.all_are_ready(&REPLICAS);
        let far = fleet.balancer(2, &OPTIONS);
        far.all_are_ready(&REPLICAS);
        Self {
            swarm,
            fleet,
            near,
            far,
            choice: Choice(seed),
            came_back: None,
        }
    }

    /// The replicas on a node.
    fn on(&self, node: u32) -> Vec<&'static str> {
        let is_there = |name: &&str| self.fleet.try_place(name).is_some_and(|(on, _)| on == node);
        REPLICAS.into_iter().filter(is_there).collect()
    }

    fn set_availability(&self, node: u32, availability: &str) {
        let name = format!("node{node}");
        let update = ["node", "update", "--availability", availability, &name];
        self.swarm.docker(1, &update);
    }

    /// Whether the third node leads the managers.
    fn third_leads(&self) -> bool {
        let format = ["--format", "{{.ManagerStatus.Leader}}"];
        let inspect = [&["node", "inspect", "node3"], &format[..]].concat();
        self.swarm.docker(1, &inspect) == "true"
    }

    /// Sees to it that there are replicas on the third node, on which there is no balancer. For a while
    /// after it was lost nothing starts there.
    fn fill_the_third(&mut self) {
        for balancer in [&self.near, &self.far] {
            wait_until("replicas may start on the third node", || {
                let spread = rebalance(balancer, "?dry_run=true");
                let nodes = spread["nodes"].as_array().cloned().unwrap_or_default();
                nodes.iter().any(|node| node["node"] == "node3")
            });
        }
        wait_until("replicas run on the third node", || {
            if self.on(3).is_empty() {
                rebalance(&self.near, "");
            }
            !self.on(3).is_empty()
        });
        wait_until("what has been moved has ended where it was", || {
            self.fleet.spread().iter().sum::<usize>() == REPLICAS.len()
        });
        for balancer in [&self.near, &self.far] {
            balancer.all_are_ready(&REPLICAS);
        }
    }

    /// Does it, and returns the replicas that lose their instances, and what to do afterwards.
    fn inflict(&mut self, fault: Fault) -> (Vec<&'static str>, Option<Vec<String>>) {
        let replica = self.choice.of(&REPLICAS);
        let node = |arguments: &[&str]| arguments.iter().map(|&word| word.to_owned()).collect();
        match fault {
            Fault::Kill => {
                self.fleet.kill(replica);
                (vec![replica], None)
            }
            Fault::Hang => {
                let (on, container) = self.fleet.place(replica);
                self.swarm.docker(on, &["pause", &container]);
                let on = on.to_string();
                let after = node(&["docker", &on, "unpause", &container]);
                (vec![replica], Some(after))
            }
            Fault::Remove => {
                let generation = generations(&self.near)[replica];
                let service = format!("{}-{replica}-{generation}", self.fleet.name);
                self.swarm.docker(1, &["service", "rm", &service]);
                (vec![replica], None)
            }
            Fault::Drain => {
                let (on, _) = self.fleet.place(replica);
                let lost = self.on(on);
                self.set_availability(on, "drain");
                let name = format!("node{on}");
                let active = [
                    "docker",
                    "1",
                    "node",
                    "update",
                    "--availability",
                    "active",
                    &name,
                ];
                (lost, Some(node(&active)))
            }
            Fault::Cut => {
                let lost = self.on(3);
                self.swarm.run(&["cut", "3"]);
                (lost, Some(node(&["mend", "3"])))
            }
            Fault::Die => {
                let lost = self.on(3);
                self.swarm.run(&["die", "3"]);
                (lost, Some(node(&["start", "3"])))
            }
            Fault::KillBalancer => {
                self.far.kill();
                (Vec::new(), None)
            }
        }
    }

    /// One fault under load, and a row of the table.
    fn run(&mut self, fault: Fault) {
        if matches!(fault, Fault::Cut | Fault::Die) {
            self.fill_the_third();
        }
        // Nothing is started before there is another one.
        let is_led = matches!(fault, Fault::Cut | Fault::Die) && self.third_leads();
        let before = generations(&self.near);
        let load = SwarmLoad::start(&self.near);
        let from = SystemTime::now();
        let (lost, afterwards) = self.inflict(fault);
        let times = lost
            .iter()
            .map(|name| self.near.time_until("ready", name, from));
        let back = times.fold(0.0, f64::max);
        if let Some(command) = afterwards {
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            // What was paused may have been killed by now.
            self.swarm.try_run(&command);
        }
        wait_until("three nodes are ready", || {
            let listed = self
                .swarm
                .try_docker(1, &["node", "ls"])
                .unwrap_or_default();
            listed.matches(" Ready ").count() == 3
        });
        if matches!(fault, Fault::Cut | Fault::Die) {
            self.came_back = Some(Instant::now());
        }
        if matches!(fault, Fault::KillBalancer) {
            self.far = self.fleet.balancer(2, &OPTIONS);
        }
        for balancer in [&self.near, &self.far] {
            balancer.all_are_ready(&REPLICAS);
        }
        load.go_on_for(200);
        let report = load.stop();
        let back = match lost.is_empty() {
            true => "-".to_owned(),
            false => format!("{back:.0} ms"),
        };
        println!(
            "| {fault:?}{} | {} | {back} | {} | {} | {:.0} ms |",
            if is_led { " (the leader)" } else { "" },
            lost.join(", "),
            report.good,
            report.failures.len(),
            report.slowest_ms
        );
        for replica in &lost {
            println!("  {}", Timeline::of(&self.fleet, &self.near, replica, from));
        }
        for (sent, what) in &report.slow {
            let sent = sent.duration_since(from).unwrap_or_default();
            println!("  sent at {:.2} s: {what}", sent.as_secs_f64());
        }
        assert_eq!(report.failures, [""; 0], "{fault:?}");
        self.each_death_is_healed_once(fault, &before, &lost);
        route_alike(&self.near, &self.far);
    }

    /// Those instances have a successor that the fault has ended, and while the overlay may be broken those that
    /// a balancer has not reached. `before`: the generations before the fault.
    fn each_death_is_healed_once(
        &self,
        fault: Fault,
        before: &BTreeMap<String, u64>,
        lost: &[&str],
    ) {
        let is_settled = |at: Instant| at.elapsed() > OVERLAY_SETTLES;
        let unreached = match self.came_back.is_none_or(is_settled) {
            true => BTreeSet::new(),
            false => evicted(&[&self.near, &self.far]),
        };
        let after = generations(&self.near);
        for (name, &generation) in before {
            for replaced in generation..after[name] {
                let instance = format!("{name} (generation {replaced})");
                let is_lost = replaced == generation && lost.contains(&name.as_str());
                if !is_lost {
                    let is_unreached = unreached.contains(&instance);
                    assert!(is_unreached, "{fault:?}: {instance} has died of nothing");
                    println!("  {instance} was not reached after a node had come back");
                }
            }
            let is_healed = after[name] > generation || !lost.contains(&name.as_str());
            assert!(is_healed, "{fault:?}: {name} is healed");
        }
    }

    /// Kills one after the other while three balancers look, and counts what they start.
    fn deaths(&mut self, deaths: u64) {
        let third = self.fleet.balancer(3, &OPTIONS);
        third.all_are_ready(&REPLICAS);
        let all = [&self.near, &self.far, &third];
        let before: u64 = generations(all[0]).values().sum();
        let begun = SystemTime::now();
        let mut slowest = Duration::ZERO;
        // In turn: who has just died waits longer.
        for replica in REPLICAS.iter().cycle().take(deaths as usize) {
            let next = generations(all[0])[*replica] + 1;
            let killed = SystemTime::now();
            self.fleet.kill(replica);
            for balancer in all {
                let what = format!("{replica} has generation {next}");
                wait_longer_until(2 * MAX_BACKOFF, &what, || {
                    let log = balancer.log();
                    log.contains(&format!("{replica} (generation {next}) is ready at"))
                });
            }
            slowest = slowest.max(killed.elapsed().unwrap_or_default());
        }
        for balancer in all {
            balancer.all_are_ready(&REPLICAS);
        }
        let restarts = generations(all[0]).values().sum::<u64>() - before;
        println!(
            "{deaths} deaths with three balancers: {restarts} restarts, in {:.0} s; the slowest was ready on all \
             three after {:.1} s",
            begun.elapsed().unwrap_or_default().as_secs_f64(),
            slowest.as_secs_f64()
        );
        assert_eq!(restarts, deaths);
        assert_eq!(generations(all[0]), generations(all[1]));
        assert_eq!(generations(all[0]), generations(all[2]));
        third.stop();
    }
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn nothing_fails_and_each_death_is_healed_once_in_a_campaign_of_faults() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let options = Options::read();
    let mut campaign = Campaign::new(swarm, options.seed);
    println!("seed {}", options.seed);
    println!("| fault | replicas | back | requests | failed | the slowest |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for _ in 0..options.rounds {
        let mut left = FAULTS.to_vec();
        while !left.is_empty() {
            let places: Vec<usize> = (0..left.len()).collect();
            let fault = left.remove(campaign.choice.of(&places));
            campaign.run(fault);
        }
    }
    campaign.deaths(options.deaths);
    campaign.far.stop();
    campaign.near.stop();
    wait_until("nothing is left", || campaign.fleet.services().is_empty());
}
