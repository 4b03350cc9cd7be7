//! What the Supervisor may be asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::Message;

use super::config_version::{ConfigVersion, ExpectedVersions};
use super::pause::PauseReport;
use crate::actors::heartbeat_prober::ProberHandle;
use crate::actors::history::EventFeed;
use crate::api::{FleetScaling, ImageWatch, ReplicaEvent, Rollout, RolloutOutcome};
use crate::fleet::{
    Change, ChangeError, Changed, InstanceId, Maintenance, ReplicaStatus, RingSettings, SpareReport,
};
use crate::ring::{KeySource, ReplicaName, Weight};
use crate::runtime::InstanceHandle;
use crate::runtime::record::RecordReport;

/// Which replicas are desired?
#[derive(Debug, Message)]
#[rtype(result = "Vec<ReplicaName>")]
pub struct ListReplicas;

/// Change the fleet or one of its replicas. Answered once it is done.
#[derive(Debug, Message)]
#[rtype(result = "Result<Changed, ChangeError>")]
pub struct ChangeReplicas {
    /// The change.
    pub change: Change,
    /// Refuse it unless the configuration has one of these versions.
    pub expected: Option<ExpectedVersions>,
}

/// Which version does the configuration have? An error unless it is one of those expected.
#[derive(Debug, Message)]
#[rtype(result = "Result<ConfigVersion, ChangeError>")]
pub struct CompareVersion {
    /// Those expected; none: any.
    pub expected: Option<ExpectedVersions>,
    /// Raise it: a change is accepted by this.
    pub raise: bool,
}

/// A request's connection to an instance was refused.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ConnectionRefused(pub InstanceId);

/// The end. Answered once every instance that is to be stopped is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ShutDown {
    /// Whether another balancer takes the instances over.
    pub hand_over: bool,
}

/// What has happened to replicas lately, the oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Vec<ReplicaEvent>")]
pub struct GetEvents;

/// Follow what happens to replicas, after the event with this number.
#[derive(Debug, Message)]
#[rtype(result = "EventFeed")]
pub struct FollowEvents(pub Option<u64>);

/// How are the replicas?
#[derive(Debug, Message)]
#[rtype(result = "FleetReport")]
pub struct GetFleet;

/// The answer to [`GetFleet`].
#[derive(Debug, Clone)]
pub struct FleetReport {
    pub replicas: Vec<ReplicaStatus>,
    /// Where each of them runs, in the same order.
    pub instance_handle: Vec<Option<InstanceHandle>>,
    /// Which of them run an instance of an earlier definition, in the same order.
    pub outdated: Vec<bool>,
    /// The fleet's record.
    pub record: RecordReport,
    /// The rollout that is under way.
    pub rollout: Option<Rollout>,
    /// How many rollouts have ended since the balancer's start, and how.
    pub rollouts_ended: BTreeMap<RolloutOutcome, u64>,
    /// What `--image-watch` sees.
    pub image_watch: Option<ImageWatch>,
    /// What there is of spares.
    pub spares: SpareReport,
    /// What scaling by the load does.
    pub scaling: Option<FleetScaling>,
    /// The maintenance that is.
    pub maintenance: Option<Arc<Maintenance>>,
    /// The pause that is.
    pub pause: Option<PauseReport>,
    /// What runs the replicas.
    pub runtime: &'static str,
    /// What keeps it from doing so, if anything does.
    pub runtime_error: Option<String>,
}

/// What scaling by the load sees and does, to be shown.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct NoteScaling(pub FleetScaling);

/// The ring has been changed: what the fleet has to know of it. Answered once it is in the
/// fleet record.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChangeError>")]
pub struct RingReconfigured {
    /// How it is built and its load bounded now: newcomers have to fit.
    pub ring: RingSettings,
    /// Weights that have changed; they go with the replicas' next instances.
    pub weights: Vec<(ReplicaName, Weight)>,
}

/// Something else is hashed for a request from now on. Answered once it is in the fleet record.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChangeError>")]
pub struct SetKey(pub KeySource);

/// The prober that watches instances: the Supervisor begins. It comes in a message because the two
/// report to each other.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin(pub ProberHandle);
