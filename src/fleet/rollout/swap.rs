//! The swap: a successor that is ready takes the place of the instance that plays its replica, which
//! finishes its requests and is stopped.

use std::time::Duration;

use super::retiring::Retiring;
use super::successor::SuccessorPhase;
use crate::fleet::event::{DeferredStep, ImmediateStep, OperatorAction, Steps};
use crate::fleet::lifecycle::Phase;
use crate::fleet::stopping::StoppingInstance;
use crate::fleet::{Fleet, InstanceId};

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
        let (grace, since) = (self.policy.stop_grace, steps.now);
        let replica = &mut self.replicas[index];
        let old = replica.id();
        let leftovers = std::mem::take(&mut replica.leftover_generations);
        let phase = std::mem::replace(&mut replica.phase, Phase::Ready { endpoint, since });
        let drain_waits = replica.drain_waits;
        replica.generation = successor.id.generation;
        replica.definition = successor.definition;
        replica.leftover_generations.push(successor.id.generation);
        replica.forget_instance();
        replica.answers_well = true;
        replica.backoff.reset();
        replica.last_error = None;
        replica.last_launch_failed = false;
        replica.replaces_unready = false;
        replica.starts_at_once = false;
        replica.reported.clear();
        let drained = replica.drained;
        match drained {
            true => {
                let action = OperatorAction::StaysDrained;
                steps.push(ImmediateStep::MarkDrained(successor.id.clone(), endpoint));
                steps.push(ImmediateStep::RecordAction(successor.id.clone(), action));
            }
            false => steps.push(ImmediateStep::Admit(successor.id.clone(), endpoint)),
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
}
