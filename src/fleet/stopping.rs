//! Instances that play no replica any more, until the runtime has cleared them away.
//!
//! They are those of replicas that were removed, those that could not be stopped
//! when another took over, and those too many that an earlier balancer left behind.

use std::time::Duration;

use super::Fleet;
use super::event::{DeferredStep, Steps};
use super::instance::InstanceId;
use super::lifecycle::Phase;
use super::time::Time;
use crate::ring::ReplicaName;

/// The pause before stopping an instance is tried again, and how often it is tried:
/// long enough for an engine that restarts, short enough for a caller that waits.
const STOP_RETRY: Duration = Duration::from_secs(1);
const STOP_ATTEMPTS: u32 = 5;

/// An instance on its way out.
#[derive(Debug)]
pub(super) struct StoppingInstance {
    id: InstanceId,
    /// How often stopping it has failed.
    failures: u32,
    /// When it is tried again; none while it is being tried.
    retry_at: Option<Time>,
}

impl StoppingInstance {
    /// One that is being stopped already.
    pub(super) fn under_way(id: InstanceId) -> Self {
        Self {
            id,
            failures: 0,
            retry_at: None,
        }
    }

    pub(super) fn is(&self, id: &InstanceId) -> bool {
        self.id == *id
    }

    pub(super) fn is_of(&self, name: &ReplicaName) -> bool {
        self.id.replica == *name
    }

    pub(super) fn wakes_at(&self) -> Option<Time> {
        self.retry_at
    }
}

impl Fleet {
    /// Stops an instance that plays no replica.
    pub(super) fn stop_instance(&mut self, id: InstanceId, grace: Duration, steps: &mut Steps) {
        self.stopping_instances
            .push(StoppingInstance::under_way(id.clone()));
        steps.push(DeferredStep::Stop(id, grace));
    }

    pub(super) fn stopped(&mut self, id: &InstanceId, steps: &mut Steps) {
        if let Some(place) = self.stopping_instances.iter().position(|d| d.id == *id) {
            self.stopping_instances.remove(place);
        } else if let Some((index, healthy_for)) = self.stopping_for_restart(id) {
            self.replicas[index].leftover_generations.clear();
            self.restart(index, healthy_for, steps);
        }
    }

    pub(super) fn stop_failed(&mut self, id: &InstanceId, reason: &str, steps: &mut Steps) {
        if let Some(place) = self.stopping_instances.iter().position(|d| d.id == *id) {
            self.try_again_later(place, reason, steps);
        } else if let Some((index, healthy_for)) = self.stopping_for_restart(id) {
            // Its successor need not wait: what hangs here is off the ring already.
            self.replicas[index].leftover_generations.clear();
            self.stopping_instances
                .push(StoppingInstance::under_way(id.clone()));
            self.try_again_later(self.stopping_instances.len() - 1, reason, steps);
            self.restart(index, healthy_for, steps);
        }
    }

    /// Tries again to stop what could not be stopped.
    pub(super) fn retry_stops(&mut self, steps: &mut Steps) {
        for stopping in &mut self.stopping_instances {
            if stopping.retry_at.is_some_and(|at| at <= steps.now) {
                stopping.retry_at = None;
                steps.push(DeferredStep::Stop(stopping.id.clone(), Duration::ZERO));
            }
        }
    }

    /// Whether the start of a successor waits for the stop of this instance.
    pub(crate) fn has_waiting_successor(&self, id: &InstanceId) -> bool {
        self.stopping_for_restart(id).is_some()
    }

    fn stopping_for_restart(&self, id: &InstanceId) -> Option<(usize, Duration)> {
        let index = self.current(id)?;
        match self.replicas[index].phase {
            Phase::Stopping { healthy_for } => Some((index, healthy_for)),
            _ => None,
        }
    }

    fn try_again_later(&mut self, place: usize, reason: &str, steps: &mut Steps) {
        let stopping = &mut self.stopping_instances[place];
        if stopping.retry_at.is_some() {
            // Said already.
            return;
        }
        stopping.failures += 1;
        let generation = stopping.id.generation;
        // One line for the message and one for its end, none for what lies between.
        let message = match stopping.failures {
            1 => Some(format!("cannot stop generation {generation}: {reason}")),
            STOP_ATTEMPTS.. => Some(format!(
                "generation {generation} is left behind, it cannot be stopped: {reason}"
            )),
            _ => None,
        };
        if let Some(message) = message {
            steps.warn(&stopping.id.replica, message);
        }
        if stopping.failures < STOP_ATTEMPTS {
            stopping.retry_at = Some(steps.now.saturating_add(STOP_RETRY));
        } else {
            let given_up = self.stopping_instances.remove(place);
            self.note_stop_failure(&given_up.id.replica, reason);
        }
    }
}
