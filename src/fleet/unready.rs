//! A replica that is alive and not ready: it answers heartbeats with a bad status, or its image's
//! own HEALTHCHECK says that it is unhealthy.
//!
//! It is off the ring and stays as it is, since a restart mends no database that is down. It is
//! replaced after `--unready-timeout`, and never more than one at a time while others are
//! unready: the instance that still shows its error page is better than none.

use super::event::{ImmediateStep, Steps};
use super::lifecycle::Phase;
use super::{DeathCause, Fleet, Replica};
use crate::human::duration;

/// Why a replica with good heartbeats is unready.
pub(super) const UNHEALTHY: &str = "the image's HEALTHCHECK says unhealthy";

impl Fleet {
    /// An image's own HEALTHCHECK has changed its mind about an instance.
    pub(super) fn healthcheck_changed(&mut self, index: usize, healthy: bool, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        let changed = replica.unhealthy == healthy;
        replica.unhealthy = !healthy;
        match (healthy, &replica.phase) {
            (false, Phase::Probing { .. }) => {
                self.probe_failed(index, UNHEALTHY.to_owned(), steps);
            }
            (false, Phase::Ready { .. }) => {
                self.make_unready(index, UNHEALTHY.to_owned(), steps);
            }
            (true, Phase::Probing { .. } | Phase::Unready { .. })
                if changed && replica.answers_well =>
            {
                self.become_ready(index, steps);
            }
            _ => {}
        }
    }

    /// Takes a replica off the ring that is alive, from wherever it is.
    pub(super) fn make_unready(&mut self, index: usize, reason: String, steps: &mut Steps) {
        let timeout = self.policy.unready_timeout.filter(|_| self.policy.spawns);
        let start_deadline = self.start_deadline(steps.now);
        let replica = &mut self.replicas[index];
        let endpoint = match replica.phase {
            Phase::Ready { endpoint, .. } if !replica.member => {
                // Its siblings are still starting: it goes back to them.
                replica.probe_failure = Some(reason);
                replica.phase = Phase::Probing {
                    endpoint,
                    deadline: start_deadline,
                    warn_at: None,
                };
                return;
            }
            Phase::Ready { endpoint, .. } | Phase::Hung { endpoint, .. } => endpoint,
            Phase::Unready { .. } => {
                replica.last_error = Some(reason);
                return;
            }
            _ => return,
        };
        replica.phase = Phase::Unready {
            endpoint,
            healthy_for: replica.phase.healthy_for(steps.now),
            until: timeout.map(|timeout| steps.now.saturating_add(timeout)),
        };
        replica.last_error = Some(reason.clone());
        if replica.drained {
            // It gets no requests, in panic neither.
            steps.push(ImmediateStep::MarkDrained(replica.id(), endpoint));
            steps.warn(&replica.name, format!("is drained, and unready: {reason}"));
            return;
        }
        steps.push(ImmediateStep::MarkUnready(replica.id(), endpoint, reason));
    }

    /// Whether an unready replica may be replaced now.
    pub(super) fn may_replace_unready(&self) -> bool {
        let members = || self.replicas.iter().filter(|r| r.is_desired());
        let is_unready = |r: &&Replica| matches!(r.phase, Phase::Unready { .. });
        let is_starting = |r: &Replica| !r.is_watched() || matches!(r.phase, Phase::Probing { .. });
        let others_are_unready = members().filter(is_unready).count() > 1;
        let is_replacing = members().any(|r| r.replaces_unready);
        !(is_replacing || others_are_unready && members().any(is_starting))
    }

    /// Replaces the replica whose unready time-out passed first, if that is allowed.
    pub(super) fn replace_unready(&mut self, steps: &mut Steps) {
        let (Some(timeout), false) = (self.policy.unready_timeout, self.shutting_down) else {
            return;
        };
        let due = self.replicas.iter().enumerate();
        let due = due.filter_map(|(index, replica)| match replica.phase {
            Phase::Unready {
                until: Some(until), ..
            } if until <= steps.now => Some((until, index)),
            _ => None,
        });
        let Some((_, index)) = due.min().filter(|_| self.may_replace_unready()) else {
            return;
        };
        let replica = &mut self.replicas[index];
        replica.replaces_unready = true;
        let (id, healthy_for) = (replica.id(), replica.phase.healthy_for(steps.now));
        let mut cause = format!("unready for {}", duration(timeout));
        if let Some(reason) = &replica.last_error {
            cause.push_str(": ");
            cause.push_str(reason);
        }
        steps.push(ImmediateStep::Evict(id.clone(), cause.clone()));
        self.record_death(index, DeathCause::Unready(cause), steps);
        steps.push(ImmediateStep::Unwatch(id));
        // It is alive, and may finish what it holds.
        let grace = self.policy.stop_grace;
        self.stop_for_restart(index, healthy_for, grace, steps);
    }
}
