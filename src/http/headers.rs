//! Which header fields go on, and which concern one connection only.

use actix_web::http::header::{self, HeaderMap, HeaderName};

/// Fields that concern one connection (RFC 9110, section 7.6.1, and the older
/// Keep-Alive and Proxy-Connection).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Copies every field that concerns the other end, several of one name included. The
/// length goes separately: whoever writes the message knows it.
///
/// Expect ends here too (RFC 9110, section 10.1.1). actix has answered `100-continue`
/// before a handler sees the request, so what the client waits for has been said, and the
/// replica would say it to nobody. The head goes on at once all the same, and a replica's
/// early answer (a 413, say) reaches the client while its body is still on the way.
pub fn copy_end_to_end(from: &HeaderMap, to: &mut HeaderMap) {
    copy_end_to_end_but(from, to, |_| false);
}

/// The same, without fields that somebody else sees to.
pub fn copy_end_to_end_but(
    from: &HeaderMap,
    to: &mut HeaderMap,
    seen_to: impl Fn(&HeaderName) -> bool,
) {
    let named = from.contains_key(header::CONNECTION);
    for (name, value) in from {
        let stays = HOP_BY_HOP.contains(name)
            || *name == header::CONTENT_LENGTH
            || *name == header::EXPECT
            || (named && is_named_by_connection(from, name))
            || seen_to(name);
        if !stays {
            to.append(name.clone(), value.clone());
        }
    }
}

/// Whether the Connection field says that another field is for this connection only.
pub fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers
        .get_all(header::CONNECTION)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case(name.as_str()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn what_concerns_the_connection_stays_behind() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("content-length", "5"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("host", "shop.example"),
        ] {
            from.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        // Names in constants are lower case, and Connection may spell them as it likes.
        let mut to = HeaderMap::new();
        copy_end_to_end(&from, &mut to);
        let mut left: Vec<String> = to
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["host: shop.example", "set-cookie: a=1", "set-cookie: b=2"]
        );
    }
}
