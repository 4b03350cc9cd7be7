//! What the fleet is told, and what it answers.

use std::net::SocketAddr;
use std::time::Duration;

use super::change::{ChangeError, ChangeId};
use super::instance::{Exit, InstanceId, LaunchOrder};
use crate::ring::{Member, ReplicaName};

/// Something that happened. Reports may be late, doubled or out of order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The runtime has started an instance.
    Launched {
        /// Which.
        id: InstanceId,
        /// Where it listens, or will.
        endpoint: SocketAddr,
    },
    /// The runtime could not start an instance; nothing of it is left.
    LaunchFailed {
        /// Which.
        id: InstanceId,
        /// Why.
        reason: String,
    },
    /// An instance ended by itself.
    Exited {
        /// Which.
        id: InstanceId,
        /// How.
        exit: Exit,
    },
    /// An instance answers heartbeats (a flip, not a beat).
    BecameHealthy {
        /// Which.
        id: InstanceId,
    },
    /// An instance has missed so many heartbeats that it counts as hung.
    BecameUnresponsive {
        /// Which.
        id: InstanceId,
    },
    /// An instance that has been ready answers heartbeats with a bad status.
    BecameUnready {
        /// Which.
        id: InstanceId,
        /// What it answers.
        reason: String,
    },
    /// A heartbeat of an instance that has not been ready yet has failed, and not as the one
    /// before it.
    ProbeFailed {
        /// Which.
        id: InstanceId,
        /// Why.
        reason: String,
    },
    /// An image's own HEALTHCHECK has changed its mind about an instance.
    HealthcheckChanged {
        /// Which.
        id: InstanceId,
        /// What it says now.
        healthy: bool,
    },
    /// Something that is not of this fleet had a replica's name, and is gone.
    NameFreed {
        /// Whose.
        replica: ReplicaName,
    },
    /// A request's connection to an instance was refused.
    ConnectionRefused {
        /// Which.
        id: InstanceId,
    },
    /// No request is in flight on an instance any more, or the drain deadline has passed.
    Drained {
        /// Which.
        id: InstanceId,
    },
    /// An instance has been stopped and cleared away.
    Stopped {
        /// Which.
        id: InstanceId,
    },
    /// An instance could not be stopped.
    StopFailed {
        /// Which.
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
    /// An instance that nobody here asked for plays a replica: another balancer has
    /// started it.
    Discovered {
        /// What it was started as.
        order: LaunchOrder,
        /// Where it listens, or will.
        endpoint: SocketAddr,
    },
    /// Another balancer removes the replica that this instance plays, and stops it.
    RemovedElsewhere {
        /// Which.
        id: InstanceId,
    },
    /// The address of a replica's instance has changed.
    Relocated {
        /// Whose.
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

/// Something to do. The steps of one answer are begun in their order, and what touches
/// the ring has taken effect before a later step begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Start an instance; [`Event::Launched`] or [`Event::LaunchFailed`] follows.
    Launch(LaunchOrder),
    /// Begin to send heartbeats to an instance, with nothing known about it: its first
    /// good answer is news. Never sent for an instance that is being watched.
    Watch {
        /// Which.
        id: InstanceId,
        /// Where.
        endpoint: SocketAddr,
    },
    /// Stop sending heartbeats to it.
    Unwatch {
        /// Which.
        id: InstanceId,
    },
    /// Add members to the ring; they are not ready before they are admitted.
    Join(Vec<Member>),
    /// The member is ready: its keys are its own again.
    Admit {
        /// Which.
        id: InstanceId,
        /// Where.
        endpoint: SocketAddr,
    },
    /// The member is not ready: others serve its keys. It keeps its slots.
    Evict {
        /// Which.
        id: InstanceId,
        /// Why, for the log.
        reason: String,
    },
    /// The member is alive and not ready: others serve its keys, but for requests that are sent
    /// to unready members when too few are ready.
    MarkUnready {
        /// Which.
        id: InstanceId,
        /// Where.
        endpoint: SocketAddr,
        /// Why, for the log.
        reason: String,
    },
    /// An instance has died, or is given up and about to be killed: keep what is known of
    /// it. Comes before it is unwatched, stopped or succeeded, and once an instance.
    RecordDeath {
        /// Which.
        id: InstanceId,
        /// The first sign of it.
        cause: String,
        /// How it ended, if it has and that is known.
        exit: Option<Exit>,
    },
    /// Take members off the ring for good.
    Leave(Vec<ReplicaName>),
    /// Wait until nothing is in flight on an instance, or for the drain deadline;
    /// [`Event::Drained`] follows.
    Drain {
        /// Which.
        id: InstanceId,
    },
    /// Let other balancers know that the replica is removed, before its instance ends: they
    /// would take its end for a death, and start it again.
    AnnounceRemoval {
        /// Which.
        id: InstanceId,
    },
    /// SIGTERM, `grace`, SIGKILL, clear away; [`Event::Stopped`] or
    /// [`Event::StopFailed`] follows.
    Stop {
        /// Which.
        id: InstanceId,
        /// The time between SIGTERM and SIGKILL.
        grace: Duration,
    },
    /// Answer a request for a change.
    Reply {
        /// Whose.
        change_id: ChangeId,
        /// The desired replicas after the change, or why there was none.
        outcome: Result<Vec<ReplicaName>, ChangeError>,
    },
    /// Tell the operator.
    Warn {
        /// About whom.
        replica: ReplicaName,
        /// What is the matter.
        message: String,
    },
}
