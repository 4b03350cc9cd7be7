//! `GET /rep`, `POST /add` and `DELETE /rm`: on the client port and on the admin listener.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, ResponseError};

use super::error::ApiError;
use super::json::read_json;
use crate::actors::supervisor::SupervisorHandle;
use crate::api::{AddReplicas, Envelope, RemoveReplicas, ReplicaList};
use crate::fleet::Change;
use crate::ring::ReplicaName;

/// The actors behind these calls.
pub struct ReplicaHandles<'h> {
    /// The fleet.
    pub supervisor: &'h SupervisorHandle,
    /// How long a client may pause within a body.
    pub body_timeout: Duration,
}

/// Answers one of these calls.
pub async fn answer(
    replicas: &ReplicaHandles<'_>,
    request: &HttpRequest,
    body: &mut Payload,
) -> HttpResponse {
    let answered = match (request.uri().path(), request.method()) {
        ("/rep", &(Method::GET | Method::HEAD)) => list(replicas).await,
        ("/rep", _) => Err(ApiError::WrongMethod("GET, HEAD")),
        ("/add", &Method::POST) => add(replicas, request, body).await,
        ("/add", _) => Err(ApiError::WrongMethod("POST")),
        ("/rm", &Method::DELETE) => remove(replicas, request, body).await,
        _ => Err(ApiError::WrongMethod("DELETE")),
    };
    answered.unwrap_or_else(|error| error.error_response())
}

/// `GET /rep`: the desired replicas.
async fn list(replicas: &ReplicaHandles<'_>) -> Result<HttpResponse, ApiError> {
    let names = replicas.supervisor.list().await;
    names.map(replica_list).map_err(|_| ApiError::Unavailable)
}

/// `POST /add`: answers once the new replicas are on the ring.
async fn add(
    replicas: &ReplicaHandles<'_>,
    request: &HttpRequest,
    body: &mut Payload,
) -> Result<HttpResponse, ApiError> {
    let example = r#"{"n":2,"hostnames":["S4","S5"]}"#;
    let pause = replicas.body_timeout;
    let AddReplicas {
        n,
        hostnames,
        weights,
    } = read_json(request, body, pause, example).await?;
    let added = Change::Add {
        n,
        hostnames,
        weights,
    };
    change(replicas, added).await
}

/// `DELETE /rm`: answers once the replicas are off the ring, drained and stopped.
async fn remove(
    replicas: &ReplicaHandles<'_>,
    request: &HttpRequest,
    body: &mut Payload,
) -> Result<HttpResponse, ApiError> {
    let example = r#"{"n":1,"hostnames":["S4"]}"#;
    let pause = replicas.body_timeout;
    let RemoveReplicas { n, hostnames } = read_json(request, body, pause, example).await?;
    change(replicas, Change::Remove { n, hostnames }).await
}

async fn change(replicas: &ReplicaHandles<'_>, change: Change) -> Result<HttpResponse, ApiError> {
    let changed = replicas.supervisor.change(change).await;
    let names = changed
        .map_err(|_| ApiError::Unavailable)?
        .map_err(ApiError::Change)?;
    Ok(replica_list(names))
}

fn replica_list(names: Vec<ReplicaName>) -> HttpResponse {
    HttpResponse::Ok().json(Envelope::successful(ReplicaList {
        count: names.len(),
        replicas: names.iter().map(ToString::to_string).collect(),
    }))
}
