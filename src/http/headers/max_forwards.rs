//! Max-Forwards: by how many more an OPTIONS or TRACE may be forwarded (RFC 9110, section 7.6.2). In
//! other requests it means nothing.

use actix_web::HttpResponse;
use actix_web::http::Method;

use crate::h1::HeaderLines;
use crate::http::error::ProxyError;

/// The header.
pub const MAX_FORWARDS: &str = "max-forwards";

/// Whether it counts in requests of this method.
pub fn counts_for(method: &Method) -> bool {
    matches!(*method, Method::OPTIONS | Method::TRACE)
}

/// What a value says; nothing if it is no number.
pub fn read(value: &[u8]) -> Option<u64> {
    let is_number = value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

/// Whether a request must not be forwarded any more.
pub fn is_last(method: &Method, headers: &HeaderLines) -> bool {
    counts_for(method) && headers.get(MAX_FORWARDS).and_then(read) == Some(0)
}

/// The answer to such a request. (The one to TRACE would show a client what proxies before this one have
/// added, cookies and tokens too.)
pub fn answer(method: &Method) -> Result<HttpResponse, ProxyError> {
    match *method {
        Method::OPTIONS => Ok(HttpResponse::Ok().finish()),
        _ => Err(ProxyError::NotImplemented(
            "TRACE is not answered here, and Max-Forwards is 0",
        )),
    }
}
