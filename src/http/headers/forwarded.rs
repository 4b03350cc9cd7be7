//! A client's headers for a replica: what goes on, and what a proxy adds about the request's way
//! (Via, X-Forwarded-*, X-Request-ID).
//!
//! Replicas believe these fields, for log lines and for access. So they say what we saw
//! ourselves, and what a client says in them counts only if it is a proxy that the operator
//! trusts (`--trusted-proxy`).

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::Version;
use actix_web::http::uri::Authority;
use ipnet::IpNet;

use super::client_ip::{FORWARDED_FOR, FORWARDED_PROTO, is_among, peer};
use super::ip_text::AddressText;
use super::request_id::REQUEST_ID;
use super::via::Via;
use super::{cookies, hop_by_hop, max_forwards};
use crate::config::StickyCookie;
use crate::h1::header_name;
use crate::http::raw_request::RawRequest;
use crate::upstream::RequestHeadBuilder;

/// The replica that a request goes to, for spares, whose names are not its own. A client has no say in it.
pub const REPLICA: &str = "ringmaster-replica";

const FORWARDED_HOST: &str = "x-forwarded-host";

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

/// A client's request line and headers for a replica, in the order and the spelling in which they came; a replica's
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
    let peer = peer(request);
    let is_trusted = peer.is_some_and(|peer| is_among(trusted, peer));
    // The authority of a target in absolute form is the host (RFC 9112, section 3.2.2).
    let target = request.uri();
    let told = target.scheme().and(target.authority()).map(authority_of);
    let own = raw.host();
    // Lines that lie side by side go on together.
    let mut lines = raw.request_line().unwrap_or_else(|| {
        let method = request.method();
        to.request_line(method.as_str(), &raw.target_of(method));
        0..0
    });
    if own.is_none() {
        to.raw_lines(raw.headers.part(&lines));
        lines = 0..0;
        to.header("host", told.unwrap_or_else(|| authority_of(address)));
    }
    let (mut tells_proto, mut tells_host) = (false, false);
    // An id that the balancer gives comes last.
    let mut has_id = fresh_id.is_some();
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
            role if role != Role::Trailer && hop_by_hop::is_hop_by_hop(name) => continue,
            _ if raw.has_connection_headers && raw.headers.is_named_by_connection(name) => continue,
            Role::Plain | Role::Trailer => {}
            Role::Cookie => match cookies::strip(raw.headers.part(header.value), sticky_cookie) {
                Some(Cow::Borrowed(_)) => {}
                Some(rest) => (value, line) = (rest, None),
                None => continue,
            },
            Role::MaxForwards => {
                let left = max_forwards::read(&value);
                if let (true, Some(left)) = (max_forwards::counts_for(request.method()), left) {
                    let fewer = left.saturating_sub(1).to_string();
                    (value, line) = (fewer.into_bytes().into(), None);
                }
            }
            // What is kept of a trusted proxy's X-Forwarded-For goes into one header with ours.
            Role::For => continue,
            Role::Way if is_trusted => {
                tells_proto |= header_name::eq_ignore_case(name, FORWARDED_PROTO.as_bytes());
                tells_host |= header_name::eq_ignore_case(name, FORWARDED_HOST.as_bytes());
            }
            Role::Way => continue,
            // The first one is the key.
            Role::Id if has_id => continue,
            Role::Id => has_id = true,
        }
        match line {
            Some(line) if line.start == lines.end => lines.end = line.end,
            line => {
                to.raw_lines(raw.headers.part(&lines));
                lines = line.unwrap_or_else(|| {
                    for part in [name, b": ", &value, b"\r\n"] {
                        to.raw_lines(part);
                    }
                    0..0
                });
            }
        }
    }
    to.raw_lines(raw.headers.part(&lines));
    if let Some(peer) = peer {
        let before = is_trusted
            .then(|| raw.headers.get_all(FORWARDED_FOR))
            .into_iter()
            .flatten();
        let before = before.filter(|value| !value.is_empty());
        to.list_header("x-forwarded-for", before, AddressText::of(peer).as_bytes());
    }
    // What a trusted proxy has not said is as we see it.
    if !tells_proto {
        to.raw_lines(b"x-forwarded-proto: http\r\n");
    }
    if let (false, Some(host)) = (tells_host, told.or(own)) {
        to.header(FORWARDED_HOST, host);
    }
    if let Some(id) = fresh_id {
        let mut digits = itoa::Buffer::new();
        to.header(REQUEST_ID, digits.format(id).as_bytes());
    } else if !has_id && let Some(id) = raw.request_id() {
        // Connection names it, but it is what the request was routed by.
        to.header(REQUEST_ID, id);
    }
    // Several headers of one name are one list (RFC 9110, section 5.3).
    if let Some(via) = via {
        to.raw_lines(via.line(request.version() < Version::HTTP_11));
    }
}

/// Whether a header of this name says nothing that the balancer says, or acts on, itself.
pub fn is_plain(name: &[u8]) -> bool {
    Role::of(name) == Role::Plain
}

/// What a request's header is for the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Nothing of its concern.
    Plain,
    /// It names the host, which the target may do, too.
    Host,
    /// It may hold cookies of the balancer's own.
    Cookie,
    /// It tells of the client and of the request's way, which a trusted proxy may.
    Way,
    /// X-Forwarded-For.
    For,
    /// The request's id.
    Id,
    /// Max-Forwards, which counts down where it counts.
    MaxForwards,
    /// Trailer: it names the fields that follow the body, and goes on with them.
    Trailer,
    /// It is dropped: an application would mistake it for a header of a proxy, or of ours.
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
            (b't', 7) if is(b"trailer") => Self::Trailer,
            (b'f', 9) if is(b"forwarded") => Self::Way,
            (b'm', 12) if is(max_forwards::MAX_FORWARDS.as_bytes()) => Self::MaxForwards,
            (b'r', 18) if is(REPLICA.as_bytes()) => Self::Refused,
            (b'x', 12) if is(REQUEST_ID.as_bytes()) => Self::Id,
            (b'x', 9) if is(b"x-real-ip") => Self::Way,
            (b'x', 15) if is(FORWARDED_FOR.as_bytes()) => Self::For,
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

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::http::raw_request::tests::raw;

    const SAID: [(&str, &str); 6] = [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.2, 192.0.2.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.1 before"),
    ];

    fn told(peer: &str, fields: &[(&str, &str)], fresh_id: Option<u64>) -> Vec<String> {
        let request = TestRequest::default().peer_addr(peer.parse().unwrap());
        let raw = raw("/", &[&[("host", "shop.example")], fields].concat());
        let mut to = RequestHeadBuilder::empty();
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
            ("cookie", "ringmaster_session_5001=x"),
            ("cookie", "e=f;g"),
            ("Connection", "x-private"),
            ("X-B", "4"),
        ];
        let cookie = StickyCookie {
            name: "rm".to_owned(),
            ttl: None,
        };
        let address = Authority::from_static("192.0.2.80:8080");
        let mut to = RequestHeadBuilder::empty();
        tell_request(
            &TestRequest::default().to_http_request(),
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
            "GET / HTTP/1.1\r\nX-B: 1\r\nHoSt: shop.example\r\nx-a: 3\r\nCOOKIE: a=b\r\ncookie: e=f;g\r\nX-B: 4\r\n\
             x-forwarded-proto: http\r\nx-forwarded-host: shop.example\r\nx-request-id: 7\r\n"
        );
    }

    #[test]
    fn forwarding_headers_of_an_untrusted_client_are_dropped() {
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
    fn forwarding_headers_of_a_trusted_proxy_go_on() {
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
        let mut to = RequestHeadBuilder::empty();
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
}
