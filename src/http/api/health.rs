//! `GET /healthz` and `GET /readyz`, for what watches the balancer; `GET /api/v1/version`.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};

use super::error::ApiError;
use super::handles::AdminHandles;
use crate::api::Problem;
use crate::api::{Readiness, VersionInfo};

/// The process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")),
    security(()),
)]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The balancer can serve: at least one replica is ready.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 503, description = "It cannot, or is stopping", content(
            (Readiness = "application/json"),
            (Problem = "application/problem+json"),
        )),
    ),
    security(()),
)]
pub async fn readyz(handles: Data<AdminHandles>) -> Result<HttpResponse, ApiError> {
    let ready_replicas = handles.ring.get().await?.ready_count();
    let ready = ready_replicas > 0;
    let mut response = match ready {
        true => HttpResponse::Ok(),
        false => HttpResponse::ServiceUnavailable(),
    };
    Ok(response.json(Readiness {
        ready,
        ready_replicas,
    }))
}

/// What runs here.
#[utoipa::path(
    get,
    path = "/api/v1/version",
    tag = "balancer",
    responses((status = 200, description = "Name and version", body = VersionInfo)),
)]
pub async fn version() -> Json<VersionInfo> {
    Json(VersionInfo {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
