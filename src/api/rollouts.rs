//! Rollouts: another definition for every replica of a fleet.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Timestamp;

/// The body of `POST /api/v1/fleets/{fleet}/rollouts`: what is to change about the replicas'
/// definition. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewRollout {
    /// Another image, for containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Another program and its arguments; `{port}` and `{name}` in them become the replica's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1)]
    pub command: Option<Vec<String>>,
    /// Other variables: a value sets one, null removes one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// Another definition of the compose service whose containers the replicas are; it is the whole
    /// of it, so nothing else can be said beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compose: Option<ComposeDefinition>,
    /// Which part of the keys goes to a canary until the rollout is promoted: from `0.1%` to `50%`. Without
    /// it replicas are replaced at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "10%")]
    pub canary: Option<String>,
}

/// A service as docker compose resolves it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ComposeDefinition {
    /// The name of its project.
    pub project: String,
    /// Its name in the compose file.
    pub service: String,
    /// What `docker compose config --hash SERVICE` says: `docker compose up` takes containers with this
    /// hash for up to date.
    pub config_hash: String,
    /// The service in `docker compose config --format json`.
    #[schema(value_type = Object)]
    pub definition: Value,
    /// What it refers to, as the same command has it: the project's networks,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub networks: Value,
    /// volumes,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub volumes: Value,
    /// secrets
    #[serde(default)]
    #[schema(value_type = Object)]
    pub secrets: Value,
    /// and configs.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub configs: Value,
}

/// A rollout: every replica gets another definition, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// Counts the fleet's rollouts.
    pub id: u64,
    /// Where it is, or how it ended.
    pub state: RolloutState,
    /// Why it is paused or goes back, or was not done.
    pub reason: Option<String>,
    /// What it changes, in words, without the values of variables.
    pub changes: Vec<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; null while it is under way.
    pub finished_at: Option<Timestamp>,
    /// How many replicas have the new definition; null once it has ended.
    pub done: Option<usize>,
    /// How many replicas there are, or were at its end.
    pub replicas: usize,
    /// The replicas that are being replaced, or whose new instance is being watched.
    pub in_hand: Vec<String>,
    /// The balancer that carries it out; null once it has ended.
    #[serde(default)]
    pub balancer: Option<String>,
    /// Its canary; null without one, and once it is gone.
    #[serde(default)]
    pub canary: Option<RolloutCanary>,
}

/// The canary of a rollout: extra instances of the new definition that serve a part of the keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutCanary {
    /// Which part of the keys.
    #[schema(example = "10%")]
    pub share: String,
    /// Its instances.
    pub instances: Vec<CanaryInstance>,
    /// What they have answered since keys go to them.
    pub served: ServedRequests,
    /// What the replicas have answered meanwhile.
    pub served_by_replicas: ServedRequests,
}

/// An instance of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CanaryInstance {
    /// Its name.
    pub name: String,
    /// Whether it answers heartbeats well. While it does not, replicas serve its keys.
    pub ready: bool,
    /// What was wrong with it last, while it is not ready.
    pub last_error: Option<String>,
}

/// What some instances have answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServedRequests {
    /// Requests, answered or not.
    pub requests: u64,
    /// Those of them that were answered with a status from 500 on, or not at all; also attempts after which
    /// another instance has answered.
    pub failed: u64,
    /// The part of them that failed, 0 to 1.
    pub error_rate: f64,
    /// The median time to the head of a response, in milliseconds; null without one.
    pub latency_p50_ms: Option<f64>,
    /// The time that 99 of 100 were not longer than.
    pub latency_p99_ms: Option<f64>,
}

/// Where a rollout is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// One instance of the new definition has yet to answer a heartbeat.
    Trial,
    /// A part of the keys goes to extra instances, until the rollout is promoted or undone.
    Canary,
    /// Replicas are being replaced.
    Rolling,
    /// It waits to be resumed or undone.
    Paused,
    /// Replicas get their earlier definition back.
    RollingBack,
    /// Every replica has the new definition.
    Done,
    /// Every replica has its earlier definition.
    RolledBack,
    /// The balancer was started with flags that change the definition.
    Superseded,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutOutcome {
    /// Every replica has the new definition.
    Done,
    /// Every replica has its earlier definition.
    RolledBack,
    /// Flags have changed the definition.
    Superseded,
}

impl RolloutState {
    /// Whether the rollout has ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Superseded)
    }
}

impl From<RolloutOutcome> for RolloutState {
    fn from(outcome: RolloutOutcome) -> Self {
        match outcome {
            RolloutOutcome::Done => Self::Done,
            RolloutOutcome::RolledBack => Self::RolledBack,
            RolloutOutcome::Superseded => Self::Superseded,
        }
    }
}

impl fmt::Display for RolloutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trial => "trial",
            Self::Canary => "canary",
            Self::Rolling => "rolling",
            Self::Paused => "paused",
            Self::RollingBack => "rolling back",
            Self::Done => "done",
            Self::RolledBack => "rolled back",
            Self::Superseded => "superseded",
        })
    }
}
