//! `POST /api/v1/fleets/{fleet}/replicas/{name}/restart`: the next generation of a replica.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::conditional;
use super::error::ApiError;
use super::extract::{FleetPath, flag};
use super::fleet_replicas::{find, replica_path};
use super::handles::AdminHandles;
use super::params;
use super::prefer;
use crate::api::{Problem, ReplicaStatus};
use crate::fleet::Change;
use crate::ring::ReplicaName;

/// How to restart.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RestartQuery {
    /// Do not wait for requests in flight.
    #[serde(default, deserialize_with = "now")]
    #[param(default = false)]
    now: bool,
}

fn now<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    flag(from, "now")
}

/// Drains a replica, stops its instance and starts the next one; answered once that is ready. A
/// replica in back-off is started at once.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/replicas/{name}/restart",
    tag = "replicas",
    operation_id = "restart_replica",
    params(params::Fleet, params::Replica, RestartQuery, params::IfMatch, params::Prefer),
    responses(
        (status = 200, description = "The replica after it", body = ReplicaStatus),
        (status = 409, description = "The fleet is static", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn restart(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
    query: Query<RestartQuery>,
) -> Result<HttpResponse, ApiError> {
    let expected = conditional::expected(&request)?;
    let name = find(&handles, &path.1).await?.name;
    let change = Change::Restart {
        replica: ReplicaName::from_address(&name),
        now: query.now,
    };
    prefer::run(&request, replica_path(&name), async move {
        handles.supervisor.change_if(expected, change).await??;
        Ok(HttpResponse::Ok().json(find(&handles, &name).await?))
    })
    .await
}
