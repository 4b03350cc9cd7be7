//! Which requests are simple, and reading them.

use std::mem::MaybeUninit;
use std::net::SocketAddr;

use actix_http::{ConnectionType, Request};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, Uri, Version};
use actix_web::web::Bytes;
use httparse::Status;

use crate::h1::{self, MAX_HEADERS, connection};

/// actix makes a map with room for so many fields for each request beyond the 128 heads that it
/// keeps for others: 6.6 KiB for as long as the request takes.
const ROOMY: usize = 28;
/// That is too much for so few, whose map takes 0.8 or 1.7 KiB.
const FEW_FIELDS: usize = 7;

/// A request whose head has come as a whole, and which has no body or tells its length.
pub struct Simple {
    /// As actix reads it, but for its body.
    pub request: Request,
    /// How it is to be answered.
    pub terms: Terms,
    /// The bytes of its head.
    pub length: usize,
    /// Those of its body, if it tells them.
    pub body: Option<u64>,
}

/// What of a request says how its response is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The response has no body, whatever it says (RFC 9110, section 9.3.2).
    pub is_head: bool,
    /// It is the connection's last one.
    pub closes: bool,
}

impl Simple {
    /// The request that `bytes` begin with, if it is a simple one. What is wrong, and what is
    /// only unusual, is not for this place to tell apart.
    pub fn of(bytes: &Bytes, peer: Option<SocketAddr>) -> Option<Self> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut read = httparse::Request::new(&mut []);
        let Ok(Status::Complete(length)) = read.parse_with_uninit_headers(bytes, &mut fields)
        else {
            return None;
        };
        let method = Method::from_bytes(read.method?.as_bytes()).ok()?;
        if read.version? != 1 || method == Method::CONNECT {
            return None;
        }
        let target = bytes.slice_ref(read.path?.as_bytes());
        let uri = Uri::from_maybe_shared(target).ok()?;

        let mut request = Request::new();
        let head = request.head_mut();
        if read.headers.len() <= FEW_FIELDS && head.headers.capacity() >= ROOMY {
            // A head that actix keeps may have had a request with many: then it grows anew with
            // the next one that has, which is rare and costs no more than a map.
            head.headers = HeaderMap::with_capacity(read.headers.len());
        }
        let (mut has_host, mut connection, mut body) = (false, None, None);
        for field in &*read.headers {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            match name {
                // actix refuses a second one.
                header::HOST if has_host => return None,
                header::HOST => has_host = true,
                header::CONNECTION if connection.is_some() => return None,
                header::CONNECTION => connection = Some(connection_of(field.value)),
                // An offer of any other protocol is not taken.
                header::UPGRADE if !field.value.eq_ignore_ascii_case(b"websocket") => {}
                header::CONTENT_LENGTH if body.is_none() => {
                    body = Some(h1::parse_content_length(field.value)?);
                }
                header::CONTENT_LENGTH
                | header::TRANSFER_ENCODING
                | header::UPGRADE
                | header::EXPECT => return None,
                _ => {}
            }
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).ok()?;
            head.headers.append(name, value);
        }
        if !has_host {
            return None;
        }
        if let Some(connection) = connection {
            head.set_connection_type(connection);
        }
        let terms = Terms {
            is_head: method == Method::HEAD,
            closes: connection == Some(ConnectionType::Close),
        };
        head.method = method;
        head.uri = uri;
        head.version = Version::HTTP_11;
        head.peer_addr = peer;
        Some(Self {
            request,
            terms,
            length,
            body,
        })
    }
}

/// What a Connection field says of the connection itself (RFC 9112, section 9.3).
fn connection_of(value: &[u8]) -> ConnectionType {
    match connection::options(value).any(|option| option.eq_ignore_ascii_case(b"close")) {
        true => ConnectionType::Close,
        false => ConnectionType::KeepAlive,
    }
}
