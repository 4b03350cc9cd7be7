//! What every call on the admin listener passes: the guard against web pages, who may make it, and
//! the log.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest};
use log::{Level, log};

use super::error::ApiError;
use super::guard::{Refusal, is_read};
use super::handles::AdminHandles;
use super::tokens::{AdminRight, bearer};

/// Refuses what web pages of other origins send.
pub async fn guard_pages(
    handles: Data<AdminHandles>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let checked = handles.guard.check_page(request.request());
    checked.map_err(ApiError::Refused)?;
    next.call(request).await
}

/// Refuses callers that may not make the call.
pub async fn authorize(
    handles: Data<AdminHandles>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    check_rights(&handles, request.request())?;
    next.call(request).await
}

/// Without tokens local callers may do all. With tokens each call needs one, a local one, too.
fn check_rights(handles: &AdminHandles, request: &HttpRequest) -> Result<(), ApiError> {
    if handles.tokens.is_empty() {
        let checked = handles.guard.check_caller(request);
        return checked.map_err(ApiError::Refused);
    }
    let token = bearer(request.headers());
    let right = token.and_then(|token| handles.tokens.right_of(token));
    match right {
        Some(AdminRight::Admin) => Ok(()),
        Some(AdminRight::Read) if is_read(request.method()) => Ok(()),
        Some(AdminRight::Read) => Err(ApiError::Refused(Refusal::ReadOnly)),
        None => Err(ApiError::Unauthenticated {
            has_token: token.is_some(),
        }),
    }
}

/// Logs changes, and reads where the log goes that far. Not the query, nor any header: they may
/// hold secrets.
pub async fn log_calls(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let level = match is_read(request.method()) {
        true => Level::Debug,
        false => Level::Info,
    };
    let call = log::log_enabled!(level).then(|| {
        let peer = request.peer_addr().map(|peer| peer.ip().to_string());
        let (method, path) = (request.method(), request.path());
        format!(
            "admin call: {method} {path} from {}",
            peer.unwrap_or_default()
        )
    });
    let answered = next.call(request).await;
    if let Some(call) = call {
        let status = match &answered {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        log!(level, "{call}: {}", status.as_u16());
    }
    answered
}
