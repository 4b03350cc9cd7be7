//! The slot table: immutable, one index away from every answer.
//!
//! [`super::build`] makes tables, [`super::failover`] walks them.

use super::key::Key;
use super::member::{Member, ReplicaName};
use super::rendezvous::Scores;
use super::slot::{MemberIndex, NO_OWNER, Slot};
use super::spec::{RingSpec, Strategy};
use super::{classic, hash};

/// The owner of every slot, for one member set. Immutable: another member set is another table.
#[derive(Debug)]
pub struct SlotTable {
    spec: RingSpec,
    /// Sorted by name.
    members: Box<[Member]>,
    /// For every slot the index of its owner.
    owners: Box<[u16]>,
    /// The scores from which the failover order of a `rendezvous` table is computed.
    scores: Option<Scores>,
}

impl SlotTable {
    /// The most members of any table: a build of the largest takes a second or two.
    pub const MAX_MEMBERS: usize = 4_096;

    /// A table whose parts belong together: `members` sorted by name, an owner for every slot.
    pub(super) fn from_parts(
        spec: RingSpec,
        members: Box<[Member]>,
        owners: Box<[u16]>,
        scores: Option<Scores>,
    ) -> Self {
        Self {
            spec,
            members,
            owners,
            scores,
        }
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

    pub(super) fn scores(&self) -> Option<&Scores> {
        self.scores.as_ref()
    }
}
