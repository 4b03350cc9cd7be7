//! The header that a request's id stands in.

use actix_web::http::header::HeaderName;

/// As most proxies spell it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
