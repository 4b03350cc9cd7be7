//! Changing the ring while it runs: strategy, slots, weights, the bound of the load.
//!
//! A change is one new epoch like any other: requests in flight end where they are, and
//! the next ones go by the new table. What it would do can be asked first.

use log::info;

use super::messages::{ReconfigureError, ReconfigureRing, Reconfigured, ShareChange};
use crate::fleet::RingSettings;
use crate::ring::{BuildError, Key, Member, Moved, Ownership, SlotTable};

/// A change that is possible, as far as that is known before the table is built.
pub(super) struct Plan {
    ring: RingSettings,
    members: Vec<Member>,
}

impl Plan {
    pub(super) fn new(
        change: ReconfigureRing,
        before: RingSettings,
        mut members: Vec<Member>,
    ) -> Result<Self, ReconfigureError> {
        for (name, weight) in change.weights {
            match members.iter_mut().find(|member| member.name == name) {
                Some(member) => member.weight = weight,
                None => return Err(ReconfigureError::Unknown(name)),
            }
        }
        let ring = RingSettings {
            spec: before.spec.changed(change.spec)?,
            balance_factor: change.balance_factor.unwrap_or(before.balance_factor),
        };
        Ok(Self { ring, members })
    }

    /// The new table, and what it does to the keys. Takes as long as the table is large.
    pub(super) fn build(
        &self,
        before: &SlotTable,
    ) -> Result<(SlotTable, Reconfigured), BuildError> {
        let table = SlotTable::build(&self.ring.spec, &self.members)?;
        let reconfigured = Reconfigured {
            ring: self.ring,
            moved: moved_share(before, &table),
            ownership: ownership(before, &table),
        };
        Ok((table, reconfigured))
    }
}

impl Reconfigured {
    pub(super) fn log(&self) {
        info!(
            "the ring is now {} with {} slots: {:.2} % of the keys have moved",
            self.ring.spec.strategy(),
            self.ring.spec.slots(),
            self.moved * 100.0
        );
    }
}

/// The six-digit ids that requests without one are given: what ownership is measured by,
/// because not every strategy spreads them evenly over its slots.
fn sample_keys() -> impl Iterator<Item = Key> {
    (100_000..1_000_000).step_by(9).map(Key)
}

fn moved_share(before: &SlotTable, after: &SlotTable) -> f64 {
    Moved::by_keys(before, after, sample_keys()).share()
}

fn ownership(before: &SlotTable, after: &SlotTable) -> Vec<ShareChange> {
    let then = Ownership::by_keys(before, sample_keys());
    let now = Ownership::by_keys(after, sample_keys());
    // The members are the same; only weights and recipe differ.
    let members = after.members().iter().zip(after.indices());
    members
        .map(|(member, index)| ShareChange {
            replica: member.name.clone(),
            before: then.share(index),
            after: now.share(index),
        })
        .collect()
}
