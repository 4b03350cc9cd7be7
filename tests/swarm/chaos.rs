//! A campaign of faults under constant load, with two balancers, and then many deaths with three:
//! `make chaos ARGS='--runtime swarm'` (`--seed N`, `--rounds N`, `--deaths N`). As a test it is one round,
//! and few deaths. Prints a table; fails if a request fails that may be repeated, if a death is healed
//! twice or not at all, or if two balancers send a key to different replicas afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use crate::fixture::{SwarmBalancer, SwarmFleet, Task, instance_name};
use crate::load::SwarmLoad;
use crate::nodes::{Swarm, swarm, wait_longer_until, wait_until};
use crate::rebalance::{MAX_REBALANCING, rebalance};
use crate::shared::route_alike;
use crate::timeline::Timeline;

const REPLICAS: [&str; 6] = [
    "Server1", "Server2", "Server3", "Server4", "Server5", "Server6",
];

/// Replicas die more often here than one does that is given up for a minute.
const OPTIONS: [&str; 4] = ["--replicas", "6", "--restart-limit", "1000"];

/// The longest pause before a start, with its jitter.
const MAX_BACKOFF: Duration = Duration::from_secs(75);

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
    /// Those that were killed.
    killed: Vec<SwarmBalancer>,
    choice: Choice,
}

/// What ends a fault.
type Recovery = Box<dyn FnOnce()>;

/// The generation of each replica at a time.
struct Generations {
    at: Instant,
    by_name: BTreeMap<String, u64>,
}

impl Generations {
    fn read(balancer: &SwarmBalancer) -> Self {
        let at = Instant::now();
        let status = balancer.status();
        let replicas = status["replicas"].as_array().unwrap().iter();
        let by_name = replicas.map(|replica| {
            let name = replica["name"].as_str().unwrap().to_owned();
            (name, replica["generation"].as_u64().unwrap())
        });
        let by_name = by_name.collect();
        Self { at, by_name }
    }

    /// Those on which these balancers agree.
    fn agreed(balancers: &[&SwarmBalancer]) -> Self {
        let mut first = Self::read(balancers[0]);
        wait_until("the balancers know of the same instances", || {
            first = Self::read(balancers[0]);
            let is_same = |other: &&SwarmBalancer| Self::read(other).by_name == first.by_name;
            balancers[1..].iter().all(is_same)
        });
        first
    }

    fn sum(&self) -> u64 {
        self.by_name.values().sum()
    }
}

/// Whether a balancer has a later instance of a replica, and it is ready.
fn has_successor(balancer: &SwarmBalancer, task: &Task) -> bool {
    let status = balancer.status();
    let mut replicas = status["replicas"].as_array().unwrap().iter();
    replicas.any(|replica| {
        replica["name"] == task.replica
            && replica["generation"].as_u64() > Some(task.generation)
            && replica["state"] == "ready"
    })
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
            killed: Vec::new(),
            choice: Choice(seed),
        }
    }

    /// Waits until each replica has one task, and both balancers find all of them ready.
    fn settle(&self) {
        wait_until("each replica has one task", || {
            self.fleet.spread().iter().sum::<usize>() == REPLICAS.len()
        });
        for balancer in [&self.near, &self.far] {
            balancer.all_are_ready(&REPLICAS);
        }
    }

    /// Whether the third node leads the managers.
    fn third_leads(&self) -> bool {
        let format = ["--format", "{{.ManagerStatus.Leader}}"];
        let inspect = [&["node", "inspect", "node3"], &format[..]].concat();
        self.swarm.docker(1, &inspect) == "true"
    }

    /// Sees to it that there are replicas on the third node, on which there is no balancer. For a while
    /// after it was lost nothing starts there.
    fn fill_the_third(&self) {
        for balancer in [&self.near, &self.far] {
            wait_until("replicas may start on the third node", || {
                let spread = rebalance(balancer, "?dry_run=true");
                let nodes = spread["nodes"].as_array().cloned().unwrap_or_default();
                nodes.iter().any(|node| node["node"] == "node3")
            });
        }
        wait_longer_until(MAX_REBALANCING, "replicas run on the third node", || {
            !self.fleet.tasks_on(3).is_empty() || {
                rebalance(&self.near, "");
                false
            }
        });
    }

    /// Does it, and returns the tasks that it ends, and what to do afterwards.
    fn inflict(&mut self, fault: Fault) -> (Vec<Task>, Option<Recovery>) {
        let replica = self.choice.of(&REPLICAS);
        let swarm = self.swarm;
        match fault {
            Fault::Kill => (vec![self.fleet.kill(replica).task], None),
            Fault::Hang => {
                let task = self.fleet.pause(replica);
                let (node, container) = (task.node, task.container.clone());
                // It may have been killed by then.
                let resume = move || drop(swarm.try_docker(node, &["unpause", &container]));
                (vec![task], Some(Box::new(resume)))
            }
            Fault::Remove => {
                let what = format!("the service of {replica} is removed");
                let removed = self.fleet.done_to(replica, 0, &what, |task| {
                    let service = format!("{}-{replica}-{}", self.fleet.name, task.generation);
                    swarm.try_docker(1, &["service", "rm", &service])?;
                    Some(task)
                });
                (vec![removed], None)
            }
            Fault::Drain => {
                let (node, _) = self.fleet.place(replica);
                let lost = self.fleet.tasks_on(node);
                swarm.set_availability(node, "drain");
                let activate = move || swarm.set_availability(node, "active");
                (lost, Some(Box::new(activate)))
            }
            Fault::Cut => {
                let lost = self.fleet.tasks_on(3);
                swarm.cut(3);
                (lost, Some(Box::new(move || swarm.mend(3))))
            }
            Fault::Die => {
                let lost = self.fleet.tasks_on(3);
                swarm.die(3);
                (lost, Some(Box::new(move || swarm.start_node(3))))
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
        self.settle();
        // Nothing is started before there is another one.
        let is_led = matches!(fault, Fault::Cut | Fault::Die) && self.third_leads();
        let before = Generations::agreed(&[&self.near, &self.far]);
        let load = SwarmLoad::start(&self.near);
        let from = SystemTime::now();
        let (lost, recovery) = self.inflict(fault);
        let times = lost
            .iter()
            .map(|task| self.near.time_until_healed(task, from));
        let back = times.fold(0.0, f64::max);
        if let Some(recover) = recovery {
            recover();
        }
        self.swarm.all_nodes_are_ready();
        if matches!(fault, Fault::KillBalancer) {
            let next = self.fleet.balancer(2, &OPTIONS);
            self.killed.push(std::mem::replace(&mut self.far, next));
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
        let names: Vec<&str> = lost.iter().map(|task| task.replica.as_str()).collect();
        println!(
            "| {fault:?}{} | {} | {back} | {} | {} | {:.0} ms |",
            if is_led { " (the leader)" } else { "" },
            names.join(", "),
            report.good,
            report.failures.len(),
            report.slowest_ms
        );
        for replica in names {
            println!("  {}", Timeline::of(&self.fleet, &self.near, replica, from));
        }
        for (sent, what) in &report.slow {
            let sent = sent.duration_since(from).unwrap_or_default();
            println!("  sent at {:.2} s: {what}", sent.as_secs_f64());
        }
        assert_eq!(report.failures, [""; 0], "{fault:?}");
        self.each_death_is_healed_once(&format!("{fault:?}"), &before, &lost, &[]);
        route_alike(&self.near, &self.far);
    }

    /// Those instances have a successor that the test has ended, and while the overlay may be broken those that
    /// a balancer has not reached. `before`: the generations before. `more`: balancers besides the two.
    fn each_death_is_healed_once(
        &self,
        what: &str,
        before: &Generations,
        ended: &[Task],
        more: &[&SwarmBalancer],
    ) {
        let alive = [&[&self.near, &self.far][..], more].concat();
        let after = Generations::agreed(&alive).by_name;
        let unreached: BTreeSet<String> = match self.swarm.overlay_may_have_broken(before.at) {
            true => {
                let all = self.killed.iter().chain(alive);
                all.flat_map(SwarmBalancer::found_dead).collect()
            }
            false => BTreeSet::new(),
        };
        let ended_by_test: BTreeSet<String> = ended.iter().map(Task::instance).collect();
        for (name, &first) in &before.by_name {
            let replaced = (first..after[name]).map(|generation| instance_name(name, generation));
            for instance in replaced.filter(|instance| !ended_by_test.contains(instance)) {
                let is_unreached = unreached.contains(&instance);
                assert!(is_unreached, "{what}: {instance} has died of nothing");
                println!("  {instance} was not reached after a node had come back");
            }
        }
        for task in ended {
            let is_healed = after[&task.replica] > task.generation;
            assert!(is_healed, "{what}: {} is healed", task.instance());
        }
    }

    /// Kills one after the other while three balancers look, and counts what they start.
    fn deaths(&self, deaths: u64) {
        let third = self.fleet.balancer(3, &OPTIONS);
        third.all_are_ready(&REPLICAS);
        self.settle();
        let all = [&self.near, &self.far, &third];
        let before = Generations::agreed(&all);
        let mut killed = Vec::new();
        let mut slowest = Duration::ZERO;
        // In turn: who has just died waits longer.
        for replica in REPLICAS.iter().cycle().take(deaths as usize) {
            let kill = self.fleet.kill(replica);
            let what = format!("{} has a successor", kill.task.instance());
            for balancer in all {
                wait_longer_until(2 * MAX_BACKOFF, &what, || {
                    has_successor(balancer, &kill.task)
                });
            }
            slowest = slowest.max(kill.at.elapsed().unwrap_or_default());
            killed.push(kill.task);
        }
        for balancer in all {
            balancer.all_are_ready(&REPLICAS);
        }
        println!(
            "{deaths} deaths with three balancers: {} restarts, in {:.0} s; the slowest was ready on all three \
             after {:.1} s",
            Generations::agreed(&all).sum() - before.sum(),
            before.at.elapsed().as_secs_f64(),
            slowest.as_secs_f64()
        );
        self.each_death_is_healed_once("deaths", &before, &killed, &[&third]);
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
