//! `/api/v1/fleets/{fleet}/replicas`: list, add, change and remove.

use std::sync::Arc;

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};

use super::conditional::{self, changed_response, read_response};
use super::error::ApiError;
use super::extract::{FleetPath, JsonBody, PageQuery};
use super::fleets::replica_statuses;
use super::handles::AdminHandles;
use super::idempotency;
use super::params;
use super::prefer;
use super::ring::{self, apply};
use crate::actors::ring_state::ReconfigureRing;
use crate::api::{
    AddedReplicas, DesiredState, ListPage, NewReplicas, Problem, ReplicaPatch, ReplicaStatus,
};
use crate::fleet::{Change, Changed};
use crate::ring::ReplicaName;

/// All replicas, those on their way in or out included.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/replicas",
    tag = "replicas",
    operation_id = "list_replicas",
    params(params::Fleet, PageQuery, params::IfNoneMatch),
    responses((status = 200, description = "A page of them", body = ListPage<ReplicaStatus>)),
)]
pub async fn list(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let version = handles.version().await?;
    let (fleet, view) = handles.look().await?;
    let replicas = replica_statuses(&fleet, &view);
    let page: ListPage<ReplicaStatus> = page.page(replicas, |replica| &replica.name)?;
    read_response(&request, version, &page)
}

/// Where the replicas are.
const REPLICAS: &str = "/api/v1/fleets/default/replicas";

/// Where a replica is; names need no encoding in a path.
pub fn replica_path(name: &str) -> String {
    format!("{REPLICAS}/{name}")
}

/// Adds replicas; answered once they are on the ring.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/replicas",
    tag = "replicas",
    operation_id = "add_replicas",
    params(params::Fleet, params::IfMatch, params::IdempotencyKey, params::Prefer),
    request_body(content = NewReplicas, example = json!({"count": 2, "names": ["Big"], "weights": {"Big": 3}})),
    responses(
        (status = 201, description = "They are on the ring", body = AddedReplicas, headers(
            ("Location" = String, description = "The new replica, if it is one"),
        )),
        (status = 409, description = "A name is taken, the fleet is static, or the first call with the \
            idempotency key is not over", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn add(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    JsonBody(new): JsonBody<NewReplicas>,
) -> Result<HttpResponse, ApiError> {
    let place = match (new.names.as_slice(), new.count) {
        ([one], None | Some(1)) => replica_path(one),
        _ => REPLICAS.to_owned(),
    };
    let expected = conditional::expected(&request)?;
    let key = idempotency::key(&request)?;
    let body = serde_json::to_string(&new).unwrap_or_default();
    let change = Change::Add {
        n: new.count.unwrap_or(new.names.len().max(1)),
        hostnames: new.names,
        weights: new.weights,
    };
    let calls = Arc::clone(&handles.idempotent_calls);
    calls
        .run(key, &body, async move {
            prefer::run(&request, place, async move {
                let added = handles.supervisor.change_if(expected, change).await??;
                Ok(added_response(added))
            })
            .await
        })
        .await
}

fn added_response(changed: Changed) -> HttpResponse {
    let names = |names: Vec<ReplicaName>| names.iter().map(ToString::to_string).collect();
    let (added, replicas): (Vec<String>, _) = (names(changed.names), names(changed.desired));
    let mut response = HttpResponse::Created();
    if let [one] = added.as_slice() {
        response.insert_header((LOCATION, replica_path(one)));
    }
    response.json(AddedReplicas { added, replicas })
}

/// One replica.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/replicas/{name}",
    tag = "replicas",
    operation_id = "get_replica",
    params(params::Fleet, params::Replica, params::IfNoneMatch),
    responses((status = 200, description = "The replica", body = ReplicaStatus)),
)]
pub async fn get(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let version = handles.version().await?;
    read_response(&request, version, &find(&handles, &path.1).await?)
}

/// Changes a replica's weight, drains or activates it; answered once every worker thread has the new
/// ring. What a drained one has in flight ends within `--drain-timeout`.
#[utoipa::path(
    patch,
    path = "/api/v1/fleets/{fleet}/replicas/{name}",
    tag = "replicas",
    operation_id = "change_replica",
    params(params::Fleet, params::Replica, params::IfMatch),
    request_body(content = ReplicaPatch, example = json!({"weight": 2})),
    responses(
        (status = 200, description = "The replica after it", body = ReplicaStatus),
        (status = 409, description = "No other replica would serve requests, or the fleet is static", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn patch(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
    JsonBody(patch): JsonBody<ReplicaPatch>,
) -> Result<HttpResponse, ApiError> {
    let expected = conditional::expected(&request)?;
    let name = &path.1;
    let replica = find(&handles, name).await?;
    let weight = patch.weight.filter(|weight| *weight != replica.weight);
    let reweigh = weight.map(|weight| ring::weight_change(name, weight));
    let reweigh = reweigh.transpose()?;
    handles.accept(expected).await?;
    if let Some(state) = patch.state {
        if let Some(change) = reweigh.clone() {
            // A weight that does not fit changes nothing else.
            let dry_run = true;
            handles
                .ring
                .reconfigure(ReconfigureRing { dry_run, ..change })
                .await??;
        }
        let change = Change::SetDrained {
            replica: ReplicaName::from_address(name),
            drained: state == DesiredState::Drained,
        };
        handles.supervisor.change(change).await??;
    }
    if let Some(change) = reweigh {
        apply(&handles, change).await?;
    }
    let version = handles.version().await?;
    Ok(changed_response(version, &find(&handles, name).await?))
}

/// Removes a replica; answered once it is off the ring, drained and stopped.
#[utoipa::path(
    delete,
    path = "/api/v1/fleets/{fleet}/replicas/{name}",
    tag = "replicas",
    operation_id = "remove_replica",
    params(params::Fleet, params::Replica, params::IfMatch, params::Prefer),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "The fleet is static", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn remove(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let expected = conditional::expected(&request)?;
    let name = find(&handles, &path.1).await?.name;
    prefer::run(&request, replica_path(&name), async move {
        let hostnames = vec![name];
        let change = Change::Remove { n: 1, hostnames };
        handles.supervisor.change_if(expected, change).await??;
        Ok(HttpResponse::NoContent().finish())
    })
    .await
}

/// The replica of this name.
pub async fn find(handles: &AdminHandles, name: &str) -> Result<ReplicaStatus, ApiError> {
    let (fleet, view) = handles.look().await?;
    let mut replicas = replica_statuses(&fleet, &view).into_iter();
    let replica = replicas.find(|replica| replica.name == name);
    replica.ok_or_else(|| ApiError::UnknownReplica(name.to_owned()))
}
