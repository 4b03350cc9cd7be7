//! Why a key belongs to its owner: the numbers behind one look-up.
//!
//! A look-up is one index into the table; the reason for the owner is computed anew here, by
//! the same code that built the table.

use super::bounded_assignment::Capacities;
use super::ketama;
use super::key::Key;
use super::slot::{MemberIndex, Slot};
use super::spec::Strategy;
use super::table::SlotTable;
use super::{classic, hash, maglev};

/// The way from a key to its owner.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// How the key finds its slot.
    pub hashing: Hashing,
    /// The slot.
    pub slot: Slot,
    /// The member that owns the slot.
    pub owner: MemberIndex,
    /// Why it is the owner.
    pub reason: Reason,
}

/// How a key finds its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// By a formula: the slot is `h` mod M.
    Formula {
        /// The number in the formula: the key, or its remainder mod M if it has more than 31
        /// bits, which gives the same slot.
        i: u64,
        /// H(i).
        h: u64,
    },
    /// By mixing the key's bits: the slot is `mixed` times M over 2^64, rounded down.
    Mixed {
        /// The key's bits, mixed.
        mixed: u64,
    },
}

/// Why a member owns a slot.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// `classic`, `quadratic`, `modulo`: it has the nearest virtual server clockwise.
    VirtualServer {
        /// The nearest.
        nearest: VirtualServer,
        /// The number i that its name gives its member.
        number: u64,
        /// How many slots clockwise it is.
        distance: u32,
    },
    /// `ring`: it has the next point clockwise.
    Point {
        /// The place of the slot on the circle of 2^64 places.
        place: u64,
        /// The place of the point.
        point: u64,
        /// The point's number among its member's.
        j: u32,
    },
    /// `maglev`: it claimed the slot first. The place of the slot in all members' preference
    /// lists, the earliest first.
    Preferences(Vec<Preference>),
    /// `rendezvous`: it has the lowest score of the members below their capacity. The scores of
    /// all members, the lowest first; those before the owner are full of slots with lower scores.
    Scores(Vec<MemberScore>),
}

/// A virtual server of a `classic`, `quadratic` or `modulo` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualServer {
    /// The member it belongs to.
    pub member: MemberIndex,
    /// Its number j among the member's.
    pub j: u32,
    /// Phi(i, j) mod M.
    pub wanted: Slot,
    /// Its slot: the first free one from there on.
    pub slot: Slot,
}

/// The place of a slot in a member's preference list on a `maglev` table: the slot is
/// `offset` + `nth` * `skip` mod M.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preference {
    /// The member.
    pub member: MemberIndex,
    /// The first slot of the list.
    pub offset: u32,
    /// The distance between the slots of the list.
    pub skip: u32,
    /// How many slots come before this one.
    pub nth: u32,
}

/// A member's score for a slot of a `rendezvous` table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemberScore {
    /// The member.
    pub member: MemberIndex,
    /// An exponential draw over the member's weight; the lowest wins.
    pub score: f64,
    /// The most slots that the member may own.
    pub capacity: u64,
}

impl SlotTable {
    /// Why a key belongs to its owner; `None` if the table has no members.
    pub fn explain(&self, key: Key) -> Option<Explanation> {
        let slot = self.slot_of(key);
        let owner = self.owner(slot)?;
        let strategy = self.spec().strategy();
        let (hashing, reason) = match strategy {
            Strategy::Classic | Strategy::Quadratic | Strategy::Modulo => {
                (self.formula(key), self.nearest(slot)?)
            }
            Strategy::Ring => (mixed(key), self.next_point(slot)?),
            Strategy::Maglev => (mixed(key), self.preferences(slot)),
            Strategy::Rendezvous => (mixed(key), self.member_scores(slot)?),
        };
        Some(Explanation {
            hashing,
            slot,
            owner,
            reason,
        })
    }

    /// The virtual servers of a `classic`, `quadratic` or `modulo` table, in the order in
    /// which they took their slots; empty for the other strategies.
    pub fn virtual_servers(&self) -> Vec<VirtualServer> {
        let (spec, strategy) = (self.spec(), self.spec().strategy());
        let (true, Some(k)) = (strategy.is_formula(), spec.virtual_servers()) else {
            return Vec::new();
        };
        classic::virtual_servers_of(strategy, spec.slots(), k, self.members())
            .into_iter()
            .map(|placed| VirtualServer {
                member: MemberIndex(placed.member),
                j: placed.j,
                wanted: Slot(placed.wanted),
                slot: Slot(placed.slot),
            })
            .collect()
    }

    fn formula(&self, key: Key) -> Hashing {
        let i = match key.0 {
            small if small < 1 << 31 => small,
            large => large % u64::from(self.spec().slots()),
        };
        let h = classic::h(self.spec().strategy(), i);
        Hashing::Formula { i, h }
    }

    fn nearest(&self, slot: Slot) -> Option<Reason> {
        let slots = self.spec().slots();
        let distance = |to: &VirtualServer| match to.slot.get().checked_sub(slot.get()) {
            Some(ahead) => ahead,
            None => slots - slot.get() + to.slot.get(),
        };
        let nearest = self.virtual_servers().into_iter().min_by_key(distance)?;
        Some(Reason::VirtualServer {
            nearest,
            number: classic::number(&self.member(nearest.member).name),
            distance: distance(&nearest),
        })
    }

    fn next_point(&self, slot: Slot) -> Option<Reason> {
        let spec = self.spec();
        let place = ketama::place(slot.get(), spec.slots());
        let (point, _, j) = ketama::all(spec.virtual_servers()?, self.members())
            .min_by_key(|&(point, member, _)| (point.wrapping_sub(place), member))?;
        Some(Reason::Point { place, point, j })
    }

    fn preferences(&self, slot: Slot) -> Reason {
        let slots = self.spec().slots();
        let preference = |member: MemberIndex| {
            let (offset, skip) = maglev::permutation(&self.member(member).name, slots);
            Preference {
                member,
                offset,
                skip,
                nth: maglev::place_of(slot.get(), offset, skip, slots),
            }
        };
        let mut preferences: Vec<Preference> = self.indices().map(preference).collect();
        preferences.sort_by_key(|preference| preference.nth);
        Reason::Preferences(preferences)
    }

    fn member_scores(&self, slot: Slot) -> Option<Reason> {
        let capacities = Capacities::new(self.spec().slots(), self.members());
        let mut scores: Vec<_> = self.scores()?.all(slot.get()).collect();
        scores.sort_unstable();
        let scores = scores.into_iter().map(|score| MemberScore {
            member: score.member(),
            score: score.value() as f64 / (1u64 << 40) as f64,
            capacity: capacities.of(self.member(score.member())) as u64,
        });
        Some(Reason::Scores(scores.collect()))
    }
}

fn mixed(key: Key) -> Hashing {
    Hashing::Mixed {
        mixed: hash::mix(key.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::member;
    use crate::ring::{Ownership, RingSpec};

    fn table(strategy: Strategy, slots: u32) -> SlotTable {
        let k = (strategy == Strategy::Ring).then_some(8);
        let spec = RingSpec::new(strategy, Some(slots), k).unwrap();
        let members = [("Server1", 1), ("Server2", 2), ("Server9", 1), ("api", 4)];
        let members = members.map(|(name, weight)| member(name, weight));
        SlotTable::build(&spec, &members).unwrap()
    }

    fn keys() -> impl Iterator<Item = Key> {
        (0..300).chain([123_456, 1 << 40, u64::MAX]).map(Key)
    }

    #[test]
    fn the_numbers_lead_to_the_slot_and_its_owner() {
        for (strategy, slots) in [
            (Strategy::Classic, 300),
            (Strategy::Quadratic, 301),
            (Strategy::Modulo, 512),
            (Strategy::Ring, 777),
            (Strategy::Maglev, 251),
            (Strategy::Rendezvous, 4_321),
        ] {
            let table = table(strategy, slots);
            for key in keys() {
                let why = table.explain(key).unwrap();
                assert_eq!(why.slot, table.slot_of(key));
                assert_eq!(Some(why.owner), table.owner(why.slot));
                let slot = match why.hashing {
                    Hashing::Formula { h, .. } => (h % u64::from(slots)) as u32,
                    Hashing::Mixed { mixed } => hash::reduce(mixed, slots),
                };
                assert_eq!(slot, why.slot.get(), "{strategy}");
                check(&table, &why);
            }
        }
    }

    fn check(table: &SlotTable, why: &Explanation) {
        let slots = table.spec().slots();
        match &why.reason {
            Reason::VirtualServer {
                nearest, distance, ..
            } => {
                assert_eq!(nearest.member, why.owner);
                assert_eq!(why.slot.ahead(*distance, 1, slots), nearest.slot);
                assert_eq!(table.owner(nearest.slot), Some(why.owner));
            }
            Reason::Point { point, j, .. } => {
                // Only the owner has that point.
                let mut all = ketama::all(8, table.members());
                assert!(all.any(|p| p == (*point, why.owner.0, *j)));
            }
            Reason::Preferences(preferences) => {
                assert_eq!(preferences.len(), 4);
                for preference in preferences {
                    let from = Slot(preference.offset);
                    assert_eq!(from.ahead(preference.nth, preference.skip, slots), why.slot);
                }
            }
            Reason::Scores(scores) => {
                let ownership = Ownership::by_slots(table);
                let place = scores.iter().position(|score| score.member == why.owner);
                // A member that bumped the slot is full.
                for score in &scores[..place.unwrap()] {
                    assert_eq!(ownership.owned(score.member), score.capacity);
                }
                assert!(scores.is_sorted_by(|a, b| a.score <= b.score));
            }
        }
    }

    #[test]
    fn a_table_without_members_has_nothing_to_explain() {
        let spec = RingSpec::default();
        let table = SlotTable::build(&spec, &[]).unwrap();
        assert_eq!(table.explain(Key(1)), None);
        assert!(table.virtual_servers().is_empty());
    }
}
