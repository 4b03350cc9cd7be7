//! How even the shares are and how many keys move, for every strategy and for alternative crates.
//!
//! ```text
//! cargo bench --bench ring_balance
//! ```
//!
//! * `peak`: the share of the most loaded replica over its fair share. 1 is perfect.
//! * `leave`, `join`: the keys that move when one of N leaves or joins, over the share that
//!   has to, which is that replica's fair share. 1 is perfect. `leave` is the mean over up
//!   to twenty leavers, spread over all; behind it is the worst of them.
//! * `1:2:4`: the replicas have these weights in turn.
//!
//! Tables of this crate are compared slot by slot. Of the others, whose insides are hidden,
//! a million keys are looked up, which adds noise: at N = 100, two standard deviations of a
//! share are two per cent of it.

use std::net::{Ipv4Addr, SocketAddr};

use ringmaster::ring::{Member, Moved, Ownership, RingSpec, SlotTable, Strategy, Weight};

const SIZES: [usize; 5] = [3, 6, 20, 100, 1_000];
const KEYS: u64 = 1_000_000;

/// A replica of an experiment: its number and its weight.
type Node = (usize, u32);

/// The owners of all slots or keys for one set of replicas.
trait Arrangement {
    /// The peak share over the fair one.
    fn peak(&self) -> f64;
    /// What moves from this to another, over what has to.
    fn moved_to(&self, other: &Self) -> f64;
}

impl Arrangement for SlotTable {
    fn peak(&self) -> f64 {
        Ownership::by_slots(self).peak_to_mean()
    }

    fn moved_to(&self, other: &Self) -> f64 {
        let moved = Moved::by_slots(self, other);
        moved.and_then(|moved| moved.factor()).unwrap_or(f64::NAN)
    }
}

/// The replica of every key, and the replicas.
struct Sample(Vec<usize>, Vec<Node>);

impl Sample {
    fn new(nodes: &[Node], find: impl Fn(u64) -> usize) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        Self(
            (0..KEYS).map(|_| find(random.u64(..))).collect(),
            nodes.to_vec(),
        )
    }

    fn fair(&self, number: usize) -> f64 {
        let total: u32 = self.1.iter().map(|node| node.1).sum();
        let weight = self.1.iter().find(|node| node.0 == number);
        weight.map_or(0.0, |node| f64::from(node.1) / f64::from(total))
    }
}

impl Arrangement for Sample {
    fn peak(&self) -> f64 {
        let mut counts = std::collections::HashMap::new();
        for number in &self.0 {
            *counts.entry(*number).or_insert(0u32) += 1;
        }
        let share = |n: u32| f64::from(n) / KEYS as f64;
        let ratios = counts
            .into_iter()
            .map(|(number, n)| share(n) / self.fair(number));
        ratios.fold(0.0, f64::max)
    }

    fn moved_to(&self, other: &Self) -> f64 {
        let moved = self
            .0
            .iter()
            .zip(&other.0)
            .filter(|(old, new)| old != new)
            .count();
        let grown = |node: &Node| (other.fair(node.0) - self.fair(node.0)).max(0.0);
        let unavoidable: f64 = other.1.iter().map(grown).sum();
        moved as f64 / KEYS as f64 / unavoidable
    }
}

fn nodes(n: usize, mixed: bool) -> Vec<Node> {
    let weight = |i: usize| if mixed { [1, 2, 4][i % 3] } else { 1 };
    (0..n).map(|i| (i, weight(i))).collect()
}

/// One cell of the table: peak, leave (worst), join.
fn measure<A: Arrangement>(
    n: usize,
    mixed: bool,
    build: &dyn Fn(&[Node]) -> Option<A>,
) -> Option<String> {
    let more = nodes(n + 1, mixed);
    let all = &more[..n];
    let before = build(all)?;
    let mut peak = before.peak();
    let (mut sum, mut worst, mut times) = (0.0, 0.0f64, 0.0);
    for leaver in (0..n).step_by(n.div_ceil(20)) {
        let mut left = all.to_vec();
        left.remove(leaver);
        let after = build(&left)?;
        peak = peak.max(after.peak());
        let moved = before.moved_to(&after);
        worst = worst.max(moved);
        sum += moved;
        times += 1.0;
    }
    let join = before.moved_to(&build(&more)?);
    Some(format!(
        "{peak:7.3} {:6.2} ({worst:5.2}) {join:6.2}",
        sum / times
    ))
}

fn row<A: Arrangement>(name: &str, build: &dyn Fn(&[Node]) -> Option<A>) {
    for n in SIZES {
        let cell = |mixed| measure(n, mixed, build).unwrap_or_else(|| format!("{:>28}", "-"));
        println!("{name:34} {n:5} | {} | {}", cell(false), cell(true));
    }
    println!();
}

fn ours(name: &str, strategy: Strategy, slots: Option<u32>, virtual_servers: Option<u32>) {
    row(name, &|nodes: &[Node]| {
        let member = |&(number, weight): &Node| {
            Some(Member {
                name: format!("Server{}", number + 1).parse().ok()?,
                weight: Weight::new(weight)?,
            })
        };
        let members: Option<Vec<Member>> = nodes.iter().map(member).collect();
        let spec = RingSpec::new(strategy, slots, virtual_servers).ok()?;
        SlotTable::build(&spec, &members?).ok()
    });
}

fn main() {
    println!(
        "{:40} | {:^28} | {:^28}",
        "", "equal weights", "weights 1:2:4"
    );
    println!(
        "{:34} {:>5} | {h} | {h}",
        "",
        "N",
        h = "   peak  leave (worst)   join"
    );
    ours("classic, 512 slots, K=9", Strategy::Classic, None, None);
    ours("quadratic, 512 slots, K=9", Strategy::Quadratic, None, None);
    ours("ring, 65,536 slots, K=160", Strategy::Ring, None, None);
    ours("maglev, 65,537 slots", Strategy::Maglev, None, None);
    ours(
        "rendezvous, 65,536 slots",
        Strategy::Rendezvous,
        Some(65_536),
        None,
    );
    ours(
        "rendezvous, 131,072 slots",
        Strategy::Rendezvous,
        Some(131_072),
        None,
    );
    ours(
        "rendezvous, 262,144 slots",
        Strategy::Rendezvous,
        None,
        None,
    );
    ours(
        "rendezvous, 1,048,576 slots",
        Strategy::Rendezvous,
        Some(1_048_576),
        None,
    );

    row("pingora-ketama 0.9", &|nodes: &[Node]| {
        let address = |number: usize| {
            let [.., high, low] = number.to_be_bytes();
            SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 80))
        };
        let bucket = |node: &Node| pingora_ketama::Bucket::new(address(node.0), node.1);
        let buckets: Vec<_> = nodes.iter().map(bucket).collect();
        let ring = pingora_ketama::Continuum::new(&buckets);
        Some(Sample::new(nodes, |key| {
            match ring.node(&key.to_le_bytes()) {
                Some(SocketAddr::V4(address)) => {
                    let [.., high, low] = address.ip().octets();
                    usize::from(u16::from_be_bytes([high, low]))
                }
                _ => usize::MAX,
            }
        }))
    });
    row("hashring 0.3, 160 nodes a replica", &|nodes: &[Node]| {
        let mut ring = hashring::HashRing::new();
        for &(number, weight) in nodes {
            ring.batch_add((0..160 * weight).map(|j| (number, j)).collect());
        }
        Some(Sample::new(nodes, |key| {
            ring.get(&key).map_or(usize::MAX, |node| node.0)
        }))
    });
    row("hash-rings 1.1 maglev, 65,537", &|nodes: &[Node]| {
        if nodes.iter().any(|node| node.1 > 1) {
            return None;
        }
        let numbers: Vec<usize> = nodes.iter().map(|node| node.0).collect();
        let ring = hash_rings::maglev::Ring::with_capacity_hint(numbers.iter().collect(), 65_537);
        Some(Sample::new(nodes, |key| *ring.get_node(&key)))
    });
}
