//! Instances that are on the ring no longer and may have requests, or get one: a worker thread that has
//! an older epoch may still choose them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::upstream::Instance;

#[derive(Debug, Default)]
pub(super) struct LeftInstances {
    /// Each with the first epoch that is without it.
    list: Vec<(Arc<Instance>, u64)>,
    /// The newest epoch that every worker has.
    acknowledged: Rc<Cell<u64>>,
}

impl LeftInstances {
    /// Keeps instances that are not on the ring from this epoch on.
    pub(super) fn keep(&mut self, instances: impl IntoIterator<Item = Arc<Instance>>, epoch: u64) {
        let left = instances.into_iter().map(|instance| (instance, epoch));
        self.list.extend(left);
    }

    /// Forgets those that have no requests and get none any more.
    pub(super) fn prune(&mut self) {
        let acknowledged = self.acknowledged.get();
        self.list
            .retain(|(instance, epoch)| instance.in_flight() > 0 || *epoch > acknowledged);
    }

    /// What notes that every worker has an epoch, or is not waited for any longer.
    pub(super) fn acknowledgement(&self, epoch: u64) -> impl FnOnce() + 'static {
        let acknowledged = Rc::clone(&self.acknowledged);
        move || acknowledged.set(acknowledged.get().max(epoch))
    }

    /// Takes one that comes back.
    pub(super) fn take(&mut self, is_it: impl Fn(&Arc<Instance>) -> bool) -> Option<Arc<Instance>> {
        let place = self.list.iter().position(|(instance, _)| is_it(instance))?;
        Some(self.list.swap_remove(place).0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.list.iter().map(|(instance, _)| instance)
    }
}
