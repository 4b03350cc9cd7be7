//! The parts of a fleet's status.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// What runs the replicas.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RuntimeStatus {
    /// `process`, `docker`, `swarm` or `static`.
    pub kind: String,
    /// What keeps it from starting and stopping replicas, and from reporting their deaths.
    pub last_error: Option<String>,
}

/// Instances that run and play no replica (`--spares`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetSpares {
    /// How many there are to be.
    pub wanted: usize,
    /// How many could play a replica at once.
    pub ready: usize,
    /// How many are being started, or do not answer heartbeats well.
    pub starting: usize,
}

/// The fleet record.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FleetRecordStatus {
    /// Where the record is kept: a container or a file; null: nowhere.
    pub place: Option<String>,
    /// Counts its changes.
    pub version: u64,
    /// A hash of what replicas are started as.
    pub definition: String,
    /// How the flags differ from those that the record came from, as long as that matters: null
    /// once every instance follows the flags, or their rollout has begun.
    pub drift: Option<DefinitionDrift>,
    /// Why the last change could not be written, while that is so.
    pub last_error: Option<String>,
}

/// How the flags differ from the fleet record.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DefinitionDrift {
    /// Each difference in words, the record first.
    pub differences: Vec<String>,
    /// Which of the two new instances follow.
    pub in_effect: FlagsOrRecord,
}

/// Where the definition of new instances comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlagsOrRecord {
    /// This balancer's flags.
    Flags,
    /// The fleet record, because other balancers serve the fleet, or the rollout of what the flags say
    /// cannot begin yet.
    Record,
}

/// Requests since the balancer's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestCounts {
    /// Requests that came in to be forwarded.
    pub requests: u64,
    /// Attempts beyond a request's first.
    pub retried: u64,
    /// Requests that the retry budget kept from a second attempt.
    pub retries_over_budget: u64,
    /// Requests that were queued until a replica was free.
    pub queued: u64,
    /// Requests that Ringmaster answered with an error of its own.
    pub failed: u64,
    /// Of these, requests that found no replica ready for as long as they may be queued.
    pub unavailable: u64,
    /// Of these, requests that found every replica as busy as it may be, or the queue full.
    pub overloaded: u64,
}

/// One replica.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReplicaStatus {
    /// Its name.
    pub name: String,
    /// Its share of the ring relative to the others.
    pub weight: u32,
    /// Where it is in its life.
    pub state: ReplicaState,
    /// Counts the instances that have played it.
    pub generation: u64,
    /// Where its instance listens, while it is ready or unready.
    pub endpoint: Option<String>,
    /// Its instance's process, if that is a child of the balancer.
    pub pid: Option<u32>,
    /// The name of its instance's container, if it is one.
    pub container: Option<String>,
    /// The node that its instance runs on, where there are several.
    #[serde(default)]
    pub node: Option<String>,
    /// Requests that it is working on.
    pub in_flight: u32,
    /// Its requests go to others for a while, because it failed several in a row.
    pub ejected: bool,
    /// The share of its own keys, 0.1 to 1, that it serves in its slow start; null while it
    /// is not ready.
    pub slow_start_share: Option<f64>,
    /// Its instance was started by an earlier definition than the fleet record's.
    pub outdated: bool,
    /// Deaths since it was last healthy for a minute.
    pub consecutive_deaths: u32,
    /// An operator has drained it: it gets no requests, whatever its state.
    #[serde(default)]
    pub drained: bool,
    /// It died so often (`--restart-limit`) that it is started once a minute, until it has been
    /// healthy for one.
    pub degraded: bool,
    /// Why it could not be started when that was tried last, or is not ready.
    pub last_error: Option<String>,
}

/// Where a replica is in its life. Only a ready one is sent requests (and an unready one, if
/// most of the others are unready, too).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// Its instance is being started, or has not answered a heartbeat yet.
    Starting,
    /// It answers heartbeats.
    Ready,
    /// It answers heartbeats, and gets no requests because an operator has drained it.
    Drained,
    /// It is evicted because it answers heartbeats badly, and may become ready again.
    Unready,
    /// It is evicted because it does not answer heartbeats, and may become ready again.
    Hung,
    /// It gets no requests, and its instance is being stopped to make room for another.
    Restarting,
    /// It died too often to be started again at once.
    BackingOff,
    /// It is being removed: it finishes the requests that it has.
    Draining,
    /// It is being removed: its instance is being stopped.
    Stopping,
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Drained => "drained",
            Self::Unready => "unready",
            Self::Hung => "hung",
            Self::Restarting => "restarting",
            Self::BackingOff => "backing off",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        })
    }
}

/// Something that happened to a replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplicaEvent {
    /// Counts the events that the balancer has seen.
    pub id: u64,
    /// Which fleet.
    pub fleet: String,
    /// When. A change of the ring is dated to when every worker thread had it.
    pub at: Timestamp,
    /// Which replica; null where the fleet as a whole is meant.
    pub replica: Option<String>,
    /// Which of its instances; null where the replica as such is meant.
    pub generation: Option<u64>,
    /// What.
    pub event: ReplicaEventKind,
    /// Why, where there is a reason to give.
    pub reason: Option<String>,
}

/// What can happen to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaEventKind {
    /// It is a member of the ring from now on, ready or not.
    Joined,
    /// An instance is being started.
    Starting,
    /// The instance is ready: it gets requests.
    Ready,
    /// The instance is evicted because it answers heartbeats badly.
    Unready,
    /// The instance is evicted: it gets no more requests.
    Evicted,
    /// The instance is ready, but its requests go to others for a while, because it failed
    /// several in a row.
    Ejected,
    /// The instance is no longer ejected.
    Readmitted,
    /// It gets no more requests, because an operator has drained it.
    Drained,
    /// It is no longer drained: it gets requests when it is ready.
    Activated,
    /// Its instance is replaced on request.
    Restarting,
    /// The instance has been stopped.
    Stopped,
    /// It is no longer a member of the ring.
    Left,
    /// An instance of another definition plays it: a rollout has come to it.
    Replaced,
    /// A rollout has begun.
    RolloutStarted,
    /// A rollout goes on: its first instance answers heartbeats, or it has been resumed.
    RolloutContinued,
    /// A rollout waits to be resumed or undone.
    RolloutPaused,
    /// A rollout has failed or is undone: replicas get their earlier definition back.
    RolloutRollingBack,
    /// Every replica has the new definition.
    RolloutDone,
    /// Every replica has its earlier definition.
    RolloutRolledBack,
    /// The image's tag is another one at its registry (`--image-watch`): a rollout has begun.
    ImageMoved,
    /// Every request is answered with 503 from now on.
    MaintenanceOn,
    /// Requests go to replicas again.
    MaintenanceOff,
    /// Requests are held from now on.
    Paused,
    /// Requests go to replicas again.
    Resumed,
    /// It died so often (`--restart-limit`) that it is started once a minute from now on.
    Degraded,
    /// It has been healthy for a minute, and is no longer degraded.
    Recovered,
}

/// As in JSON.
impl fmt::Display for ReplicaEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
