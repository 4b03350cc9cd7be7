//! The admin calls: `GET /rep`, `POST /add`, `DELETE /rm`.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::Recipient;
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::BytesMut;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::error::{AdminError, Envelope};
use super::json_error;
use crate::actors::supervisor::{ChangeReplicas, ListReplicas};
use crate::fleet::Change;
use crate::ring::ReplicaName;

/// An admin call's body is no larger: a thousand names of the longest kind fit.
const LARGEST_BODY: usize = 128 * 1024;

/// `{"n":2,"hostnames":["S4","S5"],"weights":{"S4":2}}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddRequest {
    n: usize,
    #[serde(default)]
    hostnames: Vec<String>,
    #[serde(default)]
    weights: BTreeMap<String, u32>,
}

/// `{"n":1,"hostnames":["S4"]}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveRequest {
    n: usize,
    #[serde(default)]
    hostnames: Vec<String>,
}

/// `{"N":3,"replicas":["Server1","Server2","Server3"]}`
#[derive(Debug, Serialize)]
struct Roster {
    #[serde(rename = "N")]
    count: usize,
    replicas: Vec<String>,
}

/// Whom admin calls ask.
pub struct ReplicaLinks<'l> {
    /// The desired replicas.
    pub list: &'l Recipient<ListReplicas>,
    /// A change of the desired replicas.
    pub change: &'l Recipient<ChangeReplicas>,
    /// How long a client may pause within a body.
    pub body_timeout: Duration,
}

/// Answers an admin call.
pub async fn answer(
    replicas: &ReplicaLinks<'_>,
    request: &HttpRequest,
    body: &mut Payload,
) -> HttpResponse {
    let answered = match (request.uri().path(), request.method()) {
        ("/rep", &(Method::GET | Method::HEAD)) => list(replicas).await,
        ("/rep", _) => Err(AdminError::WrongMethod("GET, HEAD")),
        ("/add", &Method::POST) => add(replicas, request, body).await,
        ("/add", _) => Err(AdminError::WrongMethod("POST")),
        ("/rm", &Method::DELETE) => remove(replicas, request, body).await,
        _ => Err(AdminError::WrongMethod("DELETE")),
    };
    answered.unwrap_or_else(|error| error.error_response())
}

/// `GET /rep`: the desired replicas.
async fn list(replicas: &ReplicaLinks<'_>) -> Result<HttpResponse, AdminError> {
    let names = replicas.list.send(ListReplicas).await;
    names.map(roster).map_err(|_| AdminError::Unavailable)
}

/// `POST /add`: answers once the new replicas are on the ring.
async fn add(
    replicas: &ReplicaLinks<'_>,
    request: &HttpRequest,
    body: &mut Payload,
) -> Result<HttpResponse, AdminError> {
    let example = r#"{"n":2,"hostnames":["S4","S5"]}"#;
    let pause = replicas.body_timeout;
    let AddRequest {
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
    replicas: &ReplicaLinks<'_>,
    request: &HttpRequest,
    body: &mut Payload,
) -> Result<HttpResponse, AdminError> {
    let example = r#"{"n":1,"hostnames":["S4"]}"#;
    let pause = replicas.body_timeout;
    let RemoveRequest { n, hostnames } = read_json(request, body, pause, example).await?;
    change(replicas, Change::Remove { n, hostnames }).await
}

async fn change(replicas: &ReplicaLinks<'_>, change: Change) -> Result<HttpResponse, AdminError> {
    let changed = replicas.change.send(ChangeReplicas(change)).await;
    let names = changed
        .map_err(|_| AdminError::Unavailable)?
        .map_err(AdminError::Change)?;
    Ok(roster(names))
}

fn roster(names: Vec<ReplicaName>) -> HttpResponse {
    HttpResponse::Ok().json(Envelope::successful(Roster {
        count: names.len(),
        replicas: names.iter().map(ToString::to_string).collect(),
    }))
}

/// Reads a body that must be JSON and say so: a page of another site can make a browser
/// post a form here, but not this content type. It comes without pauses longer than `pause`.
pub async fn read_json<T: DeserializeOwned>(
    request: &HttpRequest,
    body: &mut Payload,
    pause: Duration,
    example: &str,
) -> Result<T, AdminError> {
    if !is_json(request) {
        return Err(AdminError::NotJson);
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = timeout(pause, body.next())
        .await
        .map_err(|_| AdminError::Stalled)?
    {
        let chunk = chunk.map_err(|error| AdminError::BrokenBody(error.to_string()))?;
        if bytes.len() + chunk.len() > LARGEST_BODY {
            return Err(AdminError::TooLarge(LARGEST_BODY));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let wrong = json_error::describe(&error);
        AdminError::BadBody(format!("the body must be like {example}: {wrong}"))
    })
}

fn is_json(request: &HttpRequest) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    let media_type = content_type.and_then(|value| value.to_str().ok());
    media_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"))
}
