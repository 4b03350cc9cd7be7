//! Errors that are written to a client's socket itself, where no request is answered.

use std::fmt::Write as _;
use std::time::SystemTime;

use actix_web::ResponseError;
use actix_web::http::header::HttpDate;

use crate::http::error::ProxyError;

/// A response that ends its connection, as [`ProxyError`] gives it.
pub fn encode_error(error: &ProxyError) -> String {
    let body = error.body();
    let mut response = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        response,
        "HTTP/1.1 {}\r\ncontent-length: {}\r\nconnection: close\r\ncontent-type: application/json\r\ndate: {}\r\n\r\n{body}",
        error.status_code(),
        body.len(),
        HttpDate::from(SystemTime::now()),
    );
    response
}
