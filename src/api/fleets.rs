//! A fleet, the state of the balancer, and changes of both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ring::number_or_none;
use super::{
    FleetMaintenance, FleetPause, FleetRecordStatus, FleetScaling, FleetSpares, ImageWatch,
    ReplicaStatus, RequestCounts, RingStatus, Rollout, RuntimeStatus, Timestamp, schema,
};

/// The name of the one fleet that there is.
pub const DEFAULT_FLEET: &str = "default";

/// The response to `GET /api/v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The response to `GET /readyz`: whether the balancer can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// At least one replica is ready.
    pub ready: bool,
    /// How many are.
    pub ready_replicas: usize,
}

/// The response to `GET /api/v1/status`: how the balancer is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The balancer's clock.
    pub now: Timestamp,
    /// When the balancer started.
    pub started_at: Timestamp,
    /// Connections that clients may have open at once.
    pub max_connections: usize,
    /// Every fleet.
    pub fleets: Vec<FleetStatus>,
}

/// One fleet.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FleetStatus {
    /// Its name.
    pub name: String,
    /// How many replicas are desired.
    pub desired_replicas: usize,
    /// How many of them are ready.
    pub ready_replicas: usize,
    /// What decides a request's replica, as `--key` has it.
    pub key: String,
    /// The cookie that keeps a session on its replica.
    pub sticky_cookie: Option<String>,
    /// Requests that a replica may have in flight; null: no limit.
    pub max_in_flight: Option<u32>,
    /// Counts the changes of the ring.
    pub epoch: u64,
    /// How the ring is built.
    pub ring: RingStatus,
    /// What runs the replicas.
    pub runtime: RuntimeStatus,
    /// What the fleet should be, and where that is kept.
    pub record: FleetRecordStatus,
    /// The rollout that is under way.
    #[serde(default)]
    pub rollout: Option<Rollout>,
    /// What `--image-watch` sees; null without it.
    #[serde(default)]
    pub image_watch: Option<ImageWatch>,
    /// Instances that play no replica; null without `--spares`.
    #[serde(default)]
    pub spares: Option<FleetSpares>,
    /// What `--target-in-flight` does; null without it.
    #[serde(default)]
    pub scaling: Option<FleetScaling>,
    /// The maintenance that is: requests are answered with 503.
    #[serde(default)]
    pub maintenance: Option<FleetMaintenance>,
    /// The pause that is: requests are held.
    #[serde(default)]
    pub pause: Option<FleetPause>,
    /// Requests since the balancer's start.
    pub counters: RequestCounts,
    /// Every replica.
    pub replicas: Vec<ReplicaStatus>,
}

/// The body of `POST /api/v1/fleets/{fleet}/replicas`: replicas to add.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewReplicas {
    /// How many; as many as there are names, if it is absent, and one without names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1024)]
    pub count: Option<usize>,
    /// Names of the first of them; the others get random ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = schema::new_names)]
    pub names: Vec<String>,
    /// Weights other than 1, by name, of those that `names` has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = schema::weights)]
    pub weights: BTreeMap<String, u32>,
}

/// The response to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedReplicas {
    /// The names of those that were added.
    pub added: Vec<String>,
    /// The names of all desired replicas.
    pub replicas: Vec<String>,
}

/// The body of `PATCH /api/v1/fleets/{fleet}/replicas/{name}`. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicaPatch {
    /// Its share of the ring relative to the others, 1 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub weight: Option<u32>,
    /// Whether it gets requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DesiredState>,
}

/// Whether an operator wants a replica to get requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DesiredState {
    /// It gets the requests of its slots when it is ready.
    Active,
    /// It gets no requests, and runs on.
    Drained,
}

/// The body of `PATCH /api/v1/fleets/{fleet}`. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FleetPatch {
    /// How many replicas to have: those that are missing are added under random names, those too many
    /// are removed at random, the drained ones first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1024)]
    pub desired_replicas: Option<usize>,
    /// How far above its share a replica may be loaded: a number; or null or `"none"`, `Some(None)`
    /// here, which lifts the bound.
    #[serde(
        deserialize_with = "number_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(schema_with = schema::balance_factor)]
    pub balance_factor: Option<Option<f64>>,
    /// What is hashed for a request, as `--key` has it: most keys belong to another replica
    /// afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::key_source)]
    pub key: Option<String>,
}
