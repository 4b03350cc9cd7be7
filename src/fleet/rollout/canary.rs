//! The canary of a rollout: extra instances of the new definition, with a ring of their own for a part of
//! the keys, until the rollout is promoted or undone.
//!
//! In the trial all of them have to answer heartbeats before any key is theirs; one that fails then
//! fails the rollout. One that fails later is off its ring at once, so that its keys go to the others
//! or to the replicas, and is started again with the back-off of a replica. Replicas stay as they
//! are until the rollout is promoted; then the canary serves on until every replica has its
//! definition.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ActiveRollout;
use super::successor::{InstanceRole, Successor, SuccessorPhase};
use crate::fleet::backoff::Backoff;
use crate::fleet::event::{DeferredStep, ImmediateStep, Steps};
use crate::fleet::rollout_state::{Course, Stage};
use crate::fleet::unresponsive::UNRESPONSIVE;
use crate::fleet::{Fleet, InstanceId, LaunchAs, LaunchOrder, Time};
use crate::human::duration;
use crate::ring::{CanaryShare, ReplicaName, Weight};

/// What its members are called, before their number.
const PREFIX: &str = "canary-";

/// The extra instances of a rollout.
#[derive(Debug)]
pub(super) struct Canary {
    share: CanaryShare,
    members: Vec<CanaryMember>,
    /// It has a ring.
    is_open: bool,
}

#[derive(Debug)]
struct CanaryMember {
    name: ReplicaName,
    backoff: Backoff,
    /// When it is started again, if not at once.
    retry_at: Option<Time>,
    /// Its instance on the canary's ring.
    serving: Option<(InstanceId, SocketAddr)>,
    /// Its last instance that has been there, and since when.
    has_served: Option<(InstanceId, Time)>,
    last_error: Option<String>,
}

/// The canary of the rollout that is under way, for people.
#[derive(Debug, Clone)]
pub(crate) struct CanaryReport {
    pub share: CanaryShare,
    pub members: Vec<CanaryMemberReport>,
}

/// One of its members, for people.
#[derive(Debug, Clone)]
pub(crate) struct CanaryMemberReport {
    pub name: ReplicaName,
    /// It serves its keys, or would if they were its.
    pub is_ready: bool,
    pub last_error: Option<String>,
}

impl Canary {
    /// The canary beside these replicas, none of whose names it takes.
    pub(super) fn new(share: CanaryShare, replicas: &[ReplicaName]) -> Self {
        // Such a name is always good.
        let names = (1_u32..).filter_map(|n| format!("{PREFIX}{n}").parse().ok());
        let is_free = |name: &ReplicaName| !replicas.iter().any(|other| other.is_same_in_dns(name));
        let members = names.filter(is_free).map(|name| CanaryMember {
            name,
            backoff: Backoff::default(),
            retry_at: None,
            serving: None,
            has_served: None,
            last_error: None,
        });
        Self {
            share,
            members: members.take(share.instances(replicas.len())).collect(),
            is_open: false,
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Time> {
        self.members
            .iter()
            .filter_map(|member| member.retry_at)
            .min()
    }

    fn names(&self) -> impl Iterator<Item = &ReplicaName> {
        self.members.iter().map(|member| &member.name)
    }

    fn has_served(&self, id: &InstanceId) -> bool {
        let mut served = self.members.iter().filter_map(|m| m.has_served.as_ref());
        served.any(|(served, _)| served == id)
    }
}

impl ActiveRollout {
    /// Whether no replica is replaced before the rollout is promoted.
    pub(super) fn awaits_promotion(&self) -> bool {
        let course = self.stage.course();
        course == Course::Canary || course == Course::Trial && self.canary.is_some()
    }
}

impl Fleet {
    /// The names that no replica can have because the canary has them.
    pub(in crate::fleet) fn canary_names(&self) -> impl Iterator<Item = &ReplicaName> {
        let rollout = self.rollout.iter();
        rollout.flat_map(|r| &r.canary).flat_map(Canary::names)
    }

    /// The canary of the rollout that is under way.
    pub(super) fn canary_report(&self) -> Option<CanaryReport> {
        let canary = self.rollout.as_ref()?.canary.as_ref()?;
        let member = |member: &CanaryMember| CanaryMemberReport {
            name: member.name.clone(),
            is_ready: self.ready_canary(&member.name).is_some(),
            last_error: member.last_error.clone(),
        };
        Some(CanaryReport {
            share: canary.share,
            members: canary.members.iter().map(member).collect(),
        })
    }

    fn instance_of_canary(&self, name: &ReplicaName) -> Option<&Successor> {
        self.successors.iter().find(|one| one.id.replica == *name)
    }

    fn ready_canary(&self, name: &ReplicaName) -> Option<(InstanceId, SocketAddr)> {
        let instance = self.instance_of_canary(name)?;
        match instance.phase {
            SuccessorPhase::Ready { endpoint } => Some((instance.id.clone(), endpoint)),
            _ => None,
        }
    }

    /// Whether requests have gone to this instance of the canary.
    pub(super) fn has_served_as_canary(&self, id: &InstanceId) -> bool {
        let canary = self.rollout.as_ref().and_then(|r| r.canary.as_ref());
        canary.is_some_and(|canary| canary.has_served(id))
    }

    /// Starts the canary's instances, and gives them its keys once all are ready.
    pub(super) fn advance_canary(&mut self, steps: &mut Steps) {
        let rollout = self.rollout.as_ref().filter(|r| r.canary.is_some());
        let Some(stage) = rollout.map(|rollout| rollout.stage) else {
            return;
        };
        match stage {
            Stage::Running(Course::Back) | Stage::Paused(Course::Back) => {
                return self.remove_canary(steps);
            }
            Stage::Running(_) => self.launch_canary(steps),
            Stage::Paused(_) => {}
        }
        let mut names = self.canary_names();
        let all_are_ready = names.all(|name| self.ready_canary(name).is_some());
        drop(names);
        if stage == Stage::Running(Course::Trial) && all_are_ready {
            self.move_rollout(Stage::Running(Course::Canary), None, steps);
        }
        self.serve_canary(steps);
    }

    /// Starts members that have no instance.
    fn launch_canary(&mut self, steps: &mut Steps) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let members = rollout.canary.iter_mut().flat_map(|c| &mut c.members);
        for member in members {
            member.retry_at = member.retry_at.filter(|at| *at > steps.now);
            let mut instances = self.successors.iter();
            if member.retry_at.is_some() || instances.any(|one| one.id.replica == member.name) {
                continue;
            }
            let id = InstanceId::new(member.name.clone(), self.generations.next(&member.name));
            let order = LaunchOrder {
                id: id.clone(),
                weight: Weight::default(),
                ordinal: 0,
            };
            let definition = Arc::clone(&rollout.to);
            let like = Arc::clone(&definition);
            steps.push(DeferredStep::Launch(order, like, LaunchAs::Extra));
            let launching = Successor::launching(id, definition, InstanceRole::Canary);
            self.successors.push(launching);
        }
    }

    /// Brings the canary's ring up to date with its instances.
    fn serve_canary(&mut self, steps: &mut Steps) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let has_keys = matches!(rollout.stage.course(), Course::Canary | Course::Onward);
        let Some(mut canary) = rollout.canary.take() else {
            return;
        };
        if has_keys && !canary.is_open {
            canary.is_open = true;
            let names = canary.names().cloned().collect();
            steps.push(ImmediateStep::OpenCanary(canary.share, names));
        }
        for member in &mut canary.members {
            let ready = self.ready_canary(&member.name);
            if let Some((id, _)) = member
                .serving
                .take_if(|serving| ready.as_ref() != Some(serving))
            {
                let instance = self.instance_of_canary(&member.name);
                let reason = instance.and_then(Successor::unready_reason);
                let reason = reason.unwrap_or(UNRESPONSIVE).to_owned();
                member.last_error = Some(reason.clone());
                steps.push(ImmediateStep::Evict(id, reason));
            }
            if let Some((id, endpoint)) = ready.filter(|_| has_keys && member.serving.is_none()) {
                steps.push(ImmediateStep::Admit(id.clone(), endpoint));
                member.has_served = Some((id.clone(), steps.now));
                member.serving = Some((id, endpoint));
                member.last_error = None;
            }
        }
        if let Some(rollout) = &mut self.rollout {
            rollout.canary = Some(canary);
        }
    }

    /// Takes an instance off the canary's ring, if it is there: it has ended, or is given up.
    pub(super) fn evict_canary(&mut self, id: &InstanceId, reason: &str, steps: &mut Steps) {
        let canary = self.rollout.as_mut().and_then(|r| r.canary.as_mut());
        let mut members = canary.into_iter().flat_map(|canary| &mut canary.members);
        let served = members.find_map(|m| m.serving.take_if(|(serving, _)| serving == id));
        if let Some((id, _)) = served {
            steps.push(ImmediateStep::Evict(id, reason.to_owned()));
        }
    }

    /// An instance of the canary is about to be ended from outside: it gets no more requests and finishes
    /// those that it has, and the next one starts at once.
    pub(super) fn canary_ending(&mut self, place: usize, steps: &mut Steps) {
        let id = self.successors.remove(place).id;
        let message = "is about to be ended from outside: it gets no requests, and is replaced";
        steps.warn(
            &id.replica,
            format!("generation {} {message}", id.generation),
        );
        let canary = self.rollout.as_mut().and_then(|r| r.canary.as_mut());
        let mut members = canary.into_iter().flat_map(|canary| &mut canary.members);
        let served = members.find_map(|m| m.serving.take_if(|(serving, _)| *serving == id));
        if let Some((id, endpoint)) = served {
            steps.push(ImmediateStep::MarkDrained(id, endpoint));
        }
        steps.push(ImmediateStep::Unwatch(id.clone()));
        self.retire(id, 0, steps);
    }

    /// An instance of the canary has ended, could not be started, or is given up.
    pub(super) fn canary_failed(&mut self, id: &InstanceId, reason: String, steps: &mut Steps) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        if rollout.stage.course() == Course::Trial {
            return self.fail_rollout(format!("{}: {reason}", id.replica), steps);
        }
        let limit = self.policy.restart_limit;
        let mut members = rollout.canary.iter_mut().flat_map(|c| &mut c.members);
        if let Some(member) = members.find(|member| member.name == id.replica) {
            let served = member
                .has_served
                .as_ref()
                .filter(|(served, _)| served == id);
            let healthy_for = served.map_or(Duration::ZERO, |(_, since)| {
                steps.now.saturating_sub(*since)
            });
            let name = member.name.as_str();
            let pause = member
                .backoff
                .after_death(name, healthy_for, steps.now, limit);
            member.retry_at = Some(steps.now.saturating_add(pause)).filter(|_| !pause.is_zero());
            let again = match pause.is_zero() {
                true => "at once".to_owned(),
                false => format!("in {}", duration(pause)),
            };
            member.last_error = Some(reason.clone());
            let message =
                format!("{reason}; others serve its keys, and it is started again {again}");
            steps.warn(&id.replica, message);
        }
    }

    /// Gives the canary's keys back to the replicas, and ends its instances when their requests have
    /// ended.
    pub(in crate::fleet) fn remove_canary(&mut self, steps: &mut Steps) {
        let canary = self.rollout.as_mut().and_then(|r| r.canary.take());
        let Some(canary) = canary else { return };
        if canary.is_open {
            steps.push(ImmediateStep::CloseCanary);
        }
        for CanaryMember { name, serving, .. } in canary.members {
            let mut instances = self.successors.iter();
            let Some(place) = instances.position(|one| one.id.replica == name) else {
                continue;
            };
            match serving {
                Some((id, ..)) => {
                    self.successors.remove(place);
                    steps.push(ImmediateStep::Unwatch(id.clone()));
                    self.retire(id, 0, steps);
                }
                None if self.successors[place].is_wanted() => self.discard_successor(place, steps),
                None => {}
            }
        }
    }

    /// Takes the canary's ring away: the balancer stops.
    pub(super) fn close_canary(&mut self, steps: &mut Steps) {
        let canary = self.rollout.as_mut().and_then(|r| r.canary.as_mut());
        if canary.is_some_and(|canary| std::mem::take(&mut canary.is_open)) {
            steps.push(ImmediateStep::CloseCanary);
        }
    }
}
