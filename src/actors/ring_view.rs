//! One epoch of the ring, as every worker thread has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ring::{BalanceFactor, MemberIndex, ReplicaName, SlotTable};
use crate::upstream::Instance;

/// One epoch of the ring: immutable, but for what follows from ejections, which are no epochs.
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
    /// The weights of the ready members that are not ejected, added up: they share the load.
    /// It is hardly ever written, so reading it costs no more than reading its neighbours.
    sharing_weight: AtomicU64,
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
        let view = Self {
            epoch,
            table,
            ready,
            balance_factor,
            sharing_weight: AtomicU64::new(0),
        };
        view.weigh();
        view
    }

    /// Adds up anew who shares the load. To be called when an instance was ejected or
    /// readmitted.
    pub(super) fn weigh(&self) {
        let members = self.table.members().iter().zip(&self.ready);
        let sharing = members.filter(|(_, instance)| {
            let instance = instance.as_ref();
            instance.is_some_and(|instance| !instance.is_ejected())
        });
        let weight = sharing.map(|(member, _)| u64::from(member.weight.get()));
        self.sharing_weight.store(weight.sum(), Ordering::Relaxed);
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

    /// How many members are ready.
    pub(super) fn ready_count(&self) -> usize {
        self.ready.iter().flatten().count()
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
        let sharing = self.sharing_weight.load(Ordering::Relaxed);
        let fleet = instance.fleet_load().in_flight();
        held < factor.bound(weight, sharing, fleet)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet::InstanceId;
    use crate::ring::{Key, Member, RingSpec};
    use crate::upstream::{Capacity, FleetLoad, Grant};

    #[test]
    fn who_is_ejected_has_no_share_of_the_load_that_the_others_are_bound_by() {
        let members = ["S1", "S2", "S3"].map(|name| Member::new(name.parse().unwrap()));
        let table = SlotTable::build(&RingSpec::default(), &members).unwrap();
        let factor = BalanceFactor::new(1.5).unwrap();
        let mut view = RingView::first(table, Some(factor));
        let load = Arc::<FleetLoad>::default();
        for index in view.table.indices() {
            let id = InstanceId {
                replica: view.table.member(index).name.clone(),
                generation: 1,
            };
            let instance = Instance::new(
                id,
                ([127, 0, 0, 1], 9).into(),
                Capacity::new(None),
                Arc::clone(&load),
                Arc::default(),
                Duration::ZERO,
            );
            view = view.with_ready(index.get(), Some(instance));
        }
        let indices: Vec<MemberIndex> = view.table.indices().collect();
        let instances: Vec<_> = view.ready.iter().flatten().cloned().collect();
        let slot = view.table.slot_of(Key(1));
        let claim = |who: usize| Grant::claim(&instances[who], slot, 1, true).unwrap();
        let has_room = |view: &RingView| view.has_room(indices[0], &instances[0]);
        // Sixty in flight: thirty are half as much again as a third of them.
        let _held: Vec<Grant> = [(0, 31), (1, 29)]
            .into_iter()
            .flat_map(|(who, times)| (0..times).map(move |_| who))
            .map(claim)
            .collect();
        assert!(!has_room(&view));
        instances[2].eject();
        view.weigh();
        assert!(has_room(&view));
        // The next epoch knows it from the start.
        let next = view.with_ready(indices[1].get(), Some(Arc::clone(&instances[1])));
        assert!(has_room(&next));
        instances[2].readmit();
        view.weigh();
        assert!(!has_room(&view));
    }
}
