//! Warnings about an instance that runs and does not become ready.

use std::time::Duration;

use super::Fleet;
use super::event::Steps;
use super::lifecycle::Phase;
use super::time::Time;

/// An instance that has had no good heartbeat for this long is warned about, with the reason.
pub(super) const WARN_AFTER: Duration = Duration::from_secs(3);

impl Fleet {
    /// A heartbeat of an instance that has not been ready yet has failed.
    pub(super) fn probe_failed(&mut self, index: usize, reason: String, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        let Phase::Probing { warn_at, .. } = replica.phase else {
            return;
        };
        replica.probe_failure = Some(reason.clone());
        match warn_at {
            Some(at) if at <= steps.now => self.warn_of_slow_start(index, steps),
            Some(_) => {}
            // The warning has been given; the status has the last reason.
            None => replica.last_error = Some(reason),
        }
    }

    /// Warns once about an instance that has not become ready.
    pub(super) fn warn_of_slow_start(&mut self, index: usize, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        let (Phase::Probing { warn_at, .. }, Some(reason)) =
            (&mut replica.phase, &replica.probe_failure)
        else {
            return;
        };
        *warn_at = None;
        let reason = reason.clone();
        self.note_error(index, format!("is not ready: {reason}"), reason, steps);
    }

    /// When an instance that starts now is given up. None where nothing can be started in its
    /// place: giving it up leads nowhere.
    pub(super) fn start_deadline(&self, now: Time) -> Option<Time> {
        let timeout = self.policy.spawns.then_some(self.policy.start_timeout);
        timeout.map(|timeout| now.saturating_add(timeout))
    }
}
