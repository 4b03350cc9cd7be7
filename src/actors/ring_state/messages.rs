//! What RingState may be asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};

use crate::actors::admission::Admission;
use crate::actors::ring_view::RingView;
use crate::fleet::{InstanceId, RingSettings};
use crate::ring::{
    BalanceFactor, BuildError, CanaryShare, InvalidSpec, Member, ReplicaName, SpecChange, Weight,
};
use crate::upstream::InterruptedRequests;

/// Adds members to the ring, not ready yet. Answered when every worker has the new ring.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), BuildError>")]
pub struct JoinRing(pub Vec<Member>);

/// Takes members off the ring for good. Answered when every worker has the new ring.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveRing(pub Vec<ReplicaName>);

/// Gives a canary's members a ring of their own, for this share of the keys; none is ready yet.
/// Answered when every worker has it.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), BuildError>")]
pub struct OpenCanary(pub CanaryShare, pub Vec<ReplicaName>);

/// The canary's keys belong to the ring's members again. Answered when every worker knows.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CloseCanary;

/// A member is ready at this address. Answered when every worker has the new ring.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AdmitReplica(pub InstanceId, pub SocketAddr);

/// A member is alive at this address and not ready. Answered when every worker has the new ring.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MarkUnready(pub InstanceId, pub SocketAddr);

/// A member is drained: at this address is its instance, which gets no requests. Answered when every
/// worker has the new ring.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MarkDrained(pub InstanceId, pub SocketAddr);

/// Aborts what a drained instance still has in flight.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct EndDrain(pub InstanceId);

/// A member is neither ready nor unready any more. Answered when every worker has the new ring.
#[derive(Debug, Message)]
#[rtype(result = "Evicted")]
pub struct EvictReplica(pub InstanceId);

/// What an instance had when it was taken off the ring.
#[derive(Debug, Clone, Default)]
pub struct Evicted {
    /// Requests that it had at that moment, or that broke off shortly before.
    pub in_flight: u32,
    /// Those that break off then or later.
    pub interrupted: Arc<InterruptedRequests>,
}

/// Answered when nothing is in flight on an instance that gets no more requests, or after this time at
/// the latest: the number of requests that are in flight then.
#[derive(Debug, Message)]
#[rtype(result = "u32")]
pub struct DrainInstance(pub InstanceId, pub Duration);

/// The runtime says that an instance has ended: abort what it still holds.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct InstanceEnded(pub InstanceId);

/// Heartbeats of an instance are missing, or answered again: what is sent a second time passes it over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct NoteDoubt {
    pub id: InstanceId,
    pub in_doubt: bool,
}

/// An instance that finishes its requests has ceased to answer: those that may go elsewhere do.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReleaseRequests(pub InstanceId);

/// Registers a worker thread for every epoch, beginning with the present one.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RegisterWorker(pub Recipient<PublishRing>);

/// A new epoch, for a worker thread.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct PublishRing(pub Arc<RingView>);

#[derive(Debug, Message)]
#[rtype(result = "Arc<RingView>")]
pub struct GetRing;

/// Lets requests through to the replicas from now on, or not. Answered when every worker knows: no
/// request that comes later goes to a replica.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetAdmission(pub Admission);

/// How many requests are in flight, on the ring and off it? WebSockets, which last for as long as they
/// like, do not count.
#[derive(Debug, Message)]
#[rtype(result = "u32")]
pub struct CountInFlight;

/// Changes how the ring is built and how its load is bounded, or asks what that would do.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Reconfigured, ReconfigureError>")]
pub struct ReconfigureRing {
    /// What is to be another in the recipe for the table, when it is this change's turn.
    pub spec: SpecChange,
    /// Another bound of the load: `Some(None)` lifts it.
    pub balance_factor: Option<Option<BalanceFactor>>,
    /// Other weights of members.
    pub weights: Vec<(ReplicaName, Weight)>,
    /// Only say what would happen.
    pub dry_run: bool,
}

/// What a [`ReconfigureRing`] has done, or would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconfigured {
    /// The ring afterwards.
    pub ring: RingSettings,
    /// The share of keys, 0 to 1, that belong to another replica afterwards.
    pub moved: f64,
    /// The share of the keys of each replica, before and after.
    pub ownership: Vec<ShareChange>,
}

/// One replica's share of the keys, 0 to 1, before and after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct ShareChange {
    pub replica: ReplicaName,
    pub before: f64,
    pub after: f64,
}

/// Why the ring was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// A weight for a replica that is not on the ring.
    #[error("there is no replica {0}")]
    Unknown(ReplicaName),
    /// The members do not fit.
    #[error("{0}")]
    DoesNotFit(#[from] BuildError),
    /// A change before it has left a recipe to which this one cannot be applied.
    #[error("{0}")]
    InvalidSpec(#[from] InvalidSpec),
}

/// An instance is passed over from now on, or has its requests again.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct EjectionChanged {
    pub id: InstanceId,
    /// After how many failures, and for how long; none: the ejection is over.
    pub ejected: Option<(u32, Duration)>,
}

/// Registers the one recipient of every ejection and of its end.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SubscribeEjections(pub Recipient<EjectionChanged>);
