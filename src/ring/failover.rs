//! The order in which members serve a key when those before them cannot.

use super::hash;
use super::rendezvous::{Bid, Bids};
use super::spec::Strategy;
use super::table::{MemberIndex, Slot, SlotTable};

/// The members in the order in which they serve a key: the owner first, then the one that
/// steps in for it, and so on. Every member comes exactly once. Made by
/// [`SlotTable::failover`].
///
/// On a `rendezvous` table the others follow by their bids for the slot, which is also
/// where the slot would go if the owner were removed (but for capacities). On a
/// `maglev` table they follow as a walk over its slots in a stride of the slot's own names
/// them, on the others as the slots clockwise do. On all but `classic` and its like, the
/// keys of a dead replica so spread over all the others.
///
/// The order is found as it is asked for. The first three members of a `rendezvous` table
/// cost no allocation, nor do any of another table of up to 256 members.
#[derive(Debug, Clone)]
pub struct Failover<'a> {
    table: &'a SlotTable,
    slot: Slot,
    stage: Stage<'a>,
}

#[derive(Debug, Clone)]
enum Stage<'a> {
    /// By bids: each the least of those above the last one, looked for among all.
    Ask {
        bids: &'a Bids,
        owner: MemberIndex,
        last: Option<Bid>,
        named: usize,
    },
    /// The bids that are left, in order.
    Sorted(std::vec::IntoIter<Bid>),
    /// Along the table: so many strides from the key's slot, and from M on the members
    /// that own no slot, by name.
    Walk {
        step: u32,
        stride: u32,
        left: usize,
        seen: Seen,
    },
}

/// From this many members on, sorting what is left is cheaper than looking for the least
/// again. Hardly a request gets this far.
const ASKED: usize = 3;

impl<'a> Failover<'a> {
    pub(super) fn new(table: &'a SlotTable, slot: Slot) -> Self {
        let stage = match (table.bids(), table.owner(slot)) {
            (Some(bids), Some(owner)) => Stage::Ask {
                bids,
                owner,
                last: None,
                named: 0,
            },
            _ => Stage::Walk {
                step: 0,
                stride: stride(table, slot),
                left: table.members().len(),
                seen: Seen::none_of(table.members().len()),
            },
        };
        Self { table, slot, stage }
    }
}

/// How far apart the slots are that a walk from this slot looks at.
///
/// A ring is walked slot by slot, as its virtual servers stand. On a Maglev table the
/// neighbours of one member's slots are always the same few others, because its
/// permutations are straight lines; so there each slot has a stride of its own (double
/// hashing: Knuth, "The Art of Computer Programming", volume 3, section 6.4), which comes
/// by all slots as their number is prime.
fn stride(table: &SlotTable, slot: Slot) -> u32 {
    match table.spec().strategy() {
        Strategy::Maglev => {
            1 + hash::reduce(
                hash::mix(u64::from(slot.get()) + 1),
                table.spec().slots() - 1,
            )
        }
        _ => 1,
    }
}

impl Iterator for Failover<'_> {
    type Item = MemberIndex;

    fn next(&mut self) -> Option<MemberIndex> {
        match &mut self.stage {
            Stage::Ask {
                bids,
                owner,
                last,
                named,
            } => {
                let (bids, owner, after) = (*bids, *owner, *last);
                *named += 1;
                if *named == 1 {
                    return Some(owner);
                }
                let others = bids
                    .all(self.slot.get())
                    .filter(|bid| Some(*bid) > after && bid.member() != owner);
                if *named <= ASKED {
                    let least = others.min()?;
                    *last = Some(least);
                    return Some(least.member());
                }
                let mut sorted: Vec<Bid> = others.collect();
                sorted.sort_unstable();
                self.stage = Stage::Sorted(sorted.into_iter());
                self.next()
            }
            Stage::Sorted(bids) => bids.next().map(Bid::member),
            Stage::Walk {
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
        let left = match &self.stage {
            Stage::Ask { named, .. } => self.table.members().len() - named,
            Stage::Sorted(bids) => bids.len(),
            Stage::Walk { left, .. } => *left,
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Failover<'_> {}

/// A set of members: without allocation as long as there are few.
#[derive(Debug, Clone)]
struct Seen {
    few: [u64; 4],
    many: Box<[u64]>,
}

impl Seen {
    fn none_of(members: usize) -> Self {
        let words = members.div_ceil(64);
        Self {
            few: [0; 4],
            many: if words > 4 {
                vec![0; words].into()
            } else {
                Box::default()
            },
        }
    }

    /// Puts a member in; true if it was not.
    fn insert(&mut self, member: MemberIndex) -> bool {
        let words = if self.many.is_empty() {
            &mut self.few[..]
        } else {
            &mut self.many[..]
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
    use crate::ring::{Key, Member, RingSpec};

    fn table(strategy: Strategy, slots: u32, members: usize) -> SlotTable {
        let k = (strategy == Strategy::Ring).then_some(8);
        let spec = RingSpec::new(strategy, Some(slots), k).unwrap();
        let names = (1..=members).map(|i| format!("Server{i}").parse().unwrap());
        let members: Vec<Member> = names.map(Member::new).collect();
        SlotTable::build(&spec, &members).unwrap()
    }

    #[test]
    fn on_a_rendezvous_table_those_who_step_in_follow_by_their_bids() {
        let table = table(Strategy::Rendezvous, 1_024, 10);
        let bids = table.bids().unwrap();
        for key in (0..200).map(Key) {
            let slot = table.slot_of(key);
            let mut expected: Vec<MemberIndex> = table.indices().collect();
            expected.sort_by_key(|m| {
                (
                    Some(*m) != table.owner(slot),
                    bids.all(slot.get()).nth(m.get()),
                )
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
    fn what_is_left_is_counted_right() {
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

    /// The keys of one dead member go to all others alike.
    #[test]
    fn a_dead_members_keys_spread_over_the_others() {
        for (strategy, slots) in [(Strategy::Rendezvous, 16_384), (Strategy::Maglev, 16_381)] {
            let table = table(strategy, slots, 8);
            let mut heirs = [0u32; 8];
            for slot in table.slots() {
                let mut order = Failover::new(&table, slot);
                if order.next().map(MemberIndex::get) == Some(3) {
                    heirs[order.next().unwrap().get()] += 1;
                }
            }
            // 2048 slots over seven heirs: 292 each, with a standard deviation of 16.
            assert_eq!(heirs[3], 0);
            for (heir, &slots) in heirs.iter().enumerate().filter(|(heir, _)| *heir != 3) {
                assert!(
                    (212..=372).contains(&slots),
                    "{strategy}: {slots} to {heir}"
                );
            }
        }
    }
}
