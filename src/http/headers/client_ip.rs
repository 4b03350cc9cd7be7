//! Who a request comes from, where trusted proxies say so (`--trusted-proxy`).

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use ipnet::IpNet;

use crate::h1::HeaderLines;

/// The addresses that a request has come by, the client's first.
pub const FORWARDED_FOR: &str = "x-forwarded-for";

/// The scheme that the client used.
pub const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Whether a trusted proxy says that the client speaks TLS with it.
pub fn is_https(request: &HttpRequest, headers: &HeaderLines, trusted: &[IpNet]) -> bool {
    // The first of several proxies speaks with the client.
    let proto = headers.get(FORWARDED_PROTO);
    let first = proto.and_then(|proto| proto.split(|byte| *byte == b',').next());
    first.is_some_and(|proto| proto.trim_ascii().eq_ignore_ascii_case(b"https"))
        && peer(request).is_some_and(|peer| is_among(trusted, peer))
}

/// Who a request comes from: the peer, or whom it forwards for as far as proxies are trusted.
pub fn client(request: &HttpRequest, headers: &HeaderLines, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut client = peer(request)?;
    if !is_among(trusted, client) {
        return Some(client);
    }
    let said = headers.get_all(FORWARDED_FOR).rev();
    for value in said.flat_map(|field| field.rsplit(|byte| *byte == b',')) {
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

/// The other end of the connection.
pub fn peer(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip().to_canonical())
}

/// Whether one of the networks has the address.
pub fn is_among(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}
