//! One replica gets another instance on request, by the definition that it has: the new one starts beside
//! the old one and takes its place, as in a rollout. So a replica is moved to another node.

use std::sync::Arc;

use super::successor::{InstanceRole, Successor};
use crate::fleet::Fleet;
use crate::fleet::change::ChangeError;
use crate::fleet::event::Steps;
use crate::fleet::lifecycle::Phase;
use crate::ring::ReplicaName;

impl Fleet {
    /// Begins it. A replica that is just being started again needs none: it is placed anew anyway.
    pub(in crate::fleet) fn begin_replacement(
        &mut self,
        name: &ReplicaName,
        steps: &mut Steps,
    ) -> Result<(), ChangeError> {
        let ours = self.rollout.as_ref().map(|rollout| rollout.id);
        let theirs = || self.followed_rollout().map(|rollout| rollout.id);
        if let Some(id) = ours.or_else(theirs) {
            return Err(ChangeError::RolloutUnderWay(id));
        }
        let index = self.index_of(name);
        let index = index.filter(|index| self.replicas[*index].is_desired());
        let index = index.ok_or_else(|| ChangeError::Unknown(name.clone()))?;
        let replica = &self.replicas[index];
        let is_played = matches!(replica.phase, Phase::Ready { .. } | Phase::Unready { .. });
        if is_played && !self.has_successor(name) {
            let definition = Arc::clone(&replica.definition);
            self.launch_successor(index, definition, InstanceRole::Successor, steps);
        }
        Ok(())
    }

    /// Whether an instance is to take the place of the one that plays a replica.
    pub(in crate::fleet) fn has_successor(&self, name: &ReplicaName) -> bool {
        let mut successors = self.successors.iter();
        successors.any(|successor| successor.id.replica == *name && successor.is_wanted())
    }

    /// Whether a successor is there on request.
    pub(super) fn is_requested(&self, successor: &Successor) -> bool {
        self.rollout.is_none() && self.replaced_on_request() == Some(&successor.id.replica)
    }
}
