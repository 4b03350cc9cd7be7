//! The HTTP API's JSON, as types: `http` serialises them, `analyze`, `drill` and `healthcheck`
//! deserialise them.
//!
//! Times are ISO 8601 in UTC, to the microsecond ([`Timestamp`]); a duration has its unit in its
//! key. A value that is unknown or does not apply is null.

mod deaths;
mod replicas;
mod ring;
mod status;
mod timestamp;

pub use deaths::{Death, Deaths, Heartbeat, InterruptedRequest, RequestOutcome};
pub use replicas::{AddReplicas, CallStatus, Envelope, RemoveReplicas, ReplicaList};
pub use ring::{ReplicaOwnership, RingChange, RingPatch, RingStatus};
pub use status::{
    DefinitionDrift, FlagsOrRecord, FleetRecordStatus, ReplicaEvent, ReplicaEventKind,
    ReplicaState, ReplicaStatus, RequestCounts, RuntimeStatus, Status,
};
pub use timestamp::Timestamp;
