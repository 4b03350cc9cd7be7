//! A replica that hangs: off the ring at once, replaced only if it does not come back.
//!
//! What was paused or is short of memory for a moment keeps its generation, its caches
//! and the requests that it holds.

use std::time::Duration;

use super::event::{ImmediateStep, Steps};
use super::lifecycle::Phase;
use super::{DeathCause, Fleet, Policy};

/// Why a hung replica is taken off the ring.
pub const UNRESPONSIVE: &str = "no answer to heartbeats";

impl Fleet {
    /// An instance has missed enough heartbeats to count as hung.
    pub(super) fn became_unresponsive(&mut self, index: usize, steps: &mut Steps) {
        let Policy {
            hang_timeout,
            spawns,
            ..
        } = self.policy;
        let replica = &mut self.replicas[index];
        replica.answers_well = false;
        let may_come_back = replica.member && spawns && !hang_timeout.is_zero();
        match replica.phase {
            // What nothing can be started in place of is asked until it answers anyway.
            Phase::Ready { endpoint, .. } | Phase::Unready { endpoint, .. } if may_come_back => {
                replica.phase = Phase::Hung {
                    endpoint,
                    healthy_for: replica.phase.healthy_for(steps.now),
                    until: steps.now.saturating_add(hang_timeout),
                };
                steps.push(ImmediateStep::Evict(replica.id(), UNRESPONSIVE.to_owned()));
            }
            // Said already.
            Phase::Hung { .. } => {}
            _ => self.unresponsive(index, DeathCause::Unresponsive, steps),
        }
    }

    /// A hung instance has not recovered in time, or has refused a connection.
    pub(super) fn replace_hung(&mut self, index: usize, cause: DeathCause, steps: &mut Steps) {
        let replica = &self.replicas[index];
        if let Phase::Hung { healthy_for, .. } = replica.phase {
            let id = replica.id();
            self.record_death(index, cause, steps);
            steps.push(ImmediateStep::Unwatch(id));
            self.stop_for_restart(index, healthy_for, Duration::ZERO, steps);
        }
    }
}
