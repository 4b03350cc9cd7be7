//! Taking over from an earlier balancer.

use std::collections::{BTreeMap, HashSet};

use super::event::Step;
use super::instance::Found;
use super::lifecycle::Time;
use super::{Fleet, Replica};
use crate::ring::ReplicaName;

/// What was found of one replica.
struct Estate {
    /// The instance that is to play it, or whose successor is.
    heir: Found,
    /// The rest.
    others: Vec<Found>,
}

impl Fleet {
    /// Makes the membership that an earlier balancer left behind this fleet's own:
    /// what runs is kept under its generation, what has ended is started again.
    pub(super) fn adopt(&mut self, found: Vec<Found>, now: Time, steps: &mut Vec<Step>) {
        let estates = divide(found);
        for Estate { heir, others } in &estates {
            for Found { order, .. } in others.iter().chain([heir]) {
                self.generations.saw(&order.id.replica, order.id.generation);
                self.next_ordinal = self.next_ordinal.max(order.ordinal.saturating_add(1));
            }
            let mut replica = Replica::adopted(&heir.order);
            replica.remains.push(heir.order.id.generation);
            if heir.endpoint.is_none() {
                // All of it has ended, and the start of the next clears it away.
                let older = others.iter().map(|found| found.order.id.generation);
                replica.remains.extend(older);
            }
            self.replicas.push(replica);
        }
        steps.push(Step::Join(self.members()));
        for (index, Estate { heir, others }) in estates.into_iter().enumerate() {
            let Some(endpoint) = heir.endpoint else {
                self.launch(index, steps);
                continue;
            };
            self.probe(index, endpoint, now, steps);
            for Found { order, .. } in others {
                self.depart(order.id, self.policy.stop_grace, steps);
            }
        }
    }
}

/// One estate a name, in the order of joining.
fn divide(mut found: Vec<Found>) -> Vec<Estate> {
    // Of several instances of one replica the newest that runs is the one to keep, and
    // what it was started as is what counts: an older one may date from before the name
    // was removed and added again.
    found.sort_by_key(|f| (f.endpoint.is_some(), f.order.id.generation));
    let mut by_name: BTreeMap<ReplicaName, Estate> = BTreeMap::new();
    let mut seen = HashSet::new();
    for found in found.into_iter().rev() {
        // A list that names an instance twice does not make it two.
        if !seen.insert(found.order.id.clone()) {
            continue;
        }
        match by_name.get_mut(&found.order.id.replica) {
            Some(estate) => estate.others.push(found),
            None => {
                let (name, heir) = (found.order.id.replica.clone(), found);
                let others = Vec::new();
                by_name.insert(name, Estate { heir, others });
            }
        }
    }
    let mut estates: Vec<Estate> = by_name.into_values().collect();
    estates.sort_by_key(|estate| estate.heir.order.ordinal);
    estates
}
