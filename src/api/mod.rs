//! The HTTP API's JSON, as types: `http` serialises them, `analyze`, `drill` and `ctl` deserialise
//! them.
//!
//! Times are ISO 8601 in UTC, to the microsecond ([`Timestamp`]); a duration has its unit in its
//! key. A value that is unknown or does not apply is null.

mod deaths;
mod drills;
mod explanation;
mod fleets;
mod heartbeats;
mod image_watch;
mod maintenance;
mod page;
mod pause;
mod problem;
mod rebalance;
mod replicas;
mod ring;
mod rollouts;
mod scaling;
mod schema;
mod session;
mod status;
mod timestamp;

pub use deaths::{Death, Heartbeat, InterruptedRequest, RequestOutcome};
pub use drills::{Drill, DrillFault, DrillState, MovedReplica, NewDrill};
pub use explanation::{
    Explained, KeyCandidate, KeyExplanation, KeyHash, PreferenceRow, RingSummary, ScoreRow, Why,
};
pub use fleets::{
    AddedReplicas, DEFAULT_FLEET, DesiredState, FleetPatch, FleetStatus, NewReplicas, Readiness,
    ReplicaPatch, Status, VersionInfo,
};
pub use heartbeats::{HeartbeatOutcome, ReplicaHeartbeat};
pub use image_watch::ImageWatch;
pub use maintenance::{FleetMaintenance, NewMaintenance};
pub use page::ListPage;
pub use pause::{FleetPause, NewPause};
pub use problem::Problem;
pub use rebalance::{FleetSpread, NodeShare, Rebalance, ReplicaMove};
pub use replicas::{AddReplicas, CallStatus, Envelope, RemoveReplicas, ReplicaList};
pub use ring::{ReplicaOwnership, RingChange, RingDetails, RingMember, RingPatch, RingStatus};
pub use rollouts::{
    CanaryInstance, ComposeDefinition, NewRollout, Rollout, RolloutCanary, RolloutOutcome,
    RolloutState, ServedRequests,
};
pub use scaling::{FleetScaling, ScalingDecision};
pub use session::{AdminRight, AdmittedBy, Caller, Login};
pub use status::{
    DefinitionDrift, FlagsOrRecord, FleetRecordStatus, FleetSpares, ReplicaEvent, ReplicaEventKind,
    ReplicaState, ReplicaStatus, RequestCounts, RuntimeStatus,
};
pub use timestamp::Timestamp;
