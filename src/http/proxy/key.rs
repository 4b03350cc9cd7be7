//! Where a request's key comes from (`--key`).

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use ipnet::IpNet;

use crate::http::headers::{client_ip, cookies};
use crate::http::raw_request::RawRequest;
use crate::ring::{Key, KeySource};

/// An id for a request that has none of its own.
///
/// As in the original write-up: a random six-digit number.
pub fn fresh_id(raw: &RawRequest) -> Option<u64> {
    let own = raw.request_id();
    let has_own = own.is_some_and(|id| !id.is_empty());
    (!has_own).then(|| fastrand::u64(100_000..1_000_000))
}

/// The key of a request, to which an id may have been given.
pub fn of(
    request: &HttpRequest,
    raw: &RawRequest,
    source: &KeySource,
    trusted_proxies: &[IpNet],
    fresh_id: Option<u64>,
) -> Key {
    find(request, raw, source, trusted_proxies).unwrap_or_else(|| id_of(raw, fresh_id))
}

fn find(
    request: &HttpRequest,
    raw: &RawRequest,
    source: &KeySource,
    trusted_proxies: &[IpNet],
) -> Option<Key> {
    match source {
        KeySource::Id => None,
        KeySource::Header(name) => {
            let mut headers = raw.headers.iter();
            let header =
                headers.find(|header| header.name.eq_ignore_ascii_case(name.as_bytes()))?;
            Some(Key::from_bytes(raw.headers.part(header.value)))
        }
        KeySource::Cookie(name) => {
            let mut pairs = raw.headers.get_all("cookie").flat_map(cookies::pairs);
            // The value as applications see it: decoded.
            let cookie = pairs.find_map(|pair| {
                let cookie = Cookie::parse_encoded(str::from_utf8(pair).ok()?).ok()?;
                (cookie.name() == name).then_some(cookie)
            })?;
            Some(Key::from_bytes(cookie.value().as_bytes()))
        }
        KeySource::Query(name) => query_value(raw.query(), name.as_bytes()).map(Key::from_bytes),
        KeySource::Path => Some(Key::from_bytes(raw.path())),
        KeySource::ClientIp => {
            let address = client_ip::client(request, &raw.headers, trusted_proxies)?;
            Some(Key::from_bytes(address.to_string().as_bytes()))
        }
    }
}

fn id_of(raw: &RawRequest, fresh_id: Option<u64>) -> Key {
    let own = || Key::from_bytes(raw.request_id().unwrap_or_default());
    fresh_id.map_or_else(own, Key)
}

/// The first value of a parameter, as it stands: what is encoded differently is a
/// different key, which costs nothing and decodes nothing.
fn query_value<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    query
        .split(|byte| *byte == b'&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::config::Limits;
    use crate::http::context::HttpSettings;
    use crate::http::raw_request::tests::raw;

    pub fn settings() -> HttpSettings {
        HttpSettings {
            sticky_cookie: None,
            trusted_proxies: ["10.9.0.0/16".parse().unwrap()].into(),
            admin_guard: Default::default(),
            resends: 1,
            limits: Limits::default(),
            outlier_on: Default::default(),
            tells_replica: false,
            server_timing: false,
            replica_header: None,
            via: None,
        }
    }

    #[test]
    fn each_source_finds_its_part_of_the_request() {
        let request = TestRequest::with_uri("/shop/cart?user=42&sid=b%20c&empty=")
            .peer_addr("10.1.2.3:4444".parse().unwrap())
            .to_http_request();
        let text = |text: &str| Key::from_bytes(text.as_bytes());
        for (source, expected) in [
            (KeySource::Id, Key(123_456)),
            (KeySource::Header("x-user_id".into()), text("alice")),
            (KeySource::Cookie("session".into()), text("xyz")),
            (KeySource::Query("user".into()), Key(42)),
            (KeySource::Query("sid".into()), text("b%20c")),
            (KeySource::Path, text("/shop/cart")),
            (KeySource::ClientIp, text("10.1.2.3")),
            // Absent: the id.
            (KeySource::Header("x-other".into()), Key(123_456)),
            (KeySource::Cookie("other".into()), Key(123_456)),
            (KeySource::Query("empty".into()), Key(123_456)),
            (KeySource::Query("use".into()), Key(123_456)),
        ] {
            let headers = [
                ("X-Request-ID", "123456"),
                ("X-User_Id", "alice"),
                ("Cookie", "a=1; =; session=x%79z"),
            ];
            let raw = raw("/shop/cart?user=42&sid=b%20c&empty=", &headers);
            let key = of(&request, &raw, &source, &[], fresh_id(&raw));
            assert_eq!(key, expected, "{source:?}");
        }
    }

    #[test]
    fn the_client_of_a_trusted_proxy_is_whom_it_forwards_for() {
        let key_of = |peer: &str, said: &[&str]| {
            let request = TestRequest::default().peer_addr(peer.parse().unwrap());
            let headers: Vec<_> = said.iter().map(|v| ("X-Forwarded-For", *v)).collect();
            of(
                &request.to_http_request(),
                &raw("/", &headers),
                &KeySource::ClientIp,
                &settings().trusted_proxies,
                Some(1),
            )
        };
        type Row = (&'static str, &'static [&'static str], &'static str);
        let rows: &[Row] = &[
            // A stranger says what it likes.
            ("192.0.2.9:1", &["192.0.2.1"], "192.0.2.9"),
            ("10.9.0.1:1", &[], "10.9.0.1"),
            ("10.9.0.1:1", &["192.0.2.1"], "192.0.2.1"),
            ("[::ffff:10.9.0.1]:1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            (
                "10.9.0.1:1",
                &["192.0.2.66, 192.0.2.1 ,10.9.3.3"],
                "192.0.2.1",
            ),
            (
                "10.9.0.1:1",
                &["192.0.2.66", "192.0.2.1", "10.9.3.3"],
                "192.0.2.1",
            ),
            ("10.9.0.1:1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("10.9.0.1:1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.9.0.1:1", &["2001:db8::1"], "2001:db8::1"),
            // Only proxies: the first of them.
            ("10.9.0.1:1", &["10.9.0.3, 10.9.0.2"], "10.9.0.3"),
            // What is no address hides all before it.
            ("10.9.0.1:1", &["192.0.2.1, unknown, 10.9.0.2"], "10.9.0.2"),
            ("10.9.0.1:1", &["192.0.2.1, "], "10.9.0.1"),
        ];
        for (peer, said, client) in rows {
            assert_eq!(
                key_of(peer, said),
                Key::from_bytes(client.as_bytes()),
                "{peer} {said:?}"
            );
        }
    }

    #[test]
    fn a_request_without_an_id_gets_a_random_one_of_six_digits() {
        let request = TestRequest::default().to_http_request();
        let raw = raw("/", &[]);
        let key = |_| of(&request, &raw, &KeySource::Id, &[], fresh_id(&raw));
        let keys: std::collections::HashSet<Key> = (0..100).map(key).collect();
        assert!(keys.len() > 90);
        assert!(keys.iter().all(|k| (100_000..1_000_000).contains(&k.0)));
    }
}
