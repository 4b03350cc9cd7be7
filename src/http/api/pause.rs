//! `/api/v1/fleets/{fleet}/pause` and `/resume`: requests are held, and let go again.

use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::conditional::{self, changed_response};
use super::error::ApiError;
use super::extract::{FleetPath, JsonBody};
use super::fleet_patch::FLEET;
use super::fleets::fleet_status;
use super::handles::AdminHandles;
use super::params;
use super::prefer;
use crate::api::{FleetStatus, NewPause, Problem};

/// Holds every request that has not been sent to a replica; answered when those in flight have ended,
/// or `--drain-timeout` has passed. A pause that is under way is prolonged, to `--max-pause` in all.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/pause",
    tag = "fleets",
    operation_id = "pause_fleet",
    params(params::Fleet, params::IfMatch, params::Prefer),
    request_body(content = NewPause, example = json!({"for": "20s"})),
    responses(
        (status = 200, description = "The fleet; `pause` says what is still in flight", body = FleetStatus),
        (status = 409, description = "Another balancer serves the fleet", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn pause(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    JsonBody(new): JsonBody<NewPause>,
) -> Result<HttpResponse, ApiError> {
    let lasts = new.lasts.as_deref().map(read_duration).transpose()?;
    let expected = conditional::expected(&request)?;
    prefer::run(&request, FLEET.to_owned(), async move {
        handles.supervisor.pause(lasts, expected).await??;
        let version = handles.version().await?;
        Ok(changed_response(version, &fleet_status(&handles).await?))
    })
    .await
}

/// Lets requests go again, those that were held over a second.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/resume",
    tag = "fleets",
    operation_id = "resume_fleet",
    params(params::Fleet, params::IfMatch),
    responses(
        (status = 200, description = "The fleet after it", body = FleetStatus),
        (status = 409, description = "The fleet is not paused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn resume(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
) -> Result<HttpResponse, ApiError> {
    let expected = conditional::expected(&request)?;
    handles.supervisor.resume(expected).await??;
    let version = handles.version().await?;
    Ok(changed_response(version, &fleet_status(&handles).await?))
}

fn read_duration(text: &str) -> Result<Duration, ApiError> {
    let invalid = |wrong| ApiError::InvalidBody(format!("for: {wrong}"));
    let lasts = humantime::parse_duration(text).map_err(|error| invalid(error.to_string()))?;
    match lasts.is_zero() {
        true => Err(invalid("1ms or more is allowed".to_owned())),
        false => Ok(lasts),
    }
}
