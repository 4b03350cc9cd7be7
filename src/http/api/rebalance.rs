//! `POST /api/v1/fleets/{fleet}/rebalance`: replicas move from nodes that have more than their share.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use log::info;

use super::conditional;
use super::error::ApiError;
use super::extract::{DryRunQuery, FleetPath};
use super::fleet_replicas::find;
use super::handles::AdminHandles;
use super::params;
use super::prefer;
use crate::api::{FleetSpread, Problem, Rebalance, ReplicaMove};
use crate::fleet::Change;
use crate::ring::ReplicaName;

/// Where the spread is seen.
const REPLICAS: &str = "/api/v1/fleets/default/replicas";

/// Moves replicas above the share of their node or zone, one after the other: another instance starts
/// elsewhere, takes the place of the one before, which finishes its requests. Answered when all are
/// moved; of those that have been moved before one fails none moves back.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/rebalance",
    tag = "replicas",
    operation_id = "rebalance",
    params(params::Fleet, DryRunQuery, params::IfMatch, params::Prefer),
    responses(
        (status = 200, description = "What has been moved", body = Rebalance),
        (status = 409, description = "The runtime has no nodes, or a rollout is under way", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn rebalance(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    query: Query<DryRunQuery>,
) -> Result<HttpResponse, ApiError> {
    let expected = conditional::expected(&request)?;
    let FleetSpread { nodes, moves } = handles.supervisor.spread().await??;
    if query.dry_run {
        let dry_run = true;
        return Ok(HttpResponse::Ok().json(Rebalance {
            dry_run,
            nodes,
            moves,
        }));
    }
    prefer::run(&request, REPLICAS.to_owned(), async move {
        handles
            .supervisor
            .compare_version(expected, false)
            .await??;
        let moved = move_all(&handles).await?;
        Ok(HttpResponse::Ok().json(moved))
    })
    .await
}

/// Each replica is moved once at most, wherever it comes to be.
async fn move_all(handles: &AdminHandles) -> Result<Rebalance, ApiError> {
    let mut done: Vec<ReplicaMove> = Vec::new();
    loop {
        // What has happened meanwhile counts as well.
        let FleetSpread { nodes, moves } = handles.supervisor.spread().await??;
        let is_new = |one: &ReplicaMove| done.iter().all(|moved| moved.replica != one.replica);
        let Some(next) = moves.into_iter().find(is_new) else {
            return Ok(Rebalance {
                dry_run: false,
                nodes,
                moves: done,
            });
        };
        let name = ReplicaName::from_address(&next.replica);
        info!(replica:% = name; "rebalance: {name} is moved off {}", next.from);
        let change = Change::Replace { replica: name };
        handles.supervisor.change(change).await??;
        let now = find(handles, &next.replica).await?;
        done.push(ReplicaMove {
            to: now.node,
            ..next
        });
    }
}
