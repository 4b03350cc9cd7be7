//! A rollout that another balancer carries out.
//!
//! The fleet record says who. The others follow: an instance that has taken a replica's place is on
//! their ring in one epoch and under the same name; what dies meanwhile is healed with the definition
//! that the record gives it; nothing is replaced from here. If the balancer that carries it out is gone,
//! another one takes the rollout over and goes on where it was.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{ActiveRollout, ReadyInstance, RolloutReport};
use crate::fleet::adoption::{ReplicaInstances, divide};
use crate::fleet::event::{DeferredStep, ImmediateStep, Step, Steps};
use crate::fleet::instance::{Existing, LaunchOrder};
use crate::fleet::lifecycle::Phase;
use crate::fleet::rollout_state::{Course, RecordedRollout, RolloutChange};
use crate::fleet::time::Time;
use crate::fleet::{Definition, Desired, Fleet};
use crate::ring::ReplicaName;

/// A balancer that leaves this many questions in a row unanswered counts as dead.
const MAX_UNANSWERED: u32 = 2;

/// Whether the balancer that carries a rollout out is there.
#[derive(Debug)]
pub(crate) struct ExecutorWatch {
    /// Its name; none if it has left the rollout to the others.
    pub executor: Option<String>,
    unanswered: u32,
}

impl ExecutorWatch {
    pub fn new(executor: Option<String>) -> Self {
        let unanswered = 0;
        Self {
            executor,
            unanswered,
        }
    }

    /// It has been asked, and has answered or not.
    pub fn asked(&mut self, answered: bool) {
        self.unanswered = if answered { 0 } else { self.unanswered + 1 };
    }

    /// Whether another balancer has to go on in its place.
    pub fn is_gone(&self) -> bool {
        self.executor.is_none() || self.unanswered >= MAX_UNANSWERED
    }
}

/// What is known here of a rollout that another balancer carries out.
#[derive(Debug)]
pub(in crate::fleet) struct FollowedRollout {
    recorded: RecordedRollout,
    to: Arc<Definition>,
}

impl FollowedRollout {
    pub(in crate::fleet) fn new(recorded: RecordedRollout) -> Self {
        let to = Arc::new(recorded.to.clone());
        Self { recorded, to }
    }

    pub(in crate::fleet) fn recorded(&self) -> &RecordedRollout {
        &self.recorded
    }

    /// What replicas are started from once the rollout has come to them.
    pub(in crate::fleet) fn definition(&self) -> &Arc<Definition> {
        &self.to
    }

    /// Replicas get their earlier definition back.
    pub(in crate::fleet) fn goes_back(&self) -> bool {
        self.recorded.stage.course() == Course::Back
    }
}

impl Fleet {
    /// The rollout that another balancer carries out.
    pub fn followed_rollout(&self) -> Option<&RecordedRollout> {
        self.followed.as_ref().map(FollowedRollout::recorded)
    }

    /// Takes in what the fleet record says of rollouts.
    pub fn follow_rollout(&mut self, recorded: Desired, now: Time) -> Vec<Step> {
        let mut steps = Steps::at(now);
        let theirs = recorded.rollout.clone();
        let is_ours = |rollout: &RecordedRollout| rollout.is_carried_out_by(self.policy.balancer);
        if self.shutting_down || theirs.as_ref().is_some_and(is_ours) {
            return steps.list;
        }
        // Another balancer has taken ours over, or has ended it.
        if self.rollout.is_some() {
            self.remove_canary(&mut steps);
            self.rollout = None;
            self.advance_rollout(&mut steps);
        }
        let followed_before = self.followed.is_some();
        self.followed = theirs.map(FollowedRollout::new);
        if followed_before || self.followed.is_some() || *self.definition != recorded.definition {
            self.follow_definitions(recorded);
        }
        steps.list
    }

    /// Goes on with a rollout that another balancer has left unfinished; the fleet record says by now that
    /// this one carries it out. `found` is what runs.
    pub fn take_over_rollout(
        &mut self,
        recorded: Desired,
        found: Vec<Existing>,
        now: Time,
    ) -> Vec<Step> {
        let mut steps = Steps::at(now);
        let rollout = recorded.rollout.clone().filter(|_| !self.shutting_down);
        let Some(rollout) = rollout.filter(|r| r.is_carried_out_by(self.policy.balancer)) else {
            return steps.list;
        };
        let from = self.followed.take().and_then(|f| f.recorded.executor);
        self.rollout = Some(ActiveRollout::resumed(&rollout, &self.desired()));
        let updated = recorded.updated.clone();
        self.follow_definitions(recorded);
        for ReplicaInstances { newest, others } in divide(found) {
            let Existing {
                order,
                endpoint,
                definition,
            } = newest;
            let (id, hash) = (&order.id, definition.as_deref());
            match (endpoint, self.current(id)) {
                (_, Some(index)) => self.note_definition(index, hash),
                (Some(endpoint), None) => {
                    self.succeeded_elsewhere(&order, endpoint, hash, &mut steps);
                }
                (None, None) => self.generations.saw(&id.replica, id.generation),
            }
            // The other balancer had yet to stop them.
            for other in others.into_iter().filter(|other| other.endpoint.is_some()) {
                if self.current(&other.order.id).is_none() {
                    self.retire(other.order.id, 0, &mut steps);
                }
            }
        }
        let handed_over = RolloutChange::HandedOver {
            id: rollout.id,
            from,
            to: rollout.executor,
        };
        steps.push(ImmediateStep::Rollout(handed_over));
        // What the other one had done without a word.
        for replica in self.replicas.iter().filter(|replica| replica.is_desired()) {
            let is_updated = *replica.definition == rollout.to;
            if is_updated != updated.contains(&replica.name) {
                let replaced = RolloutChange::Replaced {
                    id: rollout.id,
                    instance: replica.id(),
                    updated: is_updated,
                };
                steps.push(ImmediateStep::Rollout(replaced));
            }
        }
        self.advance_rollout(&mut steps);
        steps.list
    }

    /// Another balancer has had an instance that is ready take the place of the one that plays a replica.
    pub(in crate::fleet) fn succeeded_elsewhere(
        &mut self,
        order: &LaunchOrder,
        endpoint: SocketAddr,
        hash: Option<&str>,
        steps: &mut Steps,
    ) {
        let id = &order.id;
        self.generations.saw(&id.replica, id.generation);
        let Some(index) = self.index_of(&id.replica) else {
            return self.discovered(order.clone(), endpoint, hash, steps);
        };
        let replica = &self.replicas[index];
        // What was healed from here meanwhile may have a higher generation.
        let is_known = replica.generation == id.generation;
        let is_changed = replica.leaving || self.is_being_changed(&id.replica);
        if self.shutting_down || is_known || is_changed {
            return;
        }
        let waits = match replica.phase {
            Phase::Ready { .. } | Phase::Unready { .. } => true,
            Phase::Probing { .. } | Phase::Hung { .. } | Phase::BackingOff { .. } => false,
            // What is started next finds this one.
            _ => return,
        };
        let (old, is_watched) = (replica.id(), replica.is_watched());
        let definition = self.known_definition(hash);
        let definition = definition.unwrap_or_else(|| Arc::clone(&self.replicas[index].definition));
        if is_watched {
            steps.push(ImmediateStep::Unwatch(old.clone()));
        }
        let replica = &mut self.replicas[index];
        if !replica.member {
            // It joins once it has answered here.
            replica.generation = id.generation;
            replica.definition = definition;
            replica.forget_instance();
            return self.probe(index, endpoint, steps);
        }
        steps.push(ImmediateStep::Watch(id.clone(), endpoint));
        let ready = ReadyInstance {
            generation: id.generation,
            definition,
            endpoint,
        };
        self.give_place(index, ready, steps);
        // The other balancer stops it.
        if waits {
            steps.push(DeferredStep::Drain(old));
        }
    }

    /// The definition with this hash, if the fleet has it.
    fn known_definition(&self, hash: Option<&str>) -> Option<Arc<Definition>> {
        let mut known = self
            .newer_definition()
            .into_iter()
            .chain([&self.definition]);
        let hash = hash?;
        known.find(|known| known.hash() == hash).cloned()
    }

    /// The instance that plays a replica was started by the definition with this hash.
    pub(in crate::fleet) fn note_definition(&mut self, index: usize, hash: Option<&str>) {
        if let Some(definition) = self.known_definition(hash) {
            self.replicas[index].definition = definition;
        }
    }

    /// What is healed from here has the definition that the replica has in the record.
    fn follow_definitions(&mut self, recorded: Desired) {
        let definition = match *self.definition == recorded.definition {
            true => Arc::clone(&self.definition),
            false => Arc::new(recorded.definition),
        };
        let newer = self.newer_definition().cloned();
        for replica in &mut self.replicas {
            let is_updated = recorded.updated.contains(&replica.name);
            let newer = newer.as_ref().filter(|_| is_updated);
            replica.definition = Arc::clone(newer.unwrap_or(&definition));
        }
        self.definition = definition;
    }

    /// The rollout that is followed, for people.
    pub(in crate::fleet) fn followed_report(&self) -> Option<RolloutReport> {
        let followed = self.followed.as_ref()?;
        let desired = || self.replicas.iter().filter(|replica| replica.is_desired());
        let rollout = &followed.recorded;
        Some(RolloutReport {
            id: rollout.id,
            stage: rollout.stage,
            reason: rollout.reason.clone(),
            started_at: rollout.started_at,
            from: Arc::clone(&self.definition),
            to: Arc::clone(&followed.to),
            done: desired().filter(|r| r.definition == followed.to).count(),
            total: desired().count(),
            in_hand: Vec::new(),
            canary: None,
            executor: rollout.executor.clone(),
        })
    }

    /// A generation for an instance of a replica. The balancer that replaces instances may be about to
    /// start one beside it that is not known here yet: that has the next one.
    pub(in crate::fleet) fn next_generation(&mut self, name: &ReplicaName) -> u64 {
        let next = self.generations.next(name);
        match self.followed.is_some() && !self.policy.names_have_generations {
            true => self.generations.next(name),
            false => next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ExecutorWatch;

    #[test]
    fn a_balancer_is_gone_after_two_questions_in_a_row_without_an_answer() {
        let mut watch = ExecutorWatch::new(Some("one".to_owned()));
        for (answered, is_gone) in [(false, false), (true, false), (false, false), (false, true)] {
            watch.asked(answered);
            assert_eq!(watch.is_gone(), is_gone);
        }
        // One that has left the rollout need not be asked.
        assert!(ExecutorWatch::new(None).is_gone());
    }
}
