//! How rollouts are carried out, and why one may be refused.

use std::time::Duration;

use crate::ring::ReplicaName;

/// What does not change about rollouts while the balancer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RolloutPolicy {
    /// How many replicas are replaced at a time.
    pub parallelism: usize,
    /// Whether a new instance starts beside the old one.
    pub order: RolloutOrder,
    /// How long an instance is watched after it has been given requests.
    pub monitor: Duration,
    /// Which part of its requests may fail meanwhile, of a hundred.
    pub max_errors: u8,
    /// What becomes of the rollout when a new instance fails.
    pub on_failure: FailureAction,
}

/// Which of two instances of a replica comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutOrder {
    /// The new instance is ready before the old one is stopped.
    StartFirst,
    /// The old instance is stopped before the new one starts.
    StopFirst,
}

/// What becomes of a rollout when a new instance fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureAction {
    /// Every replica gets its earlier definition back.
    Rollback,
    /// No further replica is replaced until an operator decides.
    Pause,
}

/// Why a rollout was not started, paused, resumed or undone. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolloutError {
    /// Another one is under way.
    #[error("rollout {0} is under way: wait for its end, or undo it first")]
    UnderWay(u64),
    /// A replica is just being moved.
    #[error("{0} is just being moved to another node: wait until that is done")]
    Moving(ReplicaName),
    /// The definition is the present one.
    #[error("this changes nothing: the replicas have this definition already")]
    Unchanged,
    /// Another balancer carries it out.
    #[error("rollout {0} is carried out by another balancer, {1}: ask that one")]
    Elsewhere(u64, String),
    /// It has ended, or has never been.
    #[error("rollout {0} is not under way")]
    NotUnderWay(u64),
    /// It goes on already.
    #[error("rollout {0} is not paused")]
    NotPaused(u64),
    /// There is no canary that could be promoted.
    #[error("rollout {0} cannot be promoted: {1}")]
    NotPromotable(u64, &'static str),
    /// It is being undone already.
    #[error("rollout {0} is being rolled back already")]
    RollingBack(u64),
    /// Only the last rollout can be undone, and only if it has replaced anything.
    #[error("rollout {0} cannot be undone: only the last one can, if it was done")]
    NotUndoable(u64),
    /// The definition cannot be one.
    #[error("{0}")]
    Invalid(String),
    /// The runtime cannot run the definition.
    #[error("{0}")]
    Impossible(String),
    /// The balancer is stopping.
    #[error("the balancer is stopping")]
    ShuttingDown,
}
