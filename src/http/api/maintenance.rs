//! `/api/v1/fleets/{fleet}/maintenance`: every request is answered with 503 and a page.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::conditional::{self, changed_response};
use super::error::ApiError;
use super::extract::{FleetPath, JsonBody};
use super::fleets::fleet_status;
use super::handles::AdminHandles;
use super::params;
use crate::actors::supervisor::{NewMaintenancePage, SetMaintenance};
use crate::api::{FleetStatus, NewMaintenance};

const DEFAULT_RETRY_AFTER: u32 = 60;
const MAX_RETRY_AFTER: u32 = 24 * 60 * 60;

/// Has every request answered with 503 and a page, while health checks and rollouts go on; kept over
/// restarts of the balancer, and followed by every balancer of the fleet. During a maintenance it changes the page.
#[utoipa::path(
    put,
    path = "/api/v1/fleets/{fleet}/maintenance",
    tag = "fleets",
    operation_id = "begin_maintenance",
    params(params::Fleet, params::IfMatch),
    request_body(content = NewMaintenance, example = json!({"page": "<h1>Back at noon</h1>"})),
    responses((status = 200, description = "The fleet after it", body = FleetStatus)),
)]
pub async fn begin(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    JsonBody(new): JsonBody<NewMaintenance>,
) -> Result<HttpResponse, ApiError> {
    let retry_after_seconds = new.retry_after_seconds.unwrap_or(DEFAULT_RETRY_AFTER);
    if !(1..=MAX_RETRY_AFTER).contains(&retry_after_seconds) {
        let wrong = format!(
            "retry_after_seconds is {retry_after_seconds}: 1 to {MAX_RETRY_AFTER} are allowed"
        );
        return Err(ApiError::InvalidBody(wrong));
    }
    let page = NewMaintenancePage {
        page: new.page,
        retry_after_seconds,
    };
    set(&request, &handles, Some(page)).await
}

/// Has requests go to the replicas again; no error if they do already.
#[utoipa::path(
    delete,
    path = "/api/v1/fleets/{fleet}/maintenance",
    tag = "fleets",
    operation_id = "end_maintenance",
    params(params::Fleet, params::IfMatch),
    responses((status = 200, description = "The fleet after it", body = FleetStatus)),
)]
pub async fn end(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
) -> Result<HttpResponse, ApiError> {
    set(&request, &handles, None).await
}

async fn set(
    request: &HttpRequest,
    handles: &AdminHandles,
    maintenance: Option<NewMaintenancePage>,
) -> Result<HttpResponse, ApiError> {
    let expected = conditional::expected(request)?;
    let set = SetMaintenance {
        maintenance,
        expected,
    };
    handles.supervisor.set_maintenance(set).await??;
    let version = handles.version().await?;
    Ok(changed_response(version, &fleet_status(handles).await?))
}
