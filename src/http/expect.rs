//! `Expect: 100-continue`: who waits to be told to go on with a body hears first what speaks
//! against it.
//!
//! actix tells it before a handler sees the request. What can be judged by the head alone is
//! judged before that, so that nobody sends a body which is refused in any case.

use std::rc::Rc;

use actix_http::Request;
use actix_web::dev::RequestHead;
use actix_web::{HttpMessage, HttpResponse, ResponseError};

use super::connection::ClientConnection;
use super::error::ProxyError;
use super::unread::Unread;

/// What actix says to who waits; an answer comes after it.
pub const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Judges requests by their heads.
pub type Check = Rc<dyn Fn(&RequestHead) -> Result<(), ProxyError>>;

/// The request if it may go on, otherwise the answer that it gets.
pub async fn go_on(mut request: Request, check: Check) -> Result<Request, HttpResponse> {
    let connection = request.conn_data::<Rc<ClientConnection>>();
    let Err(error) = check(request.head()) else {
        return Ok(request);
    };
    if let Some(connection) = connection {
        // It is begun, and over at once.
        drop(connection.begin(request.head()));
    }
    let is_chunked = request.chunked().unwrap_or(false);
    let unread = Unread::Payload(request.take_payload());
    Err(unread.until_answered(is_chunked, error.error_response()))
}
