//! The slot table: immutable, and one index away from every answer.

use super::failover::Failover;
use super::fit::BuildError;
use super::hash;
use super::key::Key;
use super::member::{Member, ReplicaName};
use super::rendezvous::Bids;
use super::spec::{RingSpec, Strategy};
use super::{classic, maglev, matching, points};

/// An entry of the slot table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(super) u32);

impl Slot {
    /// The slot's number, from 0 to M - 1.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The slot that is so many strides clockwise from this one on a table of `slots`.
    pub(super) fn ahead(self, steps: u32, stride: u32, slots: u32) -> Self {
        let distance = u64::from(steps) * u64::from(stride);
        Self(((u64::from(self.0) + distance) % u64::from(slots)) as u32)
    }
}

/// A member's place in [`SlotTable::members`]. Means nothing for another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub(super) u16);

impl MemberIndex {
    /// The index into [`SlotTable::members`].
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// The owner of slots that nobody owns: those of a table without members.
pub(super) const NO_OWNER: u16 = u16::MAX;

/// Who owns which slot, for one member set. Immutable: another member set is another table.
#[derive(Debug)]
pub struct SlotTable {
    spec: RingSpec,
    /// Sorted by name.
    members: Box<[Member]>,
    /// For every slot the index of its owner.
    owners: Box<[u16]>,
    /// What a rendezvous table's failover order is computed from.
    bids: Option<Bids>,
}

impl SlotTable {
    /// The most members of any table: a build of the largest takes a second or two.
    pub const MAX_MEMBERS: usize = 4_096;

    /// Builds the table of a member set. The order in which the members are given does not
    /// matter. Without members no slot has an owner.
    ///
    /// # Errors
    ///
    /// A name that is there twice, more members than slots or than [`Self::MAX_MEMBERS`],
    /// more virtual servers than there is room for.
    pub fn build(spec: &RingSpec, members: &[Member]) -> Result<Self, BuildError> {
        let mut members: Box<[Member]> = members.into();
        members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        if let Some(twins) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(BuildError::DuplicateName(twins[0].name.clone()));
        }
        let total_weight = members.iter().map(|m| u64::from(m.weight.get())).sum();
        spec.room_for(members.len(), total_weight)?;
        let slots = spec.slots();
        let virtual_servers = spec.virtual_servers().unwrap_or(1);
        let strategy = spec.strategy();
        let mut bids = None;
        let owners = match strategy {
            Strategy::Classic | Strategy::Quadratic | Strategy::Modulo => {
                classic::build(strategy, slots, virtual_servers, &members)
            }
            Strategy::Ring => points::build(slots, virtual_servers, &members),
            Strategy::Maglev => maglev::build(slots, &members),
            Strategy::Rendezvous if members.is_empty() => vec![NO_OWNER; slots as usize].into(),
            Strategy::Rendezvous => {
                let bids = bids.insert(Bids::new(slots, &members));
                matching::build(bids, &members)
            }
        };
        Ok(Self {
            spec: *spec,
            members,
            owners,
            bids,
        })
    }

    /// The recipe the table was built by.
    pub fn spec(&self) -> &RingSpec {
        &self.spec
    }

    /// The members, sorted by name.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The members' indices, in the order of their names.
    pub fn indices(&self) -> impl ExactSizeIterator<Item = MemberIndex> + use<> {
        (0..self.members.len() as u16).map(MemberIndex)
    }

    /// The member at an index of this table.
    ///
    /// # Panics
    ///
    /// If the index is of another table and this one has fewer members.
    pub fn member(&self, index: MemberIndex) -> &Member {
        &self.members[index.get()]
    }

    /// The index of the member with this name.
    pub fn index_of(&self, name: &ReplicaName) -> Option<MemberIndex> {
        let found = self.members.binary_search_by(|m| m.name.cmp(name));
        found.ok().map(|index| MemberIndex(index as u16))
    }

    /// All slots.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = Slot> + use<> {
        (0..self.spec.slots()).map(Slot)
    }

    /// The slot that a key hashes to.
    #[inline]
    pub fn slot_of(&self, key: Key) -> Slot {
        let slots = self.spec.slots();
        Slot(match self.spec.strategy() {
            strategy @ (Strategy::Classic | Strategy::Quadratic | Strategy::Modulo) => {
                classic::slot(strategy, key.0, slots)
            }
            Strategy::Ring | Strategy::Maglev | Strategy::Rendezvous => {
                hash::reduce(hash::mix(key.0), slots)
            }
        })
    }

    /// The member that owns a slot; `None` if the table has no members.
    #[inline]
    pub fn owner(&self, slot: Slot) -> Option<MemberIndex> {
        match self.owners.get(slot.0 as usize) {
            None | Some(&NO_OWNER) => None,
            Some(&owner) => Some(MemberIndex(owner)),
        }
    }

    /// The members in the order in which they serve a key: its owner, then those who step
    /// in. Complete, and found only as far as it is asked for.
    pub fn failover(&self, key: Key) -> Failover<'_> {
        Failover::new(self, self.slot_of(key))
    }

    pub(super) fn bids(&self) -> Option<&Bids> {
        self.bids.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[&str]) -> Vec<Member> {
        let member = |name: &&str| Member::new(name.parse().unwrap());
        names.iter().map(member).collect()
    }

    #[test]
    fn a_table_without_members_has_no_owners() {
        for strategy in Strategy::ALL {
            let spec = RingSpec::new(strategy, None, None).unwrap();
            let table = SlotTable::build(&spec, &[]).unwrap();
            let slot = table.slot_of(Key(u64::MAX));
            assert_eq!(table.owner(slot), None, "{strategy}");
            assert_eq!(table.failover(Key(1)).next(), None, "{strategy}");
        }
    }

    #[test]
    fn every_strategy_gives_every_slot_an_owner_and_every_key_an_order() {
        for strategy in Strategy::ALL {
            let spec = RingSpec::new(strategy, None, None).unwrap();
            let table = SlotTable::build(&spec, &members(&["S3", "S1", "S2"])).unwrap();
            assert_eq!(
                table.index_of(&"S3".parse().unwrap()).map(MemberIndex::get),
                Some(2)
            );
            assert!(
                table.slots().all(|slot| table.owner(slot).is_some()),
                "{strategy}"
            );
            for key in [0, 1, 123_456, u64::MAX].map(Key) {
                let mut order: Vec<MemberIndex> = table.failover(key).collect();
                assert_eq!(order.first().copied(), table.owner(table.slot_of(key)));
                order.sort_unstable();
                assert!(order.into_iter().eq(table.indices()), "{strategy}");
            }
        }
    }

    #[test]
    fn member_sets_that_make_no_table_are_refused() {
        let error = |strategy, slots, names: &[&str]| {
            let spec = RingSpec::new(strategy, slots, None).unwrap();
            SlotTable::build(&spec, &members(names))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(Strategy::Rendezvous, None, &["S1", "S2", "S1"]),
            "replica S1 is there twice"
        );
        assert_eq!(
            error(Strategy::Maglev, Some(2), &["S1", "S2", "S3"]),
            "3 replicas are too many: this ring takes 2 at most"
        );
        assert_eq!(
            error(Strategy::Classic, Some(16), &["S1", "S2"]),
            "18 virtual servers (virtual servers times the sum of all weights) are too many: this ring takes 16 at most"
        );
    }
}
