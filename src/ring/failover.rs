//! The order in which members serve a key when those before them cannot.

use super::hash;
use super::key::Key;
use super::rendezvous::{Score, Scores};
use super::slot::{MemberIndex, Slot};
use super::spec::Strategy;
use super::table::SlotTable;

/// The members in the order in which they serve a key: the owner first, then the one that
/// replaces it, and so on. Every member comes exactly once. Made by [`SlotTable::failover`].
///
/// On a `rendezvous` table the others follow by their scores for the slot, which is also
/// where the slot would go if the owner were removed (but for capacities). On a `maglev` table
/// they follow in the order in which a walk over its slots meets them, in a stride that depends
/// on the slot; on the others the walk goes slot by slot clockwise. So the keys of a dead
/// replica spread over all the others, but for `classic`, `quadratic` and `modulo`.
///
/// The order is computed lazily. The first three members of a `rendezvous` table need no
/// allocation, nor do the members of another table with up to 256 of them.
#[derive(Debug, Clone)]
pub struct Failover<'a> {
    table: &'a SlotTable,
    slot: Slot,
    cursor: Cursor<'a>,
}

#[derive(Debug, Clone)]
enum Cursor<'a> {
    /// By score: each the lowest above the last one, searched among all.
    ByScore {
        scores: &'a Scores,
        owner: MemberIndex,
        last: Option<Score>,
        named: usize,
    },
    /// The remaining scores, in order.
    Sorted(std::vec::IntoIter<Score>),
    /// Along the table: `step` strides from the key's slot, and from step M on the members
    /// that own no slot, by name.
    Walk {
        step: u32,
        stride: u32,
        left: usize,
        seen: MemberSet,
    },
}

/// After this many members, sorting the rest is cheaper than searching for the lowest again.
/// Hardly any request gets this far.
const MAX_SEARCHED: usize = 3;

impl SlotTable {
    /// The members in the order in which they serve a key: its owner, then its replacements.
    /// Complete, and computed only as far as the caller iterates.
    pub fn failover(&self, key: Key) -> Failover<'_> {
        Failover::new(self, self.slot_of(key))
    }
}

impl<'a> Failover<'a> {
    fn new(table: &'a SlotTable, slot: Slot) -> Self {
        let cursor = match (table.scores(), table.owner(slot)) {
            (Some(scores), Some(owner)) => Cursor::ByScore {
                scores,
                owner,
                last: None,
                named: 0,
            },
            _ => Cursor::Walk {
                step: 0,
                stride: stride(table, slot),
                left: table.members().len(),
                seen: MemberSet::empty(table.members().len()),
            },
        };
        Self {
            table,
            slot,
            cursor,
        }
    }
}

/// The distance between the slots that a walk from this slot visits.
///
/// A ring is walked slot by slot. On a Maglev table the neighbours of one member's slots are
/// always the same few others, because its permutations are straight lines; so there each slot
/// has its own stride (double hashing: Knuth, "The Art of Computer Programming", volume 3,
/// section 6.4). As the number of slots is prime, every stride visits all of them.
fn stride(table: &SlotTable, slot: Slot) -> u32 {
    match table.spec().strategy() {
        Strategy::Maglev => {
            let mixed = hash::mix(u64::from(slot.get()) + 1);
            1 + hash::reduce(mixed, table.spec().slots() - 1)
        }
        _ => 1,
    }
}

impl Iterator for Failover<'_> {
    type Item = MemberIndex;

    fn next(&mut self) -> Option<MemberIndex> {
        match &mut self.cursor {
            Cursor::ByScore {
                scores,
                owner,
                last,
                named,
            } => {
                let (scores, owner, after) = (*scores, *owner, *last);
                *named += 1;
                if *named == 1 {
                    return Some(owner);
                }
                let others = scores
                    .all(self.slot.get())
                    .filter(|score| Some(*score) > after && score.member() != owner);
                if *named <= MAX_SEARCHED {
                    let lowest = others.min()?;
                    *last = Some(lowest);
                    return Some(lowest.member());
                }
                let mut sorted: Vec<Score> = others.collect();
                sorted.sort_unstable();
                self.cursor = Cursor::Sorted(sorted.into_iter());
                self.next()
            }
            Cursor::Sorted(scores) => scores.next().map(Score::member),
            Cursor::Walk {
                step,
                stride,
                left,
                seen,
            } => {
                let slots = self.table.spec().slots();
                while *left > 0 {
                    let candidate = if *step < slots {
                        self.table.owner(self.slot.ahead(*step, *stride, slots))
                    } else {
                        self.table.indices().nth((*step - slots) as usize)
                    };
                    *step += 1;
                    let candidate = candidate?;
                    if seen.insert(candidate) {
                        *left -= 1;
                        return Some(candidate);
                    }
                }
                None
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.cursor {
            Cursor::ByScore { named, .. } => self.table.members().len() - named,
            Cursor::Sorted(scores) => scores.len(),
            Cursor::Walk { left, .. } => *left,
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Failover<'_> {}

/// A set of members, without allocation up to 256 members.
#[derive(Debug, Clone)]
struct MemberSet {
    few: [u64; 4],
    many: Box<[u64]>,
}

impl MemberSet {
    fn empty(members: usize) -> Self {
        let words = members.div_ceil(64);
        Self {
            few: [0; 4],
            many: vec![0; if words > 4 { words } else { 0 }].into(),
        }
    }

    /// Adds a member; true if it is new.
    fn insert(&mut self, member: MemberIndex) -> bool {
        let words = match self.many.is_empty() {
            true => &mut self.few[..],
            false => &mut self.many,
        };
        let (word, bit) = (&mut words[member.get() / 64], 1 << (member.get() % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::RingSpec;
    use crate::ring::testing::servers;

    fn table(strategy: Strategy, slots: u32, members: usize) -> SlotTable {
        let k = (strategy == Strategy::Ring).then_some(8);
        let spec = RingSpec::new(strategy, Some(slots), k).unwrap();
        SlotTable::build(&spec, &servers(members)).unwrap()
    }

    #[test]
    fn failover_on_a_rendezvous_table_follows_the_scores() {
        let table = table(Strategy::Rendezvous, 1_024, 10);
        let scores = table.scores().unwrap();
        for key in (0..200).map(Key) {
            let slot = table.slot_of(key);
            let mut expected: Vec<MemberIndex> = table.indices().collect();
            expected.sort_by_key(|m| {
                let score = scores.all(slot.get()).nth(m.get());
                (Some(*m) != table.owner(slot), score)
            });
            assert!(table.failover(key).eq(expected));
        }
    }

    #[test]
    fn members_without_a_slot_come_last() {
        let table = table(Strategy::Ring, 300, 299);
        let landed = |m: &MemberIndex| table.slots().any(|slot| table.owner(slot) == Some(*m));
        let order: Vec<MemberIndex> = table.failover(Key(1)).collect();
        assert_eq!(order.len(), 299);
        let (with, without) = order.split_at(order.iter().position(|m| !landed(m)).unwrap());
        assert!(with.iter().all(landed) && without.is_sorted());
    }

    #[test]
    fn walk_meets_the_owners_along_its_strides_and_then_the_others_by_name() {
        let (mut first_is_without, mut last_is_without) = (false, false);
        for (strategy, slots, members) in [
            (Strategy::Ring, 64, 60),
            (Strategy::Ring, 65, 62),
            (Strategy::Ring, 67, 66),
            (Strategy::Classic, 64, 7),
            (Strategy::Quadratic, 64, 7),
            (Strategy::Modulo, 64, 7),
            (Strategy::Maglev, 67, 40),
        ] {
            let table = table(strategy, slots, members);
            let landed = |m: &MemberIndex| table.slots().any(|slot| table.owner(slot) == Some(*m));
            first_is_without |= table.indices().next().is_some_and(|m| !landed(&m));
            last_is_without |= table.indices().last().is_some_and(|m| !landed(&m));
            for slot in table.slots() {
                let stride = stride(&table, slot);
                let visited = (0..slots).map(|step| Slot((slot.get() + step * stride) % slots));
                let owners = visited.filter_map(|slot| table.owner(slot));
                let mut expected: Vec<MemberIndex> = Vec::new();
                for member in owners.chain(table.indices()) {
                    if !expected.contains(&member) {
                        expected.push(member);
                    }
                }
                let order: Vec<_> = Failover::new(&table, slot).collect();
                assert_eq!(order, expected, "{strategy}, {slot:?}");
            }
        }
        // Otherwise this would not show where those without a slot begin and end.
        assert!(first_is_without && last_is_without);
    }

    #[test]
    fn strides_of_a_maglev_table_visit_every_slot() {
        for slots in [67, 127, 257, 1_021] {
            let table = table(Strategy::Maglev, slots, 5);
            let strides: Vec<u32> = table.slots().map(|slot| stride(&table, slot)).collect();
            assert!(strides.iter().all(|stride| (1..slots).contains(stride)));
            let mut different = strides;
            different.sort_unstable();
            different.dedup();
            // Of n draws from n values a part of 1 - 1 / e are different: 63 %.
            assert!(different.len() > slots as usize / 2, "of {slots}");
        }
    }

    #[test]
    fn remaining_members_are_counted() {
        for (strategy, slots, members) in [
            (Strategy::Rendezvous, 64, 8),
            (Strategy::Classic, 512, 8),
            (Strategy::Maglev, 4_093, 300),
        ] {
            let table = table(strategy, slots, members);
            let mut order = table.failover(Key(7));
            for left in (0..members).rev() {
                assert!(order.next().is_some());
                assert_eq!(order.len(), left, "{strategy}");
            }
            assert_eq!(order.next(), None);
        }
    }

    #[test]
    fn keys_of_a_dead_member_spread_evenly_over_the_others() {
        for (strategy, slots) in [(Strategy::Rendezvous, 16_384), (Strategy::Maglev, 16_381)] {
            let table = table(strategy, slots, 8);
            let mut taken = [0u32; 8];
            for slot in table.slots() {
                let mut order = Failover::new(&table, slot);
                if order.next().map(MemberIndex::get) == Some(3) {
                    taken[order.next().unwrap().get()] += 1;
                }
            }
            // 2048 slots over seven members: 292 each, with a standard deviation of 16.
            assert_eq!(taken[3], 0);
            for (member, &slots) in taken.iter().enumerate().filter(|(member, _)| *member != 3) {
                let even = (212..=372).contains(&slots);
                assert!(even, "{strategy}: {slots} to {member}");
            }
        }
    }
}
