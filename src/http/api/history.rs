//! What happened: events and deaths.

use actix_web::web::{Data, Json, Query};
use actix_web::{HttpRequest, HttpResponse};

use super::error::ApiError;
use super::event_stream;
use super::extract::{FleetPath, PageQuery};
use super::handles::AdminHandles;
use crate::api::{Death, ListPage, ReplicaEvent};

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
        return Ok(event_stream::response(feed));
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
