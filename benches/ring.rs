//! The time of a lookup and of a build, beside alternative crates.
//!
//! ```text
//! cargo bench --bench ring              # all; about a minute
//! cargo bench --bench ring -- lookup    # only what has "lookup" in its name
//! cargo bench --bench ring_balance      # balance and moved keys
//! ```
//!
//! `lookup` finds the owner of a key that is already a number, as the proxy does, and
//! counts the time a key takes in a stream of them. The other crates hash what they are
//! given: here the eight bytes of the same number. `waiting_lookup` starts each lookup
//! when the one before has ended, which is the time until a single answer is there.

use std::net::{Ipv4Addr, SocketAddr};

use divan::{Bencher, black_box};
use ringmaster::ring::{Key, Member, RingSpec, SlotTable, Strategy};

fn main() {
    divan::main();
}

const SIZES: [usize; 4] = [3, 20, 100, 1_000];
const KEYS: u64 = 10_000;

fn members(n: usize) -> Vec<Member> {
    let name = |i| format!("Server{i}").parse();
    (1..=n)
        .filter_map(|i| name(i).ok().map(Member::new))
        .collect()
}

fn names(n: usize) -> Vec<String> {
    (1..=n).map(|i| format!("Server{i}")).collect()
}

fn buckets(n: usize) -> Vec<pingora_ketama::Bucket> {
    let address = |i: usize| {
        let [.., high, low] = i.to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 80))
    };
    (1..=n)
        .map(|i| pingora_ketama::Bucket::new(address(i), 1))
        .collect()
}

/// Random keys, the same ones each time.
fn keys() -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..KEYS).map(|_| random.u64(..)).collect()
}

/// `classic`, `quadratic` or `modulo` with enough slots for the members.
fn table(strategy: Strategy, n: usize) -> Option<SlotTable> {
    let formula = matches!(
        strategy,
        Strategy::Classic | Strategy::Quadratic | Strategy::Modulo
    );
    let slots = formula.then(|| 512.max(n as u32 * 9).next_power_of_two());
    let spec = RingSpec::new(strategy, slots, None).ok()?;
    SlotTable::build(&spec, &members(n)).ok()
}

fn each_key(bencher: Bencher, mut find: impl FnMut(u64) -> usize) {
    let keys = keys();
    bencher.counter(KEYS).bench_local(|| {
        let mut sum = 0usize;
        for &key in &keys {
            sum = sum.wrapping_add(find(key));
        }
        sum
    });
}

mod lookup {
    use super::*;

    fn ours(bencher: Bencher, strategy: Strategy, n: usize) {
        let Some(table) = table(strategy, n) else {
            return;
        };
        each_key(bencher, |key| {
            let owner = table.owner(table.slot_of(Key(key)));
            owner.map_or(0, |m| m.get())
        });
    }

    #[divan::bench(args = SIZES)]
    fn classic(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Classic, n);
    }

    #[divan::bench(args = SIZES)]
    fn quadratic(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Quadratic, n);
    }

    #[divan::bench(args = SIZES)]
    fn modulo(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Modulo, n);
    }

    #[divan::bench(args = SIZES)]
    fn ring(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Ring, n);
    }

    #[divan::bench(args = SIZES)]
    fn maglev(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Maglev, n);
    }

    #[divan::bench(args = SIZES)]
    fn rendezvous(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Rendezvous, n);
    }

    #[divan::bench(args = SIZES)]
    fn other_pingora_ketama(bencher: Bencher, n: usize) {
        let ring = pingora_ketama::Continuum::new(&buckets(n));
        each_key(bencher, |key| ring.node_idx(&key.to_le_bytes()));
    }

    #[divan::bench(args = SIZES)]
    fn other_hashring(bencher: Bencher, n: usize) {
        let mut ring = hashring::HashRing::new();
        ring.batch_add((0..n).flat_map(|i| (0..160).map(move |j| (i, j))).collect());
        each_key(bencher, |key| ring.get(&key).map_or(0, |node| node.0));
    }

    #[divan::bench(args = SIZES)]
    fn other_hash_rings_maglev(bencher: Bencher, n: usize) {
        let names = names(n);
        let ring = hash_rings::maglev::Ring::with_capacity_hint(names.iter().collect(), 65_537);
        each_key(bencher, |key| ring.get_node(&key).len());
    }
}

#[divan::bench(args = SIZES)]
fn waiting_lookup(bencher: Bencher, n: usize) {
    let Some(table) = table(Strategy::Rendezvous, n) else {
        return;
    };
    let mut last = 0;
    each_key(bencher, |key| {
        last = table
            .owner(table.slot_of(Key(key ^ last as u64)))
            .map_or(0, |m| m.get());
        last
    });
}

/// The replica that replaces a key's owner.
#[divan::bench(args = SIZES)]
fn second_choice(bencher: Bencher, n: usize) {
    let Some(table) = table(Strategy::Rendezvous, n) else {
        return;
    };
    each_key(bencher, |key| {
        table.failover(Key(key)).nth(1).map_or(0, |m| m.get())
    });
}

mod build {
    use super::*;

    fn ours(bencher: Bencher, strategy: Strategy, n: usize) {
        bencher.bench(|| table(black_box(strategy), n));
    }

    #[divan::bench(args = SIZES, sample_count = 20)]
    fn classic(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Classic, n);
    }

    #[divan::bench(args = SIZES, sample_count = 20)]
    fn ring(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Ring, n);
    }

    #[divan::bench(args = SIZES, sample_count = 20)]
    fn maglev(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Maglev, n);
    }

    #[divan::bench(args = SIZES, sample_count = 20)]
    fn rendezvous(bencher: Bencher, n: usize) {
        ours(bencher, Strategy::Rendezvous, n);
    }

    #[divan::bench(args = SIZES, sample_count = 20)]
    fn other_pingora_ketama(bencher: Bencher, n: usize) {
        bencher.bench(|| pingora_ketama::Continuum::new(&buckets(n)));
    }

    #[divan::bench(args = SIZES, sample_count = 20)]
    fn other_hashring(bencher: Bencher, n: usize) {
        bencher.bench(|| {
            let mut ring = hashring::HashRing::new();
            ring.batch_add((0..n).flat_map(|i| (0..160).map(move |j| (i, j))).collect());
            ring
        });
    }

    #[divan::bench(args = SIZES, sample_count = 5)]
    fn other_hash_rings_maglev(bencher: Bencher, n: usize) {
        let names = names(n);
        bencher.bench(|| {
            hash_rings::maglev::Ring::with_capacity_hint(names.iter().collect(), 65_537).capacity()
        });
    }
}
