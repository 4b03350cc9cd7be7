//! What `--target-in-flight` does.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// How many replicas the load needs, and what has been done about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FleetScaling {
    /// The fewest replicas.
    pub min_replicas: usize,
    /// The most.
    pub max_replicas: usize,
    /// How many requests each is to have in flight.
    pub target_in_flight: u32,
    /// Requests in flight and waiting, on average over the last second.
    pub load: f64,
    /// Why nothing is concluded from the load now; null while something is.
    pub held: Option<String>,
    /// The last change; null if there has been none.
    pub last_decision: Option<ScalingDecision>,
}

/// A change of the number of replicas by the load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScalingDecision {
    /// When.
    pub at: Timestamp,
    /// How many there were.
    pub from: usize,
    /// How many there were to be.
    pub to: usize,
    /// Why; and what came in between, if it was not done.
    pub reason: String,
}
