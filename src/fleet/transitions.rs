//! Transitions of a replica that several events and requests share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::{DeferredStep, ImmediateStep, Steps};
use super::instance::{InstanceId, LaunchAs};
use super::lifecycle::Phase;
use super::start_warning::WARN_AFTER;
use super::stopping::StoppingInstance;
use super::unready::UNHEALTHY;
use super::{DeathCause, Fleet};
use crate::ring::ReplicaName;

/// How a replica that serves requests is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopMode {
    AfterDraining,
    AtOnce,
}

impl Fleet {
    /// The place of the replica that this instance plays; none for old news.
    pub(super) fn current(&self, id: &InstanceId) -> Option<usize> {
        self.index_of(&id.replica)
            .filter(|index| self.replicas[*index].generation == id.generation)
    }

    pub(super) fn index_of(&self, name: &ReplicaName) -> Option<usize> {
        self.replicas.iter().position(|r| r.name == *name)
    }

    /// Records the death of the instance that plays a replica.
    pub(super) fn record_death(&mut self, index: usize, cause: DeathCause, steps: &mut Steps) {
        let reason = cause.to_string();
        let id = self.replicas[index].id();
        steps.push(ImmediateStep::RecordDeath { id, cause });
        self.note_death_in_hand(index, &reason, steps);
    }

    /// Asks for an instance of a generation that has never been.
    pub(super) fn launch(&mut self, index: usize, steps: &mut Steps) {
        let name = self.replicas[index].name.clone();
        let generation = self.next_generation(&name);
        let replica = &mut self.replicas[index];
        replica.generation = generation;
        replica.phase = Phase::Launching { exited: None };
        replica.starts_at_once = false;
        replica.forget_instance();
        self.definition_to_heal_with(index, steps);
        let replica = &self.replicas[index];
        let definition = Arc::clone(&replica.definition);
        let order = replica.order();
        steps.push(DeferredStep::Launch(order, definition, LaunchAs::Replica));
    }

    /// Asks an instance for its first good heartbeat.
    pub(super) fn probe(&mut self, index: usize, endpoint: SocketAddr, steps: &mut Steps) {
        let deadline = self.start_deadline(steps.now);
        let replica = &mut self.replicas[index];
        replica.answers_well = false;
        replica.probe_failure = replica.unhealthy.then(|| UNHEALTHY.to_owned());
        replica.phase = Phase::Probing {
            endpoint,
            deadline,
            warn_at: Some(steps.now.saturating_add(WARN_AFTER)),
        };
        let id = replica.id();
        steps.push(ImmediateStep::Watch(id, endpoint));
    }

    /// Stops an instance so that another can take over. No `grace` for one that does not answer
    /// heartbeats: it will not answer SIGTERM in time either.
    pub(super) fn stop_for_restart(
        &mut self,
        index: usize,
        healthy_for: Duration,
        grace: Duration,
        steps: &mut Steps,
    ) {
        let replica = &mut self.replicas[index];
        replica.phase = Phase::Stopping { healthy_for };
        steps.push(DeferredStep::Stop(replica.id(), grace));
    }

    /// Back under the same name, at once or after a pause.
    pub(super) fn restart(&mut self, index: usize, healthy_for: Duration, steps: &mut Steps) {
        if self.relief_plays(index, steps) {
            return;
        }
        let limit = self.policy.restart_limit;
        let replica = &mut self.replicas[index];
        if replica.starts_at_once {
            self.launch(index, steps);
            return;
        }
        let was_degraded = replica.backoff.is_degraded();
        let backoff = &mut replica.backoff;
        let delay = backoff.after_death(replica.name.as_str(), healthy_for, steps.now, limit);
        if delay.is_zero() {
            self.launch(index, steps);
            return;
        }
        replica.phase = Phase::BackingOff {
            until: steps.now.saturating_add(delay),
        };
        let degraded = replica.backoff.is_degraded();
        if replica.last_launch_failed && degraded == was_degraded {
            // Nothing has died, and why it cannot be started has been said.
            return;
        }
        let deaths = match degraded {
            true => format!("is degraded, it died {limit}"),
            false => format!(
                "died {} times in a row",
                replica.backoff.consecutive_deaths()
            ),
        };
        let delay = delay.as_secs_f64();
        let message = format!("{deaths}, next start in {delay:.1} s");
        match degraded && !was_degraded {
            true => steps.push(ImmediateStep::ReportDegraded {
                replica: replica.name.clone(),
                degraded,
                message,
            }),
            false => steps.warn(&replica.name, message),
        }
    }

    /// A start has failed: a member is started again, a newcomer's whole change fails.
    pub(super) fn failed_to_start(&mut self, index: usize, reason: String, steps: &mut Steps) {
        let error = format!("cannot start: {reason}");
        if self.replicas[index].member {
            self.note_error(index, error.clone(), error, steps);
            self.note_restart_failure(index, &reason);
            self.restart(index, Duration::ZERO, steps);
            return;
        }
        let name = self.replicas[index].name.clone();
        steps.warn(&name, error);
        if self.is_being_changed(&name) {
            self.note_start_failure(name, reason);
        }
        self.forget_replica(index, Duration::ZERO, steps);
    }

    /// Keeps why a replica is not ready, and warns once, not at each attempt.
    pub(super) fn note_error(
        &mut self,
        index: usize,
        message: String,
        error: String,
        steps: &mut Steps,
    ) {
        /// With more different messages than this, one may be repeated.
        const MAX_REPORTED: usize = 16;
        let replica = &mut self.replicas[index];
        replica.last_error = Some(error);
        if replica.reported.contains(&message) {
            return;
        }
        if replica.reported.len() == MAX_REPORTED {
            replica.reported.clear();
        }
        replica.reported.push(message.clone());
        steps.warn(&replica.name, message);
    }

    /// Sends a replica on its way out, from wherever it is.
    pub(super) fn begin_removal(&mut self, index: usize, mode: StopMode, steps: &mut Steps) {
        let grace = self.policy.stop_grace;
        let replica = &mut self.replicas[index];
        let id = replica.id();
        match replica.phase {
            // What is being started can be stopped once it is there.
            Phase::Launching { .. } => replica.leaving = true,
            Phase::Probing { .. } => {
                steps.push(ImmediateStep::Unwatch(id));
                self.forget_replica(index, grace, steps);
            }
            Phase::Ready { .. } | Phase::Unready { .. } => {
                steps.push(ImmediateStep::Unwatch(id.clone()));
                match mode {
                    StopMode::AfterDraining => {
                        replica.leaving = true;
                        replica.phase = Phase::Draining;
                        self.announce_removal(&id, steps);
                        self.wait_for_drain(index, steps);
                    }
                    StopMode::AtOnce => self.forget_replica(index, grace, steps),
                }
            }
            Phase::Hung { .. } => {
                steps.push(ImmediateStep::Unwatch(id));
                self.forget_replica(index, Duration::ZERO, steps);
            }
            Phase::Stopping { .. } => {
                self.replicas.remove(index);
                self.announce_removal(&id, steps);
                self.stopping_instances
                    .push(StoppingInstance::under_way(id));
            }
            // Clears away the remains of the instance that died.
            Phase::BackingOff { .. } => self.forget_replica(index, Duration::ZERO, steps),
            Phase::DrainingForRestart if mode == StopMode::AfterDraining => {
                replica.leaving = true;
                replica.phase = Phase::Draining;
                self.announce_removal(&id, steps);
            }
            Phase::DrainingForRestart => self.forget_replica(index, grace, steps),
            Phase::Draining => match mode {
                StopMode::AfterDraining => {}
                StopMode::AtOnce => self.forget_replica(index, grace, steps),
            },
        }
    }

    /// Forgets a replica, and stops what the runtime has of it.
    pub(super) fn forget_replica(&mut self, index: usize, grace: Duration, steps: &mut Steps) {
        let replica = self.replicas.remove(index);
        let is_announced = replica.phase == Phase::Draining;
        for generation in replica.leftover_generations {
            let id = InstanceId::new(replica.name.clone(), generation);
            if !is_announced {
                self.announce_removal(&id, steps);
            }
            self.stop_instance(id, grace, steps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::tests::POLICY;
    use crate::fleet::{Change, ChangeId, Desired, Event, InstanceEvent, Step, Time};
    use crate::ring::testing::servers;

    #[test]
    fn removal_of_one_that_drains_for_a_restart_waits_for_that_unless_it_is_urgent() {
        let members = servers(2);
        let id = InstanceId::new(members[0].name.clone(), 1);
        let stop = || DeferredStep::Stop(id.clone(), POLICY.stop_grace);
        let announce = || DeferredStep::AnnounceRemoval(id.clone());
        for (mode, now, once_drained) in [
            (StopMode::AfterDraining, vec![announce()], vec![stop()]),
            (StopMode::AtOnce, vec![announce(), stop()], vec![]),
        ] {
            let desired = Desired::of(&members);
            let (mut fleet, _) = Fleet::new(POLICY, desired, Vec::new(), Time::ZERO);
            let happens = |fleet: &mut Fleet, event| {
                fleet.apply(Event::Instance(id.clone(), event), Time::ZERO)
            };
            let endpoint = SocketAddr::from(([10, 0, 0, 1], 80));
            happens(&mut fleet, InstanceEvent::Launched(endpoint));
            happens(&mut fleet, InstanceEvent::BecameHealthy);
            let restart = Change::Restart {
                replica: id.replica.clone(),
                now: false,
            };
            fleet.request(ChangeId(1), restart, 0, Time::ZERO);
            assert_eq!(fleet.replicas[0].phase, Phase::DrainingForRestart);
            let mut steps = Steps::at(Time::ZERO);
            fleet.begin_removal(0, mode, &mut steps);
            let deferred = |steps: Vec<Step>| {
                let steps = steps.into_iter().filter_map(|step| match step {
                    Step::Deferred(
                        step @ (DeferredStep::Stop(..) | DeferredStep::AnnounceRemoval(_)),
                    ) => Some(step),
                    _ => None,
                });
                steps.collect::<Vec<_>>()
            };
            assert_eq!(deferred(steps.list), now, "{mode:?}");
            let steps = happens(&mut fleet, InstanceEvent::Drained);
            assert_eq!(deferred(steps), once_drained, "{mode:?}");
        }
    }
}
