//! Successors: instances with another definition that start beside those that play their replicas.
//!
//! ```text
//!   Launching --started--> Probing --first good heartbeat--> Ready --swap--> it plays the replica
//!       |                     |                                |
//!       | not wanted          | died, late, not wanted         | died, not wanted
//!       v                     v                                v
//!   Abandoned --started--> stopped <-----------------------------
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::retiring::Retiring;
use crate::fleet::event::{DeferredStep, ImmediateStep, Steps};
use crate::fleet::record_definition::Definition;
use crate::fleet::rollout_state::Course;
use crate::fleet::unready::UNHEALTHY;
use crate::fleet::unresponsive::UNRESPONSIVE;
use crate::fleet::{
    DeathCause, Exit, Fleet, InstanceEvent, InstanceId, LaunchAs, LaunchOrder, Time,
};
use crate::human::duration;
use crate::ring::ReplicaName;

/// An instance of a rollout that plays no replica, or not yet.
#[derive(Debug)]
pub(in crate::fleet) struct Successor {
    pub(super) id: InstanceId,
    pub(super) definition: Arc<Definition>,
    pub(super) role: InstanceRole,
    pub(super) phase: SuccessorPhase,
    /// Its image's HEALTHCHECK says so.
    pub(super) unhealthy: bool,
}

/// What an instance is for, once it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InstanceRole {
    /// It is to play its replica.
    Successor,
    /// It serves keys of the canary, and never plays a replica.
    Canary,
    /// It is to play its replica instead of a stand-in, whether or not there is a rollout.
    Relief,
}

#[derive(Debug)]
pub(super) enum SuccessorPhase {
    /// The runtime has been asked for it.
    Launching {
        /// How it ended, if that is known already.
        exited: Option<Exit>,
    },
    /// It runs and has not answered a heartbeat well, or does not any more.
    Probing {
        endpoint: SocketAddr,
        deadline: Time,
        heartbeats: Heartbeats,
    },
    /// It may play the replica.
    Ready { endpoint: SocketAddr },
    /// It is not wanted any more, and stopped once it has been started.
    Abandoned,
    /// It is left to its owner, and only awaited.
    Left,
}

/// What is known of the heartbeats of an instance that is not ready.
#[derive(Debug)]
pub(super) enum Heartbeats {
    /// Nothing yet.
    Awaited,
    /// It answers them well, and only its image's HEALTHCHECK is against it.
    Good,
    /// They have failed, for this reason.
    Failed(String),
    /// It has answered them, and does not any more.
    Missed,
}

impl Successor {
    /// One that the runtime is asked for.
    pub(super) fn launching(
        id: InstanceId,
        definition: Arc<Definition>,
        role: InstanceRole,
    ) -> Self {
        Self {
            id,
            definition,
            role,
            phase: SuccessorPhase::Launching { exited: None },
            unhealthy: false,
        }
    }

    /// Whether the rollout, or a request, has it play a replica, unless it is given up.
    pub(super) fn is_successor(&self) -> bool {
        self.role == InstanceRole::Successor && self.is_wanted()
    }

    /// Whether it is to relieve a stand-in.
    pub(super) fn is_relief(&self) -> bool {
        self.role == InstanceRole::Relief && self.is_wanted()
    }

    pub(super) fn is_wanted(&self) -> bool {
        !matches!(self.phase, SuccessorPhase::Abandoned | SuccessorPhase::Left)
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, SuccessorPhase::Ready { .. })
    }

    /// Why it is not ready, as far as that is known.
    pub(super) fn unready_reason(&self) -> Option<&str> {
        match &self.phase {
            SuccessorPhase::Probing {
                heartbeats: Heartbeats::Failed(reason),
                ..
            } => Some(reason),
            _ if self.is_unresponsive() => Some(UNRESPONSIVE),
            _ => self.unhealthy.then_some(UNHEALTHY),
        }
    }

    fn is_unresponsive(&self) -> bool {
        let SuccessorPhase::Probing { heartbeats, .. } = &self.phase else {
            return false;
        };
        matches!(heartbeats, Heartbeats::Missed)
    }

    /// Its heartbeats fail: it has until then to become ready, if it has been.
    fn heartbeats_fail(&mut self, how: Heartbeats, deadline_if_ready: Time) {
        match &mut self.phase {
            SuccessorPhase::Probing { heartbeats, .. } => *heartbeats = how,
            SuccessorPhase::Ready { endpoint } => {
                self.phase = SuccessorPhase::Probing {
                    endpoint: *endpoint,
                    deadline: deadline_if_ready,
                    heartbeats: how,
                };
            }
            _ => {}
        }
    }

    /// When it is late.
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.phase {
            SuccessorPhase::Probing { deadline, .. } => Some(deadline),
            _ => None,
        }
    }
}

impl Fleet {
    /// Starts an instance beside the one that plays the replica.
    pub(super) fn launch_successor(
        &mut self,
        index: usize,
        definition: Arc<Definition>,
        role: InstanceRole,
        steps: &mut Steps,
    ) {
        let replica = &self.replicas[index];
        let generation = self.generations.next(&replica.name);
        let id = InstanceId::new(replica.name.clone(), generation);
        let order = LaunchOrder {
            id: id.clone(),
            ..replica.order()
        };
        let launched_as = match replica.stand_in() {
            Some(_) => LaunchAs::Relief,
            None => LaunchAs::Successor,
        };
        let like = Arc::clone(&definition);
        steps.push(DeferredStep::Launch(order, like, launched_as));
        self.successors
            .push(Successor::launching(id, definition, role));
    }

    /// Takes in a report about an instance that plays no replica: a successor, or one that retires.
    pub(in crate::fleet) fn apply_to_other(
        &mut self,
        id: &InstanceId,
        event: InstanceEvent,
        steps: &mut Steps,
    ) {
        if let Some(place) = self.successors.iter().position(|n| n.id == *id) {
            self.apply_to_successor(place, event, steps);
        } else if let Some(place) = self.retiring.iter().position(|r| r.id == *id) {
            self.apply_to_retiring(place, &event, steps);
        }
    }

    fn apply_to_successor(&mut self, place: usize, event: InstanceEvent, steps: &mut Steps) {
        let deadline = steps.now.saturating_add(self.policy.start_timeout);
        let successor = &mut self.successors[place];
        match (event, &mut successor.phase) {
            (InstanceEvent::Launched(_), SuccessorPhase::Abandoned) => {
                let unwanted = self.successors.remove(place);
                self.stop_unwanted(unwanted, steps);
            }
            (
                InstanceEvent::Launched(_)
                | InstanceEvent::LaunchFailed(_)
                | InstanceEvent::LaunchPreempted(..),
                SuccessorPhase::Left,
            ) => {
                self.successors.remove(place);
            }
            (InstanceEvent::Launched(endpoint), SuccessorPhase::Launching { exited }) => {
                match exited.take() {
                    Some(exit) => self.successor_died(place, DeathCause::Ended(exit), steps),
                    None => self.probe_successor(place, endpoint, steps),
                }
            }
            (InstanceEvent::LaunchFailed(_), SuccessorPhase::Abandoned) => {
                self.successors.remove(place);
            }
            (InstanceEvent::LaunchPreempted(by, ..), SuccessorPhase::Abandoned) => {
                let name = self.successors.remove(place).id.replica;
                let theirs = InstanceId::new(name, by);
                self.stop_instance(theirs, self.policy.stop_grace, steps);
            }
            (InstanceEvent::LaunchFailed(reason), SuccessorPhase::Launching { .. }) => {
                let Successor { id, role, .. } = self.successors.remove(place);
                match role {
                    InstanceRole::Canary => {
                        self.canary_failed(&id, format!("cannot start: {reason}"), steps)
                    }
                    InstanceRole::Successor => {
                        self.note_replacement_failure(&id.replica, reason.clone());
                        let reason = format!("cannot start {}: {reason}", id.replica);
                        self.successor_failed(reason, steps);
                    }
                    InstanceRole::Relief => {
                        let reason = format!("cannot start: {reason}");
                        self.relief_failed(&id.replica, &reason, steps);
                    }
                }
            }
            (InstanceEvent::LaunchPreempted(by, endpoint, _), SuccessorPhase::Launching { .. }) => {
                // Another balancer was first: its successor is ours.
                successor.id.generation = by;
                self.probe_successor(place, endpoint, steps);
            }
            (InstanceEvent::Exited(exit), SuccessorPhase::Launching { exited }) => {
                *exited = Some(exit);
            }
            (InstanceEvent::Destroyed, SuccessorPhase::Launching { .. }) => {
                successor.phase = SuccessorPhase::Abandoned;
                let name = successor.id.replica.clone();
                self.taken_away(&name, steps);
            }
            (
                InstanceEvent::Exited(exit),
                SuccessorPhase::Probing { .. } | SuccessorPhase::Ready { .. },
            ) => {
                steps.push(ImmediateStep::Unwatch(successor.id.clone()));
                self.successor_died(place, DeathCause::Ended(exit), steps);
            }
            (InstanceEvent::RemovedElsewhere, SuccessorPhase::Probing { .. })
            | (InstanceEvent::RemovedElsewhere, SuccessorPhase::Ready { .. }) => {
                steps.push(ImmediateStep::Unwatch(successor.id.clone()));
                let Successor { id, role, .. } = self.successors.remove(place);
                const TAKEN_AWAY: &str = "was taken away";
                self.evict_canary(&id, TAKEN_AWAY, steps);
                self.stop_instance(id.clone(), Duration::ZERO, steps);
                match role {
                    InstanceRole::Canary => self.canary_failed(&id, TAKEN_AWAY.to_owned(), steps),
                    InstanceRole::Successor => {
                        let reason = format!("the new instance of {} was taken away", id.replica);
                        self.note_replacement_failure(&id.replica, reason.clone());
                        self.successor_taken_away(reason, steps);
                    }
                    InstanceRole::Relief => self.relief_failed(&id.replica, TAKEN_AWAY, steps),
                }
            }
            (
                InstanceEvent::Ending,
                SuccessorPhase::Probing { .. } | SuccessorPhase::Ready { .. },
            ) if successor.role == InstanceRole::Canary => self.canary_ending(place, steps),
            (InstanceEvent::ConnectionRefused, SuccessorPhase::Ready { .. })
                if successor.role == InstanceRole::Canary =>
            {
                steps.push(ImmediateStep::Unwatch(successor.id.clone()));
                self.successor_died(place, DeathCause::RefusesConnections, steps);
            }
            (
                InstanceEvent::BecameHealthy,
                SuccessorPhase::Probing {
                    endpoint,
                    heartbeats,
                    ..
                },
            ) => match successor.unhealthy {
                true => *heartbeats = Heartbeats::Good,
                false => {
                    let endpoint = *endpoint;
                    successor.phase = SuccessorPhase::Ready { endpoint };
                }
            },
            (
                InstanceEvent::BecameUnready(reason),
                SuccessorPhase::Probing { .. } | SuccessorPhase::Ready { .. },
            )
            | (InstanceEvent::ProbeFailed(reason), SuccessorPhase::Probing { .. }) => {
                successor.heartbeats_fail(Heartbeats::Failed(reason), deadline);
            }
            (InstanceEvent::BecameUnresponsive, _) => {
                successor.heartbeats_fail(Heartbeats::Missed, deadline);
            }
            (InstanceEvent::HealthcheckChanged(healthy), phase) => {
                successor.unhealthy = !healthy;
                match phase {
                    SuccessorPhase::Probing {
                        endpoint,
                        heartbeats: Heartbeats::Good,
                        ..
                    } if healthy => {
                        let endpoint = *endpoint;
                        successor.phase = SuccessorPhase::Ready { endpoint };
                    }
                    SuccessorPhase::Ready { .. } if !healthy => {
                        successor.heartbeats_fail(Heartbeats::Good, deadline);
                    }
                    _ => {}
                }
            }
            (
                InstanceEvent::Moved(to, reason),
                SuccessorPhase::Probing { endpoint, .. } | SuccessorPhase::Ready { endpoint },
            ) if to != Some(*endpoint) => {
                steps.push(ImmediateStep::Unwatch(successor.id.clone()));
                let serves = successor.role == InstanceRole::Canary && successor.is_ready();
                match to.filter(|_| !serves) {
                    Some(endpoint) => self.probe_successor(place, endpoint, steps),
                    // Another program may answer at the address that it has lost.
                    None => self.successor_died(place, DeathCause::Moved(reason), steps),
                }
            }
            _ => {}
        }
    }

    fn probe_successor(&mut self, place: usize, endpoint: SocketAddr, steps: &mut Steps) {
        let successor = &mut self.successors[place];
        successor.phase = SuccessorPhase::Probing {
            endpoint,
            deadline: steps.now.saturating_add(self.policy.start_timeout),
            heartbeats: Heartbeats::Awaited,
        };
        steps.push(ImmediateStep::Watch(successor.id.clone(), endpoint));
    }

    /// A successor has ended, or is given up; it is not watched any more.
    fn successor_died(&mut self, place: usize, cause: DeathCause, steps: &mut Steps) {
        let Successor { id, role, .. } = self.successors.remove(place);
        let reason = cause.to_string();
        self.evict_canary(&id, &reason, steps);
        let recorded = id.clone();
        steps.push(match self.has_served_as_canary(&id) {
            true => ImmediateStep::RecordDeath {
                id: recorded,
                cause,
            },
            false => ImmediateStep::RecordFailedStart {
                id: recorded,
                cause,
            },
        });
        self.stop_instance(id.clone(), Duration::ZERO, steps);
        match role {
            InstanceRole::Canary => self.canary_failed(&id, reason, steps),
            InstanceRole::Successor => {
                let failure = format!("its new instance {reason}");
                self.note_replacement_failure(&id.replica, failure);
                let reason = format!("the new instance of {} {reason}", id.replica);
                self.successor_failed(reason, steps);
            }
            InstanceRole::Relief => {
                let reason = format!("its new instance {reason}");
                self.relief_failed(&id.replica, &reason, steps);
            }
        }
    }

    /// Gives up successors that have not answered a heartbeat well in time.
    pub(super) fn give_up_late_successors(&mut self, steps: &mut Steps) {
        let now = steps.now;
        let is_late = |n: &Successor| n.deadline().is_some_and(|at| at <= now);
        while let Some(place) = self.successors.iter().position(is_late) {
            let successor = &self.successors[place];
            let timeout = duration(self.policy.start_timeout);
            let because = successor.unready_reason();
            let because = because.map_or_else(String::new, |reason| format!(": {reason}"));
            let cause = match self.has_served_as_canary(&successor.id) {
                true if successor.is_unresponsive() => DeathCause::Unresponsive,
                true => DeathCause::Unready(format!("unready for {timeout}{because}")),
                false => DeathCause::NotReadyInTime(format!(
                    "had no good heartbeat within {timeout} of its start{because}"
                )),
            };
            steps.push(ImmediateStep::Unwatch(successor.id.clone()));
            self.successor_died(place, cause, steps);
        }
    }

    /// Stops a successor that is not wanted any more.
    pub(super) fn discard_successor(&mut self, place: usize, steps: &mut Steps) {
        let successor = &mut self.successors[place];
        if let SuccessorPhase::Launching { .. } = successor.phase {
            successor.phase = SuccessorPhase::Abandoned;
            return;
        }
        steps.push(ImmediateStep::Unwatch(successor.id.clone()));
        let unwanted = self.successors.remove(place);
        self.stop_unwanted(unwanted, steps);
    }

    fn stop_unwanted(&mut self, Successor { id, role, .. }: Successor, steps: &mut Steps) {
        if role == InstanceRole::Relief {
            // Its replica is removed, and nothing of that is to be left.
            self.announce_removal(&id, steps);
        }
        self.stop_instance(id, self.policy.stop_grace, steps);
    }

    /// Stops what plays no replica: the balancer stops.
    pub(in crate::fleet) fn stop_others(&mut self, steps: &mut Steps) {
        self.close_canary(steps);
        while let Some(place) = self.successors.iter().position(Successor::is_wanted) {
            self.discard_successor(place, steps);
        }
        for Retiring { id, .. } in std::mem::take(&mut self.retiring) {
            self.stop_instance(id, self.policy.stop_grace, steps);
        }
    }

    /// Whether successors or retiring instances of this name are left.
    pub(in crate::fleet) fn has_others(&self, name: &ReplicaName) -> bool {
        let successors = self.successors.iter().map(|successor| &successor.id);
        let mut ids = successors.chain(self.retiring.iter().map(|retiring| &retiring.id));
        ids.any(|id| id.replica == *name)
    }

    /// A successor will not play its replica.
    fn successor_failed(&mut self, reason: String, steps: &mut Steps) {
        match self.rollout.as_ref().map(|rollout| rollout.stage.course()) {
            Some(Course::Trial | Course::Canary | Course::Onward) => {
                self.fail_rollout(reason, steps);
            }
            Some(Course::Back) => self.retry_way_back(reason, steps),
            None => {}
        }
    }
}
