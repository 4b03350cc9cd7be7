//! The fleet: what is desired, what is observed, and the steps that close the difference.
//! Pure: [`Event`]s go in together with the time, and `Step`s come out, which the Supervisor
//! executes. A history of events replays to the same steps.
//!
//! The rules it keeps:
//!
//! * A replica is *evicted first* and cleaned up second.
//! * It comes back under its own name and weight and under a generation that no instance
//!   of that name has had; reports about an older one change nothing.
//! * Changes on request are carried out one after the other, each is answered once, and an
//!   addition that fails leaves nothing behind.
//!
//! `scenarios/` tells how, story by story; a simulation in `tests/` tries to break it.

mod adoption;
mod autoscale;
mod backoff;
mod change;
mod container_options;
mod container_template;
mod death_cause;
mod death_hint;
mod ejections;
mod ending;
mod event;
mod expectation;
mod generations;
mod handlers;
mod health;
mod image_watch;
mod instance;
mod json_shape;
mod lifecycle;
mod maintenance;
mod membership;
mod name_series;
mod operator;
mod probe_failure;
mod probe_schedule;
mod random_names;
mod record;
mod record_definition;
mod record_flags;
mod record_merge;
mod record_rollouts;
mod record_stack;
mod relocation;
mod rollout;
mod rollout_state;
mod shared_fleet;
mod shared_load;
mod slow_start;
mod spares;
mod stand_in;
mod start_warning;
mod stopping;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod time;
mod transitions;
mod unready;
mod unresponsive;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use autoscale::{Autoscaler, FleetLoadSample, ScalingPolicy};
pub(crate) use backoff::RestartLimit;
pub(crate) use change::{Change, ChangeError, ChangeId, Changed, Failures, MAX_REPLICAS};
pub use container_options::{
    ContainerOptions, DeviceOption, Gpus, MountKind, MountOption, NetworkOption, Ulimit,
};
pub use container_template::ContainerTemplate;
pub(crate) use death_cause::DeathCause;
pub(crate) use death_hint::death_hint;
pub(crate) use ejections::{Ejection, EjectionDecision, EjectionPolicy, Ejections, OutlierOn};
use event::Steps;
pub(crate) use event::{DeferredStep, ImmediateStep, OperatorAction, Step};
pub use event::{Event, InstanceEvent};
pub(crate) use expectation::{Expectation, StatusSet};
pub(crate) use health::{HealthTracker, HealthTransition, ProbeOutcome};
pub use image_watch::{ImageDigests, moved_image, watched_tag};
pub use instance::{Existing, Exit, InstanceId, LaunchAs, LaunchOrder};
pub(crate) use json_shape::check_objects;
pub(crate) use lifecycle::{Phase, ReplicaStatus};
pub use maintenance::{DEFAULT_PAGE, MAX_PAGE, Maintenance};
pub(crate) use name_series::{newest, next_names};
pub(crate) use probe_failure::ProbeFailure;
pub(crate) use probe_schedule::ProbeSchedule;
pub use record::{FleetFlags, FleetRecord, RecordedReplica, RingSettings, StackSeen};
pub use record_definition::{Definition, ReplicaTemplate};
pub use record_flags::{AtStart, Difference, FlagsEffect, PendingRollout};
pub use record_merge::RecordChange;
pub(crate) use rollout::{
    CanaryReport, ExecutorWatch, FailureAction, RolloutError, RolloutOrder, RolloutPolicy,
    RolloutReport,
};
pub use rollout_state::{PastRollout, RecordedRollout, RolloutChange, Stage};
pub(crate) use shared_load::{BALANCER_LIFETIME, BalancerReport, scaling_role};
pub use shared_load::{BalancerLoad, ScalingRole};
pub(crate) use slow_start::{serves as serves_slot, share as share_served};
pub use spares::{LeftSpares, SpareReport};
pub(crate) use spares::{ReadySpare, SparePool, SpareStep, spare_number};
pub(crate) use time::Time;

use crate::ring::{Member, ReplicaName, RingSpec, Weight};
use generations::Generations;
use lifecycle::Replica;
use membership::{Active, Request};
use rollout::{ActiveRollout, FollowedRollout, Retiring, Successor};
use stopping::StoppingInstance;
use transitions::StopMode;

/// What does not change while the balancer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// How long a fresh instance may take to its first good heartbeat.
    pub start_timeout: Duration,
    /// The time between SIGTERM and SIGKILL for an instance that is asked to go.
    pub stop_grace: Duration,
    /// How long an instance that hangs may take to recover before it is replaced.
    pub hang_timeout: Duration,
    /// How long an instance may be unready before it is replaced; none: for ever.
    pub unready_timeout: Option<Duration>,
    /// How many deaths make a replica degraded.
    pub restart_limit: RestartLimit,
    /// How rollouts are carried out.
    pub rollout: RolloutPolicy,
    /// Whether the runtime can start and stop instances at all.
    pub spawns: bool,
    /// Whether newcomers without a name continue the series of names (`web-3`), instead of having
    /// random ones.
    pub continues_names: bool,
    /// Whether instances have their generation in their names, so that two balancers cannot start the same
    /// one.
    pub names_have_generations: bool,
    /// What this balancer is called among those of its fleet.
    pub balancer: &'static str,
}

/// What a fleet should be when it begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    pub members: Vec<Member>,
    /// What they are started from.
    pub definition: Definition,
    /// A rollout that an earlier or another balancer has begun.
    pub rollout: Option<RecordedRollout>,
    /// The replicas that it had come to.
    pub updated: Vec<ReplicaName>,
}

#[cfg(test)]
impl Desired {
    /// These members, started from nothing in particular.
    pub fn of(members: &[Member]) -> Self {
        Self {
            members: members.to_vec(),
            ..Self::default()
        }
    }
}

/// Desired replicas against observed instances.
#[derive(Debug)]
pub(crate) struct Fleet {
    policy: Policy,
    /// The recipe that the members have to fit.
    ring: RingSpec,
    /// In the order of joining.
    replicas: Vec<Replica>,
    stopping_instances: Vec<StoppingInstance>,
    generations: Generations,
    next_ordinal: u64,
    active: Option<Active>,
    waiting: VecDeque<Request>,
    /// What replicas are started from that no rollout has come to.
    definition: Arc<Definition>,
    rollout: Option<ActiveRollout>,
    /// The one that another balancer carries out; then there is none here.
    followed: Option<FollowedRollout>,
    /// Instances that are to play a replica, beside the one that does.
    successors: Vec<Successor>,
    /// Instances that played a replica and finish their requests.
    retiring: Vec<Retiring>,
    /// Replicas that the rollout of an earlier balancer had come to.
    updated: Vec<ReplicaName>,
    shutting_down: bool,
}

impl Fleet {
    /// A fleet of the desired members, and the steps that bring it up.
    ///
    /// Instances that an earlier balancer left behind are adopted if they run, and started
    /// again if they have ended. Without desired members what is found says which there are.
    pub fn new(
        policy: Policy,
        desired: Desired,
        found: Vec<Existing>,
        now: Time,
    ) -> (Self, Vec<Step>) {
        let Desired {
            members,
            definition,
            rollout,
            updated,
        } = desired;
        let (ours, followed) = match rollout {
            Some(theirs) if !theirs.is_carried_out_by(policy.balancer) => (None, Some(theirs)),
            ours => (ours, None),
        };
        let mut fleet = Self {
            policy,
            ring: RingSpec::default(),
            replicas: Vec::new(),
            stopping_instances: Vec::new(),
            generations: Generations::default(),
            next_ordinal: 1,
            active: None,
            waiting: VecDeque::new(),
            definition: Arc::new(definition),
            rollout: ours.as_ref().map(|recorded| {
                let names: Vec<_> = members.iter().map(|m| m.name.clone()).collect();
                ActiveRollout::resumed(recorded, &names)
            }),
            followed: followed.map(FollowedRollout::new),
            successors: Vec::new(),
            retiring: Vec::new(),
            updated,
            shutting_down: false,
        };
        let mut steps = Steps::at(now);
        if found.is_empty() {
            fleet.bootstrap(&members, &mut steps);
        } else {
            fleet.adopt(&members, found, &mut steps);
        }
        fleet.updated.clear();
        fleet.advance_rollout(&mut steps);
        (fleet, steps.list)
    }

    /// The desired replicas, in the order of joining.
    pub fn desired(&self) -> Vec<ReplicaName> {
        let desired = self.replicas.iter().filter(|r| r.is_desired());
        desired.map(|r| r.name.clone()).collect()
    }

    /// Every replica there is, those on their way in or out included.
    pub fn statuses(&self) -> Vec<ReplicaStatus> {
        let wanted = self
            .newer_definition()
            .into_iter()
            .chain([&self.definition]);
        let wanted: Vec<_> = wanted.map(|definition| definition.hash()).collect();
        let status = |r: &Replica| ReplicaStatus {
            id: r.id(),
            weight: r.weight,
            state: r.state(),
            consecutive_deaths: r.backoff.consecutive_deaths(),
            degraded: r.backoff.is_degraded(),
            drained: r.drained,
            outdated: (r.found_with.as_ref()).is_some_and(|hash| !wanted.contains(hash)),
            last_error: r.last_error.clone(),
        };
        self.replicas.iter().map(status).collect()
    }

    /// Notes how the ring is built: newcomers that it has no room for are refused.
    pub fn note_ring(&mut self, spec: RingSpec) {
        self.ring = spec;
    }

    /// Notes a weight that the ring has taken in already; the replica's next instance
    /// carries it.
    pub fn note_weight(&mut self, name: &ReplicaName, weight: Weight) {
        if let Some(replica) = self.replicas.iter_mut().find(|r| r.name == *name) {
            replica.weight = weight;
        }
    }

    /// What replicas are started from that no rollout has come to.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// When [`Event::Tick`] is due, if nothing else happens before.
    pub fn wakes_at(&self) -> Option<Time> {
        let may_replace = self.may_replace_unready();
        let replicas = self.replicas.iter();
        let replicas =
            replicas.filter(|r| may_replace || !matches!(r.phase, Phase::Unready { .. }));
        let replicas = replicas.filter_map(Replica::wakes_at);
        let stopping_instances = self
            .stopping_instances
            .iter()
            .filter_map(StoppingInstance::wakes_at);
        let rollout = self.rollout_wakes_at();
        let reliefs = self
            .replicas
            .iter()
            .filter_map(|r| r.stand_in()?.retry_at());
        let rollout = rollout.into_iter().chain(reliefs);
        replicas.chain(stopping_instances).chain(rollout).min()
    }

    /// Whether [`Fleet::shut_down`] or [`Fleet::hand_over`] has been asked for, and nothing is
    /// left to be stopped.
    pub fn is_shut_down(&self) -> bool {
        let is_empty = self.replicas.is_empty()
            && self.stopping_instances.is_empty()
            && self.successors.is_empty()
            && self.retiring.is_empty();
        self.shutting_down && is_empty
    }

    /// Whether the runtime could not start a replica when it was asked last: then there is
    /// nothing new in its being asked again.
    pub fn last_launch_failed(&self, name: &ReplicaName) -> bool {
        self.find(name).is_some_and(|r| r.last_launch_failed)
    }

    /// How often in a row a replica has died without having been healthy in between.
    #[cfg(test)]
    pub fn consecutive_deaths(&self, name: &ReplicaName) -> u32 {
        self.find(name)
            .map_or(0, |r| r.backoff.consecutive_deaths())
    }

    /// Asks for a change. Exactly one [`DeferredStep::Reply`] with this change_id
    /// follows, now or after later events. `seed` decides what the request leaves to
    /// chance.
    pub fn request(
        &mut self,
        change_id: ChangeId,
        change: Change,
        seed: u64,
        now: Time,
    ) -> Vec<Step> {
        let mut steps = Steps::at(now);
        match self.refusal(&change) {
            Some(error) => steps.push(DeferredStep::Reply(change_id, Err(error))),
            None => self.waiting.push_back(Request {
                change_id,
                change,
                seed,
            }),
        }
        self.advance_all(&mut steps);
        steps.list
    }

    /// Stops every instance. Changes that wait or are under way are answered with an error.
    pub fn shut_down(&mut self, now: Time) -> Vec<Step> {
        let mut steps = Steps::at(now);
        self.shutting_down = true;
        self.refuse_all(&mut steps);
        self.stop_others(&mut steps);
        if self.policy.spawns {
            let names: Vec<_> = self.replicas.iter().map(|r| r.name.clone()).collect();
            self.remove_all(&names, StopMode::AtOnce, &mut steps);
        } else {
            // Servers that are not ours go on without us.
            let watched = self.replicas.drain(..).filter(Replica::is_watched);
            steps.extend(watched.map(|replica| ImmediateStep::Unwatch(replica.id())));
        }
        steps.list
    }

    /// Takes in what happened and says what is to be done about it.
    pub fn apply(&mut self, event: Event, now: Time) -> Vec<Step> {
        let mut steps = Steps::at(now);
        match event {
            Event::Instance(id, event) => self.apply_to_instance(&id, event, &mut steps),
            Event::Discovered(order, endpoint, hash) => {
                self.discovered(order, endpoint, hash.as_deref(), &mut steps);
            }
            Event::Succeeded(order, endpoint, hash) => {
                self.succeeded_elsewhere(&order, endpoint, hash.as_deref(), &mut steps);
            }
            Event::SuccessorStarted(id) => self.generations.saw(&id.replica, id.generation),
            Event::Relocated {
                replica,
                endpoint,
                reason,
            } => self.relocated(&replica, endpoint, &reason, &mut steps),
            Event::NameFreed(replica) => self.name_freed(&replica, &mut steps),
            Event::DrainedInRecord(names) => self.drained_in_record(&names, &mut steps),
            Event::Recovered => self.recovered(&mut steps),
            Event::Tick => self.tick(&mut steps),
        }
        self.replace_unready(&mut steps);
        self.advance_all(&mut steps);
        steps.list
    }

    /// Brings changes and the rollout as far as they can get.
    fn advance_all(&mut self, steps: &mut Steps) {
        self.advance_rollout(steps);
        self.advance_changes(steps);
        // A change may have removed what was being replaced.
        self.advance_rollout(steps);
    }

    /// Starts from nothing.
    fn bootstrap(&mut self, desired: &[Member], steps: &mut Steps) {
        for Member { name, weight } in desired {
            // A name given twice is one replica.
            if self.index_of(name).is_none() {
                self.add_replica(name.clone(), *weight);
            }
        }
        for index in 0..self.replicas.len() {
            let definition = self.definition_of(&self.replicas[index].name, None);
            self.replicas[index].member = true;
            self.replicas[index].definition = definition;
        }
        steps.push(ImmediateStep::Join(self.members()));
        for index in 0..self.replicas.len() {
            self.launch(index, steps);
        }
    }

    fn find(&self, name: &ReplicaName) -> Option<&Replica> {
        self.replicas.iter().find(|r| r.name == *name)
    }

    /// What a replica is started from that is there at the beginning.
    /// `hash` is that of the definition that its instance was started by, if there is one.
    fn definition_of(&self, name: &ReplicaName, hash: Option<&str>) -> Arc<Definition> {
        let newer = self.newer_definition().filter(|newer| match hash {
            Some(hash) => newer.hash() == hash,
            None => self.updated.contains(name),
        });
        Arc::clone(newer.unwrap_or(&self.definition))
    }

    /// The definition that the rollout under way brings: this balancer's rollout or another's.
    fn newer_definition(&self) -> Option<&Arc<Definition>> {
        let ours = self.rollout.as_ref().map(ActiveRollout::definition);
        ours.or_else(|| self.followed.as_ref().map(FollowedRollout::definition))
    }

    fn drained(&self) -> Vec<ReplicaName> {
        let drained = self.replicas.iter().filter(|r| r.drained);
        drained.map(|r| r.name.clone()).collect()
    }

    fn members(&self) -> Vec<Member> {
        let desired = self.replicas.iter().filter(|r| r.is_desired());
        desired.map(Replica::as_member).collect()
    }
}
