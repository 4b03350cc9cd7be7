//! The rules that no history may break, checked at each step and after each answer.

use std::time::Duration;

use super::script::{Line, endpoint_of, version_of};
use super::world::{Deaths, Instance, STOP_ATTEMPTS, World};
use crate::api::{RolloutOutcome, RolloutState};
use crate::fleet::{
    Change, ChangeError, ChangeId, Changed, DeathCause, DeferredStep, Event, Fleet, ImmediateStep,
    InstanceEvent, InstanceId, LaunchAs, LaunchOrder, OperatorAction, RecordChange, RolloutChange,
    Stage, Step,
};
use crate::ring::ReplicaName;

/// A rule that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub rule: &'static str,
    pub how: String,
}

/// Ends with the rule and how it is broken, if it does not hold.
macro_rules! hold {
    ($holds:expr, $rule:expr, $($how:tt)*) => {
        if !$holds {
            let (rule, how) = ($rule, format!($($how)*));
            return Err(Broken { rule, how });
        }
    };
}

/// The longest wait for anything: a minute of back-off, and a quarter of that for jitter.
const MAX_WAIT: Duration = Duration::from_secs(75);

impl World {
    /// Executes a step, if no rule is against it.
    pub fn execute(&mut self, step: &Step, line: &Line) -> Result<(), Broken> {
        match step {
            Step::Immediate(step) => self.execute_immediate(step, line),
            Step::Deferred(step) => self.execute_deferred(step, line),
        }
    }

    fn execute_immediate(&mut self, step: &ImmediateStep, line: &Line) -> Result<(), Broken> {
        match step {
            ImmediateStep::Join(members) => {
                for member in members {
                    let new = !self.members.contains(&member.name);
                    hold!(new, "a member joins once", "{member:?}");
                    self.members.push(member.name.clone());
                    // A foreign replica has not been asked for here.
                    if let Line::Report(Event::Instance(
                        id,
                        InstanceEvent::BecameHealthy | InstanceEvent::HealthcheckChanged(true),
                    )) = line
                        && id.replica == member.name
                        && let Some(foreign) = self.instances.get_mut(id).filter(|i| i.foreign)
                    {
                        foreign.foreign = false;
                        self.desired.push(member.name.clone());
                    }
                }
            }
            ImmediateStep::Leave(names) => {
                self.leave(names)?;
                let removed = InstanceEvent::RemovedElsewhere;
                if let Line::Report(Event::Instance(id, event)) = line
                    && (*event == removed && names[..] == [id.replica.clone()])
                {
                    self.desired.retain(|name| *name != id.replica);
                }
            }
            ImmediateStep::OpenCanary(_, names) => {
                let new = self.canary.is_empty() && !names.is_empty();
                hold!(new, "one canary is there", "{step:?}");
                let free = !names.iter().any(|name| self.members.contains(name));
                hold!(free, "no member is a canary", "{step:?}");
                self.canary.clone_from(names);
            }
            ImmediateStep::CloseCanary => {
                let names = std::mem::take(&mut self.canary);
                hold!(!names.is_empty(), "a canary goes once", "{step:?}");
                self.take_off(&names);
            }
            ImmediateStep::Record(change) => self.record(change)?,
            ImmediateStep::Rollout(change) => self.roll_out(change)?,
            ImmediateStep::Warn(..) | ImmediateStep::ReportDegraded { .. } => {}
            ImmediateStep::RecordAction(id, action) => {
                let name = &id.replica;
                hold!(
                    self.members.contains(name),
                    "only members are drained or restarted",
                    "{step:?}"
                );
                let changed = match action {
                    OperatorAction::Drained => self.drained.insert(name.clone()),
                    OperatorAction::Activated => self.drained.remove(name),
                    OperatorAction::StaysDrained => self.drained.contains(name),
                    OperatorAction::Restarting => true,
                };
                hold!(changed, "a change of state is told once", "{step:?}");
            }
            ImmediateStep::RecordExit(id, _)
            | ImmediateStep::RecordStop(id)
            | ImmediateStep::AbortRequests(id) => {
                let ended = matches!(
                    line,
                    Line::Report(Event::Instance(of, InstanceEvent::Exited(_) | InstanceEvent::Stopped))
                        if of == id
                );
                hold!(ended, "an end is recorded when it is reported", "{step:?}");
            }
            ImmediateStep::Watch(id, endpoint)
            | ImmediateStep::Admit(id, endpoint)
            | ImmediateStep::MarkDrained(id, endpoint)
            | ImmediateStep::MarkUnready(id, endpoint, _) => {
                let right = *endpoint == endpoint_of(id);
                hold!(
                    right,
                    "an instance is where it was started",
                    "{id}: {endpoint}"
                );
                self.immediate_on(id, step)?;
            }
            ImmediateStep::Unwatch(id)
            | ImmediateStep::EndDrain(id)
            | ImmediateStep::Evict(id, _)
            | ImmediateStep::CountRequests(id)
            | ImmediateStep::ReportRequests(id)
            | ImmediateStep::RecordFailedStart { id, .. }
            | ImmediateStep::RecordDeath { id, .. } => self.immediate_on(id, step)?,
        }
        Ok(())
    }

    fn execute_deferred(&mut self, step: &DeferredStep, line: &Line) -> Result<(), Broken> {
        match step {
            DeferredStep::Launch(order, definition, launched_as) => {
                let is_beside = *launched_as != LaunchAs::Replica;
                self.launch(order, version_of(definition), is_beside, line)
            }
            DeferredStep::TakePlace(id) => {
                let plays = self.instances.get(id);
                let plays = plays.is_some_and(|i| i.admitted || i.set_aside);
                hold!(plays, "what takes a place serves", "{step:?}");
                Ok(())
            }
            DeferredStep::Reply(change_id, outcome) => self.answer(*change_id, outcome),
            DeferredStep::Drain(id)
            | DeferredStep::AnnounceRemoval(id)
            | DeferredStep::Stop(id, _) => self.deferred_on(id, step),
        }
    }

    /// What is recorded as a member is one, and the other way round.
    fn record(&mut self, change: &RecordChange) -> Result<(), Broken> {
        let holds = match change {
            RecordChange::Add(members) => members.iter().all(|m| self.members.contains(&m.name)),
            RecordChange::Remove(names) => names.iter().all(|name| !self.members.contains(name)),
            RecordChange::SetDrained(name, drained) => {
                self.members.contains(name) && self.drained.contains(name) != *drained
            }
            _ => false,
        };
        hold!(holds, "the record follows the ring", "{change:?}");
        Ok(())
    }

    /// A rollout begins, goes on or ends.
    fn roll_out(&mut self, change: &RolloutChange) -> Result<(), Broken> {
        let is_first = self.rollout.is_none();
        match change {
            RolloutChange::Began(rollout) => {
                hold!(is_first, "one rollout is under way", "{change:?}");
                self.rollout = Some((version_of(&rollout.to).to_owned(), rollout.stage));
            }
            RolloutChange::HandedOver { .. } => {}
            RolloutChange::Moved { stage, .. } => {
                hold!(!is_first, "a rollout that moves is under way", "{change:?}");
                let differs = self.rollout.as_ref().is_some_and(|(_, s)| s != stage);
                hold!(differs, "a rollout moves to another stage", "{change:?}");
                if let Some((_, present)) = &mut self.rollout {
                    *present = *stage;
                }
            }
            RolloutChange::Replaced {
                instance, updated, ..
            } => {
                hold!(
                    !is_first,
                    "replicas are replaced by a rollout",
                    "{change:?}"
                );
                let is_member = self.members.contains(&instance.replica);
                hold!(is_member, "only members are replaced", "{change:?}");
                let stage = self.rollout.as_ref().map(|(_, stage)| stage.state());
                let promoted = stage != Some(RolloutState::Canary);
                hold!(promoted, "a canary is promoted first", "{change:?}");
                if *updated {
                    let admitted = self.instances.get(instance);
                    let serves = admitted.is_some_and(|i| i.admitted || i.set_aside);
                    hold!(serves, "what replaces another one serves", "{change:?}");
                }
            }
            RolloutChange::Ended { outcome, .. } => {
                let ended = self.rollout.take();
                hold!(!is_first, "a rollout that ends is under way", "{change:?}");
                if let (RolloutOutcome::Done, Some((version, _))) = (outcome, ended) {
                    self.version = version;
                }
                let rule = "a rollout ends when every replica that serves has its version";
                for (id, instance) in &self.instances {
                    let serves = instance.runs() && (instance.admitted || instance.set_aside);
                    let right = !serves || self.has_version(instance);
                    hold!(right, rule, "{id} has {}", instance.version);
                }
            }
        }
        Ok(())
    }

    /// Whether an instance has the fleet's version, as far as that is known.
    fn has_version(&self, instance: &Instance) -> bool {
        instance.version.is_empty() || instance.version == self.version
    }

    fn launch(
        &mut self,
        order: &LaunchOrder,
        version: &str,
        successor: bool,
        line: &Line,
    ) -> Result<(), Broken> {
        let id = &order.id;
        let to = self.rollout.as_ref().map(|(to, _)| to.as_str());
        let known = version == self.version || Some(version) == to;
        hold!(
            known,
            "an instance has one of two versions",
            "{id} {version}"
        );
        hold!(!self.shutting_down, "nothing is started at the end", "{id}");
        for (other, instance) in self.instances_of(&id.replica) {
            let higher = other.generation < id.generation;
            hold!(higher, "no generation comes twice", "{id}");
            // What would not stop is off the ring, and so is what was one too many when
            // this balancer took over.
            let surplus = instance.stopping > 0 && !instance.ever_watched;
            let others = instance.foreign || instance.removal_announced || instance.succeeded;
            let beside = successor || instance.successor;
            let may_run = instance.stop_failures > 0 || surplus || others || beside;
            let twice = (instance.launching && !beside) || (instance.runs() && !may_run);
            hold!(
                !twice,
                "nothing is started twice",
                "{id}, and there is {other}"
            );
        }
        if let (Line::After(_), Some(deaths)) = (line, self.deaths.get(&id.replica))
            && self.rollout.is_none()
        {
            let waited = self.now.saturating_sub(deaths.last_at);
            let enough = waited >= nominal_backoff(deaths.in_a_row) * 3 / 4;
            let rule = "a replica that keeps dying is started rarely";
            hold!(enough, rule, "{id} {waited:?} after its {deaths:?}");
        }
        let instance = self.instances.entry(id.clone()).or_default();
        instance.launching = true;
        instance.successor = successor;
        instance.version = version.to_owned();
        Ok(())
    }

    fn leave(&mut self, names: &[ReplicaName]) -> Result<(), Broken> {
        for name in names {
            let known = self.members.contains(name);
            hold!(known, "only members leave", "{name}");
            self.members.retain(|member| member != name);
        }
        self.take_off(names);
        self.drained.retain(|name| !names.contains(name));
        self.replacing_unready.retain(|name| !names.contains(name));
        Ok(())
    }

    fn take_off(&mut self, names: &[ReplicaName]) {
        for (id, instance) in &mut self.instances {
            if names.contains(&id.replica) {
                instance.left |= instance.admitted || instance.unready || instance.set_aside;
                instance.admitted = false;
                instance.unready = false;
                instance.set_aside = false;
            }
        }
    }

    /// Whether it plays no replica, for a rollout that is under way.
    fn is_of_canary(&self, id: &InstanceId) -> bool {
        self.rollout.is_some() && id.replica.as_str().starts_with("canary-")
    }

    fn immediate_on(&mut self, id: &InstanceId, step: &ImmediateStep) -> Result<(), Broken> {
        let spawns = self.policy.spawns;
        let is_member = self.members.contains(&id.replica) || self.canary.contains(&id.replica);
        let of_name = || self.instances_of(&id.replica);
        let is_successor = self.instances.get(id).is_some_and(|i| i.successor);
        let is_other = |(other, _): &(&InstanceId, &Instance)| *other != id && !is_successor;
        let other_admitted = of_name().filter(is_other).any(|(_, i)| i.admitted);
        let is_watched = |i: &Instance| i.watched && !i.successor;
        let other_watched = of_name().filter(is_other).any(|(_, i)| is_watched(i));
        let others_unready = self.instances.iter();
        let others_unready = others_unready.filter(|(other, i)| *other != id && i.unready);
        let others_unready = others_unready.count();
        let replacing = &mut self.replacing_unready;
        let is_drained = self.drained.contains(&id.replica);
        if matches!(
            step,
            ImmediateStep::Admit(..) | ImmediateStep::MarkDrained(..)
        ) {
            // Its successor takes its place on the ring.
            let others = self.instances.iter_mut();
            let others = others.filter(|(other, _)| other.replica == id.replica && *other != id);
            others.for_each(|(_, other)| {
                let served = other.admitted || other.unready || other.set_aside;
                if is_successor {
                    other.left |= served;
                    other.succeeded = true;
                    (other.admitted, other.unready) = (false, false);
                }
                other.set_aside = false;
            });
        }
        let instance = self.instances.get_mut(id);
        let instance = known(instance, &step)?;
        match step {
            ImmediateStep::Watch(..) => {
                let fresh = !instance.watched && !other_watched;
                hold!(fresh, "one instance of a name is watched, once", "{step:?}");
                hold!(instance.runs(), "what has ended is not watched", "{step:?}");
                instance.watched = true;
                instance.ever_watched = true;
                instance.up = instance.proven;
            }
            ImmediateStep::Unwatch(_) => {
                let watched = std::mem::take(&mut instance.watched);
                hold!(watched, "only the watched is unwatched", "{step:?}");
                instance.up = false;
            }
            ImmediateStep::Admit(..) => {
                hold!(
                    !other_admitted,
                    "one instance of a name is admitted",
                    "{step:?}"
                );
                hold!(
                    !instance.admitted,
                    "an instance is admitted once",
                    "{step:?}"
                );
                hold!(is_member, "only members are admitted", "{step:?}");
                let serves = instance.runs() && instance.watched;
                hold!(serves, "the admitted runs and is watched", "{step:?}");
                hold!(instance.up, "only what answers is admitted", "{step:?}");
                hold!(
                    !instance.unhealthy,
                    "no unhealthy one is admitted",
                    "{step:?}"
                );
                hold!(!is_drained, "no drained one is admitted", "{step:?}");
                instance.admitted = true;
                instance.foreign &= !instance.proven;
                instance.successor = false;
                instance.ever_admitted = true;
                instance.unready = false;
                instance.set_aside = false;
                replacing.remove(&id.replica);
            }
            ImmediateStep::MarkDrained(..) => {
                hold!(is_member, "only members are drained", "{step:?}");
                let serves = instance.runs() && instance.watched;
                hold!(serves, "the drained runs and is watched", "{step:?}");
                instance.admitted = false;
                instance.unready = false;
                instance.set_aside = true;
                instance.successor = false;
                instance.ever_admitted = true;
                replacing.remove(&id.replica);
            }
            ImmediateStep::EndDrain(..) => {
                let over = is_drained && instance.set_aside && instance.draining == 0;
                hold!(over, "what is drained ends in its time", "{step:?}");
            }
            ImmediateStep::MarkUnready(..) => {
                hold!(!is_drained, "no drained one is asked in panic", "{step:?}");
                hold!(
                    is_member,
                    "only members are unready",
                    "{step:?} {instance:?}"
                );
                hold!(
                    !instance.unready,
                    "an instance is marked once",
                    "{step:?} {instance:?}"
                );
                let was_ready = instance.ever_admitted;
                hold!(
                    was_ready,
                    "only what was ready is unready",
                    "{step:?} {instance:?}"
                );
                instance.admitted = false;
                instance.set_aside = false;
                instance.unready = true;
            }
            ImmediateStep::Evict(..) => {
                let serves = instance.admitted || instance.unready || instance.set_aside;
                hold!(serves, "only what serves is evicted", "{step:?}");
                instance.admitted = false;
                instance.set_aside = false;
                instance.unready = false;
            }
            ImmediateStep::CountRequests(_) => {
                let serves = instance.admitted || instance.set_aside;
                hold!(serves, "requests of what serves are counted", "{step:?}");
            }
            ImmediateStep::ReportRequests(_) => instance.counting = true,
            ImmediateStep::RecordFailedStart { .. } => {
                let new = !std::mem::replace(&mut instance.death_recorded, true);
                hold!(new, "the death of an instance is recorded once", "{step:?}");
                let fails = instance.successor && !instance.ever_admitted;
                hold!(fails, "only successors fail to start", "{step:?}");
            }
            ImmediateStep::RecordDeath { cause, .. } => {
                let new = !std::mem::replace(&mut instance.death_recorded, true);
                hold!(new, "the death of an instance is recorded once", "{step:?}");
                hold!(
                    spawns,
                    "only deaths of our own instances are recorded",
                    "{step:?}"
                );
                let known = cause.exit().is_none() || instance.exited;
                hold!(known, "an end is told as it was reported", "{step:?}");
                if let DeathCause::Unready(_) = cause {
                    let others = others_unready > 0 && !replacing.is_empty();
                    let rule = "one unready replica is replaced at a time";
                    hold!(!others, rule, "{step:?} while {replacing:?} are");
                    replacing.insert(id.replica.clone());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn deferred_on(&mut self, id: &InstanceId, step: &DeferredStep) -> Result<(), Broken> {
        let (stopping, spawns) = (self.shutting_down, self.policy.spawns);
        let instance = known(self.instances.get_mut(id), &step)?;
        match step {
            DeferredStep::AnnounceRemoval(_) => {
                hold!(!stopping, "the end announces no removal", "{step:?}");
            }
            DeferredStep::Drain(_) => {
                let serves_no_more = instance.left || instance.set_aside;
                hold!(
                    serves_no_more,
                    "what gets no more requests is drained",
                    "{step:?}"
                );
                instance.draining += 1;
                instance.drained = false;
            }
            DeferredStep::Stop(..) => {
                hold!(spawns, "only our own instances are stopped", "{step:?}");
                hold!(
                    !instance.watched,
                    "what is watched is not stopped",
                    "{step:?}"
                );
                let evicted = !(instance.admitted || instance.unready);
                hold!(
                    evicted || stopping,
                    "evicted first, stopped second",
                    "{step:?}"
                );
                let finished = !instance.left || instance.drained || instance.exited;
                hold!(
                    finished || stopping,
                    "drained first, stopped second",
                    "{step:?}"
                );
                hold!(instance.stopping == 0, "a stop is awaited", "{step:?}");
                hold!(!instance.stopped, "what was stopped is let be", "{step:?}");
                let tries = instance.stop_failures;
                hold!(
                    tries < STOP_ATTEMPTS,
                    "no stop is tried for ever",
                    "{step:?}"
                );
                instance.admitted = false;
                instance.unready = false;
                instance.set_aside = false;
                instance.draining = 0;
                instance.stopping += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn answer(
        &mut self,
        change_id: ChangeId,
        outcome: &Result<Changed, ChangeError>,
    ) -> Result<(), Broken> {
        let how = format!("answer to {change_id:?}: {outcome:?}");
        let place = self.requests.iter().position(|(t, _)| *t == change_id);
        let request = place.and_then(|place| self.requests.remove(place));
        hold!(request.is_some(), "a request is answered once", "{how}");
        if let Err(ChangeError::Busy(_) | ChangeError::FixedFleet) = outcome {
            return Ok(());
        }
        hold!(
            place == Some(0),
            "requests are answered in their order",
            "{how}"
        );
        if let Err(ChangeError::ShuttingDown) = outcome {
            hold!(self.shutting_down, "only the end refuses for good", "{how}");
            return Ok(());
        }
        let before = std::mem::replace(&mut self.desired, self.members.clone());
        let after = &self.desired;
        let stays = |name: &&ReplicaName| after.contains(name);
        let is_there = |name: &String| after.iter().any(|a| a.as_str() == name);
        let right = match (request, outcome) {
            (Some((_, Change::Add { n, hostnames, .. })), Ok(_)) => {
                let grown = after.starts_with(&before) && after.len() == before.len() + n;
                grown && hostnames.iter().all(is_there)
            }
            (
                Some((_, Change::Remove { n, hostnames })),
                Ok(_) | Err(ChangeError::StopFailed(_)),
            ) => {
                let rest = before.iter().filter(stays);
                let shrunk = rest.eq(after) && after.len() + n == before.len();
                shrunk && !hostnames.iter().any(is_there)
            }
            // To a number that may have been another when its turn came.
            (Some((_, Change::Scale { .. })), Ok(_) | Err(ChangeError::StopFailed(_))) => {
                after.starts_with(&before) || before.iter().filter(stays).eq(after)
            }
            _ => before == *after,
        };
        let rule = "the desired replicas are the sum of the changes";
        hold!(right, rule, "{how}: {before:?} becomes {after:?}");
        if let Ok(Changed { names, desired }) = outcome {
            let is_told = desired == after;
            hold!(is_told, "an answer lists the desired replicas", "{how}");
            let differs = |name| before.contains(name) != after.contains(name);
            let is_named =
                names.len() == before.len().abs_diff(after.len()) && names.iter().all(differs);
            hold!(is_named, "an answer names what has changed", "{how}");
        }
        let left_over = self
            .instances
            .iter()
            .filter(|(id, _)| {
                // The balancer that removes a replica clears it away.
                let mut own = self.instances_of(&id.replica);
                !own.any(|(_, instance)| instance.removal_announced)
            })
            .find(|(id, instance)| {
                let is_gone = !self.members.contains(&id.replica) && !self.is_of_canary(id);
                is_gone && !instance.is_over()
            });
        let rule = "nothing is left of what is gone";
        hold!(
            left_over.is_none(),
            rule,
            "{how}, and there is {left_over:?}"
        );
        Ok(())
    }

    /// Looks at the fleet as a whole after it has dealt with a line.
    pub fn inspect(&mut self, fleet: &Fleet, line: &Line, steps: &[Step]) -> Result<(), Broken> {
        let wakes_at = fleet.wakes_at();
        if let Line::After(_) = line {
            let ahead = wakes_at.is_none_or(|at| at > self.now);
            hold!(ahead, "a tick deals with all that is due", "{wakes_at:?}");
        }
        let max_wait = MAX_WAIT.max(self.policy.start_timeout);
        let max_wait = max_wait.max(self.policy.unready_timeout.unwrap_or_default());
        let soon = wakes_at.is_none_or(|at| at <= self.now + max_wait);
        hold!(
            soon,
            "no wait is longer than a minute or so",
            "{wakes_at:?}"
        );
        let bound = 8 * (self.instances.len() + self.members.len() + 80);
        hold!(steps.len() < bound, "no storm of steps", "{}", steps.len());
        if self.handed_over {
            return Ok(());
        }
        if self.shutting_down {
            let over = !self.policy.spawns || self.instances.values().all(|i| i.is_over());
            let right = fleet.is_shut_down() == over;
            hold!(
                right,
                "the end is when all is over",
                "{over} {:?}",
                self.instances
            );
            return Ok(());
        }
        if let Line::Start(_) | Line::Adopt(_) = line {
            self.desired = self.members.clone();
        }
        let (desired, members) = (fleet.desired(), &self.members);
        let rule = "the desired replicas are those on the ring";
        hold!(desired == *members, rule, "{desired:?} {members:?}");
        let same = !self.requests.is_empty() || *members == self.desired;
        let rule = "the desired replicas are the sum of the changes";
        hold!(same, rule, "{members:?} {:?}", self.desired);
        self.count_deaths(fleet, line, steps)
    }

    fn count_deaths(&mut self, fleet: &Fleet, line: &Line, steps: &[Step]) -> Result<(), Broken> {
        for name in self.members.clone() {
            let deaths = self.deaths.entry(name.clone()).or_default();
            let in_a_row = fleet.consecutive_deaths(&name);
            if deaths.in_a_row != in_a_row {
                *deaths = Deaths {
                    in_a_row,
                    last_at: self.now,
                };
            }
            let launched = steps.iter().any(
                |step| matches!(step, Step::Deferred(DeferredStep::Launch(order, _, LaunchAs::Replica)) if order.id.replica == name),
            );
            let reported = matches!(line, Line::Report(event)
                if !matches!(event, Event::Recovered | Event::NameFreed(_)));
            let rolled = self.rollout.is_some() || steps.iter().any(is_rollout);
            let rarely = !(launched && reported) || in_a_row <= 1 || rolled;
            let rule = "only the first respawn is at once";
            hold!(rarely, rule, "{name} after {in_a_row} deaths");
        }
        self.deaths.retain(|name, _| self.members.contains(name));
        Ok(())
    }

    /// What must be true when events have ceased and everything was answered well.
    pub fn inspect_at_rest(&self, fleet: &Fleet) -> Result<(), Broken> {
        let answered = self.requests.is_empty();
        hold!(answered, "every request is answered", "{:?}", self.requests);
        if self.shutting_down {
            hold!(fleet.is_shut_down(), "the end comes", "{self:?}");
            return Ok(());
        }
        let is_running = |(_, stage): &(String, Stage)| matches!(stage, Stage::Running(_));
        let canary = self
            .canary
            .iter()
            .filter(|_| self.rollout.iter().any(is_running));
        for name in self.members.iter().chain(canary) {
            let serves = |i: &Instance| match self.drained.contains(name) {
                true => i.set_aside && i.runs(),
                false => i.admitted,
            };
            let serving = self.instances_of(name).filter(|(_, i)| serves(i)).count();
            let rule = "observed becomes desired";
            hold!(serving == 1, rule, "{serving} instances of {name} serve");
        }
        if let Some((version, stage)) = &self.rollout {
            let waits = matches!(stage, Stage::Paused(_)) || stage.state() == RolloutState::Canary;
            hold!(waits, "a rollout comes to its end", "{version} {stage:?}");
        } else {
            let rule = "every replica has the fleet's version";
            let others = self
                .instances
                .iter()
                .filter(|(_, i)| i.runs() && i.admitted);
            for (id, instance) in others {
                let right = self.has_version(instance);
                hold!(right, rule, "{id} has {}", instance.version);
            }
        }
        let mut instances = self.instances.iter();
        let serves = |i: &Instance| i.admitted || i.set_aside;
        let idle = instances.find(|(id, i)| {
            // In a trial that is paused.
            let waits = self.canary.is_empty() && self.is_of_canary(id);
            i.runs() && !serves(i) && !i.is_over() && !waits
        });
        hold!(
            idle.is_none(),
            "nothing runs that is not wanted",
            "{idle:?}"
        );
        Ok(())
    }
}

fn is_rollout(step: &Step) -> bool {
    matches!(step, Step::Immediate(ImmediateStep::Rollout(_)))
}

/// The instance that a step is about.
fn known<'a>(
    instance: Option<&'a mut Instance>,
    step: &dyn std::fmt::Debug,
) -> Result<&'a mut Instance, Broken> {
    let instance = instance.filter(|instance| instance.launched);
    instance.ok_or_else(|| Broken {
        rule: "no step is about an unknown instance",
        how: format!("{step:?}"),
    })
}

/// The pause before the next start after so many deaths, without jitter.
fn nominal_backoff(consecutive_deaths: u32) -> Duration {
    match consecutive_deaths {
        0 | 1 => Duration::ZERO,
        deaths => Duration::from_secs((1 << (deaths - 2).min(6)).min(60)),
    }
}
