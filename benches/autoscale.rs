//! `--target-in-flight` beside the rule of Kubernetes' HorizontalPodAutoscaler (HPA), on simulated load.
//!
//! ```text
//! cargo bench --bench autoscale        # make bench-autoscale
//! ```
//!
//! A simulation without sockets or a clock, in steps of a second, with the rule that the balancer
//! uses. A replica is to have 10 requests in flight and works on 20 at once; a request takes 100 ms; what
//! is beyond all replicas is lost. A replica that is started is ready after 20 s. 1 to 40 replicas.
//!
//! * day: 24 hours between 8 and 150 requests in flight, as a sine, with noise of 10 %.
//! * spikes: 4 hours of 20 in flight, five times as many for two minutes each half hour.
//! * step: an hour of 20, then an hour of 200.
//! * outage: 2 hours of 60; for one minute no request is let through by what is in front.
//!
//! HPA, with its defaults: a decision every 15 s, on the mean of the 15 s before that, which is 15 s old
//! (metrics-server's resolution); tolerance 10 %; at most twice as many or 4 more per decision; fewer
//! after 300 s. Columns: requests lost, replica-hours, changes of the number, and by how many replicas' worth
//! of keys the changes moved them (rendezvous on 65,536 slots).

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use fastrand::Rng;
use ringmaster::fleet::{Autoscaler, FleetLoadSample, ScalingPolicy};
use ringmaster::ring::{Member, RingSpec, SlotTable};

const TARGET: u32 = 10;
const AT_ONCE: f64 = 20.0;
const REQUESTS_PER_SECOND: f64 = 10.0;
const START_S: u64 = 20;
const MAX: usize = 40;
const DOWN_AFTER_S: u64 = 300;

/// Decides once a second how many replicas there are to be.
trait Rule {
    fn wanted(&mut self, second: u64, desired: usize, load: f64) -> usize;
}

struct Ours(Autoscaler);

impl Rule for Ours {
    fn wanted(&mut self, second: u64, desired: usize, load: f64) -> usize {
        let seen = FleetLoadSample {
            desired,
            load,
            idle_for: Duration::ZERO,
            is_held: false,
            is_least: false,
        };
        let wanted = self.0.decide(Duration::from_secs(second), seen);
        wanted.unwrap_or(desired)
    }
}

#[derive(Default)]
struct Hpa {
    loads: VecDeque<f64>,
    recommended: VecDeque<(u64, usize)>,
}

impl Rule for Hpa {
    fn wanted(&mut self, second: u64, desired: usize, load: f64) -> usize {
        self.loads.push_back(load);
        if self.loads.len() > 30 {
            self.loads.pop_front();
        }
        if !second.is_multiple_of(15) || self.loads.len() < 30 {
            return desired;
        }
        let mean = self.loads.iter().take(15).sum::<f64>() / 15.0;
        let ratio = mean / f64::from(TARGET) / desired as f64;
        let needed = match (ratio - 1.0).abs() <= 0.1 {
            true => desired,
            false => ((desired as f64 * ratio).ceil() as usize).clamp(1, MAX),
        };
        self.recommended.push_back((second, needed));
        while self
            .recommended
            .front()
            .is_some_and(|(at, _)| second - at > DOWN_AFTER_S)
        {
            self.recommended.pop_front();
        }
        if needed >= desired {
            return needed.min((desired * 2).max(desired + 4));
        }
        let most = self.recommended.iter().map(|(_, needed)| *needed).max();
        // Until the window is full HPA has what it recommended at its start: what there was.
        match second < DOWN_AFTER_S {
            true => desired,
            false => most.unwrap_or(needed).min(desired),
        }
    }
}

#[derive(Default)]
struct Outcome {
    requests: f64,
    lost: f64,
    replica_seconds: f64,
    changes: usize,
    moved: f64,
}

fn run(rule: &mut dyn Rule, loads: &[f64], tables: &mut Tables) -> Outcome {
    let mut outcome = Outcome::default();
    let mut desired = 2;
    // When those that are being started are ready.
    let mut starting: VecDeque<u64> = VecDeque::new();
    for (second, load) in (0..).zip(loads) {
        while starting.front().is_some_and(|at| *at <= second) {
            starting.pop_front();
        }
        let ready = desired - starting.len();
        let lost = (load - ready as f64 * AT_ONCE).max(0.0);
        outcome.requests += load * REQUESTS_PER_SECOND;
        outcome.lost += lost * REQUESTS_PER_SECOND;
        outcome.replica_seconds += desired as f64;
        let wanted = rule.wanted(second, desired, load - lost);
        if wanted == desired {
            continue;
        }
        outcome.changes += 1;
        outcome.moved += tables.moved(desired, wanted) * desired.max(wanted) as f64;
        for _ in desired..wanted {
            starting.push_back(second + START_S);
        }
        // The newest go first, those that are not ready yet before all.
        for _ in wanted..desired {
            starting.pop_back();
        }
        desired = wanted;
    }
    outcome
}

/// Slot tables by their number of replicas.
#[derive(Default)]
struct Tables(BTreeMap<usize, SlotTable>);

impl Tables {
    fn of(&mut self, count: usize) -> &SlotTable {
        self.0.entry(count).or_insert_with(|| {
            let names = (1..=count).map(|number| format!("Server{number}"));
            let members: Vec<_> = names
                .filter_map(|name| Some(Member::new(name.parse().ok()?)))
                .collect();
            SlotTable::build(&RingSpec::default(), &members)
                .expect("a table of 40 members can be built")
        })
    }

    /// The share of keys that another replica has after a change.
    fn moved(&mut self, before: usize, after: usize) -> f64 {
        // Members are in one order, of which a smaller table has the beginning.
        let owners =
            |table: &SlotTable| -> Vec<_> { table.slots().map(|s| table.owner(s)).collect() };
        let (before, after) = (owners(self.of(before)), owners(self.of(after)));
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after);
        moved.count() as f64 / before.len() as f64
    }
}

fn loads() -> [(&'static str, Vec<f64>); 4] {
    let mut rng = Rng::with_seed(7);
    let mut noisy = |load: f64| load * (1.0 + 0.1 * (rng.f64() * 2.0 - 1.0));
    let day = |second: u64| {
        let angle = second as f64 / 86_400.0 * std::f64::consts::TAU;
        79.0 - 71.0 * angle.cos()
    };
    let spike = |second: u64| {
        if second % 1_800 < 120 && second > 600 {
            100.0
        } else {
            20.0
        }
    };
    let step = |second: u64| if second < 3_600 { 20.0 } else { 200.0 };
    let outage = |second: u64| {
        if (3_600..3_660).contains(&second) {
            0.0
        } else {
            60.0
        }
    };
    [
        (
            "day",
            (0..86_400).map(|second| noisy(day(second))).collect(),
        ),
        (
            "spikes",
            (0..14_400).map(|second| noisy(spike(second))).collect(),
        ),
        (
            "step",
            (0..7_200).map(|second| noisy(step(second))).collect(),
        ),
        (
            "outage",
            (0..7_200).map(|second| noisy(outage(second))).collect(),
        ),
    ]
}

fn main() {
    let policy = ScalingPolicy {
        min: 1,
        max: MAX,
        target_in_flight: NonZeroU32::new(TARGET).expect("it is not zero"),
        down_after: Duration::from_secs(DOWN_AFTER_S),
        idle_to_zero: Duration::MAX,
    };
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "load",
        "rule",
        "lost",
        "of",
        "replica-hours",
        "changes",
        "moved",
    ]);
    let mut tables = Tables::default();
    for (name, loads) in loads() {
        let rules: [(&str, Box<dyn Rule>); 2] = [
            ("ringmaster", Box::new(Ours(Autoscaler::new(policy)))),
            ("HPA", Box::new(Hpa::default())),
        ];
        for (rule, mut decides) in rules {
            let outcome = run(&mut *decides, &loads, &mut tables);
            table.add_row([
                name.to_owned(),
                rule.to_owned(),
                format!("{:.0}", outcome.lost),
                format!("{:.0}", outcome.requests),
                format!("{:.1}", outcome.replica_seconds / 3_600.0),
                outcome.changes.to_string(),
                format!("{:.1}", outcome.moved),
            ]);
        }
    }
    for column in 2..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
}
