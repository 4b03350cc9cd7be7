//! `/api/v1/session`: the dashboard's login. A token, or the code of the link that the start has
//! printed, is exchanged for a cookie.

use std::time::{Duration, Instant};

use actix_web::http::header::{CACHE_CONTROL, SET_COOKIE};
use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};

use super::caller::{identify, session_ids};
use super::error::ApiError;
use super::extract::JsonBody;
use super::guard::port;
use super::handles::AdminHandles;
use super::sessions::SESSION_TTL;
use crate::api::{AdminRight, AdmittedBy, Caller, Login, Problem};
use crate::http::headers::cookies::SESSION_COOKIE;

/// Who the caller is.
#[utoipa::path(
    get,
    path = "/api/v1/session",
    tag = "session",
    operation_id = "get_session",
    responses((status = 200, description = "What it may do", body = Caller)),
)]
pub async fn get(
    handles: Data<AdminHandles>,
    request: HttpRequest,
) -> Result<Json<Caller>, ApiError> {
    identify(&handles, &request).map(Json)
}

/// Begins a session with the right of a token.
#[utoipa::path(
    post,
    path = "/api/v1/session",
    tag = "session",
    operation_id = "begin_session",
    request_body(content = Login, example = json!({"token": "TOKEN"})),
    responses(
        (status = 200, description = "It has begun", body = Caller, headers(
            ("Set-Cookie" = String, description = "The session"),
        )),
        (status = 401, description = "The token or the code is not accepted", body = Problem,
         content_type = "application/problem+json"),
        (status = 500, description = "The system gives no random bytes", body = Problem,
         content_type = "application/problem+json"),
    ),
    security(()),
)]
pub async fn begin(
    handles: Data<AdminHandles>,
    request: HttpRequest,
    JsonBody(login): JsonBody<Login>,
) -> Result<HttpResponse, ApiError> {
    let right = right_of(&handles, &login)?;
    let begun = handles.sessions.begin(right, Instant::now());
    let id = begun.map_err(ApiError::NoRandomness)?;
    let caller = Caller {
        right,
        admitted_by: AdmittedBy::Session,
    };
    Ok(HttpResponse::Ok()
        .insert_header((SET_COOKIE, cookie(&request, &id, SESSION_TTL)))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(caller))
}

fn right_of(handles: &AdminHandles, login: &Login) -> Result<AdminRight, ApiError> {
    match (&login.token, &login.code) {
        (Some(token), None) => {
            let right = handles.tokens.right_of(token.as_bytes());
            right.ok_or(ApiError::Unauthenticated { has_token: true })
        }
        (None, Some(code)) => {
            let is_valid = handles
                .sessions
                .redeem_code(code.as_bytes(), Instant::now());
            let right = is_valid.then_some(AdminRight::Admin);
            right.ok_or(ApiError::InvalidCode)
        }
        _ => Err(ApiError::Contradiction(
            "exactly one of token and code is needed".to_owned(),
        )),
    }
}

/// Ends the caller's session, if there is one.
#[utoipa::path(
    delete,
    path = "/api/v1/session",
    tag = "session",
    operation_id = "end_session",
    responses((status = 204, description = "There is none any more")),
    security(()),
)]
pub async fn end(handles: Data<AdminHandles>, request: HttpRequest) -> HttpResponse {
    session_ids(request.headers()).for_each(|id| handles.sessions.end(id));
    HttpResponse::NoContent()
        .insert_header((SET_COOKIE, cookie(&request, "", Duration::ZERO)))
        .finish()
}

/// The value of Set-Cookie. Its name has the port that the browser uses, lest balancers on one host
/// replace each other's.
fn cookie(request: &HttpRequest, id: &str, ttl: Duration) -> String {
    format!(
        "{SESSION_COOKIE}{}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}",
        port(request),
        ttl.as_secs()
    )
}
