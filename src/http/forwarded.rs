//! What a proxy tells of a message's way: Via, X-Forwarded-*, X-Request-ID.
//!
//! Replicas believe these fields, for log lines and for access. So they say what we saw
//! ourselves, and what a client says in them counts only if it is a proxy that the operator
//! trusts (`--trusted-proxy`).

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::Version;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::headers;
use super::key::REQUEST_ID;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// RFC 9110, section 7.6.3: the protocol as it was received, and a name.
const VIA: HeaderValue = HeaderValue::from_static("1.1 ringmaster");
const VIA_HTTP10: HeaderValue = HeaderValue::from_static("1.0 ringmaster");

/// A client's fields for a replica.
pub fn copy_request(
    request: &HttpRequest,
    trusted: &[IpNet],
    fresh_id: Option<u64>,
    to: &mut HeaderMap,
) {
    let from = request.headers();
    let peer = peer(request);
    let is_trusted = peer.is_some_and(|peer| is_among(trusted, peer));
    headers::copy_end_to_end_but(from, to, |name| {
        // What is kept of a trusted proxy's X-Forwarded-For goes into one field with ours.
        name == FOR
            || (!is_trusted && tells_of_the_way(name))
            || (fresh_id.is_some() && name == REQUEST_ID)
    });
    // The authority of a target in absolute form is the host (RFC 9112, section 3.2.2).
    if let (Some(_), Some(host)) = (request.uri().scheme(), request.uri().authority())
        && let Ok(host) = HeaderValue::from_str(host.as_str())
    {
        to.insert(header::HOST, host);
    }
    if let Some(peer) = peer {
        let before = is_trusted.then(|| from.get_all(&FOR));
        to.insert(FOR, chain(before.into_iter().flatten(), peer));
    }
    // What a trusted proxy has not said is as we see it.
    if !to.contains_key(&PROTO) {
        to.insert(PROTO, HeaderValue::from_static("http"));
    }
    if let (false, Some(host)) = (to.contains_key(&HOST), to.get(header::HOST)) {
        let host = host.clone();
        to.insert(HOST, host);
    }
    if let Some(id) = fresh_id {
        to.insert(REQUEST_ID, HeaderValue::from(id));
    }
    let via = if request.version() < Version::HTTP_11 {
        VIA_HTTP10
    } else {
        VIA
    };
    // Several fields of one name are one list (RFC 9110, section 5.3).
    to.append(header::VIA, via);
}

/// Who a request comes from: the peer, or whom it forwards for as far as proxies are trusted.
pub fn client(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut client = peer(request)?;
    if !is_among(trusted, client) {
        return Some(client);
    }
    let fields: Vec<_> = request.headers().get_all(&FOR).collect();
    let said = fields.iter().rev();
    for value in said.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b',')) {
        let Some(before) = address(value) else {
            break;
        };
        client = before;
        if !is_among(trusted, client) {
            break;
        }
    }
    Some(client)
}

/// An address; some proxies add the port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?.trim();
    let address = text.parse::<IpAddr>().or_else(|_| {
        let address = text.parse::<SocketAddr>();
        address.map(|address| address.ip())
    });
    Some(address.ok()?.to_canonical())
}

fn peer(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip().to_canonical())
}

fn is_among(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

/// A replica's fields for a client.
pub fn copy_response(from: &HeaderMap, to: &mut HeaderMap) {
    headers::copy_end_to_end(from, to);
    to.append(header::VIA, VIA);
}

fn tells_of_the_way(name: &HeaderName) -> bool {
    *name == header::FORWARDED || name.as_str().starts_with("x-forwarded-")
}

/// The addresses that the proxies before us saw, and the one that we see.
fn chain<'v>(before: impl Iterator<Item = &'v HeaderValue>, peer: IpAddr) -> HeaderValue {
    let mut chain = Vec::new();
    for value in before.filter(|value| !value.is_empty()) {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    // An address is made of characters that a field may have, and so are other fields.
    let peer = peer.to_string();
    if chain.is_empty() {
        chain = peer.into_bytes();
    } else {
        chain.extend_from_slice(peer.as_bytes());
    }
    HeaderValue::from_maybe_shared(actix_web::web::Bytes::from(chain))
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const SAID: [(&str, &str); 6] = [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.2, 192.0.2.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.1 before"),
    ];

    fn told(peer: &str, fields: &[(&str, &str)], fresh_id: Option<u64>) -> Vec<String> {
        let mut request = TestRequest::default()
            .peer_addr(peer.parse().unwrap())
            .insert_header(("host", "shop.example"));
        for field in fields {
            request = request.append_header(*field);
        }
        let mut to = HeaderMap::new();
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        copy_request(&request.to_http_request(), &trusted, fresh_id, &mut to);
        let mut told: Vec<String> = to
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        told.sort();
        told
    }

    #[test]
    fn what_strangers_say_of_the_way_is_dropped() {
        for peer in ["192.0.2.9:1", "[::ffff:192.0.2.9]:1"] {
            assert_eq!(
                told(peer, &SAID, Some(123_456)),
                [
                    "host: shop.example",
                    "via: 1.1 before",
                    "via: 1.1 ringmaster",
                    "x-forwarded-for: 192.0.2.9",
                    "x-forwarded-host: shop.example",
                    "x-forwarded-proto: http",
                    "x-request-id: 123456",
                ]
            );
        }
    }

    #[test]
    fn what_a_trusted_proxy_says_of_the_way_goes_on() {
        for peer in ["10.9.9.9:1", "[::ffff:10.9.9.9]:1"] {
            assert_eq!(
                told(peer, &SAID, None),
                [
                    "forwarded: for=192.0.2.1",
                    "host: shop.example",
                    "via: 1.1 before",
                    "via: 1.1 ringmaster",
                    "x-forwarded-for: 192.0.2.1, 192.0.2.2, 192.0.2.3, 10.9.9.9",
                    "x-forwarded-host: shop.example",
                    "x-forwarded-port: 443",
                    "x-forwarded-proto: https",
                ]
            );
        }
        let silent = told("[fd00::1]:1", &[], None);
        assert!(silent.contains(&"x-forwarded-for: fd00::1".to_owned()));
        assert!(silent.contains(&"x-forwarded-proto: http".to_owned()));
    }

    #[test]
    fn an_id_of_its_own_stays_and_an_empty_one_is_replaced() {
        let own = told("192.0.2.9:1", &[("x-request-id", "abc")], None);
        assert!(own.contains(&"x-request-id: abc".to_owned()));
        let empty = told("192.0.2.9:1", &[("x-request-id", "")], Some(7));
        assert_eq!(empty.iter().filter(|f| f.contains("request-id")).count(), 1);
        assert!(empty.contains(&"x-request-id: 7".to_owned()));
    }
}
