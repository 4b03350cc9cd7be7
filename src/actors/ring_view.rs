//! One epoch of the ring, as every worker thread has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::admission::Admission;
use crate::ring::{
    BalanceFactor, CanaryShare, Key, MemberIndex, PanicThreshold, ReplicaName, SlotTable,
};
use crate::upstream::Instance;

/// An instance for each member, or none.
pub type Members = Box<[Option<Arc<Instance>>]>;

/// One epoch of the ring: immutable, but for what follows from ejections, which are no epochs.
#[derive(Debug)]
pub struct RingView {
    /// Counts the changes.
    pub epoch: u64,
    /// Which slot belongs to which member, ready or not.
    pub table: Arc<SlotTable>,
    /// The ready instance of each member, in the table's order of members.
    pub ready: Members,
    /// The unready instance of each member, likewise: it is alive and says that it cannot serve.
    pub unready: Members,
    /// The instance of each drained member, likewise: it gets no requests.
    pub drained: Members,
    /// Whether requests are let through to them.
    pub admission: Admission,
    /// The ring of a rollout's canary, beside this one.
    pub canary: Option<Arc<CanaryRing>>,
    /// The instance of each member that is ready or unready; empty while none is unready.
    ready_or_unready: Members,
    panic_threshold: PanicThreshold,
    /// Requests go to unready instances, too. Written as rarely as `sharing_weight`.
    panic: AtomicBool,
    /// How far above its fair share a replica may be loaded.
    pub balance_factor: Option<BalanceFactor>,
    /// The weights of the ready members that are not ejected, added up: they share the load.
    /// It is hardly ever written, so reading it costs no more than reading its neighbours.
    sharing_weight: AtomicU64,
}

/// A ring for a part of the keys, whose other replicas are on the ring that it belongs to.
#[derive(Debug)]
pub struct CanaryRing {
    /// The keys that it serves first.
    pub share: CanaryShare,
    /// Its members and their instances. Its epoch and admission mean nothing.
    pub view: RingView,
}

impl RingView {
    pub(super) fn first(
        table: SlotTable,
        balance_factor: Option<BalanceFactor>,
        panic_threshold: PanicThreshold,
    ) -> Self {
        let none: Members = table.members().iter().map(|_| None).collect();
        let view = Self {
            epoch: 0,
            table: Arc::new(table),
            ready: none.clone(),
            unready: none.clone(),
            drained: none,
            admission: Admission::default(),
            canary: None,
            ready_or_unready: Box::default(),
            panic_threshold,
            panic: AtomicBool::new(false),
            balance_factor,
            sharing_weight: AtomicU64::new(0),
        };
        view.recompute_weight();
        view
    }

    fn next(
        &self,
        table: Arc<SlotTable>,
        ready: Members,
        unready: Members,
        drained: Members,
    ) -> Self {
        let either = ready
            .iter()
            .zip(&unready)
            .map(|(r, u)| r.as_ref().or(u.as_ref()));
        let ready_or_unready = match unready.iter().any(Option::is_some) {
            true => either.map(Option::<&Arc<Instance>>::cloned).collect(),
            false => Box::default(),
        };
        let view = Self {
            epoch: self.epoch + 1,
            table,
            ready,
            unready,
            drained,
            admission: self.admission.clone(),
            canary: self.canary.clone(),
            ready_or_unready,
            panic_threshold: self.panic_threshold,
            panic: AtomicBool::new(false),
            balance_factor: self.balance_factor,
            sharing_weight: AtomicU64::new(0),
        };
        view.recompute_weight();
        view
    }

    /// Adds up the weights that share the load, and whether too few do. To be called when an instance
    /// was ejected or readmitted.
    pub(super) fn recompute_weight(&self) {
        let is_ejected = |instance: &Option<Arc<Instance>>| {
            let instance = instance.as_ref();
            instance.is_some_and(|instance| instance.is_ejected())
        };
        let sharing = |members: &Members| {
            let members = self.table.members().iter().zip(members);
            let sharing = members.filter(|(_, i)| i.is_some() && !is_ejected(i));
            let weights = sharing.map(|(member, _)| u64::from(member.weight.get()));
            weights.fold((0, 0), |(count, sum), weight| (count + 1, sum + weight))
        };
        let (ready, ready_weight) = sharing(&self.ready);
        let (unready, unready_weight) = sharing(&self.unready);
        let panic = self.panic_threshold.is_panic(ready, unready);
        self.panic.store(panic, Ordering::Relaxed);
        let weight = ready_weight + if panic { unready_weight } else { 0 };
        self.sharing_weight.store(weight, Ordering::Relaxed);
        if let Some(canary) = &self.canary {
            canary.view.recompute_weight();
        }
    }

    /// The ring of the canary, if the key is one of its.
    #[inline]
    pub fn canary_of(&self, key: Key) -> Option<&Self> {
        let canary = self.canary.as_deref()?;
        canary.share.takes(key).then_some(&canary.view)
    }

    /// The next epoch: with another canary, whose members are not ready yet, or without one.
    pub(super) fn with_canary(&self, canary: Option<(CanaryShare, SlotTable)>) -> Self {
        let ring = |(share, table)| CanaryRing {
            share,
            view: Self::first(table, self.balance_factor, self.panic_threshold),
        };
        self.with_canary_ring(canary.map(ring))
    }

    fn with_canary_ring(&self, canary: Option<CanaryRing>) -> Self {
        Self {
            canary: canary.map(Arc::new),
            ..self.same()
        }
    }

    /// The next epoch, with nothing changed yet.
    fn same(&self) -> Self {
        let [ready, unready, drained] = [&self.ready, &self.unready, &self.drained];
        let table = Arc::clone(&self.table);
        self.next(table, ready.clone(), unready.clone(), drained.clone())
    }

    /// The instances that may be given requests: the ready members, or the unready as well while too few are
    /// ready.
    pub fn candidates(&self) -> &[Option<Arc<Instance>>] {
        match self.panic.load(Ordering::Relaxed) {
            false => &self.ready,
            true => &self.ready_or_unready,
        }
    }

    /// The next epoch: another table, with all members that stay as ready as before.
    pub(super) fn with_table(&self, table: SlotTable) -> Self {
        let members = || table.members().iter();
        let ready = members().map(|m| self.instance_of(&m.name)).collect();
        let unready = members().map(|m| self.unready_of(&m.name)).collect();
        let drained = members().map(|m| self.drained_of(&m.name)).collect();
        self.next(Arc::new(table), ready, unready, drained)
    }

    /// The next epoch: the same members, with requests let through or not.
    pub(super) fn with_admission(&self, admission: Admission) -> Self {
        Self {
            admission,
            ..self.same()
        }
    }

    /// Every instance of a member, whether it gets requests or not; the canary's, too.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        let members = [&self.ready, &self.unready, &self.drained].into_iter();
        let canary = self.canary.iter().map(|canary| &canary.view.ready);
        let members = members.chain(canary);
        members.flat_map(|members| members.iter().flatten())
    }

    /// The next epoch: the same table, with another ready instance of a member, or with none.
    pub(super) fn with_ready(&self, index: usize, instance: Option<Arc<Instance>>) -> Self {
        self.with_member(index, instance, None, None)
    }

    /// The same for a member of this ring or of the canary's, if it is one.
    pub(super) fn with_ready_of(
        &self,
        name: &ReplicaName,
        instance: Option<Arc<Instance>>,
    ) -> Option<Self> {
        if let Some(index) = self.table.index_of(name) {
            return Some(self.with_ready(index.get(), instance));
        }
        let canary = self.canary.as_deref()?;
        let view = canary.view.with_ready_of(name, instance)?;
        let share = canary.share;
        Some(self.with_canary_ring(Some(CanaryRing { share, view })))
    }

    /// Whether a replica is a member of this ring or of the canary's.
    pub(super) fn has_member(&self, name: &ReplicaName) -> bool {
        self.table.index_of(name).is_some() || self.is_canary(name)
    }

    /// Whether it is a member of the canary's ring.
    pub(super) fn is_canary(&self, name: &ReplicaName) -> bool {
        let canary = self.canary.as_ref();
        canary.is_some_and(|canary| canary.view.has_member(name))
    }

    /// How many members are ready.
    pub fn ready_count(&self) -> usize {
        self.ready.iter().flatten().count()
    }

    /// The next epoch: the same table, with an instance of a member that is alive and not ready.
    pub(super) fn with_unready(&self, index: usize, instance: Arc<Instance>) -> Self {
        self.with_member(index, None, Some(instance), None)
    }

    /// The next epoch: the same table, with an instance of a member that is drained.
    pub(super) fn with_drained(&self, index: usize, instance: Arc<Instance>) -> Self {
        self.with_member(index, None, None, Some(instance))
    }

    fn with_member(
        &self,
        index: usize,
        ready: Option<Arc<Instance>>,
        unready: Option<Arc<Instance>>,
        drained: Option<Arc<Instance>>,
    ) -> Self {
        let with = |members: &Members, instance| {
            let mut members = members.clone();
            members[index] = instance;
            members
        };
        self.next(
            Arc::clone(&self.table),
            with(&self.ready, ready),
            with(&self.unready, unready),
            with(&self.drained, drained),
        )
    }

    /// The ready instance of a replica, the canary's included.
    pub(super) fn instance_of(&self, name: &ReplicaName) -> Option<Arc<Instance>> {
        let Some(index) = self.table.index_of(name) else {
            return self.canary.as_ref()?.view.instance_of(name);
        };
        self.ready.get(index.get()).cloned().flatten()
    }

    /// The unready instance of a replica.
    pub(super) fn unready_of(&self, name: &ReplicaName) -> Option<Arc<Instance>> {
        let index = self.table.index_of(name)?;
        self.unready.get(index.get()).cloned().flatten()
    }

    /// The instance of a drained replica.
    pub(super) fn drained_of(&self, name: &ReplicaName) -> Option<Arc<Instance>> {
        let index = self.table.index_of(name)?;
        self.drained.get(index.get()).cloned().flatten()
    }

    /// The instance of a replica, ready, unready or drained.
    pub fn any_of(&self, name: &ReplicaName) -> Option<Arc<Instance>> {
        let serving = self.instance_of(name).or_else(|| self.unready_of(name));
        serving.or_else(|| self.drained_of(name))
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
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet::InstanceId;
    use crate::ring::testing::member;
    use crate::ring::{Key, RingSpec};
    use crate::upstream::{ConcurrencyLimit, FleetLoad, InFlightPermit};

    /// S1, S2 and S3, with an instance each that is ready.
    pub(in crate::actors) fn three_ready(
        factor: Option<BalanceFactor>,
        panic_threshold: PanicThreshold,
        limit: Arc<ConcurrencyLimit>,
    ) -> RingView {
        let members = ["S1", "S2", "S3"].map(|name| member(name, 1));
        let table = SlotTable::build(&RingSpec::default(), &members).unwrap();
        let mut view = RingView::first(table, factor, panic_threshold);
        let load = Arc::<FleetLoad>::default();
        for index in view.table.indices() {
            let instance = Instance::new(
                InstanceId::new(view.table.member(index).name.clone(), 1),
                ([127, 0, 0, 1], 9).into(),
                Arc::clone(&limit),
                Arc::clone(&load),
                Arc::default(),
                Duration::ZERO,
                Arc::default(),
            );
            view = view.with_ready(index.get(), Some(instance));
        }
        view
    }

    /// The same with a canary of two instances, which are ready.
    pub(in crate::actors) fn with_two_canaries(
        view: &RingView,
        share: &str,
        limit: &Arc<ConcurrencyLimit>,
    ) -> RingView {
        let members = ["canary-1", "canary-2"].map(|name| member(name, 1));
        let table = SlotTable::build(&RingSpec::default(), &members).unwrap();
        let mut view = view.with_canary(Some((share.parse().unwrap(), table)));
        for member in members {
            let instance = Instance::new(
                InstanceId::new(member.name.clone(), 1),
                ([127, 0, 0, 1], 9).into(),
                Arc::clone(limit),
                Arc::default(),
                Arc::default(),
                Duration::ZERO,
                Arc::default(),
            );
            view = view.with_ready_of(&member.name, Some(instance)).unwrap();
        }
        view
    }

    #[test]
    fn ejected_instance_has_no_share_of_the_load_that_bounds_the_others() {
        let factor = BalanceFactor::new(1.5).unwrap();
        let limit = ConcurrencyLimit::new(None);
        let view = three_ready(Some(factor), PanicThreshold::default(), limit);
        let indices: Vec<MemberIndex> = view.table.indices().collect();
        let instances: Vec<_> = view.ready.iter().flatten().cloned().collect();
        let slot = view.table.slot_of(Key(1));
        let claim = |who: usize| InFlightPermit::try_acquire(&instances[who], slot, true).unwrap();
        let has_room = |view: &RingView| view.has_room(indices[0], &instances[0]);
        // Sixty in flight: thirty are half as much again as a third of them.
        let _held: Vec<InFlightPermit> = [(0, 31), (1, 29)]
            .into_iter()
            .flat_map(|(who, times)| (0..times).map(move |_| who))
            .map(claim)
            .collect();
        assert!(!has_room(&view));
        instances[2].eject();
        view.recompute_weight();
        assert!(has_room(&view));
        // The next epoch knows it from the start.
        let next = view.with_ready(indices[1].get(), Some(Arc::clone(&instances[1])));
        assert!(has_room(&next));
        instances[2].readmit();
        view.recompute_weight();
        assert!(!has_room(&view));
    }
}
