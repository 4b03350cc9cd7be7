//! What happened: events, deaths, heartbeats.

use actix_web::web::{Data, Json, Query};
use actix_web::{HttpRequest, HttpResponse};

use super::caller::identify;
use super::error::ApiError;
use super::event_stream;
use super::extract::{FleetPath, PageQuery};
use super::handles::AdminHandles;
use crate::api::{Death, ListPage, ReplicaEvent, ReplicaHeartbeat};

/// The last events, the oldest first; as a stream, those after `Last-Event-ID`, or `after`, and
/// those to come.
pub async fn events(
    handles: Data<AdminHandles>,
    page: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    if event_stream::is_asked_for(request.headers()) {
        let last = event_stream::last_event_id(request.headers())?;
        let after = last.or(page.after_number()?);
        let feed = handles.supervisor.follow_events(after).await?;
        let caller = request.clone();
        let may_go_on = move || identify(&handles, &caller).is_ok();
        return Ok(event_stream::response(feed, may_go_on));
    }
    let events = handles.supervisor.events().await?;
    let page: ListPage<ReplicaEvent> = page.by_number(events, |event| event.id)?;
    Ok(HttpResponse::Ok().json(page))
}

/// What is known of the instances that died lately, the oldest first.
pub async fn deaths(
    _: FleetPath,
    handles: Data<AdminHandles>,
    page: Query<PageQuery>,
) -> Result<Json<ListPage<Death>>, ApiError> {
    let deaths = handles.supervisor.deaths().await?;
    page.by_number(deaths, |death| death.id).map(Json)
}

/// The heartbeats of the last minutes, the oldest first.
pub async fn heartbeats(
    _: FleetPath,
    handles: Data<AdminHandles>,
    page: Query<PageQuery>,
) -> Result<Json<ListPage<ReplicaHeartbeat>>, ApiError> {
    let after = page.after_number()?.unwrap_or_default();
    // One more says that there are more.
    let beats = handles.prober.heartbeats(after, page.limit()? + 1).await?;
    page.by_number(beats, |beat| beat.id).map(Json)
}
