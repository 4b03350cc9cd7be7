//! Who makes a call on the admin listener, and what they may do.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue};

use super::error::ApiError;
use super::handles::AdminHandles;
use super::tokens::bearer;
use crate::api::{AdminRight, AdmittedBy, Caller};
use crate::http::headers::cookies;

/// The caller, if the call may be made at all. Without tokens local callers may do all. With tokens
/// each call needs one, or a session that began with one, a local one, too.
///
/// # Errors
///
/// The caller is unknown, or another page of the same host makes the call with its session.
pub fn identify(handles: &AdminHandles, request: &HttpRequest) -> Result<Caller, ApiError> {
    let caller = |right, admitted_by| Caller { right, admitted_by };
    if handles.tokens.is_empty() {
        let checked = handles.guard.check_caller(request);
        return checked
            .map(|()| caller(AdminRight::Admin, AdmittedBy::Address))
            .map_err(ApiError::Refused);
    }
    if let Some(token) = bearer(request.headers()) {
        let right = handles.tokens.right_of(token);
        let right = right.ok_or(ApiError::Unauthenticated { has_token: true })?;
        return Ok(caller(right, AdmittedBy::Token));
    }
    let now = Instant::now();
    let mut sessions = session_ids(request.headers());
    let right = sessions.find_map(|id| handles.sessions.right_of(id, now));
    let right = right.ok_or(ApiError::Unauthenticated { has_token: false })?;
    handles
        .guard
        .check_origin(request)
        .map_err(ApiError::Refused)?;
    Ok(caller(right, AdmittedBy::Session))
}

/// The ids in a request's session cookies.
pub fn session_ids(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(COOKIE).map(HeaderValue::as_bytes);
    lines.flat_map(cookies::session_values)
}
