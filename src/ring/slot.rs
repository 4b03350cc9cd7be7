//! What a slot table is made of: slots, and the members' places in it.

/// An entry of the slot table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(super) u32);

impl Slot {
    /// The slot with this number; below M, of whichever table it is asked.
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// The slot's number, from 0 to M - 1.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The slot that is `steps` strides clockwise from this one on a table of `slots`.
    pub(super) fn ahead(self, steps: u32, stride: u32, slots: u32) -> Self {
        let distance = u64::from(steps) * u64::from(stride);
        Self(((u64::from(self.0) + distance) % u64::from(slots)) as u32)
    }
}

/// A member's place in [`SlotTable::members`], valid for that table only.
///
/// [`SlotTable::members`]: super::SlotTable::members
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub(super) u16);

impl MemberIndex {
    /// The index into [`SlotTable::members`].
    ///
    /// [`SlotTable::members`]: super::SlotTable::members
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// Marks a slot without an owner: every slot of a table without members.
pub(super) const NO_OWNER: u16 = u16::MAX;
