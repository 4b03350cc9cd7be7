//! What happened: events, deaths, heartbeats.

use actix_web::web::{Data, Json, Query};
use actix_web::{HttpRequest, HttpResponse};

use super::caller::identify;
use super::error::ApiError;
use super::event_stream;
use super::extract::{FleetPath, NumberPageQuery};
use super::handles::AdminHandles;
use super::params;
use crate::api::{Death, ListPage, ReplicaEvent, ReplicaHeartbeat};

/// The last events, the oldest first; as a stream, those after `Last-Event-ID`, or `after`, and
/// those to come.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "history",
    params(
        NumberPageQuery,
        params::LastEventId,
    ),
    responses((status = 200, description = "A page of them; a stream without an end, with \
               `Accept: text/event-stream`", content(
        (ListPage<ReplicaEvent> = "application/json"),
        (String = "text/event-stream"),
    ))),
)]
pub async fn events(
    handles: Data<AdminHandles>,
    page: Query<NumberPageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let last = event_stream::last_event_id(request.headers())?;
    if event_stream::is_asked_for(request.headers()) {
        let after = last.or(page.after);
        let feed = handles.supervisor.follow_events(after).await?;
        let caller = request.clone();
        let may_go_on = move || identify(&handles, &caller).is_ok();
        return Ok(event_stream::response(feed, may_go_on));
    }
    let events = handles.supervisor.events().await?;
    let page: ListPage<ReplicaEvent> = page.page(events, |event| event.id)?;
    Ok(HttpResponse::Ok().json(page))
}

/// What is known of the instances that died lately, the oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/deaths",
    tag = "history",
    params(params::Fleet, NumberPageQuery),
    responses((status = 200, description = "A page of them", body = ListPage<Death>)),
)]
pub async fn deaths(
    _: FleetPath,
    handles: Data<AdminHandles>,
    page: Query<NumberPageQuery>,
) -> Result<Json<ListPage<Death>>, ApiError> {
    let deaths = handles.supervisor.deaths().await?;
    page.page(deaths, |death| death.id).map(Json)
}

/// The heartbeats of the last minutes, the oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/heartbeats",
    tag = "history",
    params(params::Fleet, NumberPageQuery),
    responses((status = 200, description = "A page of them", body = ListPage<ReplicaHeartbeat>)),
)]
pub async fn heartbeats(
    _: FleetPath,
    handles: Data<AdminHandles>,
    page: Query<NumberPageQuery>,
) -> Result<Json<ListPage<ReplicaHeartbeat>>, ApiError> {
    let after = page.after.unwrap_or_default();
    // One more says that there are more.
    let beats = handles.prober.heartbeats(after, page.limit()? + 1).await?;
    page.page(beats, |beat| beat.id).map(Json)
}
