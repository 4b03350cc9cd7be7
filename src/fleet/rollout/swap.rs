//! The swap: a successor that is ready takes the place of the instance that plays its replica, which
//! finishes its requests and is stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::retiring::Retiring;
use super::successor::{InstanceRole, SuccessorPhase};
use crate::fleet::event::{DeferredStep, ImmediateStep, OperatorAction, Steps};
use crate::fleet::lifecycle::Phase;
use crate::fleet::stopping::StoppingInstance;
use crate::fleet::{Definition, Fleet, InstanceId};

/// An instance that is ready to play a replica.
pub(in crate::fleet) struct ReadyInstance {
    pub(in crate::fleet) generation: u64,
    pub(in crate::fleet) definition: Arc<Definition>,
    pub(in crate::fleet) endpoint: SocketAddr,
}

/// What played the replica until then.
pub(in crate::fleet) struct FormerInstance {
    phase: Phase,
    leftovers: Vec<u64>,
    drain_waits: u32,
}

impl Fleet {
    /// Has a successor that is ready play its replica, unless that is just being started: the same
    /// member, another instance, in one epoch of the ring. Returns the instance.
    pub(super) fn swap(&mut self, place: usize, steps: &mut Steps) -> Option<InstanceId> {
        let successor = &self.successors[place];
        let SuccessorPhase::Ready { endpoint } = successor.phase else {
            return None;
        };
        let index = self.index_of(&successor.id.replica)?;
        match self.replicas[index].phase {
            Phase::Launching { .. } | Phase::Draining | Phase::DrainingForRestart => return None,
            _ => {}
        }
        let successor = self.successors.remove(place);
        let grace = self.policy.stop_grace;
        let old = self.replicas[index].id();
        // It is no cure for what the replica has died of.
        let deaths = self.replicas[index].backoff.clone();
        let keeps_deaths = successor.role == InstanceRole::Relief;
        let ready = ReadyInstance {
            generation: successor.id.generation,
            definition: successor.definition,
            endpoint,
        };
        let FormerInstance {
            phase,
            leftovers,
            drain_waits,
        } = self.give_place(index, ready, steps);
        if keeps_deaths {
            self.replicas[index].backoff = deaths;
        }
        steps.push(DeferredStep::TakePlace(successor.id.clone()));
        match phase {
            Phase::Ready { .. } | Phase::Unready { .. } => {
                steps.push(ImmediateStep::Unwatch(old.clone()));
                steps.push(DeferredStep::Drain(old.clone()));
                self.retiring.push(Retiring {
                    id: old,
                    drain_waits: drain_waits + 1,
                });
            }
            Phase::Hung { .. } => {
                steps.push(ImmediateStep::Unwatch(old.clone()));
                self.stop_instance(old, Duration::ZERO, steps);
            }
            Phase::Probing { .. } => {
                steps.push(ImmediateStep::Unwatch(old.clone()));
                self.stop_instance(old, grace, steps);
            }
            Phase::Stopping { .. } => self
                .stopping_instances
                .push(StoppingInstance::under_way(old)),
            // What its last instance has left is cleared away.
            _ => {
                for generation in leftovers {
                    let id = InstanceId::new(old.replica.clone(), generation);
                    self.stop_instance(id, Duration::ZERO, steps);
                }
            }
        }
        Some(successor.id)
    }

    /// Has an instance play a replica from now on, on the ring as well.
    pub(in crate::fleet) fn give_place(
        &mut self,
        index: usize,
        ready: ReadyInstance,
        steps: &mut Steps,
    ) -> FormerInstance {
        let (endpoint, since) = (ready.endpoint, steps.now);
        let replica = &mut self.replicas[index];
        let before = FormerInstance {
            leftovers: std::mem::take(&mut replica.leftover_generations),
            phase: std::mem::replace(&mut replica.phase, Phase::Ready { endpoint, since }),
            drain_waits: replica.drain_waits,
        };
        replica.generation = ready.generation;
        replica.definition = ready.definition;
        replica.leftover_generations.push(ready.generation);
        replica.forget_instance();
        replica.answers_well = true;
        replica.backoff.reset();
        replica.last_error = None;
        replica.last_launch_failed = false;
        replica.replaces_unready = false;
        replica.starts_at_once = false;
        replica.reported.clear();
        let id = replica.id();
        match replica.drained {
            true => {
                let action = OperatorAction::StaysDrained;
                steps.push(ImmediateStep::MarkDrained(id.clone(), endpoint));
                steps.push(ImmediateStep::RecordAction(id, action));
            }
            false => steps.push(ImmediateStep::Admit(id, endpoint)),
        }
        before
    }
}
