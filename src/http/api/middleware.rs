//! What every call on the admin listener passes: the guard against web pages, who may make it, and
//! the log.

use std::time::Duration;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use log::{Level, log};

use super::caller::identify;
use super::error::ApiError;
use super::guard::{Refusal, is_read};
use super::handles::AdminHandles;
use crate::api::AdminRight;

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
    let caller = identify(&handles, request.request())?;
    if caller.right == AdminRight::Read && !is_read(request.method()) {
        Err(ApiError::Refused(Refusal::ReadOnly))?;
    }
    next.call(request).await
}

/// How long the answer to a token or code that is not accepted takes: who guesses them gets on slowly.
const FAILED_LOGIN_DELAY: Duration = Duration::from_millis(500);

/// Delays the answer to a failed login.
pub async fn delay_failed_logins(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let answered = next.call(request).await;
    let error = match &answered {
        Ok(response) => response.response().error(),
        Err(error) => Some(error),
    };
    let error = error.and_then(Error::as_error::<ApiError>);
    if error.is_some_and(ApiError::is_failed_login) {
        tokio::time::sleep(FAILED_LOGIN_DELAY).await;
    }
    answered
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
