//! What the fleet is told, and what is to be done about it.

use std::net::SocketAddr;
use std::time::Duration;

use super::change::{ChangeError, ChangeId};
use super::instance::{Exit, InstanceId, LaunchOrder};
use super::record_merge::RecordChange;
use crate::ring::{Member, ReplicaName};

/// Something that happened. Reports may be late, doubled or out of order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The runtime has started an instance.
    Launched {
        /// The instance.
        id: InstanceId,
        /// Where it listens, or will.
        endpoint: SocketAddr,
    },
    /// The runtime could not start an instance; nothing of it is left.
    LaunchFailed {
        /// The instance.
        id: InstanceId,
        /// Why.
        reason: String,
    },
    /// An instance ended by itself.
    Exited {
        /// The instance.
        id: InstanceId,
        /// How.
        exit: Exit,
    },
    /// An instance answers heartbeats well. Reported when that begins, not at each heartbeat.
    BecameHealthy {
        /// The instance.
        id: InstanceId,
    },
    /// An instance has missed enough heartbeats to count as hung.
    BecameUnresponsive {
        /// The instance.
        id: InstanceId,
    },
    /// An instance that has been ready answers heartbeats with a bad status.
    BecameUnready {
        /// The instance.
        id: InstanceId,
        /// What it answers.
        reason: String,
    },
    /// A heartbeat of an instance that has not been ready yet has failed, and not as the one
    /// before it.
    ProbeFailed {
        /// The instance.
        id: InstanceId,
        /// Why.
        reason: String,
    },
    /// The verdict of an image's own HEALTHCHECK about an instance has changed.
    HealthcheckChanged {
        /// The instance.
        id: InstanceId,
        /// What it says now.
        healthy: bool,
    },
    /// Something that is not of this fleet had a replica's name, and is gone.
    NameFreed {
        /// The replica.
        replica: ReplicaName,
    },
    /// A request's connection to an instance was refused.
    ConnectionRefused {
        /// The instance.
        id: InstanceId,
    },
    /// No request is in flight on an instance any more, or the drain deadline has passed.
    Drained {
        /// The instance.
        id: InstanceId,
    },
    /// An instance has been stopped and cleared away.
    Stopped {
        /// The instance.
        id: InstanceId,
    },
    /// An instance could not be stopped.
    StopFailed {
        /// The instance.
        id: InstanceId,
        /// Why.
        reason: String,
    },
    /// Another balancer was first: its instance has the name that ours was to have. The
    /// launch is over.
    LaunchPreempted {
        /// What was to be started.
        id: InstanceId,
        /// The generation of what runs.
        by: u64,
        /// Where that listens, or will.
        endpoint: SocketAddr,
    },
    /// An instance that was not asked for here plays a replica: another balancer has
    /// started it.
    Discovered {
        /// What it was started as.
        order: LaunchOrder,
        /// Where it listens, or will.
        endpoint: SocketAddr,
    },
    /// Another balancer removes the replica that this instance plays, and stops it.
    RemovedElsewhere {
        /// The instance.
        id: InstanceId,
    },
    /// The address of a replica's instance has changed.
    Relocated {
        /// The replica.
        replica: ReplicaName,
        /// Where it listens now, or will; none if its name has no address any more.
        endpoint: Option<SocketAddr>,
        /// Why, for the log.
        reason: String,
    },
    /// The runtime works again after it did not.
    Recovered,
    /// Time has passed: see [`super::Fleet::wakes_at`].
    Tick,
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

/// Steps of both rounds, in the order in which the fleet thinks of them.
#[derive(Debug, Default)]
pub(super) struct Steps(pub(super) Vec<Step>);

impl Steps {
    pub(super) fn push(&mut self, step: impl Into<Step>) {
        self.0.push(step.into());
    }

    pub(super) fn extend<S: Into<Step>>(&mut self, steps: impl IntoIterator<Item = S>) {
        self.0.extend(steps.into_iter().map(S::into));
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

/// Changes the ring, the prober or a record; begun at once.
#[derive(Debug, Clone, PartialEq)]
pub enum ImmediateStep {
    /// Add members to the ring; they are not ready before they are admitted.
    Join(Vec<Member>),
    /// Take members off the ring for good.
    Leave(Vec<ReplicaName>),
    /// The member is ready: its keys are its own again.
    Admit {
        /// The instance.
        id: InstanceId,
        /// Where it listens.
        endpoint: SocketAddr,
    },
    /// The member is not ready: others serve its keys. It keeps its slots.
    Evict {
        /// The instance.
        id: InstanceId,
        /// Why, for the log.
        reason: String,
    },
    /// The member is alive and not ready: others serve its keys, but for requests that are sent
    /// to unready members when too few are ready.
    MarkUnready {
        /// The instance.
        id: InstanceId,
        /// Where it listens.
        endpoint: SocketAddr,
        /// Why, for the log.
        reason: String,
    },
    /// Begin to send heartbeats to an instance, with nothing known about it: its first
    /// good answer is reported. Never for an instance that is being watched.
    Watch {
        /// The instance.
        id: InstanceId,
        /// Where it listens.
        endpoint: SocketAddr,
    },
    /// Stop sending heartbeats to an instance.
    Unwatch {
        /// The instance.
        id: InstanceId,
    },
    /// An instance has ended or been stopped: abort the requests that it still holds.
    AbortRequests {
        /// The instance.
        id: InstanceId,
    },
    /// Write a change of the membership to the fleet record. Not for a removal by another
    /// balancer, which writes it itself.
    Record(RecordChange),
    /// An instance has died, or is given up and about to be killed: keep what is known of
    /// it. Comes before it is unwatched, stopped or succeeded, and once an instance.
    RecordDeath {
        /// The instance.
        id: InstanceId,
        /// The first sign of it.
        cause: String,
        /// How it ended, if it has and that is known.
        exit: Option<Exit>,
    },
    /// Keep how an instance ended, for the record of its death and for a stop that waits for it.
    RecordExit {
        /// The instance.
        id: InstanceId,
        /// How it ended.
        exit: Exit,
    },
    /// An instance is gone: keep that, and forget what was kept for its death.
    RecordStop {
        /// The instance.
        id: InstanceId,
    },
    /// Tell the operator.
    Warn {
        /// The replica.
        replica: ReplicaName,
        /// What has happened to it.
        message: String,
    },
}

/// Starts or stops an instance, or answers; begun when the ring has taken effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeferredStep {
    /// Start an instance; [`Event::Launched`] or [`Event::LaunchFailed`] follows.
    Launch(LaunchOrder),
    /// Wait until nothing is in flight on an instance, or for the drain deadline;
    /// [`Event::Drained`] follows.
    Drain {
        /// The instance.
        id: InstanceId,
    },
    /// Let other balancers know that the replica is removed, before its instance ends: they
    /// would take its end for a death, and start it again.
    AnnounceRemoval {
        /// The instance.
        id: InstanceId,
    },
    /// SIGTERM, `grace`, SIGKILL, clear away; [`Event::Stopped`] or
    /// [`Event::StopFailed`] follows.
    Stop {
        /// The instance.
        id: InstanceId,
        /// The time between SIGTERM and SIGKILL.
        grace: Duration,
    },
    /// Answer a request for a change.
    Reply {
        /// The request.
        change_id: ChangeId,
        /// The desired replicas after the change, or why there was none.
        outcome: Result<Vec<ReplicaName>, ChangeError>,
    },
}
