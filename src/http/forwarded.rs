//! What of a message's fields goes on, and what a proxy tells of its way: Via,
//! X-Forwarded-*, X-Request-ID.
//!
//! Replicas believe these fields, for log lines and for access. So they say what we saw
//! ourselves, and what a client says in them counts only if it is a proxy that the operator
//! trusts (`--trusted-proxy`).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::uri::Authority;
use actix_web::http::{StatusCode, Version};
use httparse::{EMPTY_HEADER, Response, Status};
use ipnet::IpNet;

use super::address::AddressText;
use super::key::REQUEST_ID;
use super::raw_request::RawRequest;
use super::via::Via;
use super::{headers, sticky};
use crate::config::StickyCookie;
use crate::h1::{MAX_HEADERS, connection, header_name};
use crate::upstream::{RawResponseHead, RequestHeadBuilder};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Names like ours that an application may take for them: CGI and WSGI make the same variable of
/// `X_Forwarded_For` and of `X-Forwarded-For`.
const OURS: [&[u8]; 7] = [
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-request-id",
    b"x-real-ip",
    b"true-client-ip",
    b"content-length",
];

const FORWARDED: &[u8] = b"x-forwarded-";

/// A client's headers for a replica, in the order and the spelling in which they came; a replica's
/// own address stands for a Host that is missing.
#[expect(
    clippy::too_many_arguments,
    reason = "what a request says, what holds for all, and where it goes"
)]
pub fn tell_request(
    request: &HttpRequest,
    raw: &RawRequest,
    trusted: &[IpNet],
    via: Option<&Via>,
    fresh_id: Option<u64>,
    sticky_cookie: Option<&StickyCookie>,
    address: &Authority,
    to: &mut RequestHeadBuilder,
) {
    let from = request.headers();
    let peer = peer(request);
    let is_trusted = peer.is_some_and(|peer| is_among(trusted, peer));
    // The authority of a target in absolute form is the host (RFC 9112, section 3.2.2).
    let target = request.uri();
    let told = target.scheme().and(target.authority()).map(authority_of);
    let own = from.get(header::HOST).map(HeaderValue::as_bytes);
    if own.is_none() {
        to.header("host", told.unwrap_or_else(|| authority_of(address)));
    }
    let is_named = |name: &[u8]| {
        let mut named = raw
            .headers
            .get_all("connection")
            .flat_map(connection::header_names);
        named.any(|other| other.eq_ignore_ascii_case(name))
    };
    let (mut tells_proto, mut tells_host) = (false, false);
    // An id that the balancer gives comes last.
    let mut has_id = fresh_id.is_some();
    // Lines that lie side by side go on together.
    let mut lines = 0..0;
    for header in raw.headers.iter() {
        let (name, mut line) = (header.name, header.line);
        let mut value = Cow::Borrowed(raw.headers.part(header.value));
        match Role::of(name) {
            Role::Host => {
                if let Some(told) = told {
                    (value, line) = (told.into(), None);
                }
            }
            Role::Refused => continue,
            _ if headers::is_hop_by_hop(name) => continue,
            _ if raw.has_connection_headers && is_named(name) => continue,
            Role::Plain => {}
            Role::Cookie => {
                if let Some(cookie) = sticky_cookie {
                    let Some(rest) = sticky::strip(cookie, raw.headers.part(header.value)) else {
                        continue;
                    };
                    (value, line) = (rest, None);
                }
            }
            // What is kept of a trusted proxy's X-Forwarded-For goes into one header with ours.
            Role::For => continue,
            Role::Way if is_trusted => {
                tells_proto |= header_name::eq_ignore_case(name, PROTO.as_str().as_bytes());
                tells_host |= header_name::eq_ignore_case(name, HOST.as_str().as_bytes());
            }
            Role::Way => continue,
            // The first one is the key.
            Role::Id if has_id => continue,
            Role::Id => has_id = true,
        }
        match line {
            Some(line) if line.start == lines.end => lines.end = line.end,
            line => {
                to.raw_line(raw.headers.part(&lines));
                lines = line.unwrap_or_else(|| {
                    for part in [name, b": ", &value, b"\r\n"] {
                        to.raw_line(part);
                    }
                    0..0
                });
            }
        }
    }
    to.raw_line(raw.headers.part(&lines));
    if let Some(peer) = peer {
        let before = is_trusted.then(|| from.get_all(&FOR)).into_iter().flatten();
        let before = before.map(HeaderValue::as_bytes);
        let before = before.filter(|value| !value.is_empty());
        to.list_header(FOR.as_str(), before, AddressText::of(peer).as_bytes());
    }
    // What a trusted proxy has not said is as we see it.
    if !tells_proto {
        to.raw_line(b"x-forwarded-proto: http\r\n");
    }
    if let (false, Some(host)) = (tells_host, told.or(own)) {
        to.header(HOST.as_str(), host);
    }
    if let Some(id) = fresh_id {
        let mut digits = itoa::Buffer::new();
        to.header(REQUEST_ID.as_str(), digits.format(id).as_bytes());
    } else if !has_id && let Some(id) = from.get(&REQUEST_ID) {
        // Connection names it, but it is what the request was routed by.
        to.header(REQUEST_ID.as_str(), id.as_bytes());
    }
    // Several headers of one name are one list (RFC 9110, section 5.3).
    if let Some(via) = via {
        to.raw_line(via.line(request.version() < Version::HTTP_11));
    }
}

/// What a request's header is for the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Nothing of its concern.
    Plain,
    /// It names the host, which the target may do, too.
    Host,
    /// It may hold the session's key.
    Cookie,
    /// It tells of the client and of the request's way, which a trusted proxy may.
    Way,
    /// X-Forwarded-For.
    For,
    /// The request's id.
    Id,
    /// It is dropped: an application would mistake it for a header of a proxy.
    Refused,
}

impl Role {
    /// That of a name, in any case.
    fn of(name: &[u8]) -> Self {
        let is = |lower: &[u8]| header_name::eq_ignore_case(name, lower);
        let Some(first) = name.first().map(|first| first | 0x20) else {
            return Self::Plain;
        };
        // The first letter and the length tell nearly all names apart.
        match (first, name.len()) {
            (b'h', 4) if is(b"host") => Self::Host,
            (b'c', 6) if is(b"cookie") => Self::Cookie,
            // A script's HTTP_PROXY, by which programs choose whom to ask (httpoxy).
            (b'p', 5) if is(b"proxy") => Self::Refused,
            (b'f', 9) if is(b"forwarded") => Self::Way,
            (b'x', 12) if is(REQUEST_ID.as_str().as_bytes()) => Self::Id,
            (b'x', 9) if is(b"x-real-ip") => Self::Way,
            (b'x', 15) if is(FOR.as_str().as_bytes()) => Self::For,
            (b'x', 12..) if starts_with_forwarded(name) => Self::Way,
            (b't', 14) if is(b"true-client-ip") => Self::Way,
            (b'x', 9 | 12..) | (b't' | b'c', 14) | (b't', 17) if is_ours_misspelt(name) => {
                Self::Refused
            }
            _ => Self::Plain,
        }
    }
}

fn starts_with_forwarded(name: &[u8]) -> bool {
    name.get(..FORWARDED.len())
        .is_some_and(|begin| header_name::eq_ignore_case(begin, FORWARDED))
}

/// Whether a name is one of ours but for `_` where that has `-`.
fn is_ours_misspelt(name: &[u8]) -> bool {
    let spelt = |ours: &[u8]| {
        let mut letters = name.iter().zip(ours);
        letters.all(|(letter, ours)| {
            letter.eq_ignore_ascii_case(ours) || (*letter, *ours) == (b'_', b'-')
        })
    };
    let is = |ours: &[u8]| name.len() == ours.len() && spelt(ours);
    name.contains(&b'_')
        && (OURS.iter().any(|ours| is(ours))
            || is(b"transfer-encoding")
            || (name.len() >= FORWARDED.len() && spelt(FORWARDED)))
}

fn authority_of(authority: &Authority) -> &[u8] {
    authority.as_str().as_bytes()
}

/// A replica's headers as a client gets them, written as lines of a head: those that lie side
/// by side together. Whether Date was among them. What switches protocols, or asks for it with a
/// 426, says to which (RFC 9110, section 7.8 and 15.5.22).
pub fn relay_response(status: StatusCode, replica: &RawResponseHead, to: &mut Vec<u8>) -> bool {
    let mut has_date = false;
    let mut lines = 0..0;
    for header in replica.headers() {
        if !goes_on(status, header.name, replica) {
            continue;
        }
        has_date |= header_name::eq_ignore_case(header.name, b"date");
        match header.line {
            Some(line) if line.start == lines.end => lines.end = line.end,
            line => {
                to.extend_from_slice(replica.part(&lines));
                lines = line.unwrap_or_else(|| {
                    for part in [header.name, b": ", replica.part(header.value), b"\r\n"] {
                        to.extend_from_slice(part);
                    }
                    0..0
                });
            }
        }
    }
    to.extend_from_slice(replica.part(&lines));
    // A 304 may tell the length that the body would have had (RFC 9110, section 8.6).
    if status == StatusCode::NOT_MODIFIED
        && let Some(length) = replica.content_length()
    {
        to.extend_from_slice(b"content-length: ");
        to.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(replica.appended());
    has_date
}

/// Writes the interim responses whose heads lie in `heads`, one behind the other, as the client
/// gets them. 100 is left out: what the client waits for has been said to it before.
pub fn relay_interim(mut heads: &[u8], via: &'static [u8], to: &mut Vec<u8>) {
    loop {
        let mut fields = [EMPTY_HEADER; MAX_HEADERS];
        let mut head = Response::new(&mut fields);
        // They have been read before, so they are whole.
        let Ok(Status::Complete(length)) = head.parse(heads) else {
            return;
        };
        heads = heads.get(length..).unwrap_or_default();
        let status = head.code.unwrap_or_default();
        if status == StatusCode::CONTINUE {
            continue;
        }
        to.extend_from_slice(b"HTTP/1.1 ");
        to.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        to.push(b' ');
        to.extend_from_slice(head.reason.unwrap_or_default().as_bytes());
        to.extend_from_slice(b"\r\n");
        let named: Vec<_> = head
            .headers
            .iter()
            .filter(|field| header_name::eq_ignore_case(field.name.as_bytes(), b"connection"))
            .flat_map(|field| connection::header_names(field.value))
            .collect();
        for field in &*head.headers {
            let name = field.name.as_bytes();
            if !headers::is_hop_by_hop(name) && !named.iter().any(|n| n.eq_ignore_ascii_case(name))
            {
                for part in [name, b": ", field.value, b"\r\n"] {
                    to.extend_from_slice(part);
                }
            }
        }
        to.extend_from_slice(via);
        to.extend_from_slice(b"\r\n");
    }
}

/// Whether a field of a replica's response is for the client, too.
fn goes_on(status: StatusCode, name: &[u8], replica: &RawResponseHead) -> bool {
    if headers::is_hop_by_hop(name) {
        return names_upgrade(status) && header_name::eq_ignore_case(name, b"upgrade");
    }
    let is_named = || {
        let mut named = replica
            .get_all("connection")
            .flat_map(connection::header_names);
        named.any(|other| other.eq_ignore_ascii_case(name))
    };
    !replica.has_connection_headers() || !is_named()
}

/// Whether a response says to which protocol it switches, or could be switched.
pub fn offers_upgrade(status: StatusCode, replica: &RawResponseHead) -> bool {
    names_upgrade(status) && replica.get_all("upgrade").next().is_some()
}

/// Whether a status goes with an Upgrade header for the client (RFC 9110, sections 7.8 and
/// 15.5.22).
fn names_upgrade(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UPGRADE_REQUIRED | StatusCode::SWITCHING_PROTOCOLS
    )
}

/// Whether a trusted proxy says that the client speaks TLS with it.
pub fn is_https(request: &HttpRequest, trusted: &[IpNet]) -> bool {
    // The first of several proxies speaks with the client.
    let proto = request.headers().get(&PROTO);
    let first = proto.and_then(|proto| proto.as_bytes().split(|byte| *byte == b',').next());
    first.is_some_and(|proto| proto.trim_ascii().eq_ignore_ascii_case(b"https"))
        && peer(request).is_some_and(|peer| is_among(trusted, peer))
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

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use actix_web::http::header::HeaderMap;

    use super::super::raw_request::tests::raw;
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
        let raw = raw("/", &[&[("host", "shop.example")], fields].concat());
        let mut to = RequestHeadBuilder::new("GET", b"/");
        let address = Authority::from_static("192.0.2.80:8080");
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        let request = request.to_http_request();
        let cookie = StickyCookie {
            name: "rm".to_owned(),
            ttl: None,
        };
        let via = Via::new("ringmaster").unwrap();
        tell_request(
            &request,
            &raw,
            &trusted,
            Some(&via),
            fresh_id,
            Some(&cookie),
            &address,
            &mut to,
        );
        let head = str::from_utf8(to.as_bytes()).unwrap();
        let mut told: Vec<String> = head.lines().skip(1).map(str::to_owned).collect();
        told.sort();
        told
    }

    #[test]
    fn headers_go_on_in_their_order_and_spelling() {
        let headers = [
            ("X-B", "1"),
            ("HoSt", "shop.example"),
            ("X-Private", "2"),
            ("x-a", "3"),
            ("Cookie", "rm=1"),
            ("COOKIE", "a=b; rm=1"),
            ("Connection", "x-private"),
            ("X-B", "4"),
        ];
        let map = headers
            .iter()
            .fold(TestRequest::default(), |request, header| {
                request.append_header(*header)
            });
        let cookie = StickyCookie {
            name: "rm".to_owned(),
            ttl: None,
        };
        let address = Authority::from_static("192.0.2.80:8080");
        let mut to = RequestHeadBuilder::new("GET", b"/");
        tell_request(
            &map.to_http_request(),
            &raw("/", &headers),
            &[],
            None,
            Some(7),
            Some(&cookie),
            &address,
            &mut to,
        );
        assert_eq!(
            str::from_utf8(to.as_bytes()).unwrap(),
            "GET / HTTP/1.1\r\nX-B: 1\r\nHoSt: shop.example\r\nx-a: 3\r\nCOOKIE: a=b\r\nX-B: 4\r\n\
             x-forwarded-proto: http\r\nx-forwarded-host: shop.example\r\nx-request-id: 7\r\n"
        );
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

    #[test]
    fn what_an_application_would_take_for_ours_is_dropped() {
        let spoofs = [
            "X_Forwarded_For",
            "x-forwarded_proto",
            "X_FORWARDED-Host",
            "x_forwarded_port",
            "x_forwarded_",
            "X_Request-Id",
            "X_Real_IP",
            "true_client_ip",
            "Content_Length",
            "transfer_encoding",
            "Proxy",
        ];
        // Not even a trusted proxy means them: it may pass on what its client says.
        for peer in ["192.0.2.9:1", "10.9.9.9:1"] {
            let silent = told(peer, &[], Some(7));
            for name in spoofs {
                assert_eq!(told(peer, &[(name, "6.6.6.6")], Some(7)), silent, "{name}");
            }
            for name in [
                "x_forwarded",
                "x_user",
                "x-y_z-forwarded-for",
                "proxy-x",
                "a_b",
            ] {
                let told = told(peer, &[(name, "6.6.6.6")], Some(7));
                assert!(told.contains(&format!("{name}: 6.6.6.6")), "{told:?}");
            }
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_who_the_client_is() {
        for name in ["x-real-ip", "true-client-ip", "forwarded", "x-forwarded-x"] {
            let said = [(name, "6.6.6.6")];
            let line = format!("{name}: 6.6.6.6");
            assert!(!told("192.0.2.9:1", &said, None).contains(&line), "{name}");
            assert!(told("10.9.9.9:1", &said, None).contains(&line), "{name}");
        }
    }

    #[test]
    fn the_id_that_routes_is_forwarded_once() {
        let ids = |fields: &[(&str, &str)], fresh_id| {
            let mut told = told("192.0.2.9:1", fields, fresh_id);
            told.retain(|field| field.starts_with("x-request-id"));
            told
        };
        let two = [("x-request-id", "abc"), ("x-request-id", "def")];
        assert_eq!(ids(&two, None), ["x-request-id: abc"]);
        assert_eq!(ids(&two, Some(7)), ["x-request-id: 7"]);
        let named = [("x-request-id", "abc"), ("connection", "x-request-id")];
        assert_eq!(ids(&named, None), ["x-request-id: abc"]);
    }

    #[test]
    fn via_can_be_left_out() {
        let request = TestRequest::default().to_http_request();
        let mut to = RequestHeadBuilder::new("GET", b"/");
        let address = Authority::from_static("192.0.2.80:8080");
        tell_request(
            &request,
            &raw("/", &[]),
            &[],
            None,
            None,
            None,
            &address,
            &mut to,
        );
        assert!(!str::from_utf8(to.as_bytes()).unwrap().contains("via"));
    }

    #[test]
    fn interim_responses_go_on_without_what_concerns_one_connection() {
        let heads = "HTTP/1.1 100 Continue\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-a\r\nX-A: 1\r\n\
             Content-Length: 3\r\n\r\n\
             HTTP/1.1 102 Working\r\n\r\n";
        let mut to = Vec::new();
        relay_interim(heads.as_bytes(), b"via: 1.1 x\r\n", &mut to);
        assert_eq!(
            String::from_utf8(to).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nvia: 1.1 x\r\n\r\n\
             HTTP/1.1 102 Working\r\nvia: 1.1 x\r\n\r\n"
        );
    }

    /// A word in any case.
    fn spelt(word: &'static str) -> impl Strategy<Value = String> {
        let upper = vec(any::<bool>(), word.len());
        upper.prop_map(move |upper| {
            let letters = word.chars().zip(upper);
            let spell = |(letter, upper): (char, bool)| match upper {
                true => letter.to_ascii_uppercase(),
                false => letter,
            };
            letters.map(spell).collect()
        })
    }

    fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::sample::select(words).prop_flat_map(spelt)
    }

    const NAMES: &[&str] = &[
        "x-a",
        "x-b",
        "set-cookie",
        "date",
        "via",
        "upgrade",
        "keep-alive",
        "te",
        "trailer",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "expect",
        "close",
        "age",
    ];
    const OPTIONS: &[&str] = &[
        "close",
        "keep-alive",
        "upgrade",
        "x-a",
        "x-b",
        "date",
        "via",
        "set-cookie",
        "age",
        "content-length",
        "",
        "no token",
        "\u{fc}",
    ];

    /// A line of a head: Connection, or another field, with the spaces and line ends that
    /// replicas may write.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let listed = vec(one_of(OPTIONS), 0..4).prop_map(|options| options.join(" ,").into_bytes());
        let connection = (spelt("connection"), listed);
        let value = proptest::string::bytes_regex(r"(?-u)([!-~\x80-\xff]([ \t]?[!-~])*)?").unwrap();
        let field = prop_oneof![1 => connection, 3 => (one_of(NAMES), value)];
        let space = proptest::sample::select(&[": ", ": ", ": ", ":", ":\t", ":  ", " : "][..]);
        let end = proptest::sample::select(&["\r\n", "\r\n", "\r\n", " \r\n", "\n"][..]);
        (field, space, end).prop_map(|((name, value), space, end)| {
            [name.as_bytes(), space.as_bytes(), &value, end.as_bytes()].concat()
        })
    }

    /// A status, and a head in which somewhere the length is told.
    fn head() -> impl Strategy<Value = (u16, Vec<u8>)> {
        let status = proptest::sample::select(&[200, 204, 304, 404, 426, 503][..]);
        let lines = (
            vec(line(), 0..8),
            vec(line(), 0..8),
            spelt("content-length"),
        );
        (status, lines).prop_map(|(status, (before, after, length))| {
            let mut head = format!("HTTP/1.1 {status} Hm\r\n").into_bytes();
            head.extend(before.concat());
            head.extend(format!("{length}: 7\r\n").as_bytes());
            head.extend(after.concat());
            head.extend(b"\r\n");
            (status, head)
        })
    }

    /// Lines in an order that does not depend on how they came about.
    fn sorted<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Vec<String> {
        let mut lines: Vec<_> = lines.map(|line| line.escape_ascii().to_string()).collect();
        lines.sort();
        lines
    }

    /// A line whose name is in lower case, as it is in a map.
    fn lower_name(line: &[u8]) -> Vec<u8> {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let (name, rest) = line.split_at(colon);
        [&name.to_ascii_lowercase(), rest].concat()
    }

    /// What [`relay_response`] leaves of lines, of a map.
    fn keep_what_is_relayed(status: StatusCode, map: &mut HeaderMap) {
        let named: Vec<_> = map
            .get_all(header::CONNECTION)
            .flat_map(|value| connection::header_names(value.as_bytes()))
            .filter_map(|option| HeaderName::from_bytes(option).ok())
            .collect();
        map.retain(|name, _| {
            let is_upgrade = status == StatusCode::UPGRADE_REQUIRED && name == header::UPGRADE;
            let is_hop_by_hop = headers::is_hop_by_hop(name.as_str().as_bytes());
            is_upgrade || (!is_hop_by_hop && !named.contains(name))
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Lines and a map are two ways for the same; but the length that a 304 tells is put
        /// back into a map by whoever knows it.
        #[test]
        fn lines_that_go_through_are_those_that_a_map_would_leave((status, head) in head()) {
            let status = StatusCode::from_u16(status).unwrap();
            let replica = RawResponseHead::parse(&head);
            let mut lines = Vec::new();
            let has_date = relay_response(status, &replica, &mut lines);
            let lines = lines.split_inclusive(|byte| *byte == b'\n').map(lower_name);
            let lines: Vec<_> = lines.collect();

            let mut map = HeaderMap::new();
            replica.fill(&mut map);
            keep_what_is_relayed(status, &mut map);
            if status == StatusCode::NOT_MODIFIED {
                map.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
            }
            let left: Vec<Vec<u8>> = map
                .iter()
                .map(|(name, value)| [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat())
                .collect();
            prop_assert_eq!(
                sorted(lines.iter().map(Vec::as_slice)),
                sorted(left.iter().map(Vec::as_slice))
            );
            prop_assert_eq!(has_date, map.contains_key(header::DATE));
            prop_assert_eq!(
                offers_upgrade(status, &replica),
                map.contains_key(header::UPGRADE)
            );
        }
    }
}
