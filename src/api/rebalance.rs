//! How replicas are spread over the nodes of a Swarm, and what evens it out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a fleet's replicas are, and those that are above the share of their node or zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetSpread {
    /// The nodes that take replicas.
    pub nodes: Vec<NodeShare>,
    /// The replicas that are above a share.
    pub moves: Vec<ReplicaMove>,
}

/// The response to `POST /api/v1/fleets/{fleet}/rebalance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rebalance {
    /// Whether nothing has been moved.
    pub dry_run: bool,
    /// The nodes that take replicas, as they are now.
    pub nodes: Vec<NodeShare>,
    /// The replicas that have been moved, or that would be.
    pub moves: Vec<ReplicaMove>,
}

/// A node, and how many replicas it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeShare {
    /// Its name.
    pub node: String,
    /// Its zone, which is empty if it lacks the label; null without zones.
    pub zone: Option<String>,
    /// How many replicas it has.
    pub replicas: usize,
    /// How many it may have.
    pub share: usize,
}

/// A replica that is moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplicaMove {
    /// Its name.
    pub replica: String,
    /// The node that it ran on.
    pub from: String,
    /// The node that it runs on now; null in a dry run, and if that is not known.
    pub to: Option<String>,
}
