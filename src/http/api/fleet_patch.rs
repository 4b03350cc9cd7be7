//! `PATCH /api/v1/fleets/{fleet}`: how many replicas, how their load is bounded, what is hashed.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::conditional::{self, changed_response};
use super::error::ApiError;
use super::extract::{FleetPath, JsonBody};
use super::fleets::fleet_status;
use super::handles::AdminHandles;
use super::params;
use super::prefer;
use super::ring::{apply, read_factor};
use crate::actors::ring_state::ReconfigureRing;
use crate::api::{FleetPatch, FleetStatus, Problem};
use crate::fleet::{Change, MAX_REPLICAS};
use crate::ring::{BalanceFactor, KeySource, SpecChange};

/// Where the fleet is.
pub const FLEET: &str = "/api/v1/fleets/default";

/// Changes a fleet; answered once the replicas that are added serve and those that are removed are
/// stopped.
#[utoipa::path(
    patch,
    path = "/api/v1/fleets/{fleet}",
    tag = "fleets",
    operation_id = "change_fleet",
    params(params::Fleet, params::IfMatch, params::Prefer),
    request_body(content = FleetPatch, example = json!({"desired_replicas": 3})),
    responses(
        (status = 200, description = "The fleet after it", body = FleetStatus),
        (status = 409, description = "The fleet is static", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn patch(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    JsonBody(patch): JsonBody<FleetPatch>,
) -> Result<HttpResponse, ApiError> {
    let balance_factor = patch.balance_factor.map(read_factor).transpose();
    let balance_factor = balance_factor.map_err(ApiError::InvalidBody)?;
    let key = patch
        .key
        .as_deref()
        .map(str::parse::<KeySource>)
        .transpose();
    let key = key.map_err(|wrong| {
        ApiError::InvalidBody(format!("key: {wrong}; allowed is {}", KeySource::ALLOWED))
    })?;
    let desired_replicas = patch.desired_replicas;
    if let Some(n) = desired_replicas.filter(|n| *n > MAX_REPLICAS) {
        let wrong = format!("desired_replicas is {n}: 0 to {MAX_REPLICAS} are allowed");
        return Err(ApiError::InvalidBody(wrong));
    }
    let expected = conditional::expected(&request)?;
    prefer::run(&request, FLEET.to_owned(), async move {
        handles.accept(expected).await?;
        apply_patch(&handles, desired_replicas, balance_factor, key).await?;
        let version = handles.version().await?;
        Ok(changed_response(version, &fleet_status(&handles).await?))
    })
    .await
}

async fn apply_patch(
    handles: &AdminHandles,
    desired_replicas: Option<usize>,
    balance_factor: Option<Option<BalanceFactor>>,
    key: Option<KeySource>,
) -> Result<(), ApiError> {
    if let Some(n) = desired_replicas {
        handles.supervisor.change(Change::Scale { n }).await??;
    }
    if balance_factor.is_some() {
        let change = ReconfigureRing {
            spec: SpecChange::default(),
            balance_factor,
            weights: Vec::new(),
            dry_run: false,
        };
        apply(handles, change).await?;
    }
    if let Some(key) = key {
        handles.supervisor.set_key(key).await??;
    }
    Ok(())
}
