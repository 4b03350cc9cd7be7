//! What is known of the instances that died lately.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// One instance's death.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Death {
    /// Counts the deaths that the balancer has seen.
    pub id: u64,
    /// Which replica.
    pub replica: String,
    /// Which of its instances.
    pub generation: u64,
    /// When it was detected.
    pub at: Timestamp,
    /// What showed it first.
    pub detected_by: String,
    /// What it was, as far as is known by now: how the instance ended if it did so by
    /// itself, else what showed it.
    pub cause: String,
    /// The exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if it was not ours.
    pub signal: Option<i32>,
    /// The kernel's out-of-memory killer did it.
    pub out_of_memory: bool,
    /// Requests in flight when it was evicted; null if it was not on the ring.
    pub in_flight: Option<u32>,
    /// Requests that it had when they broke off: 20 at most, the first first.
    pub requests: Vec<InterruptedRequest>,
    /// Its last heartbeats, the oldest first.
    pub heartbeats: Vec<Heartbeat>,
    /// The last lines that it printed, the oldest first.
    pub log: Vec<String>,
    /// What can be done about it, if that is known.
    pub hint: Option<String>,
}

/// The result of one heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Heartbeat {
    /// When it was sent.
    pub at: Timestamp,
    /// How long the answer, or the wait for it, took.
    pub latency_ms: f64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// A request that an instance had when it broke off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InterruptedRequest {
    /// Its method.
    pub method: String,
    /// Its path, without the query, which may hold secrets.
    pub path: String,
    /// Its X-Request-ID, its own or the one that it was given.
    pub id: String,
    /// How long ago it had come, in milliseconds.
    pub elapsed_ms: u64,
    /// What became of it.
    pub outcome: RequestOutcome,
}

/// What became of a request that broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// It was sent to another replica.
    Retried,
    /// Its client got an error: 502, or 504.
    Failed,
    /// Its response, or its tunnel, broke off.
    Aborted,
}
