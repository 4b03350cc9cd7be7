//! What happened: events and deaths.

use actix_web::web::{Data, Json, Query};

use super::error::ApiError;
use super::extract::{FleetPath, PageQuery};
use super::handles::AdminHandles;
use crate::api::{Death, ListPage, ReplicaEvent};

/// The last events, the oldest first.
pub async fn events(
    handles: Data<AdminHandles>,
    page: Query<PageQuery>,
) -> Result<Json<ListPage<ReplicaEvent>>, ApiError> {
    let events = handles.supervisor.events().await?;
    page.by_number(events, |event| event.id).map(Json)
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
