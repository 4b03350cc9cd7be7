//! An instance's address changes: the name of an upstream has other addresses, a child process lost
//! the race for its port and was started again on another one, or a container left its network.

use std::net::SocketAddr;

use super::event::{ImmediateStep, Steps};
use super::lifecycle::Phase;
use super::{DeathCause, Fleet};
use crate::ring::ReplicaName;

impl Fleet {
    /// The runtime knows another address of a replica's instance, or that it has none.
    pub(super) fn relocated(
        &mut self,
        name: &ReplicaName,
        endpoint: Option<SocketAddr>,
        reason: &str,
        steps: &mut Steps,
    ) {
        let Some(index) = self.index_of(name).filter(|_| !self.shutting_down) else {
            return;
        };
        let replica = &self.replicas[index];
        if replica.leaving {
            return;
        }
        if endpoint.is_some() && replica.phase.endpoint() == endpoint {
            return;
        }
        let id = replica.id();
        match (&replica.phase, endpoint) {
            // A serving instance does not move by itself: what serves at its address is not ours.
            (Phase::Ready { .. } | Phase::Unready { .. } | Phase::Hung { .. }, _)
                if replica.member && self.policy.spawns =>
            {
                self.unresponsive(index, DeathCause::Moved(reason.to_owned()), steps);
            }
            (Phase::Probing { .. }, None) if self.policy.spawns => {
                self.give_up_start(index, DeathCause::Moved(reason.to_owned()), steps);
            }
            (Phase::Ready { .. } | Phase::Unready { .. }, endpoint) if replica.member => {
                let healthy_for = replica.phase.healthy_for(steps.now);
                steps.push(ImmediateStep::Evict(id.clone(), reason.to_owned()));
                steps.push(ImmediateStep::Unwatch(id));
                match endpoint {
                    Some(endpoint) => self.probe_next_generation(index, endpoint, steps),
                    None => self.restart(index, healthy_for, steps),
                }
            }
            (Phase::Probing { .. } | Phase::Ready { .. }, Some(endpoint)) => {
                steps.push(ImmediateStep::Unwatch(id));
                self.probe(index, endpoint, steps);
            }
            (Phase::Probing { .. }, None) => {
                steps.push(ImmediateStep::Unwatch(id));
                self.failed_to_start(index, reason.to_owned(), steps);
            }
            // Its name had no address when it was to be started.
            (Phase::BackingOff { .. }, Some(endpoint)) if !self.policy.spawns => {
                self.probe_next_generation(index, endpoint, steps);
            }
            _ => {}
        }
    }

    /// Reports about the instance at the old address must change nothing for the new one.
    fn probe_next_generation(&mut self, index: usize, endpoint: SocketAddr, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        replica.generation = self.generations.next(&replica.name);
        replica.last_launch_failed = false;
        replica.forget_instance();
        replica.leftover_generations = vec![replica.generation];
        self.probe(index, endpoint, steps);
    }
}
