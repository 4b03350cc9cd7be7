//! `GET /metrics`: the balancer as Prometheus reads it.

use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::error::ApiError;
use super::handles::AdminHandles;
use crate::metrics::{Scrape, TextFormat};

/// All metrics.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "balancer",
    responses((status = 200, description = "Prometheus text, or OpenMetrics if Accept asks for it", content(
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    ))),
)]
pub async fn metrics(
    request: HttpRequest,
    handles: Data<AdminHandles>,
) -> Result<HttpResponse, ApiError> {
    let (fleet, view) = handles.look().await?;
    let stats = handles.tally.clone();
    let accept = request.headers().get(ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    let format = TextFormat::accepted_by(accept.unwrap_or_default());
    let scrape = Scrape { stats, fleet, view };
    let text = handles.metrics.export(scrape, format);
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, format.content_type()))
        .body(text))
}
