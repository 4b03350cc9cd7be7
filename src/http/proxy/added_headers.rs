//! What responses say of their way, if they are to: which replica they come from
//! (`--replica-header`), and how long it took (`--server-timing`).

use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::fleet::InstanceId;

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Adds the header that names a replica.
pub fn name_replica(header: &HeaderName, id: &InstanceId, to: &mut HeaderMap) {
    if let Ok(name) = HeaderValue::from_str(id.replica.as_str()) {
        to.append(header.clone(), name);
    }
}

/// Adds Server-Timing (W3C): how long connecting took, if it did; from the beginning of the attempt
/// to the first byte; and from the request's head to now. In milliseconds.
pub fn server_timing(
    connect: Option<Duration>,
    attempt_began: Instant,
    request_began: Instant,
    to: &mut HeaderMap,
) {
    let milliseconds = |time: Duration| time.as_micros() as f64 / 1000.0;
    let connect = connect.map_or_else(String::new, |connect| {
        format!("connect;dur={}, ", milliseconds(connect))
    });
    let first_byte = milliseconds(attempt_began.elapsed());
    let total = milliseconds(request_began.elapsed());
    let text = format!("{connect}first_byte;dur={first_byte}, total;dur={total}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        to.append(SERVER_TIMING.clone(), value);
    }
}
