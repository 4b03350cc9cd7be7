//! `/api/v1/fleets/{fleet}/rollouts`: another definition for every replica, without a gap.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};

use super::conditional;
use super::error::ApiError;
use super::extract::{FleetPath, JsonBody, NumberPageQuery};
use super::handles::AdminHandles;
use super::params;
use super::prefer;
use crate::actors::supervisor::RolloutCommand;
use crate::api::{ListPage, NewRollout, Problem, Rollout};

/// Where the rollouts are.
const ROLLOUTS: &str = "/api/v1/fleets/default/rollouts";

/// The rollout under way and the last ten that have ended, the oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/rollouts",
    tag = "rollouts",
    operation_id = "list_rollouts",
    params(params::Fleet, NumberPageQuery),
    responses((status = 200, description = "A page of them", body = ListPage<Rollout>)),
)]
pub async fn list(
    _: FleetPath,
    handles: Data<AdminHandles>,
    page: Query<NumberPageQuery>,
) -> Result<Json<ListPage<Rollout>>, ApiError> {
    let rollouts = handles.supervisor.rollouts().await?;
    page.page(rollouts, |rollout| rollout.id).map(Json)
}

/// One of them.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/rollouts/{id}",
    tag = "rollouts",
    operation_id = "get_rollout",
    params(params::Fleet, params::Number),
    responses((status = 200, description = "The rollout", body = Rollout)),
)]
pub async fn get(
    _: FleetPath,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
) -> Result<Json<Rollout>, ApiError> {
    find(&handles, &path.1).await.map(Json)
}

/// Gives every replica another definition, one after the other; answered when the runtime has it (an
/// image is pulled) and the first instance is being started.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/rollouts",
    tag = "rollouts",
    operation_id = "start_rollout",
    params(params::Fleet, params::IfMatch, params::Prefer),
    request_body(content = NewRollout, example = json!({"env": {"LOG_LEVEL": "debug"}})),
    responses(
        (status = 201, description = "It has begun", body = Rollout, headers(
            ("Location" = String, description = "The rollout"),
        )),
        (status = 409, description = "Another rollout is under way", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn start(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    JsonBody(new): JsonBody<NewRollout>,
) -> Result<HttpResponse, ApiError> {
    let expected = conditional::expected(&request)?;
    prefer::run(&request, ROLLOUTS.to_owned(), async move {
        handles.accept(expected).await?;
        let rollout = handles.supervisor.start_rollout(new).await??;
        Ok(HttpResponse::Created()
            .insert_header((LOCATION, format!("{ROLLOUTS}/{}", rollout.id)))
            .json(rollout))
    })
    .await
}

/// Begins with no further replica until the rollout is resumed.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/rollouts/{id}/pause",
    tag = "rollouts",
    operation_id = "pause_rollout",
    params(params::Fleet, params::Number),
    responses(
        (status = 200, description = "The rollout after it", body = Rollout),
        (status = 409, description = "It has ended", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn pause(
    _: FleetPath,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
) -> Result<Json<Rollout>, ApiError> {
    direct(&handles, &path.1, RolloutCommand::Pause).await
}

/// Goes on with a rollout that is paused.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/rollouts/{id}/resume",
    tag = "rollouts",
    operation_id = "resume_rollout",
    params(params::Fleet, params::Number),
    responses(
        (status = 200, description = "The rollout after it", body = Rollout),
        (status = 409, description = "It is not paused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn resume(
    _: FleetPath,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
) -> Result<Json<Rollout>, ApiError> {
    direct(&handles, &path.1, RolloutCommand::Resume).await
}

/// Gives every replica the definition that its canary has.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/rollouts/{id}/promote",
    tag = "rollouts",
    operation_id = "promote_rollout",
    params(params::Fleet, params::Number),
    responses(
        (status = 200, description = "The rollout after it", body = Rollout),
        (status = 409, description = "It has no canary that is ready", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn promote(
    _: FleetPath,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
) -> Result<Json<Rollout>, ApiError> {
    direct(&handles, &path.1, RolloutCommand::Promote).await
}

/// Gives every replica its earlier definition back: a rollout under way goes back; the last one that
/// was done is undone by another rollout, which is answered.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/rollouts/{id}/undo",
    tag = "rollouts",
    operation_id = "undo_rollout",
    params(params::Fleet, params::Number),
    responses(
        (status = 200, description = "The rollout that brings the earlier definition", body = Rollout),
        (status = 409, description = "It cannot be undone, or is being undone", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn undo(
    _: FleetPath,
    handles: Data<AdminHandles>,
    path: Path<(String, String)>,
) -> Result<Json<Rollout>, ApiError> {
    direct(&handles, &path.1, RolloutCommand::Undo).await
}

async fn direct(
    handles: &AdminHandles,
    id: &str,
    command: RolloutCommand,
) -> Result<Json<Rollout>, ApiError> {
    let id = find(handles, id).await?.id;
    let rollout = handles.supervisor.direct_rollout(id, command).await??;
    Ok(Json(rollout))
}

async fn find(handles: &AdminHandles, id: &str) -> Result<Rollout, ApiError> {
    let mut rollouts = handles.supervisor.rollouts().await?.into_iter();
    let rollout = rollouts.find(|rollout| rollout.id.to_string() == id);
    rollout.ok_or_else(|| ApiError::UnknownRollout(id.to_owned()))
}
