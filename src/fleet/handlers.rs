//! What each report means for the replica that it is about.
//!
//! Reports may be late, doubled or out of order. One about an instance that plays no replica
//! any more, or that does not fit the phase its replica is in, is old news.

use std::net::SocketAddr;
use std::time::Duration;

use super::event::{ImmediateStep, InstanceEvent, OperatorAction, Steps};
use super::instance::{Exit, InstanceId};
use super::lifecycle::Phase;
use super::unready::UNHEALTHY;
use super::{DeathCause, Fleet};
use crate::human::duration;

impl Fleet {
    /// Takes in a report about an instance, whether or not it plays a replica.
    pub(super) fn apply_to_instance(
        &mut self,
        id: &InstanceId,
        event: InstanceEvent,
        steps: &mut Steps,
    ) {
        match event {
            InstanceEvent::Stopped => {
                self.record_end(ImmediateStep::RecordStop(id.clone()), id, steps);
                return self.stopped(id, steps);
            }
            InstanceEvent::StopFailed(reason) => return self.stop_failed(id, &reason, steps),
            InstanceEvent::Exited(ref exit) => {
                let record = ImmediateStep::RecordExit(id.clone(), exit.clone());
                self.record_end(record, id, steps);
            }
            InstanceEvent::LaunchPreempted(by, ..) => self.generations.saw(&id.replica, by),
            _ => {}
        }
        match self.current(id) {
            Some(index) => self.apply_to_current(index, event, steps),
            None => self.apply_to_other(id, event, steps),
        }
    }

    /// Takes in a report about the instance that plays a replica.
    fn apply_to_current(&mut self, index: usize, event: InstanceEvent, steps: &mut Steps) {
        match event {
            InstanceEvent::Launched(endpoint) => self.launched(index, endpoint, steps),
            InstanceEvent::LaunchFailed(reason) => self.launch_failed(index, reason, steps),
            InstanceEvent::LaunchPreempted(by, endpoint, hash) => {
                self.launch_preempted(index, by, endpoint, hash.as_deref(), steps);
            }
            InstanceEvent::Ending => self.ending(index, steps),
            InstanceEvent::Exited(exit) => self.exited(index, exit, steps),
            InstanceEvent::BecameHealthy => self.became_healthy(index, steps),
            InstanceEvent::BecameUnresponsive => self.became_unresponsive(index, steps),
            InstanceEvent::BecameUnready(reason) => {
                self.replicas[index].answers_well = false;
                self.make_unready(index, reason, steps);
            }
            InstanceEvent::ProbeFailed(reason) => self.probe_failed(index, reason, steps),
            InstanceEvent::StandsIn => self.stands_in(index),
            InstanceEvent::HealthcheckChanged(healthy) => {
                self.healthcheck_changed(index, healthy, steps);
            }
            InstanceEvent::ConnectionRefused => {
                self.unresponsive(index, DeathCause::RefusesConnections, steps);
            }
            InstanceEvent::Moved(endpoint, reason) => {
                let name = self.replicas[index].name.clone();
                self.relocated(&name, endpoint, &reason, steps);
            }
            InstanceEvent::Ejected => self.ejected(index, steps),
            InstanceEvent::RequestsCounted { requests, failed } => {
                self.requests_counted(index, requests, failed, steps);
            }
            InstanceEvent::Drained => self.drain_ended(index, steps),
            InstanceEvent::RemovedElsewhere => self.removed_elsewhere(index, steps),
            InstanceEvent::Destroyed => self.destroyed(index, steps),
            // They are dealt with above.
            InstanceEvent::Stopped | InstanceEvent::StopFailed(_) => {}
        }
    }

    /// An instance has ended by itself or has been stopped.
    fn record_end(&self, record: ImmediateStep, id: &InstanceId, steps: &mut Steps) {
        steps.push(record);
        // A server that the runtime cannot stop may serve on.
        if self.policy.spawns {
            steps.push(ImmediateStep::AbortRequests(id.clone()));
        }
    }

    fn launched(&mut self, index: usize, endpoint: SocketAddr, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        let Phase::Launching { exited } = &mut replica.phase else {
            return;
        };
        let exited = exited.take();
        replica.last_launch_failed = false;
        // What older generations left behind went with the start.
        replica.leftover_generations = vec![replica.generation];
        if replica.leaving {
            self.forget_replica(index, self.policy.stop_grace, steps);
        } else if let Some(exit) = exited {
            let cause = exit.to_string();
            self.record_death(index, DeathCause::Ended(exit), steps);
            self.failed_to_start(index, cause, steps);
        } else {
            self.probe(index, endpoint, steps);
        }
    }

    fn launch_failed(&mut self, index: usize, reason: String, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        if !matches!(replica.phase, Phase::Launching { .. }) {
            return;
        }
        replica.last_launch_failed = true;
        self.note_death_in_hand(index, &format!("cannot start: {reason}"), steps);
        if self.replicas[index].leaving {
            self.forget_replica(index, Duration::ZERO, steps);
        } else {
            self.failed_to_start(index, reason, steps);
        }
    }

    fn exited(&mut self, index: usize, exit: Exit, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        let (id, reason) = (replica.id(), exit.to_string());
        let healthy_for = replica.phase.healthy_for(steps.now);
        match &mut replica.phase {
            // Whether it got as far as being started is reported yet.
            Phase::Launching { exited } => {
                *exited = Some(exit);
                return;
            }
            // `Stopped` follows, or what there was to end has ended.
            Phase::Stopping { .. } | Phase::BackingOff { .. } => return,
            Phase::Ready { .. } | Phase::Unready { .. } if replica.member => {
                replica.last_error = None;
                steps.push(ImmediateStep::Evict(id.clone(), reason.clone()));
            }
            _ => {}
        }
        self.record_death(index, DeathCause::Ended(exit), steps);
        let replica = &self.replicas[index];
        // No request can be finished any more.
        match replica.phase {
            Phase::Draining => return self.forget_replica(index, Duration::ZERO, steps),
            Phase::DrainingForRestart => return self.restart(index, healthy_for, steps),
            _ => {}
        }
        steps.push(ImmediateStep::Unwatch(id));
        if !replica.member || matches!(replica.phase, Phase::Probing { .. }) {
            self.failed_to_start(index, reason, steps);
        } else {
            self.restart(index, healthy_for, steps);
        }
    }

    fn became_healthy(&mut self, index: usize, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        replica.answers_well = true;
        if !replica.unhealthy {
            self.become_ready(index, steps);
        } else if let Phase::Probing { .. } = replica.phase {
            self.probe_failed(index, UNHEALTHY.to_owned(), steps);
        } else if !matches!(replica.phase, Phase::Ready { .. }) {
            self.make_unready(index, UNHEALTHY.to_owned(), steps);
        }
    }

    /// The instance is ready: it answers heartbeats well, and nothing else is against it.
    pub(super) fn become_ready(&mut self, index: usize, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        let (Phase::Probing { endpoint, .. }
        | Phase::Unready { endpoint, .. }
        | Phase::Hung { endpoint, .. }) = replica.phase
        else {
            return;
        };
        let since = steps.now;
        replica.phase = Phase::Ready { endpoint, since };
        replica.last_error = None;
        replica.reported.clear();
        replica.probe_failure = None;
        replica.replaces_unready = false;
        // A newcomer joins together with those it was asked for with: see `advance_changes`.
        if replica.member && replica.drained {
            let action = OperatorAction::StaysDrained;
            steps.push(ImmediateStep::MarkDrained(replica.id(), endpoint));
            steps.push(ImmediateStep::RecordAction(replica.id(), action));
        } else if replica.member {
            steps.push(ImmediateStep::Admit(replica.id(), endpoint));
        } else {
            self.admit_foreign(index, steps);
        }
    }

    /// The instance runs and does not serve.
    pub(super) fn unresponsive(&mut self, index: usize, cause: DeathCause, steps: &mut Steps) {
        let replica = &self.replicas[index];
        let healthy_for = replica.phase.healthy_for(steps.now);
        let endpoint = match replica.phase {
            Phase::Hung { .. } => return self.replace_hung(index, cause, steps),
            Phase::Ready { endpoint, .. } | Phase::Unready { endpoint, .. } => endpoint,
            _ => return,
        };
        let (id, member, reason) = (replica.id(), replica.member, cause.to_string());
        if member {
            steps.push(ImmediateStep::Evict(id.clone(), reason.clone()));
        }
        if !member || self.policy.spawns {
            self.record_death(index, cause, steps);
        }
        steps.push(ImmediateStep::Unwatch(id));
        if !member {
            self.failed_to_start(index, reason, steps);
        } else if self.policy.spawns {
            self.stop_for_restart(index, healthy_for, Duration::ZERO, steps);
        } else {
            // Nothing can be started in its place: ask afresh until it answers again.
            self.probe(index, endpoint, steps);
        }
    }

    /// Moves on whatever time alone moves on.
    pub(super) fn tick(&mut self, steps: &mut Steps) {
        let now = steps.now;
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
                    self.start_timed_out(index, steps);
                }
                Phase::Probing { .. } => self.warn_of_slow_start(index, steps),
                Phase::Hung { .. } => self.replace_hung(index, DeathCause::Unresponsive, steps),
                Phase::Ready { .. } => self.reset_backoff(index, steps),
                _ => {}
            }
        }
        self.retry_stops(steps);
    }

    /// A replica that died has been healthy for long enough.
    fn reset_backoff(&mut self, index: usize, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        if replica.backoff.reset() {
            let message = "has been healthy for a minute and is no longer degraded";
            steps.push(ImmediateStep::ReportDegraded {
                replica: replica.name.clone(),
                degraded: false,
                message: message.to_owned(),
            });
        }
    }

    /// A fresh instance has not answered a heartbeat in time.
    fn start_timed_out(&mut self, index: usize, steps: &mut Steps) {
        let timeout = duration(self.policy.start_timeout);
        let mut message = format!("no good heartbeat within {timeout} of its start");
        if let Some(reason) = &self.replicas[index].probe_failure {
            message.push_str(": ");
            message.push_str(reason);
        }
        self.give_up_start(index, DeathCause::NotReadyInTime(message), steps);
    }

    /// An instance that runs will not get ready: a member is started again, a newcomer's change
    /// fails.
    pub(super) fn give_up_start(&mut self, index: usize, cause: DeathCause, steps: &mut Steps) {
        let replica = &self.replicas[index];
        let (id, member, message) = (replica.id(), replica.member, cause.to_string());
        self.record_death(index, cause, steps);
        steps.push(ImmediateStep::Unwatch(id));
        if member {
            self.note_error(index, message.clone(), message.clone(), steps);
            self.note_restart_failure(index, &message);
            self.stop_for_restart(index, Duration::ZERO, Duration::ZERO, steps);
        } else {
            self.failed_to_start(index, message, steps);
        }
    }
}
