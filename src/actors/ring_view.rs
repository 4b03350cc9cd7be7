//! One epoch of the ring, as every worker thread has it.

use std::sync::Arc;

use crate::ring::{BalanceFactor, MemberIndex, ReplicaName, SlotTable};
use crate::upstream::Instance;

/// One epoch of the ring: immutable.
#[derive(Debug)]
pub struct RingView {
    /// Counts the changes.
    pub epoch: u64,
    /// Which slot belongs to which member, ready or not.
    pub table: Arc<SlotTable>,
    /// The ready instance of each member, in the table's order of members.
    pub ready: Box<[Option<Arc<Instance>>]>,
    /// How far above its fair share a replica may be loaded.
    pub balance_factor: Option<BalanceFactor>,
    /// The weights of the ready members, added up.
    pub ready_weight: u64,
}

impl RingView {
    pub(super) fn first(table: SlotTable, balance_factor: Option<BalanceFactor>) -> Self {
        let ready = table.members().iter().map(|_| None).collect();
        Self::new(0, Arc::new(table), ready, balance_factor)
    }

    fn new(
        epoch: u64,
        table: Arc<SlotTable>,
        ready: Box<[Option<Arc<Instance>>]>,
        balance_factor: Option<BalanceFactor>,
    ) -> Self {
        let members = table.members().iter().zip(&ready);
        let ready_weight = members
            .filter(|(_, instance)| instance.is_some())
            .map(|(member, _)| u64::from(member.weight.get()))
            .sum();
        Self {
            epoch,
            table,
            ready,
            balance_factor,
            ready_weight,
        }
    }

    /// The next epoch: another table, with everybody who stays as ready as before.
    pub(super) fn with_table(&self, table: SlotTable) -> Self {
        let ready = table.members().iter().map(|m| self.instance_of(&m.name));
        let ready = ready.collect();
        Self::new(self.epoch + 1, Arc::new(table), ready, self.balance_factor)
    }

    /// The next epoch: the same table, one member's readiness changed.
    pub(super) fn with_ready(&self, index: usize, instance: Option<Arc<Instance>>) -> Self {
        let mut ready = self.ready.clone();
        ready[index] = instance;
        let table = Arc::clone(&self.table);
        Self::new(self.epoch + 1, table, ready, self.balance_factor)
    }

    pub(super) fn instance_of(&self, name: &ReplicaName) -> Option<Arc<Instance>> {
        let index = self.table.index_of(name)?;
        self.ready.get(index.get()).cloned().flatten()
    }

    /// Whether a ready member may take one more request, by the bound of the load.
    pub fn has_room(&self, index: MemberIndex, instance: &Instance) -> bool {
        let Some(factor) = self.balance_factor else {
            return true;
        };
        let held = u64::from(instance.in_flight());
        // The common case needs no look at what all threads write.
        if held < BalanceFactor::FLOOR {
            return true;
        }
        let weight = self.table.member(index).weight.get();
        let fleet = instance.fleet_load().in_flight();
        held < factor.bound(weight, self.ready_weight, fleet)
    }
}
