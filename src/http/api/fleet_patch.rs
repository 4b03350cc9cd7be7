//! `PATCH /api/v1/fleets/{fleet}`: how many replicas, and how their load is bounded.

use actix_web::web::{Data, Json};

use super::error::ApiError;
use super::extract::{FleetPath, JsonBody};
use super::fleets::fleet_status;
use super::handles::AdminHandles;
use super::ring::{apply, read_factor};
use crate::actors::ring_state::ReconfigureRing;
use crate::api::{FleetPatch, FleetStatus};
use crate::fleet::{Change, MAX_REPLICAS};

/// Changes a fleet; answered once the replicas that are added serve and those that are removed are
/// stopped.
pub async fn patch(
    _: FleetPath,
    handles: Data<AdminHandles>,
    JsonBody(patch): JsonBody<FleetPatch>,
) -> Result<Json<FleetStatus>, ApiError> {
    let balance_factor = patch.balance_factor.map(read_factor).transpose();
    let balance_factor = balance_factor.map_err(ApiError::InvalidBody)?;
    if let Some(n) = patch.desired_replicas {
        if n > MAX_REPLICAS {
            let wrong = format!("desired_replicas is {n}: 0 to {MAX_REPLICAS} are allowed");
            return Err(ApiError::InvalidBody(wrong));
        }
        handles.supervisor.change(Change::Scale { n }).await??;
    }
    if balance_factor.is_some() {
        let change = ReconfigureRing {
            spec: None,
            balance_factor,
            weights: Vec::new(),
            dry_run: false,
        };
        apply(&handles, change).await?;
    }
    fleet_status(&handles).await.map(Json)
}
