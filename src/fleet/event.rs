//! What the fleet is told, and what is to be done about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::change::{ChangeError, ChangeId, Changed};
use super::death_cause::DeathCause;
use super::instance::{Exit, InstanceId, LaunchAs, LaunchOrder};
use super::record_definition::Definition;
use super::record_merge::RecordChange;
use super::rollout_state::RolloutChange;
use super::time::Time;
use crate::ring::{CanaryShare, Member, ReplicaName};

/// Something that happened. Reports may be late, doubled or out of order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A report about an instance.
    Instance(InstanceId, InstanceEvent),
    /// An instance that was not asked for here plays a replica, and listens there, or will: another
    /// balancer has started it, by the definition with this hash, if that is known.
    Discovered(LaunchOrder, SocketAddr, Option<String>),
    /// Another balancer has had an instance take the place of the one that played a replica, in a
    /// rollout: it answers heartbeats there.
    Succeeded(LaunchOrder, SocketAddr, Option<String>),
    /// Another balancer has started an instance beside the one that plays a replica.
    SuccessorStarted(InstanceId),
    /// The address of a replica's instance has changed.
    Relocated {
        /// The replica.
        replica: ReplicaName,
        /// Where it listens now, or will; none if its name has no address any more.
        endpoint: Option<SocketAddr>,
        /// Why, for the log.
        reason: String,
    },
    /// Something that is not of this fleet had a replica's name, and is gone.
    NameFreed(ReplicaName),
    /// These replicas are drained, by the newest fleet record: another balancer may have changed
    /// that.
    DrainedInRecord(Vec<ReplicaName>),
    /// The runtime works again after it did not.
    Recovered,
    /// Time has passed: see `Fleet::wakes_at`.
    Tick,
}

/// What is reported about an instance; the texts are reasons, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceEvent {
    /// The runtime has started it, and there it listens, or will.
    Launched(SocketAddr),
    /// The runtime could not start it; nothing of it is left.
    LaunchFailed(String),
    /// Another balancer was first: its instance, of this generation, has the name that ours was
    /// to have, and listens there, or will; it was started by the definition with this hash, if that is
    /// known. The launch is over.
    LaunchPreempted(u64, SocketAddr, Option<String>),
    /// It listens at another address, or has none any more, for this reason.
    Moved(Option<SocketAddr>, String),
    /// It runs, and the owner of the runtime's instances is about to end it: no death, for it can
    /// finish what it has.
    Ending,
    /// It ended by itself.
    Exited(Exit),
    /// It answers heartbeats well. Reported when that begins, not at each heartbeat.
    BecameHealthy,
    /// It has missed enough heartbeats to count as hung.
    BecameUnresponsive,
    /// It has been ready, and answers heartbeats with a bad status.
    BecameUnready(String),
    /// It has not been ready yet, and a heartbeat has failed, not as the one before it.
    ProbeFailed(String),
    /// It is a spare that plays its replica only until an instance of the owner's kind can: see
    /// `LaunchAs::Relief`.
    StandsIn,
    /// The verdict of its image's own HEALTHCHECK has changed; whether it is healthy now.
    HealthcheckChanged(bool),
    /// A request's connection to it was refused.
    ConnectionRefused,
    /// It is passed over for a while, because it failed several requests in a row.
    Ejected,
    /// The requests of an instance that are being counted, when they were asked for.
    RequestsCounted {
        /// Requests that it has answered, or not, since its requests were counted.
        requests: u64,
        /// Those of them that have failed.
        failed: u64,
    },
    /// No request is in flight on it any more, or the drain deadline has passed.
    Drained,
    /// It has been stopped and cleared away.
    Stopped,
    /// It could not be stopped.
    StopFailed(String),
    /// Another balancer removes the replica that it plays, and stops it.
    RemovedElsewhere,
    /// The owner of the runtime's instances has taken it away for good: it is not to be started
    /// again.
    Destroyed,
}

/// Something to do. Steps are executed in two rounds: immediate steps begin at once; deferred ones
/// begin when the ring that the immediate ones make has taken effect in every worker thread. Each
/// in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Of the first round.
    Immediate(ImmediateStep),
    /// Of the second round.
    Deferred(DeferredStep),
}

impl From<ImmediateStep> for Step {
    fn from(step: ImmediateStep) -> Self {
        Self::Immediate(step)
    }
}

impl From<DeferredStep> for Step {
    fn from(step: DeferredStep) -> Self {
        Self::Deferred(step)
    }
}

/// Steps of both rounds, in the order in which the fleet thinks of them, and the time of that.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) now: Time,
    pub(super) list: Vec<Step>,
}

impl Steps {
    pub(super) fn at(now: Time) -> Self {
        let list = Vec::new();
        Self { now, list }
    }

    pub(super) fn push(&mut self, step: impl Into<Step>) {
        self.list.push(step.into());
    }

    pub(super) fn extend<S: Into<Step>>(&mut self, steps: impl IntoIterator<Item = S>) {
        self.list.extend(steps.into_iter().map(S::into));
    }

    pub(super) fn warn(&mut self, replica: &ReplicaName, message: String) {
        self.push(ImmediateStep::Warn(replica.clone(), message));
    }

    /// Adds members to the ring, and to the fleet record.
    pub(super) fn join(&mut self, members: Vec<Member>) {
        let added = RecordChange::Add(members.clone());
        self.push(ImmediateStep::Join(members));
        self.push(ImmediateStep::Record(added));
    }

    /// Takes members off the ring for good, and out of the fleet record.
    pub(super) fn leave(&mut self, names: Vec<ReplicaName>) {
        let removed = RecordChange::Remove(names.clone());
        self.push(ImmediateStep::Leave(names));
        self.push(ImmediateStep::Record(removed));
    }
}

/// Changes the ring, the prober or a record; begun at once. Addresses are those where an instance
/// listens; texts are reasons, for the log.
#[derive(Debug, Clone, PartialEq)]
pub enum ImmediateStep {
    /// Add members to the ring; they are not ready before they are admitted.
    Join(Vec<Member>),
    /// Take members off the ring for good.
    Leave(Vec<ReplicaName>),
    /// Give these extra instances a ring of their own, for this share of the keys; they are not ready
    /// before they are admitted.
    OpenCanary(CanaryShare, Vec<ReplicaName>),
    /// Give those keys back to the members of the ring.
    CloseCanary,
    /// The member is ready: its keys are its own again.
    Admit(InstanceId, SocketAddr),
    /// The member is not ready: others serve its keys. It keeps its slots.
    Evict(InstanceId, String),
    /// The member is alive and not ready: others serve its keys, but for requests that are sent
    /// to unready members when too few are ready.
    MarkUnready(InstanceId, SocketAddr, String),
    /// The member gets no requests, because an operator has drained it or it is restarted on request:
    /// others serve its keys. It keeps its slots, and what it has in flight.
    MarkDrained(InstanceId, SocketAddr),
    /// A drained member has had its time: abort what it still has in flight.
    EndDrain(InstanceId),
    /// Begin to send heartbeats to an instance, with nothing known about it: its first
    /// good answer is reported. Never for an instance that is being watched.
    Watch(InstanceId, SocketAddr),
    /// Stop sending heartbeats to an instance.
    Unwatch(InstanceId),
    /// An instance has ended or been stopped: abort the requests that it still holds.
    AbortRequests(InstanceId),
    /// Write a change of the membership to the fleet record. Not for a removal by another
    /// balancer, which writes it itself.
    Record(RecordChange),
    /// An instance has died, or is given up and about to be killed: keep what is known of
    /// it. Comes before it is unwatched, stopped or succeeded, and once an instance.
    RecordDeath {
        /// The instance.
        id: InstanceId,
        /// The first sign of it.
        cause: DeathCause,
    },
    /// A successor of a rollout has died before it played its replica, which has not died: keep what is
    /// known of it. Comes once an instance.
    RecordFailedStart {
        /// The instance.
        id: InstanceId,
        /// The first sign of its death.
        cause: DeathCause,
    },
    /// Keep how an instance ended, for the record of its death and for a stop that waits for it.
    RecordExit(InstanceId, Exit),
    /// An instance is gone: keep that, and forget what was kept for its death.
    RecordStop(InstanceId),
    /// Tell the operator what has happened to a replica.
    Warn(ReplicaName, String),
    /// Tell the operator, and keep, that a replica dies too often, or no longer does.
    ReportDegraded {
        /// Which replica.
        replica: ReplicaName,
        /// Whether it does.
        degraded: bool,
        /// What to say of it.
        message: String,
    },
    /// Tell the operator, and keep, what has been done with a replica on request.
    RecordAction(InstanceId, OperatorAction),
    /// Tell the operator, and keep, what has become of a rollout, in the fleet record as well.
    Rollout(RolloutChange),
    /// Begin to count the requests of an instance, and those of them that fail.
    CountRequests(InstanceId),
    /// Report what they came to: [`InstanceEvent::RequestsCounted`] follows.
    ReportRequests(InstanceId),
}

/// What is done with a replica on request, and what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorAction {
    /// It gets no new requests from now on.
    Drained,
    /// A new instance of it is ready, and gets no requests either.
    StaysDrained,
    /// It gets requests again, once it is ready.
    Activated,
    /// Its instance is to be replaced.
    Restarting,
}

/// Starts or stops an instance, or answers; begun when the ring has taken effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeferredStep {
    /// Start an instance of this definition; [`InstanceEvent::Launched`] or
    /// [`InstanceEvent::LaunchFailed`] follows.
    Launch(LaunchOrder, Arc<Definition>, LaunchAs),
    /// This instance plays its replica from now on, and the one that did does not any more.
    TakePlace(InstanceId),
    /// Wait until nothing is in flight on an instance, or for the drain deadline;
    /// [`InstanceEvent::Drained`] follows.
    Drain(InstanceId),
    /// Let other balancers know that the replica is removed, before its instance ends: they
    /// would take its end for a death, and start it again.
    AnnounceRemoval(InstanceId),
    /// SIGTERM, this grace, SIGKILL, clear away; [`InstanceEvent::Stopped`] or
    /// [`InstanceEvent::StopFailed`] follows.
    Stop(InstanceId, Duration),
    /// Answer a request for a change: what it has done, or why it has done nothing.
    Reply(ChangeId, Result<Changed, ChangeError>),
}
