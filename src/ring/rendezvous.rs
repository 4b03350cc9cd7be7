//! `rendezvous`, the default: every slot goes to the member with the lowest score for it.
//!
//! Thaler and Ravishankar ("Using name-based mappings to increase hit rates", IEEE/ACM
//! Transactions on Networking, 1998) let each member draw a number for each object and
//! give the object to the best. A member that leaves then moves its own objects only.
//! Weights come in by drawing from exponential distributions: the least of the draws
//! -ln(u) / w belongs to each member with a probability proportional to its w
//! (Schindelhauer, Schomaker: "Weighted distributed hash tables", SPAA 2005).
//!
//! Here a score is such a draw, with three changes:
//!
//! * **u comes from a rank.** Each member orders the slots of each block of 4,096 by a
//!   permutation of its own (as in Maglev), and u is the place of the slot in it, with a
//!   jitter below one place. So a member's draws are spread evenly over (0, 1), not only on
//!   average, and its share varies less. And the permutation can be inverted: a member can list
//!   the slots with its lowest scores without trying all of them, so that a table costs about
//!   M ln N steps where comparing all scores costs M times N.
//! * **The logarithm is a table of whole numbers.** `f64::ln` depends on the platform, and a
//!   difference in the last bit is enough for two balancers to disagree about a slot.
//! * **No member owns more than its capacity**: see [`super::bounded_assignment`].

use super::hash::HashRng;
use super::member::Member;
use super::permutation::{Domain, Permutation};
use super::slot::MemberIndex;

/// A member's score for a slot; the lowest wins. The member is part of it, so that no two scores
/// for a slot are equal: of two equal values the first member by name wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score(u64);

impl Score {
    /// Above every score.
    const NONE: Self = Self(u64::MAX);

    #[inline]
    fn new(value: u64, member: MemberIndex) -> Self {
        Self((value << 16) | u64::from(member.0))
    }

    /// The score as a number, in units of 2^-40.
    pub(super) fn value(self) -> u64 {
        self.0 >> 16
    }

    /// The member that has this score.
    #[inline]
    pub(super) fn member(self) -> MemberIndex {
        MemberIndex(self.0 as u16)
    }
}

/// The number of slots that are ranked together. Small enough for the level 1 cache to hold a
/// score for each while the members list their slots, which come in random order: with one
/// ranking of all slots, nearly all the time went into waiting for memory.
const BLOCK: u32 = 1 << 12;

/// A rank below [`BLOCK`] and a jitter have 32 bits together.
const JITTER_BITS: u32 = 20;

/// All scores of a member set for M slots.
#[derive(Debug)]
pub(super) struct Scores {
    slots: u32,
    scorers: Box<[Scorer]>,
}

#[derive(Debug)]
struct Scorer {
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

impl Scores {
    /// The scores of these members for slots 0 to `slots` - 1.
    pub(super) fn new(slots: u32, members: &[Member]) -> Self {
        let scorer = |member: &Member| {
            let mut rng = HashRng::of(&member.name);
            Scorer {
                order: Permutation::new(&mut rng),
                jitter: rng.draw(),
                weight: member.weight.get(),
                per_weight: (1 << 32) / u64::from(member.weight.get()),
            }
        };
        Self {
            slots,
            scorers: members.iter().map(scorer).collect(),
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

    /// All scores for a slot, in the order of the members.
    #[inline]
    pub(super) fn all(&self, slot: u32) -> impl Iterator<Item = Score> {
        let block = self.block(slot / BLOCK);
        (0..).zip(&self.scorers).map(move |(member, scorer)| {
            let rank = scorer.order.rank_of(&block.domain, slot - block.first);
            scorer.score(&block, MemberIndex(member), rank)
        })
    }

    /// The lowest score for a slot that is above `score`; `None` if there is none.
    pub(super) fn next_above(&self, slot: u32, score: Score) -> Option<Score> {
        self.all(slot).filter(|next| *next > score).min()
    }

    /// Calls `visit` with the lowest score for every slot, slot by slot. There must be members.
    pub(super) fn lowest(&self, mut visit: impl FnMut(u32, Score)) {
        let mut lowest = Vec::with_capacity(BLOCK as usize);
        for number in 0..self.slots.div_ceil(BLOCK) {
            let block = self.block(number);
            self.lowest_in(&block, &mut lowest);
            for (slot, score) in (block.first..).zip(&lowest) {
                visit(slot, *score);
            }
        }
    }

    /// Puts the lowest score for every slot of a block into `lowest`.
    ///
    /// Each member lists the slots with its lowest scores, a few times its share of them, and
    /// most slots are listed by several members: the lowest of those scores wins if it is below
    /// all scores that have not been computed. For the few other slots every member is asked.
    fn lowest_in(&self, block: &Block, lowest: &mut Vec<Score>) {
        lowest.clear();
        lowest.resize(block.size as usize, Score::NONE);
        let size = u64::from(block.size);
        let total: u64 = self.scorers.iter().map(|b| u64::from(b.weight)).sum();
        // A slot stays unlisted with probability e^-depth and then costs N steps, so the
        // best depth is near ln N.
        let depth = 2 + u64::from(self.scorers.len().ilog2()) / 2;
        let mut unseen = Score::NONE;
        for (member, scorer) in (0..).zip(&self.scorers) {
            let listed = (depth * size * u64::from(scorer.weight)).div_ceil(total);
            let listed = listed.min(size) as u32;
            for rank in 0..listed {
                let slot = scorer.order.at_rank(&block.domain, rank) as usize;
                lowest[slot] = lowest[slot].min(scorer.score(block, MemberIndex(member), rank));
            }
            if listed < block.size {
                let next = Score::new(scorer.value(block, listed, 0), MemberIndex(0));
                unseen = unseen.min(next);
            }
        }
        for (slot, score) in (block.first..).zip(lowest) {
            if *score >= unseen {
                *score = self.all(slot).min().unwrap_or(Score::NONE);
            }
        }
    }
}

impl Scorer {
    /// The score for the slot of this rank in a block.
    #[inline]
    fn score(&self, block: &Block, member: MemberIndex, rank: u32) -> Score {
        let place = u64::from(rank) | block.domain.tweak();
        // Multiply-shift (Dietzfelbinger and others, 1997) spreads well enough to decide
        // between equal ranks.
        let jitter = (place ^ self.jitter).wrapping_mul(self.order.multiplier());
        let jitter = (jitter >> (64 - JITTER_BITS)) as u32;
        Score::new(self.value(block, rank, jitter), member)
    }

    #[inline]
    fn value(&self, block: &Block, rank: u32, jitter: u32) -> u64 {
        let place = (u64::from(rank) << JITTER_BITS) | u64::from(jitter);
        // At most 44 bits, so that a score has sixteen left for the member.
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
/// by the midpoint rule, whose relative error is below a millionth except near t = 1. There it
/// is finite where the logarithm is not, which does no harm: such a score never wins.
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
    use crate::ring::testing::weighted;

    #[test]
    fn exponential_is_close_to_the_logarithm() {
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
    fn lowest_finds_the_lowest_of_all_scores() {
        for (slots, weights) in [
            (1, &[1][..]),
            (997, &[1, 1, 1]),
            (2_048, &[1, 2, 4, 1, 2, 4, 1_000]),
            (4_096, &[1; 64]),
            (100, &[3; 100]),
        ] {
            let scores = Scores::new(slots, &weighted(weights));
            let mut visited = 0;
            scores.lowest(|slot, lowest| {
                let least = scores.all(slot).min();
                assert_eq!(Some(lowest), least, "slot {slot} of {slots}");
                assert_eq!(slot, visited);
                visited += 1;
            });
            assert_eq!(visited, slots);
        }
    }

    /// Without capacities, every member wins its share but for chance.
    #[test]
    fn lowest_scores_are_spread_by_weight() {
        let weights = [1, 2, 4, 1, 2, 4, 10];
        let scores = Scores::new(1 << 16, &weighted(&weights));
        let mut wins = [0u32; 7];
        scores.lowest(|_, score| wins[score.member().get()] += 1);
        for (won, weight) in wins.into_iter().zip(weights) {
            let expected = 65_536.0 * f64::from(weight) / 24.0;
            let off = (f64::from(won) - expected) / expected.sqrt();
            assert!(off.abs() < 4.0, "{won} for weight {weight}");
        }
    }
}
