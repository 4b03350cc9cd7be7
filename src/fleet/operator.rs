//! What is asked of a single replica on request: to drain it, to activate it again, to restart it.
//!
//! A drained replica keeps its slots and gets no requests; its instance is watched and replaced like
//! any other. A restart drains as well, and forgets the replica's record of deaths.

use std::time::Duration;

use super::Fleet;
use super::change::ChangeError;
use super::event::{DeferredStep, ImmediateStep, OperatorAction, Steps};
use super::lifecycle::Phase;
use super::record_merge::RecordChange;
use crate::ring::ReplicaName;

impl Fleet {
    /// Notes the replicas that the fleet record says are drained; before anything is executed.
    pub fn note_drained(&mut self, names: &[ReplicaName]) {
        for replica in &mut self.replicas {
            replica.drained = names.contains(&replica.name);
        }
    }

    /// Takes in which replicas the fleet record says are drained.
    pub(super) fn drained_in_record(&mut self, names: &[ReplicaName], steps: &mut Steps) {
        for index in 0..self.replicas.len() {
            let replica = &self.replicas[index];
            let drained = names.contains(&replica.name);
            if !self.shutting_down && replica.is_desired() && replica.drained != drained {
                self.apply_drained(index, drained, steps);
            }
        }
    }

    /// Drains a replica on request, or activates it.
    pub(super) fn set_drained(
        &mut self,
        name: &ReplicaName,
        drained: bool,
        steps: &mut Steps,
    ) -> Result<(), ChangeError> {
        let index = self.desired_index(name)?;
        if self.replicas[index].drained == drained {
            return Ok(());
        }
        if drained && !self.is_dispensable(index) {
            return Err(ChangeError::LastActive(name.clone()));
        }
        let change = RecordChange::SetDrained(name.clone(), drained);
        steps.push(ImmediateStep::Record(change));
        self.apply_drained(index, drained, steps);
        Ok(())
    }

    /// Has a replica replaced by its next generation on request, after draining it unless that is to
    /// be `now`.
    pub(super) fn begin_restart(
        &mut self,
        name: &ReplicaName,
        now: bool,
        steps: &mut Steps,
    ) -> Result<(), ChangeError> {
        let index = self.desired_index(name)?;
        let grace = self.policy.stop_grace;
        let replica = &mut self.replicas[index];
        let id = replica.id();
        let restarting = OperatorAction::Restarting;
        steps.push(ImmediateStep::RecordAction(id.clone(), restarting));
        replica.backoff.reset();
        let starts_anyway = matches!(
            replica.phase,
            Phase::Launching { .. } | Phase::BackingOff { .. }
        );
        replica.starts_at_once = !starts_anyway;
        match replica.phase {
            Phase::Ready { endpoint, .. } | Phase::Unready { endpoint, .. } => {
                steps.push(ImmediateStep::MarkDrained(id.clone(), endpoint));
                steps.push(ImmediateStep::Unwatch(id));
                if now {
                    self.stop_for_restart(index, Duration::ZERO, grace, steps);
                } else {
                    replica.phase = Phase::DrainingForRestart;
                    self.wait_for_drain(index, steps);
                }
            }
            Phase::Probing { .. } => {
                steps.push(ImmediateStep::Unwatch(id));
                self.stop_for_restart(index, Duration::ZERO, grace, steps);
            }
            Phase::Hung { .. } => {
                steps.push(ImmediateStep::Unwatch(id));
                self.stop_for_restart(index, Duration::ZERO, Duration::ZERO, steps);
            }
            Phase::BackingOff { .. } => self.launch(index, steps),
            // The start that is under way is the one that is asked for.
            Phase::Launching { .. }
            | Phase::Stopping { .. }
            | Phase::Draining
            | Phase::DrainingForRestart => {}
        }
        Ok(())
    }

    /// Waits until a replica that gets no more requests has none in flight, or for the deadline.
    pub(super) fn wait_for_drain(&mut self, index: usize, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        replica.drain_waits += 1;
        steps.push(DeferredStep::Drain(replica.id()));
    }

    /// Nothing is in flight on a replica any more, or the deadline has passed.
    pub(super) fn drain_ended(&mut self, index: usize, steps: &mut Steps) {
        let grace = self.policy.stop_grace;
        let replica = &mut self.replicas[index];
        replica.drain_waits = replica.drain_waits.saturating_sub(1);
        if replica.drain_waits > 0 {
            // One that began later has a later deadline.
            return;
        }
        match replica.phase {
            Phase::Draining => self.forget_replica(index, grace, steps),
            Phase::DrainingForRestart => {
                self.stop_for_restart(index, Duration::ZERO, grace, steps);
            }
            Phase::Ready { .. } | Phase::Unready { .. } if replica.drained => {
                steps.push(ImmediateStep::EndDrain(replica.id()));
            }
            _ => {}
        }
    }

    fn apply_drained(&mut self, index: usize, drained: bool, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        replica.drained = drained;
        let id = replica.id();
        let action = match drained {
            true => OperatorAction::Drained,
            false => OperatorAction::Activated,
        };
        steps.push(ImmediateStep::RecordAction(id.clone(), action));
        match (&replica.phase, drained) {
            (&(Phase::Ready { endpoint, .. } | Phase::Unready { endpoint, .. }), true) => {
                steps.push(ImmediateStep::MarkDrained(id, endpoint));
                self.wait_for_drain(index, steps);
            }
            (&Phase::Ready { endpoint, .. }, false) => {
                steps.push(ImmediateStep::Admit(id, endpoint));
            }
            (&Phase::Unready { endpoint, .. }, false) => {
                let reason = replica.last_error.clone().unwrap_or_default();
                steps.push(ImmediateStep::MarkUnready(id, endpoint, reason));
            }
            _ => {}
        }
    }

    /// Whether others can serve without this replica, or it does not serve itself.
    fn is_dispensable(&self, index: usize) -> bool {
        let others = self.replicas.iter().enumerate();
        let mut others =
            others.filter(|(place, r)| *place != index && r.is_desired() && !r.drained);
        match self.replicas[index].phase {
            Phase::Ready { .. } => others.any(|(_, r)| matches!(r.phase, Phase::Ready { .. })),
            _ => others.next().is_some(),
        }
    }

    fn desired_index(&self, name: &ReplicaName) -> Result<usize, ChangeError> {
        let index = self.index_of(name);
        let index = index.filter(|index| self.replicas[*index].is_desired());
        index.ok_or_else(|| ChangeError::Unknown(name.clone()))
    }
}
