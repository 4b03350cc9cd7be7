//! The life of one replica.
//!
//! ```text
//!                  +------------------------- back-off over -------------------+
//!                  v                                                           |
//!   desired -> Launching --started--> Probing --first good heartbeat--> Ready  |
//!                  |                     |                                |    |
//!                  | failed              | died, or too late              |    |
//!                  v                     v                                |    |
//!              BackingOff <---------- Stopping <--- hung, refused --------+    |
//!                  ^  |                  (evicted first, stopped second)  |    |
//!                  |  +---------------------------------------------------|----+
//!                  +------------------------ died ------------------------+
//!
//!   Ready --answers badly--> Unready --answers well--> Ready, the same instance
//!                              |
//!                              +--does not answer--> Hung (and back if it answers)
//!                              +--dies, refuses, or times out--> Stopping or BackingOff
//!
//!   Ready --does not answer--> Hung --answers again--> Ready, the same instance
//!                                |
//!                                +--dies, refuses, or times out--> Stopping or BackingOff
//!
//!   removed on request:    Ready -> Draining -> forgotten, its instance is stopped
//!   restarted on request:  Ready -> DrainingForRestart -> Stopping -> Launching, without back-off
//! ```
//!
//! Whether an operator has drained it is no phase: a drained replica lives like any other, but while
//! it is ready it gets no requests.
//!
//! What is left of a replica that is gone is a matter of [`super::stopping`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::{BACKOFF_RESET_AFTER, Backoff};
use super::instance::{Exit, InstanceId, LaunchOrder};
use super::record_definition::Definition;
use super::stand_in::StandIn;
use super::time::Time;
use crate::api::ReplicaState;
use crate::ring::{Member, ReplicaName, Weight};

/// Where a replica is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The runtime has been asked for an instance. The report of its end may overtake
    /// the report of its start.
    Launching {
        /// How it ended, if that is known already.
        exited: Option<Exit>,
    },
    /// An instance runs and has not yet answered a heartbeat.
    Probing {
        endpoint: SocketAddr,
        /// When it is given up; none where nothing could be started in its place.
        deadline: Option<Time>,
        /// When the operator is told that it is not ready yet; none once that is done.
        warn_at: Option<Time>,
    },
    /// It answers heartbeats.
    Ready { endpoint: SocketAddr, since: Time },
    /// It is alive, says that it cannot serve, and is off the ring.
    Unready {
        endpoint: SocketAddr,
        /// How long it had been ready.
        healthy_for: Duration,
        /// When it may be replaced; none: never.
        until: Option<Time>,
    },
    /// It has ceased to answer and is off the ring; it may still come back.
    Hung {
        endpoint: SocketAddr,
        /// How long it had been ready.
        healthy_for: Duration,
        /// When it is replaced.
        until: Time,
    },
    /// It is off the ring, and its instance is being stopped so that another can take over.
    Stopping {
        /// How long it had been ready.
        healthy_for: Duration,
    },
    /// It is started again at `until`.
    BackingOff { until: Time },
    /// On its way out: off the ring, requests in flight are being finished.
    Draining,
    /// It gets no more requests, and is restarted on request when those in flight are finished.
    DrainingForRestart,
}

impl Phase {
    /// Where the instance listens, while it is being sent heartbeats.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        match self {
            Self::Probing { endpoint, .. }
            | Self::Ready { endpoint, .. }
            | Self::Unready { endpoint, .. }
            | Self::Hung { endpoint, .. } => Some(*endpoint),
            _ => None,
        }
    }

    /// How long it has been ready, or had been.
    pub fn healthy_for(&self, now: Time) -> Duration {
        match self {
            Self::Ready { since, .. } => now.saturating_sub(*since),
            Self::Unready { healthy_for, .. }
            | Self::Hung { healthy_for, .. }
            | Self::Stopping { healthy_for } => *healthy_for,
            _ => Duration::ZERO,
        }
    }
}

/// How a replica is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// The instance that plays it, or is to.
    pub id: InstanceId,
    pub weight: Weight,
    /// Where it is in its life.
    pub state: ReplicaState,
    /// How often in a row it has died without having been healthy in between.
    pub consecutive_deaths: u32,
    /// Whether it dies so often that it is only started once a minute.
    pub degraded: bool,
    /// Whether an operator has drained it.
    pub drained: bool,
    /// Whether an earlier balancer has started its instance by a definition that is neither the fleet's
    /// nor that of the rollout under way.
    pub outdated: bool,
    /// Why it could not be started when that was tried last, or is not ready.
    pub last_error: Option<String>,
}

/// A replica as the fleet keeps it.
#[derive(Debug, Clone)]
pub struct Replica {
    pub name: ReplicaName,
    pub weight: Weight,
    /// Its place in the order of joining.
    pub ordinal: u64,
    /// What its instances are started from.
    pub definition: Arc<Definition>,
    /// The generation of the instance that plays it, or is to.
    pub generation: u64,
    /// The generations that the runtime has started and not cleared away since: the one
    /// above, if it got that far, or what an older one left behind.
    pub leftover_generations: Vec<u64>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether it is on the ring's member list (not: whether it is ready).
    pub member: bool,
    /// Whether it is on its way out. Only what is being started or drained stays that
    /// long; from any other phase a replica leaves at once.
    pub leaving: bool,
    /// It gets no requests, because an operator wants it so.
    pub drained: bool,
    /// How many ends of [`DeferredStep::Drain`](super::DeferredStep::Drain) its instance awaits.
    pub drain_waits: u32,
    /// Its next start does not wait for its back-off: it is restarted on request.
    pub starts_at_once: bool,
    /// Its record of deaths.
    pub backoff: Backoff,
    /// Why it could not be started or is not ready, until it is.
    pub last_error: Option<String>,
    /// What the operator has been told since it was ready last.
    pub reported: Vec<String>,
    /// Why its last heartbeat failed, while it has had no good one.
    pub probe_failure: Option<String>,
    /// The last verdict of its heartbeats is good.
    pub answers_well: bool,
    /// Its image's HEALTHCHECK says unhealthy.
    pub unhealthy: bool,
    /// It takes the place of an instance that was unready for too long, and has not been ready
    /// since.
    pub replaces_unready: bool,
    /// The runtime could not start it when it was asked last.
    pub last_launch_failed: bool,
    /// The hash of the definition that its instance was found with, if it was found.
    pub found_with: Option<String>,
    /// The last stand-in that has played it.
    pub(super) stand_in: Option<StandIn>,
}

impl Replica {
    /// One that has yet to prove itself before it joins the ring.
    pub fn new(name: ReplicaName, ordinal: u64, definition: &Arc<Definition>) -> Self {
        Self {
            name,
            weight: Weight::default(),
            ordinal,
            definition: Arc::clone(definition),
            generation: 0,
            leftover_generations: Vec::new(),
            phase: Phase::Launching { exited: None },
            member: false,
            leaving: false,
            drained: false,
            drain_waits: 0,
            starts_at_once: false,
            backoff: Backoff::default(),
            last_error: None,
            reported: Vec::new(),
            probe_failure: None,
            answers_well: false,
            unhealthy: false,
            replaces_unready: false,
            last_launch_failed: false,
            found_with: None,
            stand_in: None,
        }
    }

    /// A member as an earlier balancer's order describes it.
    pub fn adopted(order: &LaunchOrder, definition: &Arc<Definition>) -> Self {
        Self {
            weight: order.weight,
            generation: order.id.generation,
            member: true,
            ..Self::new(order.id.replica.clone(), order.ordinal, definition)
        }
    }

    /// The identity of the instance that plays it.
    pub fn id(&self) -> InstanceId {
        InstanceId::new(self.name.clone(), self.generation)
    }

    /// Forgets what is known of the instance before.
    pub fn forget_instance(&mut self) {
        self.drain_waits = 0;
        self.probe_failure = None;
        self.answers_well = false;
        self.unhealthy = false;
        self.found_with = None;
    }

    /// The order that starts that instance.
    pub fn order(&self) -> LaunchOrder {
        LaunchOrder {
            id: self.id(),
            weight: self.weight,
            ordinal: self.ordinal,
        }
    }

    /// The replica as the ring sees it.
    pub fn as_member(&self) -> Member {
        Member {
            name: self.name.clone(),
            weight: self.weight,
        }
    }

    /// The phase, for people.
    pub fn state(&self) -> ReplicaState {
        match self.phase {
            Phase::Draining => ReplicaState::Draining,
            _ if self.leaving => ReplicaState::Stopping,
            Phase::Launching { .. } | Phase::Probing { .. } => ReplicaState::Starting,
            Phase::Ready { .. } if self.drained => ReplicaState::Drained,
            Phase::Ready { .. } => ReplicaState::Ready,
            Phase::Unready { .. } => ReplicaState::Unready,
            Phase::Hung { .. } => ReplicaState::Hung,
            Phase::Stopping { .. } | Phase::DrainingForRestart => ReplicaState::Restarting,
            Phase::BackingOff { .. } => ReplicaState::BackingOff,
        }
    }

    /// The stand-in that plays it, if one does.
    pub(super) fn stand_in(&self) -> Option<&StandIn> {
        let stand_in = self.stand_in.as_ref();
        stand_in.filter(|stand_in| stand_in.generation == self.generation)
    }

    /// Whether it is wanted: on the ring's member list, and not on its way out.
    pub fn is_desired(&self) -> bool {
        self.member && !self.leaving
    }

    /// Whether it is being sent heartbeats.
    pub fn is_watched(&self) -> bool {
        self.phase.endpoint().is_some()
    }

    /// Whether time has moved it on.
    pub fn is_due(&self, now: Time) -> bool {
        self.wakes_at().is_some_and(|at| at <= now)
    }

    /// When this replica wants to be looked at again, if time alone moves it on.
    pub fn wakes_at(&self) -> Option<Time> {
        match self.phase {
            Phase::BackingOff { until } | Phase::Hung { until, .. } => Some(until),
            Phase::Probing {
                deadline, warn_at, ..
            } => {
                let warn_at = warn_at.filter(|_| self.probe_failure.is_some());
                deadline.into_iter().chain(warn_at).min()
            }
            Phase::Unready { until, .. } => until,
            Phase::Ready { since, .. } if self.backoff.has_record() => {
                Some(since.saturating_add(BACKOFF_RESET_AFTER))
            }
            Phase::Launching { .. }
            | Phase::Ready { .. }
            | Phase::Stopping { .. }
            | Phase::Draining
            | Phase::DrainingForRestart => None,
        }
    }
}
