//! `GET /healthz` and `GET /readyz`, for what watches the balancer; `GET /api/v1/version`.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};

use super::error::ApiError;
use super::handles::AdminHandles;
use crate::api::{Readiness, VersionInfo};

/// The process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The balancer can serve: at least one replica is ready.
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
pub async fn version() -> Json<VersionInfo> {
    Json(VersionInfo {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
