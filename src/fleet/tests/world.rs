//! What surrounds a fleet in the simulation: a model of the runtime, the prober, the ring
//! and the callers, kept up to date from the reports that go in and the steps that come
//! out, and from nothing else. So any part of a history can be played again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::script::{Line, endpoint_of};
use crate::fleet::{
    Change, ChangeId, Event, Existing, InstanceEvent, InstanceId, Policy, Stage, Time,
};
use crate::ring::ReplicaName;

/// So often may the runtime fail to stop an instance before it is left behind.
pub const STOP_ATTEMPTS: u32 = 5;

/// One instance, as the reports tell.
#[derive(Debug, Default)]
pub struct Instance {
    /// Its start has been asked for and not been answered.
    pub launching: bool,
    pub launched: bool,
    pub launch_failed: bool,
    pub exited: bool,
    /// Stops asked for and not answered.
    pub stopping: u32,
    pub stop_failures: u32,
    pub stopped: bool,
    /// Nothing is left of it.
    pub cleared: bool,
    pub watched: bool,
    pub ever_watched: bool,
    /// Whether the prober has reported that it answers.
    pub up: bool,
    pub admitted: bool,
    /// Off the ring, and still asked when too few are ready.
    pub unready: bool,
    /// On the ring and gets no requests, because its replica is drained or restarted.
    pub set_aside: bool,
    /// Its image's HEALTHCHECK says so.
    pub unhealthy: bool,
    pub ever_admitted: bool,
    /// Its replica left the ring while it was admitted.
    pub left: bool,
    /// How many waits for its requests in flight are under way.
    pub draining: u32,
    pub drained: bool,
    pub death_recorded: bool,
    /// Another balancer started it, and it was never ours to stop.
    pub foreign: bool,
    /// Another balancer has removed it, and stops it.
    pub removal_announced: bool,
    /// What it was started from; nothing where another balancer knows that alone.
    pub version: String,
    /// It was started beside another one, and plays its replica only once it is ready.
    pub successor: bool,
    /// Another one has taken its place.
    pub succeeded: bool,
    /// Another balancer says that it answers.
    pub proven: bool,
    /// Its requests are to be reported.
    pub counting: bool,
}

impl Instance {
    /// It runs, according to the last report about it.
    pub fn runs(&self) -> bool {
        self.launched && !self.exited && !self.stopped
    }

    /// There is nothing more to be done about it.
    pub fn is_over(&self) -> bool {
        // What a later start has cleared away in passing may still be told to stop.
        let told_to_stop = self.stopping > 0 || self.stop_failures > 0;
        self.launch_failed
            || self.stopped
            || ((self.cleared || self.foreign || self.removal_announced) && !told_to_stop)
            || self.stop_failures >= STOP_ATTEMPTS
    }
}

/// The record of one replica's deaths.
#[derive(Debug, Default, Clone, Copy)]
pub struct Deaths {
    pub in_a_row: u32,
    pub last_at: Time,
}

/// Everything around the fleet.
#[derive(Debug)]
pub struct World {
    pub policy: Policy,
    pub now: Time,
    pub shutting_down: bool,
    /// What is left at the end is another balancer's.
    pub handed_over: bool,
    pub instances: BTreeMap<InstanceId, Instance>,
    /// On the ring, in the order of joining.
    pub members: Vec<ReplicaName>,
    /// What the members are according to the answers.
    pub desired: Vec<ReplicaName>,
    /// Of these, the drained ones.
    pub drained: BTreeSet<ReplicaName>,
    /// Requests that have not been answered.
    pub requests: VecDeque<(ChangeId, Change)>,
    pub deaths: BTreeMap<ReplicaName, Deaths>,
    /// What replicas are started from that no rollout has come to.
    pub version: String,
    /// The rollout under way.
    pub rollout: Option<(String, Stage)>,
    /// What has the canary's ring, if there is one.
    pub canary: Vec<ReplicaName>,
    /// Replicas of which an unready instance is being replaced.
    pub replacing_unready: BTreeSet<ReplicaName>,
}

/// Something that the world owes the fleet an answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Debt {
    Launch(InstanceId),
    FirstAnswer(InstanceId),
    Healthy(InstanceId),
    Drain(InstanceId),
    Stop(InstanceId),
    Count(InstanceId),
}

impl Debt {
    /// Its good end.
    pub fn settled(self) -> Event {
        let (id, event) = match self {
            Self::Launch(id) => {
                let endpoint = endpoint_of(&id);
                (id, InstanceEvent::Launched(endpoint))
            }
            Self::FirstAnswer(id) => (id, InstanceEvent::BecameHealthy),
            Self::Healthy(id) => (id, InstanceEvent::HealthcheckChanged(true)),
            Self::Drain(id) => (id, InstanceEvent::Drained),
            Self::Stop(id) => (id, InstanceEvent::Stopped),
            Self::Count(id) => {
                let (requests, failed) = (100, 0);
                (id, InstanceEvent::RequestsCounted { requests, failed })
            }
        };
        Event::Instance(id, event)
    }
}

impl World {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            now: Time::ZERO,
            shutting_down: false,
            handed_over: false,
            instances: BTreeMap::new(),
            members: Vec::new(),
            desired: Vec::new(),
            drained: BTreeSet::new(),
            requests: VecDeque::new(),
            deaths: BTreeMap::new(),
            version: "v1".to_owned(),
            rollout: None,
            canary: Vec::new(),
            replacing_unready: BTreeSet::new(),
        }
    }

    /// Whether this can happen as things are. Every report may come again, and late.
    pub fn allows(&self, line: &Line) -> bool {
        let Line::Report(event) = line else {
            return true;
        };
        match event {
            Event::Instance(id, InstanceEvent::LaunchPreempted(by, ..)) => {
                let theirs = InstanceId::new(id.replica.clone(), *by);
                let waits = self.instances.get(id).is_some_and(|i| i.launching);
                self.policy.spawns && waits && !self.instances.contains_key(&theirs)
            }
            Event::Instance(id, event) => self.instances.get(id).is_some_and(|i| fits(i, event)),
            // Other balancers' instances are news only once.
            Event::Discovered(order, ..) => {
                self.policy.spawns && !self.instances.contains_key(&order.id)
            }
            Event::NameFreed(_) => self.policy.spawns,
            Event::Succeeded(order, ..) => {
                self.policy.spawns && !self.instances.contains_key(&order.id)
            }
            Event::SuccessorStarted(_) => true,
            Event::Recovered | Event::DrainedInRecord(_) => true,
            Event::Relocated { .. } | Event::Tick => false,
        }
    }

    /// Takes note of a line before the fleet hears of it.
    pub fn take(&mut self, line: &Line) {
        match line {
            Line::Policy { policy, .. } => self.policy = *policy,
            Line::Start(names) => self.desired = names.clone(),
            Line::Adopt(found) => {
                for Existing {
                    order, endpoint, ..
                } in found
                {
                    let instance = self.instances.entry(order.id.clone()).or_default();
                    // An instance listed twice runs if it is once said to run.
                    instance.exited = endpoint.is_none() && (instance.exited || !instance.launched);
                    instance.launched = true;
                    instance.version = "v1".to_owned();
                }
            }
            Line::Report(event) => self.take_report(event),
            Line::Request(change_id, change, _) => {
                self.requests.push_back((*change_id, change.clone()))
            }
            Line::ShutDown => self.shutting_down = true,
            Line::HandOver => {
                self.shutting_down = true;
                self.handed_over = true;
            }
            Line::After(time) | Line::Wait(time) => self.now += *time,
            Line::Rollout(_) | Line::Ask(_) | Line::Elsewhere(..) | Line::TakeOver(..) => {}
        }
    }

    fn take_report(&mut self, event: &Event) {
        match event {
            Event::Instance(id, event) => self.take_instance_event(id, event),
            Event::Discovered(order, ..) => {
                let foreign = self.instances.entry(order.id.clone()).or_default();
                foreign.launched = true;
                foreign.foreign = true;
                self.clear_ended_but(&order.id);
            }
            Event::Succeeded(order, ..) => {
                let name = &order.id.replica;
                let others = self
                    .instances
                    .iter_mut()
                    .filter(|(id, _)| id.replica == *name);
                // The balancer that has replaced it stops it.
                others.for_each(|(_, other)| other.removal_announced |= other.launched);
                let successor = self.instances.entry(order.id.clone()).or_default();
                successor.launched = true;
                successor.foreign = true;
                (successor.successor, successor.proven) = (true, true);
            }
            _ => {}
        }
    }

    fn take_instance_event(&mut self, id: &InstanceId, event: &InstanceEvent) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        match event {
            InstanceEvent::Launched(_) => {
                if std::mem::take(&mut instance.launching) {
                    instance.launched = true;
                    self.clear_ended_but(id);
                }
            }
            InstanceEvent::LaunchFailed(_) => {
                instance.launching = false;
                instance.launch_failed = true;
            }
            InstanceEvent::LaunchPreempted(by, ..) => {
                instance.launching = false;
                instance.launch_failed = true;
                let theirs = InstanceId::new(id.replica.clone(), *by);
                let (version, successor) = (instance.version.clone(), instance.successor);
                let winner = self.instances.entry(theirs.clone()).or_default();
                winner.launched = true;
                (winner.version, winner.successor) = (version, successor);
                // The winner clears away what has ended.
                self.clear_ended_but(&theirs);
            }
            InstanceEvent::Exited(_) => instance.exited = true,
            InstanceEvent::BecameHealthy => instance.up = instance.watched,
            InstanceEvent::BecameUnresponsive | InstanceEvent::BecameUnready(_) => {
                instance.up = false;
            }
            InstanceEvent::HealthcheckChanged(healthy) => instance.unhealthy = !healthy,
            InstanceEvent::Drained => {
                instance.draining = instance.draining.saturating_sub(1);
                instance.drained = true;
            }
            InstanceEvent::Stopped => {
                instance.stopping = instance.stopping.saturating_sub(1);
                instance.stopped = true;
                instance.cleared = true;
            }
            // One that nothing waits for is an old one again.
            InstanceEvent::StopFailed(_) if instance.stopping > 0 => {
                instance.stopping -= 1;
                instance.stop_failures += 1;
            }
            InstanceEvent::RemovedElsewhere => instance.removal_announced = true,
            InstanceEvent::RequestsCounted { .. } => instance.counting = false,
            InstanceEvent::StopFailed(_)
            | InstanceEvent::Ending
            | InstanceEvent::Destroyed
            | InstanceEvent::StandsIn
            | InstanceEvent::ConnectionRefused
            | InstanceEvent::Moved(..)
            | InstanceEvent::Ejected
            | InstanceEvent::ProbeFailed(_) => {}
        }
    }

    /// Starting an instance clears away what has ended of the others.
    fn clear_ended_but(&mut self, id: &InstanceId) {
        for (other, instance) in &mut self.instances {
            let another = other.replica == id.replica && other != id;
            instance.cleared |= another && instance.launched && !instance.runs();
        }
    }

    /// What the fleet waits for.
    pub fn debts(&self) -> Vec<Debt> {
        let mut debts = Vec::new();
        for (id, instance) in &self.instances {
            if instance.launching {
                debts.push(Debt::Launch(id.clone()));
            }
            // The prober reports flips: what is up already is not reported again.
            if instance.watched && !instance.up {
                debts.push(Debt::FirstAnswer(id.clone()));
            }
            if instance.watched && instance.unhealthy {
                debts.push(Debt::Healthy(id.clone()));
            }
            if instance.draining > 0 {
                debts.push(Debt::Drain(id.clone()));
            }
            if instance.counting {
                debts.push(Debt::Count(id.clone()));
            }
            if instance.stopping > 0 {
                debts.push(Debt::Stop(id.clone()));
            }
        }
        debts
    }

    /// The instances of one name.
    pub fn instances_of<'a>(
        &'a self,
        name: &'a ReplicaName,
    ) -> impl Iterator<Item = (&'a InstanceId, &'a Instance)> {
        self.instances.iter().filter(|(id, _)| id.replica == *name)
    }
}

/// Whether an instance can be, or has been, what the report says.
fn fits(instance: &Instance, event: &InstanceEvent) -> bool {
    match event {
        InstanceEvent::Launched(_) => instance.launching || instance.launched,
        InstanceEvent::LaunchFailed(_) => instance.launching || instance.launch_failed,
        InstanceEvent::Exited(_) => instance.launching || instance.launched || instance.exited,
        InstanceEvent::BecameHealthy
        | InstanceEvent::BecameUnresponsive
        | InstanceEvent::BecameUnready(_)
        | InstanceEvent::ProbeFailed(_) => instance.ever_watched,
        InstanceEvent::HealthcheckChanged(_)
        | InstanceEvent::RemovedElsewhere
        | InstanceEvent::StandsIn
        | InstanceEvent::Ending => instance.launched,
        InstanceEvent::Destroyed => instance.launching || instance.launch_failed,
        InstanceEvent::ConnectionRefused | InstanceEvent::Ejected => instance.ever_admitted,
        InstanceEvent::RequestsCounted { .. } => instance.counting,
        InstanceEvent::Drained => instance.draining > 0 || instance.drained,
        InstanceEvent::Stopped => instance.stopping > 0 || instance.stopped,
        InstanceEvent::StopFailed(_) => instance.stopping > 0 || instance.stop_failures > 0,
        // See `World::allows`.
        InstanceEvent::LaunchPreempted(..) | InstanceEvent::Moved(..) => false,
    }
}
