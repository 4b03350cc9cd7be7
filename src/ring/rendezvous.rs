//! `rendezvous`, the default: every slot goes to the member that bids least for it.
//!
//! Thaler and Ravishankar ("Using name-based mappings to increase hit rates", IEEE/ACM
//! Transactions on Networking, 1998) let each member draw a number for each object and
//! give the object to the best. A member that leaves then moves its own objects only.
//! Weights come in by drawing from exponential distributions: the least of the draws
//! -ln(u) / w belongs to each member with a probability proportional to its w
//! (Schindelhauer, Schomaker: "Weighted distributed hash tables", SPAA 2005).
//!
//! Here a bid is such a draw, with three changes:
//!
//! * **u comes from a rank.** Each member orders the slots of each block of 4,096 by a
//!   permutation of its own (as in Maglev), and u is the place of the slot in it, with a
//!   jitter below one place. So a member's draws are spread evenly over (0, 1) instead of
//!   just on average, which makes its share vary less. And the permutation can be inverted:
//!   a member can name the slots it bids least for without trying all of them, so that a
//!   table costs about M ln N steps where comparing all bids costs M times N.
//! * **The logarithm is a table of whole numbers.** `f64::ln` is the platform's, and two
//!   platforms may differ in the last bit, which is enough for two balancers to disagree
//!   about a slot. Whole numbers can't.
//! * **Nobody wins more than a capacity**: see [`super::matching`].

use super::hash::Stream;
use super::member::Member;
use super::permutation::{Domain, Permutation};
use super::table::MemberIndex;

/// What a member asks for a slot; the least bid wins. The member is part of it, so that no
/// two bids for a slot are equal: a tie goes to the first by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bid(u64);

impl Bid {
    /// Above every bid.
    const NONE: Self = Self(u64::MAX);

    #[inline]
    fn new(price: u64, member: MemberIndex) -> Self {
        Self((price << 16) | u64::from(member.0))
    }

    /// What is asked for the slot.
    pub(super) fn price(self) -> u64 {
        self.0 >> 16
    }

    /// Whose bid it is.
    #[inline]
    pub(super) fn member(self) -> MemberIndex {
        MemberIndex(self.0 as u16)
    }
}

/// How many slots have their ranks among themselves. Small enough for the level 1 cache to
/// hold a bid for each while the members name their slots, which come in no order: with
/// one order for all slots, nearly all the time went into waiting for memory.
const BLOCK: u32 = 1 << 12;

/// A rank below [`BLOCK`] and a jitter have 32 bits together.
const JITTER_BITS: u32 = 20;

/// All bids of a member set for M slots.
#[derive(Debug)]
pub(super) struct Bids {
    slots: u32,
    bidders: Box<[Bidder]>,
}

#[derive(Debug)]
struct Bidder {
    order: Permutation,
    jitter: u64,
    weight: u32,
    /// 2^32 / weight, since multiplying is faster than dividing.
    per_weight: u64,
}

/// Some neighbouring slots, [`BLOCK`] of them or, at the end of the table, fewer.
struct Block {
    first: u32,
    size: u32,
    domain: Domain,
    /// 2^44 / size: turns a jittered rank into a fraction of 2^32.
    scale: u64,
}

impl Bids {
    /// The bids of these members for slots 0 to `slots` - 1.
    pub(super) fn new(slots: u32, members: &[Member]) -> Self {
        let bidder = |member: &Member| {
            let mut stream = Stream::of(&member.name);
            Bidder {
                order: Permutation::new(&mut stream),
                jitter: stream.draw(),
                weight: member.weight.get(),
                per_weight: (1 << 32) / u64::from(member.weight.get()),
            }
        };
        Self {
            slots,
            bidders: members.iter().map(bidder).collect(),
        }
    }

    /// The number of slots.
    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    #[inline]
    fn block(&self, number: u32) -> Block {
        let first = number * BLOCK;
        let size = BLOCK.min(self.slots - first);
        Block {
            first,
            size,
            domain: Domain::new(number, size),
            scale: (1 << 44) / u64::from(size),
        }
    }

    /// All bids for a slot, in the order of the members.
    #[inline]
    pub(super) fn all(&self, slot: u32) -> impl Iterator<Item = Bid> {
        let block = self.block(slot / BLOCK);
        (0..).zip(&self.bidders).map(move |(member, bidder)| {
            let rank = bidder.order.rank_of(&block.domain, slot - block.first);
            bidder.bid(&block, MemberIndex(member), rank)
        })
    }

    /// The least bid for a slot that is above another; `None` if there is none.
    pub(super) fn next_above(&self, slot: u32, bid: Bid) -> Option<Bid> {
        self.all(slot).filter(|next| *next > bid).min()
    }

    /// Tells the least bid for every slot, slot by slot. There must be members.
    pub(super) fn least(&self, mut tell: impl FnMut(u32, Bid)) {
        let mut least = Vec::with_capacity(BLOCK as usize);
        for number in 0..self.slots.div_ceil(BLOCK) {
            let block = self.block(number);
            self.least_in(&block, &mut least);
            for (slot, bid) in (block.first..).zip(&least) {
                tell(slot, *bid);
            }
        }
    }

    /// Puts the least bid for every slot of a block into `least`.
    ///
    /// Each member names the slots it bids least for, a few times its share of them, and
    /// most slots are named by several: the least of those bids wins if it is below all
    /// bids that have not been looked at. The few other slots ask every member.
    fn least_in(&self, block: &Block, least: &mut Vec<Bid>) {
        least.clear();
        least.resize(block.size as usize, Bid::NONE);
        let size = u64::from(block.size);
        let total: u64 = self.bidders.iter().map(|b| u64::from(b.weight)).sum();
        // A slot stays unnamed with probability e^-depth and then costs N steps, so the
        // best depth is near ln N.
        let depth = 2 + u64::from(self.bidders.len().ilog2()) / 2;
        let mut unseen = Bid::NONE;
        for (member, bidder) in (0..).zip(&self.bidders) {
            let named = (depth * size * u64::from(bidder.weight)).div_ceil(total);
            let named = named.min(size) as u32;
            for rank in 0..named {
                let slot = bidder.order.at_rank(&block.domain, rank) as usize;
                least[slot] = least[slot].min(bidder.bid(block, MemberIndex(member), rank));
            }
            if named < block.size {
                let next = Bid::new(bidder.price(block, named, 0), MemberIndex(0));
                unseen = unseen.min(next);
            }
        }
        for (slot, bid) in (block.first..).zip(least) {
            if *bid >= unseen {
                *bid = self.all(slot).min().unwrap_or(Bid::NONE);
            }
        }
    }
}

impl Bidder {
    /// The bid for the slot of a block that has this rank.
    #[inline]
    fn bid(&self, block: &Block, member: MemberIndex, rank: u32) -> Bid {
        let place = u64::from(rank) | block.domain.tweak();
        // Multiply-shift (Dietzfelbinger and others, 1997) is spread well enough for what
        // only decides between equal ranks.
        let jitter = (place ^ self.jitter).wrapping_mul(self.order.multiplier());
        let jitter = (jitter >> (64 - JITTER_BITS)) as u32;
        Bid::new(self.price(block, rank, jitter), member)
    }

    #[inline]
    fn price(&self, block: &Block, rank: u32, jitter: u32) -> u64 {
        let place = (u64::from(rank) << JITTER_BITS) | u64::from(jitter);
        // Of 44 bits at most, so that a bid has sixteen left for the member.
        let draw = exponential(((place * block.scale) >> 32) as u32);
        ((u128::from(draw) * u128::from(self.per_weight)) >> 32) as u64
    }
}

/// -ln(1 - t) in units of 2^-40, for t in units of 2^-32: turns an even draw into an
/// exponential one. Linear between 1,024 knots, strictly rising, below 2^44.
#[inline]
fn exponential(t: u32) -> u64 {
    let knot = (t >> 22) as usize;
    let within = u64::from(t & ((1 << 22) - 1));
    let (from, to) = (KNOTS[knot], KNOTS[knot + 1]);
    // A step between knots is below 2^41, so this product is below 2^63.
    from + (((to - from) * within) >> 22)
}

/// -ln(1 - i / 1024) in units of 2^-40. It is the integral of 1 / (1 - t), summed up here
/// by the midpoint rule, whose relative error is below a millionth but near t = 1. There it
/// is finite where the logarithm is not, which does no harm: nobody wins with such a bid.
static KNOTS: [u64; 1025] = {
    let mut knots = [0; 1025];
    let mut i = 0;
    while i < 1024 {
        knots[i + 1] = knots[i] + (1 << 41) / (2 * (1024 - i as u64) - 1);
        i += 1;
    }
    knots
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Weight;

    fn members(weights: &[u32]) -> Vec<Member> {
        let member = |(i, &weight): (usize, &u32)| Member {
            name: format!("Server{}", i + 1).parse().unwrap(),
            weight: Weight::new(weight).unwrap(),
        };
        weights.iter().enumerate().map(member).collect()
    }

    #[test]
    fn the_table_of_logarithms_is_one() {
        for i in 0..1_000 {
            let t = i * 4_211_111u32;
            let exact = -(-f64::from(t) / 2f64.powi(32)).ln_1p();
            let ours = exponential(t) as f64 / 2f64.powi(40);
            assert!(
                (ours - exact).abs() <= 1e-4 * exact + 1e-9,
                "{t}: {ours}, not {exact}"
            );
        }
        assert!(exponential(u32::MAX) < 1 << 44);
    }

    #[test]
    fn the_shortcut_to_the_least_bids_finds_the_least_bids() {
        for (slots, weights) in [
            (1, &[1][..]),
            (997, &[1, 1, 1]),
            (2_048, &[1, 2, 4, 1, 2, 4, 1_000]),
            (4_096, &[1; 64]),
            (100, &[3; 100]),
        ] {
            let bids = Bids::new(slots, &members(weights));
            let mut told = 0;
            bids.least(|slot, least| {
                assert_eq!(Some(least), bids.all(slot).min(), "slot {slot} of {slots}");
                assert_eq!(slot, told);
                told += 1;
            });
            assert_eq!(told, slots);
        }
    }

    /// Without capacities, every member wins its share but for chance.
    #[test]
    fn the_least_bids_are_spread_by_weight() {
        let weights = [1, 2, 4, 1, 2, 4, 10];
        let bids = Bids::new(1 << 16, &members(&weights));
        let mut wins = [0u32; 7];
        bids.least(|_, bid| wins[bid.member().get()] += 1);
        for (won, weight) in wins.into_iter().zip(weights) {
            let expected = 65_536.0 * f64::from(weight) / 24.0;
            let off = (f64::from(won) - expected) / expected.sqrt();
            assert!(off.abs() < 4.0, "{won} for weight {weight}");
        }
    }
}
