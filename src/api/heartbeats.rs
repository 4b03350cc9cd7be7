//! `GET /api/v1/fleets/{fleet}/heartbeats`: the heartbeats of the last minutes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// One heartbeat of a replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplicaHeartbeat {
    /// Counts the heartbeats that the balancer has sent.
    pub id: u64,
    /// Which replica.
    pub replica: String,
    /// Which of its instances.
    pub generation: u64,
    /// When it was sent.
    pub at: Timestamp,
    /// How it came out.
    pub outcome: HeartbeatOutcome,
    /// How long the answer, or the wait for it, took.
    pub latency_ms: f64,
}

/// How a heartbeat came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeartbeatOutcome {
    /// A good answer.
    Good,
    /// An answer, but a bad one: the instance is alive and says that it cannot serve.
    Bad,
    /// No answer.
    Missed,
}
