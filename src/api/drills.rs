//! Drills: faults that are injected into replicas to see how they are healed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// The body of `POST /api/v1/fleets/{fleet}/drills`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDrill {
    /// The replica; a random one that is ready, if it is absent. Not with `drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// The node, with `drain` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What is done to it.
    pub fault: DrillFault,
    /// How long a pause or a delay lasts, `1ms` to `60s`; `2s` if it is absent.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^([1-9][0-9]{0,3}ms|([1-9]|[1-5][0-9]|60)s)$")]
    pub lasts: Option<String>,
}

/// What is done to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrillFault {
    /// It is killed.
    Kill,
    /// It is paused for a while: it hangs.
    Pause,
    /// It is paused half of the time for a while, 50 ms at a time.
    Delay,
    /// A node of a Swarm takes no tasks until what ran there is ready elsewhere: tasks of other services too.
    Drain,
}

/// A drill, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drill {
    /// Counts the drills since the balancer's start.
    pub id: u64,
    /// The replica; null if a node is drained.
    pub replica: Option<String>,
    /// The node that is drained.
    #[serde(default)]
    pub node: Option<String>,
    /// What was done to it.
    pub fault: DrillFault,
    /// How long that lasted; null for a kill and a drain.
    pub lasts_ms: Option<u64>,
    /// Whether it is over.
    pub state: DrillState,
    /// When the fault was injected.
    pub started_at: Timestamp,
    /// From then until the replica was evicted; null if it was not.
    pub evicted_after_ms: Option<f64>,
    /// Why it was evicted.
    pub reason: Option<String>,
    /// From `started_at` until it was ready again; null if it was not evicted, or is not back. Of a node
    /// that is drained, until the last of its replicas was.
    pub ready_after_ms: Option<f64>,
    /// The instance before; null if a node is drained.
    pub generation_before: Option<u64>,
    /// The instance that is ready after it; null as long as none is.
    pub generation_after: Option<u64>,
    /// The replicas that ran on the node that is drained.
    #[serde(default)]
    pub moved: Vec<MovedReplica>,
    /// Why it could not be carried out.
    pub error: Option<String>,
}

/// A replica that ran on a node that is drained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MovedReplica {
    /// Its name.
    pub replica: String,
    /// From the drain until its instance got no more requests; null if that has not been seen.
    pub left_after_ms: Option<f64>,
    /// From the drain until another instance of it was ready.
    pub ready_after_ms: Option<f64>,
    /// The instance that is ready elsewhere; null as long as none is.
    pub generation_after: Option<u64>,
}

/// Whether a drill is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrillState {
    /// The fault lasts, or the replica is being healed.
    Running,
    /// The replica is ready again, or still.
    Recovered,
    /// It was not ready again within a minute.
    NotRecovered,
    /// The fault could not be injected.
    Failed,
}
