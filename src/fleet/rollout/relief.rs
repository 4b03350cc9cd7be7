//! Stand-ins and their relief. Where an owner has marks for its instances that a spare does not have (the
//! labels of docker compose), a spare plays a replica only until an instance of the owner's kind answers
//! heartbeats: that one takes its place as in a rollout.
//!
//! ```text
//!   the spare plays --> Launching --started--> Probing --first good heartbeat--> swap; the spare retires
//!          ^                | failed              | died, or late
//!          +---- a pause ---+---------------------+
//! ```
//!
//! If the stand-in ends first, its relief plays the replica from then on, however far it has come.

use std::sync::Arc;
use std::time::Duration;

use super::monitor::InHand;
use super::successor::{Heartbeats, InstanceRole, Successor, SuccessorPhase};
use crate::fleet::event::{ImmediateStep, Steps};
use crate::fleet::lifecycle::Phase;
use crate::fleet::stand_in::StandIn;
use crate::fleet::start_warning::WARN_AFTER;
use crate::fleet::transitions::StopMode;
use crate::fleet::{Fleet, InstanceId};
use crate::human::duration;
use crate::ring::ReplicaName;

impl Fleet {
    /// The instance that plays the replica is a stand-in.
    pub(in crate::fleet) fn stands_in(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        if replica.stand_in().is_none() {
            replica.stand_in = Some(StandIn::new(replica.generation));
        }
    }

    /// Whether the relief of a stand-in is being started.
    pub fn is_relieving(&self) -> bool {
        self.successors.iter().any(Successor::is_relief)
    }

    /// The owner has started an instance of the replica by itself: it may be the relief.
    pub(in crate::fleet) fn relief_is_there(&mut self, index: usize) {
        if let Some(stand_in) = &mut self.replicas[index].stand_in {
            stand_in.retry();
        }
    }

    /// Starts reliefs. A replica that the rollout has in hand is relieved by that.
    pub(super) fn relieve_stand_ins(&mut self, steps: &mut Steps) {
        for index in 0..self.replicas.len() {
            let replica = &mut self.replicas[index];
            let is_due = replica.stand_in().is_some()
                && (replica.stand_in.as_mut()).is_some_and(|stand_in| stand_in.is_due(steps.now));
            let is_played = replica.is_desired() && replica.is_watched();
            let name = &self.replicas[index].name;
            if is_due && is_played && !self.has_others(name) && !self.is_in_hand(name) {
                let definition = Arc::clone(&self.replicas[index].definition);
                self.launch_successor(index, definition, InstanceRole::Relief, steps);
            }
        }
    }

    /// A relief will not play its replica: the stand-in goes on, and another one is started.
    pub(super) fn relief_failed(&mut self, name: &ReplicaName, reason: &str, steps: &mut Steps) {
        let Some(index) = self.index_of(name) else {
            return;
        };
        if let Some(stand_in) = &mut self.replicas[index].stand_in {
            let again = duration(stand_in.failed(steps.now));
            let goes_on = format!("{reason}; a spare goes on in its place, another try in {again}");
            steps.warn(name, goes_on);
        }
    }

    /// Has what was to relieve a stand-in play its replica when that has ended; false if there is nothing.
    pub(in crate::fleet) fn relief_plays(&mut self, index: usize, steps: &mut Steps) -> bool {
        let replica = &self.replicas[index];
        let is_it = |one: &Successor| one.is_wanted() && one.id.replica == replica.name;
        let relief = self.successors.iter().position(is_it);
        let Some(place) = relief.filter(|_| replica.stand_in().is_some()) else {
            return false;
        };
        let relief = self.successors.remove(place);
        if let Some(rollout) = &mut self.rollout
            && relief.role == InstanceRole::Successor
        {
            let awaited = InHand::Restarting(replica.name.clone(), replica.generation);
            rollout.in_hand.push(awaited);
        }
        let replica = &mut self.replicas[index];
        let ended = std::mem::take(&mut replica.leftover_generations);
        replica.forget_instance();
        replica.generation = relief.id.generation;
        replica.starts_at_once = false;
        replica.unhealthy = relief.unhealthy;
        replica.probe_failure = relief.unready_reason().map(str::to_owned);
        replica.definition = relief.definition;
        let generation = relief.id.generation;
        let probing = |endpoint, deadline| Phase::Probing {
            endpoint,
            deadline,
            warn_at: Some(steps.now.saturating_add(WARN_AFTER)),
        };
        match relief.phase {
            SuccessorPhase::Launching { exited } => replica.phase = Phase::Launching { exited },
            SuccessorPhase::Probing {
                endpoint,
                deadline,
                heartbeats,
            } => {
                replica.answers_well = matches!(heartbeats, Heartbeats::Good);
                replica.leftover_generations.push(generation);
                replica.phase = probing(endpoint, Some(deadline));
            }
            SuccessorPhase::Ready { endpoint } => {
                replica.answers_well = true;
                replica.leftover_generations.push(generation);
                replica.phase = probing(endpoint, None);
                self.become_ready(index, steps);
            }
            // No relief is.
            SuccessorPhase::Abandoned | SuccessorPhase::Left => {}
        }
        for generation in ended {
            let id = InstanceId::new(relief.id.replica.clone(), generation);
            self.stop_instance(id, Duration::ZERO, steps);
        }
        true
    }

    /// The owner has taken the replica away while a stand-in played it.
    pub(super) fn taken_away(&mut self, name: &ReplicaName, steps: &mut Steps) {
        let index = self.index_of(name).filter(|_| !self.shutting_down);
        if let Some(index) = index.filter(|index| self.replicas[*index].is_desired()) {
            steps.leave(vec![name.clone()]);
            self.begin_removal(index, StopMode::AfterDraining, steps);
        }
    }

    /// Leaves what is to relieve stand-ins to its owner: the balancer hands over. What is being started is
    /// awaited.
    pub(in crate::fleet) fn leave_reliefs(&mut self, steps: &mut Steps) {
        let stood_in = self.replicas.iter().filter(|r| r.stand_in().is_some());
        let stood_in: Vec<_> = stood_in.map(|replica| &replica.name).collect();
        let is_relief = |one: &mut Successor| {
            // Or the rollout's.
            one.is_wanted() && stood_in.contains(&&one.id.replica)
        };
        let reliefs = self.successors.extract_if(.., is_relief);
        for mut relief in reliefs.collect::<Vec<_>>() {
            match relief.phase {
                SuccessorPhase::Launching { .. } => {
                    relief.phase = SuccessorPhase::Left;
                    self.successors.push(relief);
                }
                _ => steps.push(ImmediateStep::Unwatch(relief.id)),
            }
        }
    }
}
