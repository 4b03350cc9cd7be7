//! Errors that are written to a client's socket itself, where no request is answered, and their
//! lines in the access log.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use actix_web::ResponseError;
use actix_web::http::header::HttpDate;

use crate::access_log::{AccessLine, AccessLog, RequestRecord};
use crate::api::DEFAULT_FLEET;
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

/// Writes the line of a request whose head cannot be read, or has not come.
pub fn log_refusal(log: &AccessLog, error: &ProxyError, client: Option<SocketAddr>) {
    log.write(&AccessLine {
        time: SystemTime::now(),
        request_id: "".into(),
        client: client.map(|client| client.ip().to_canonical()),
        fleet: DEFAULT_FLEET,
        method: "-",
        target: "-".into(),
        protocol: "-",
        host: None,
        record: &RequestRecord {
            status: error.status_code().as_u16(),
            bytes_out: error.body().len() as u64,
            ended: error.refusal().label(),
            ..RequestRecord::default()
        },
        total: Duration::ZERO,
        referer: None,
        user_agent: None,
        traceparent: None,
    });
}
