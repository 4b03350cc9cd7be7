//! The gain and the cost of `--balance-factor`: the default is chosen from this table.
//!
//! ```text
//! cargo bench --bench bounded_load
//! ```
//!
//! A simulation without sockets or a clock, on the ring and the bound that the balancer
//! itself uses: ten replicas, each of which works on 16 requests at once and lets the
//! others wait; service takes 10 ms on average (exponential); requests arrive at random
//! (Poisson) at 60 % of what all can do together. Every run has the same seed.
//!
//! * uniform: each request has a key of its own.
//! * Zipf: 10,000 keys, the n-th as frequent as 1 / n^1.1; the first has 13 % of the
//!   traffic, which is more than one replica's share.
//! * one slow: one of the ten takes four times as long.
//!
//! Columns: the share of requests served elsewhere than by the key's owner (a cache or
//! session that is not there), the 50th and 99th percentile of the time from arrival to
//! answer, and the most loaded replica's requests in flight over the mean.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use comfy_table::{CellAlignment, Table, presets};
use fastrand::Rng;
use ringmaster::ring::{BalanceFactor, Key, Member, RingSpec, SlotTable};

const REPLICAS: usize = 10;
const AT_ONCE: usize = 16;
const SERVICE_S: f64 = 0.010;
const LOAD: f64 = 0.6;
const SLOWDOWN: f64 = 4.0;
const REQUESTS: usize = 400_000;
const HOT_KEYS: u64 = 10_000;
const ZIPF: f64 = 1.1;
const FACTORS: [Option<f64>; 7] = [
    None,
    Some(3.0),
    Some(2.0),
    Some(1.5),
    Some(1.25),
    Some(1.1),
    Some(1.01),
];

#[derive(Default)]
struct Replica {
    /// The arrival and the service time of each waiting request.
    waiting: VecDeque<(f64, f64)>,
    serving: usize,
    in_flight_seconds: f64,
    since: f64,
}

impl Replica {
    fn in_flight(&self) -> usize {
        self.waiting.len() + self.serving
    }

    fn account(&mut self, now: f64) {
        self.in_flight_seconds += self.in_flight() as f64 * (now - self.since);
        self.since = now;
    }
}

/// The end of a request: when, where, and when it had arrived.
#[derive(PartialEq)]
struct End(f64, usize, f64);

impl Eq for End {}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for End {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

struct Outcome {
    elsewhere: f64,
    p50_ms: f64,
    p99_ms: f64,
    peak: f64,
}

fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

/// Draws keys: Zipf's by inversion of the cumulative shares, or fresh ones.
struct Keys(Option<Vec<f64>>);

impl Keys {
    fn zipf() -> Self {
        let mut sum = 0.0;
        let mut shares: Vec<f64> = (1..=HOT_KEYS)
            .map(|n| {
                sum += (n as f64).powf(-ZIPF);
                sum
            })
            .collect();
        for share in &mut shares {
            *share /= sum;
        }
        Self(Some(shares))
    }

    fn draw(&self, rng: &mut Rng) -> Key {
        match &self.0 {
            Some(shares) => {
                let at = rng.f64();
                let rank = shares.partition_point(|&share| share < at);
                Key::from_bytes(format!("key-{rank}").as_bytes())
            }
            None => Key(rng.u64(..)),
        }
    }
}

/// As ProxyWorker does it: the owner, or the first in the key's order that is below its bound.
fn choose(
    table: &SlotTable,
    replicas: &[Replica],
    key: Key,
    factor: Option<BalanceFactor>,
) -> usize {
    let total: usize = replicas.iter().map(Replica::in_flight).sum();
    let has_room = |replica: &usize| {
        factor.is_none_or(|factor| {
            let bound = factor.bound(1, REPLICAS as u64, total as u64);
            (replicas[*replica].in_flight() as u64) < bound
        })
    };
    let mut order = table.failover(key).map(|index| index.get());
    let owner = table.failover(key).next().map_or(0, |index| index.get());
    order.find(has_room).unwrap_or(owner)
}

fn simulate(
    table: &SlotTable,
    keys: &Keys,
    one_slow: bool,
    factor: Option<BalanceFactor>,
) -> Outcome {
    let mut rng = Rng::with_seed(2_026);
    let mut replicas: Vec<Replica> = (0..REPLICAS).map(|_| Replica::default()).collect();
    let mut ends: BinaryHeap<Reverse<End>> = BinaryHeap::new();
    let mut latencies = Vec::with_capacity(REQUESTS);
    let mut elsewhere = 0;
    let mut now = 0.0;
    let per_second = LOAD * (REPLICAS * AT_ONCE) as f64 / SERVICE_S;
    for _ in 0..REQUESTS {
        now += exponential(&mut rng, 1.0 / per_second);
        while ends.peek().is_some_and(|Reverse(end)| end.0 <= now) {
            let Some(Reverse(End(at, place, arrived))) = ends.pop() else {
                break;
            };
            latencies.push(at - arrived);
            let replica = &mut replicas[place];
            replica.account(at);
            replica.serving -= 1;
            if let Some((arrived, service)) = replica.waiting.pop_front() {
                replica.serving += 1;
                ends.push(Reverse(End(at + service, place, arrived)));
            }
        }
        let key = keys.draw(&mut rng);
        let place = choose(table, &replicas, key, factor);
        let owner = table.owner(table.slot_of(key)).map(|index| index.get());
        elsewhere += usize::from(owner != Some(place));
        let slow = one_slow && place == 0;
        let mean = if slow {
            SERVICE_S * SLOWDOWN
        } else {
            SERVICE_S
        };
        let service = exponential(&mut rng, mean);
        let replica = &mut replicas[place];
        replica.account(now);
        if replica.serving < AT_ONCE {
            replica.serving += 1;
            ends.push(Reverse(End(now + service, place, now)));
        } else {
            replica.waiting.push_back((now, service));
        }
    }
    for replica in &mut replicas {
        replica.account(now);
    }
    // Requests that still wait at the end count with the time so far; without them overloaded
    // replicas would look better than they are.
    latencies.extend(ends.iter().map(|Reverse(end)| end.0 - end.2));
    let queued = replicas.iter().flat_map(|replica| &replica.waiting);
    latencies.extend(queued.map(|(arrived, service)| now - arrived + service));
    latencies.sort_by(f64::total_cmp);
    let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize] * 1_000.0;
    let held = replicas.iter().map(|replica| replica.in_flight_seconds);
    let mean = held.clone().sum::<f64>() / REPLICAS as f64;
    Outcome {
        elsewhere: elsewhere as f64 / REQUESTS as f64,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        peak: held.fold(0.0, f64::max) / mean,
    }
}

fn main() {
    let members: Vec<Member> = (1..=REPLICAS)
        .map(|number| {
            let name = format!("Server{number}").parse();
            Member::new(name.expect("a plain word is a name"))
        })
        .collect();
    let table = SlotTable::build(&RingSpec::default(), &members).expect("ten replicas fit");
    let uniform = Keys(None);
    let zipf = Keys::zipf();
    for (what, keys, one_slow) in [
        ("uniform keys", &uniform, false),
        ("Zipf keys", &zipf, false),
        ("uniform keys, one slow replica", &uniform, true),
        ("Zipf keys, one slow replica", &zipf, true),
    ] {
        let mut grid = Table::new();
        grid.load_style(presets::ASCII_MARKDOWN).set_header([
            "C",
            "elsewhere %",
            "p50 ms",
            "p99 ms",
            "peak/mean",
        ]);
        for factor in FACTORS {
            let bound = factor.map(|factor| BalanceFactor::new(factor).expect("in its range"));
            let outcome = simulate(&table, keys, one_slow, bound);
            grid.add_row([
                factor.map_or("none".to_owned(), |factor| factor.to_string()),
                format!("{:.1}", outcome.elsewhere * 100.0),
                format!("{:.1}", outcome.p50_ms),
                format!("{:.0}", outcome.p99_ms),
                format!("{:.2}", outcome.peak),
            ]);
        }
        for column in grid.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("### {what}\n\n{grid}\n");
    }
}
