//! `GET /rep`, `POST /add` and `DELETE /rm`: on the client port and on the admin listener.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::handles::AdminHandles;
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
    answered.unwrap_or_else(|error| error.envelope())
}

/// The same on the admin listener.
pub async fn on_admin(
    handles: Data<AdminHandles>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let replicas = ReplicaHandles {
        supervisor: &handles.supervisor,
        body_timeout: handles.body_timeout,
    };
    answer(&replicas, &request, &mut body.into_inner()).await
}

/// `GET /rep`: the desired replicas.
async fn list(replicas: &ReplicaHandles<'_>) -> Result<HttpResponse, ApiError> {
    Ok(replica_list(replicas.supervisor.list().await?))
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
    } = read_like(request, body, pause, example).await?;
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
    let RemoveReplicas { n, hostnames } = read_like(request, body, pause, example).await?;
    change(replicas, Change::Remove { n, hostnames }).await
}

/// Reads a body; if it is invalid, the error shows a valid one.
async fn read_like<T: DeserializeOwned>(
    request: &HttpRequest,
    body: &mut Payload,
    pause: Duration,
    example: &str,
) -> Result<T, ApiError> {
    let read = read_json(request, body, pause).await;
    read.map_err(|error| match error {
        ApiError::InvalidBody(wrong) => {
            ApiError::InvalidBody(format!("the body must be like {example}: {wrong}"))
        }
        error => error,
    })
}

async fn change(replicas: &ReplicaHandles<'_>, change: Change) -> Result<HttpResponse, ApiError> {
    Ok(replica_list(
        replicas.supervisor.change(change).await??.desired,
    ))
}

fn replica_list(names: Vec<ReplicaName>) -> HttpResponse {
    HttpResponse::Ok().json(Envelope::successful(ReplicaList {
        count: names.len(),
        replicas: names.iter().map(ToString::to_string).collect(),
    }))
}
