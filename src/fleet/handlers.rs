//! What each report means for the replica that it is about.
//!
//! Reports may be late, doubled or out of order. One about an instance that plays no replica
//! any more, or that does not fit the phase its replica is in, is old news.

use std::net::SocketAddr;
use std::time::Duration;

use super::Fleet;
use super::event::{ImmediateStep, Steps};
use super::instance::{Exit, InstanceId};
use super::lifecycle::Phase;
use super::time::Time;
use super::unready::UNHEALTHY;
use super::unresponsive::UNRESPONSIVE;
use crate::human::duration;

impl Fleet {
    pub(super) fn launched(
        &mut self,
        id: &InstanceId,
        endpoint: SocketAddr,
        now: Time,
        steps: &mut Steps,
    ) {
        let Some(index) = self.current(id) else {
            return;
        };
        let replica = &mut self.replicas[index];
        let Phase::Launching { exited } = &mut replica.phase else {
            return;
        };
        let exited = exited.take();
        replica.last_launch_failed = false;
        // What older generations left behind went with the start.
        replica.leftover_generations = vec![id.generation];
        if replica.leaving {
            self.forget_replica(index, self.policy.stop_grace, steps);
        } else if let Some(exit) = exited {
            let cause = exit.to_string();
            self.record_death(index, &cause, Some(exit), steps);
            self.failed_to_start(index, cause, now, steps);
        } else {
            self.probe(index, endpoint, now, steps);
        }
    }

    pub(super) fn launch_failed(
        &mut self,
        id: &InstanceId,
        reason: String,
        now: Time,
        steps: &mut Steps,
    ) {
        let Some(index) = self.current(id) else {
            return;
        };
        let replica = &mut self.replicas[index];
        if !matches!(replica.phase, Phase::Launching { .. }) {
            return;
        }
        replica.last_launch_failed = true;
        if replica.leaving {
            self.forget_replica(index, Duration::ZERO, steps);
        } else {
            self.failed_to_start(index, reason, now, steps);
        }
    }

    /// An instance has ended by itself, with `exit`, or has been stopped; whether or not it plays
    /// a replica.
    pub(super) fn instance_ended(&self, id: &InstanceId, exit: Option<&Exit>, steps: &mut Steps) {
        let id = id.clone();
        steps.push(match exit.cloned() {
            Some(exit) => ImmediateStep::RecordExit {
                id: id.clone(),
                exit,
            },
            None => ImmediateStep::RecordStop { id: id.clone() },
        });
        // A server that the runtime cannot stop may serve on.
        if self.policy.spawns {
            steps.push(ImmediateStep::AbortRequests { id });
        }
    }

    pub(super) fn exited(&mut self, id: &InstanceId, exit: Exit, now: Time, steps: &mut Steps) {
        let Some(index) = self.current(id) else {
            return;
        };
        let replica = &mut self.replicas[index];
        let reason = exit.to_string();
        match &mut replica.phase {
            // Whether it got as far as being started is reported yet.
            Phase::Launching { exited } => *exited = Some(exit),
            Phase::Ready { since, .. } if replica.member => {
                let healthy_for = now.saturating_sub(*since);
                steps.push(ImmediateStep::Evict {
                    id: id.clone(),
                    reason: reason.clone(),
                });
                self.record_death(index, &reason, Some(exit), steps);
                steps.push(ImmediateStep::Unwatch { id: id.clone() });
                self.restart(index, healthy_for, now, steps);
            }
            Phase::Probing { .. } | Phase::Ready { .. } => {
                self.record_death(index, &reason, Some(exit), steps);
                steps.push(ImmediateStep::Unwatch { id: id.clone() });
                self.failed_to_start(index, reason, now, steps);
            }
            Phase::Unready { healthy_for, .. } => {
                let healthy_for = *healthy_for;
                replica.last_error = None;
                steps.push(ImmediateStep::Evict {
                    id: id.clone(),
                    reason: reason.clone(),
                });
                self.record_death(index, &reason, Some(exit), steps);
                steps.push(ImmediateStep::Unwatch { id: id.clone() });
                self.restart(index, healthy_for, now, steps);
            }
            Phase::Hung { healthy_for, .. } => {
                let healthy_for = *healthy_for;
                self.record_death(index, &reason, Some(exit), steps);
                steps.push(ImmediateStep::Unwatch { id: id.clone() });
                self.restart(index, healthy_for, now, steps);
            }
            // No request can be finished any more.
            Phase::Draining => {
                self.record_death(index, &reason, Some(exit), steps);
                self.forget_replica(index, Duration::ZERO, steps);
            }
            // `Stopped` follows, or what there was to end has ended.
            Phase::Stopping { .. } | Phase::BackingOff { .. } => {}
        }
    }

    pub(super) fn became_healthy(&mut self, id: &InstanceId, now: Time, steps: &mut Steps) {
        let Some(index) = self.current(id) else {
            return;
        };
        let replica = &mut self.replicas[index];
        replica.answers_well = true;
        if !replica.unhealthy {
            self.become_ready(index, now, steps);
        } else if let Phase::Probing { .. } = replica.phase {
            self.probe_failed(id, UNHEALTHY.to_owned(), now, steps);
        } else if !matches!(replica.phase, Phase::Ready { .. }) {
            self.make_unready(index, UNHEALTHY.to_owned(), now, steps);
        }
    }

    /// The instance is ready: it answers heartbeats well, and nothing else is against it.
    pub(super) fn become_ready(&mut self, index: usize, now: Time, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        let (Phase::Probing { endpoint, .. }
        | Phase::Unready { endpoint, .. }
        | Phase::Hung { endpoint, .. }) = replica.phase
        else {
            return;
        };
        replica.phase = Phase::Ready {
            endpoint,
            since: now,
        };
        replica.last_error = None;
        replica.reported.clear();
        replica.probe_failure = None;
        replica.replaces_unready = false;
        // A newcomer joins together with those it was asked for with: see `advance_changes`.
        if replica.member {
            let id = replica.id();
            steps.push(ImmediateStep::Admit { id, endpoint });
        } else {
            self.admit_foreign(index, steps);
        }
    }

    /// The instance runs and does not serve.
    pub(super) fn unresponsive(
        &mut self,
        id: &InstanceId,
        reason: &str,
        now: Time,
        steps: &mut Steps,
    ) {
        let Some(index) = self.current(id) else {
            return;
        };
        let replica = &self.replicas[index];
        if let Phase::Hung { .. } = replica.phase {
            self.replace_hung(index, reason, steps);
            return;
        }
        let (endpoint, healthy_for) = match replica.phase {
            Phase::Ready { endpoint, since } => (endpoint, now.saturating_sub(since)),
            Phase::Unready {
                endpoint,
                healthy_for,
                ..
            } => (endpoint, healthy_for),
            _ => return,
        };
        if !replica.member {
            self.record_death(index, reason, None, steps);
            steps.push(ImmediateStep::Unwatch { id: id.clone() });
            self.failed_to_start(index, reason.to_owned(), now, steps);
            return;
        }
        steps.push(ImmediateStep::Evict {
            id: id.clone(),
            reason: reason.to_owned(),
        });
        if self.policy.spawns {
            self.record_death(index, reason, None, steps);
        }
        steps.push(ImmediateStep::Unwatch { id: id.clone() });
        if self.policy.spawns {
            self.stop_for_restart(index, healthy_for, Duration::ZERO, steps);
        } else {
            // Nothing can be started in its place: ask afresh until it answers again.
            self.probe(index, endpoint, now, steps);
        }
    }

    pub(super) fn drained(&mut self, id: &InstanceId, steps: &mut Steps) {
        if let Some(index) = self.current(id)
            && self.replicas[index].phase == Phase::Draining
        {
            self.forget_replica(index, self.policy.stop_grace, steps);
        }
    }

    /// Moves on whatever time alone moves on.
    pub(super) fn tick(&mut self, now: Time, steps: &mut Steps) {
        let due = self.replicas.iter().filter(|r| r.is_due(now));
        // By name, since a newcomer that is late is gone at once and its place with it.
        let due: Vec<InstanceId> = due.map(|replica| replica.id()).collect();
        for id in due {
            let Some(index) = self.current(&id) else {
                continue;
            };
            match self.replicas[index].phase {
                Phase::BackingOff { .. } => self.launch(index, steps),
                Phase::Probing { deadline, .. } if deadline.is_some_and(|at| at <= now) => {
                    self.start_timed_out(index, now, steps);
                }
                Phase::Probing { .. } => self.warn_of_slow_start(index, steps),
                Phase::Hung { .. } => self.replace_hung(index, UNRESPONSIVE, steps),
                Phase::Ready { .. } => self.reset_backoff(index, steps),
                _ => {}
            }
        }
        self.retry_stops(now, steps);
    }

    /// A replica that died has been healthy for long enough.
    fn reset_backoff(&mut self, index: usize, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        if replica.backoff.reset() {
            steps.push(ImmediateStep::Warn {
                replica: replica.name.clone(),
                message: "has been healthy for a minute and is no longer degraded".to_owned(),
            });
        }
    }

    /// A fresh instance has not answered a heartbeat in time.
    fn start_timed_out(&mut self, index: usize, now: Time, steps: &mut Steps) {
        let replica = &self.replicas[index];
        let mut message = format!(
            "no good heartbeat within {} of its start",
            duration(self.policy.start_timeout)
        );
        if let Some(reason) = &replica.probe_failure {
            message.push_str(": ");
            message.push_str(reason);
        }
        self.give_up_start(index, message, now, steps);
    }

    /// An instance that runs will not get ready: a member is started again, a newcomer's change
    /// fails.
    pub(super) fn give_up_start(
        &mut self,
        index: usize,
        message: String,
        now: Time,
        steps: &mut Steps,
    ) {
        let replica = &self.replicas[index];
        let (id, member) = (replica.id(), replica.member);
        self.record_death(index, &message, None, steps);
        steps.push(ImmediateStep::Unwatch { id });
        if member {
            self.note_error(index, message.clone(), message, steps);
            self.stop_for_restart(index, Duration::ZERO, Duration::ZERO, steps);
        } else {
            self.failed_to_start(index, message, now, steps);
        }
    }
}
