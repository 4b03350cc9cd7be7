//! Which header fields go on, and which concern one connection only.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::h1::{connection, header_name};

/// The fields that concern the other end, several of one name included. The length goes
/// separately: whoever writes the message knows it.
///
/// Expect ends here too (RFC 9110, section 10.1.1). actix has answered `100-continue`
/// before a handler sees the request, so what the client waits for has been said, and the
/// replica would say it to nobody. The head goes on at once all the same, and a replica's
/// early answer (a 413, say) reaches the client while its body is still on the way.
pub fn end_to_end(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let named = headers.contains_key(header::CONNECTION);
    headers.iter().filter(move |(name, _)| {
        !concerns_one_connection(name) && (!named || !is_named_by_connection(headers, name))
    })
}

/// Whether a field of this name, a token in any case, concerns one connection only (RFC 9110,
/// section 7.6.1, and the older Keep-Alive and Proxy-Connection), or its length.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    // The length alone tells most names apart.
    let candidates: &[&str] = match name.len() {
        2 => &["te"],
        6 => &["expect"],
        7 => &["upgrade", "trailer"],
        10 => &["connection", "keep-alive"],
        14 => &["content-length"],
        16 => &["proxy-connection"],
        17 => &["transfer-encoding"],
        18 => &["proxy-authenticate"],
        19 => &["proxy-authorization"],
        _ => return false,
    };
    let mut candidates = candidates.iter();
    candidates.any(|other| header_name::eq_ignore_case(name, other.as_bytes()))
}

fn concerns_one_connection(name: &HeaderName) -> bool {
    is_hop_by_hop(name.as_str().as_bytes())
}

/// Whether the Connection field says that another field is for this connection only.
pub fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let mut values = headers
        .get_all(header::CONNECTION)
        .map(HeaderValue::as_bytes);
    values.any(|value| connection::options(value).any(|option| option.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
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
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut passed: Vec<String> = end_to_end(&from).map(text).collect();
        passed.sort();
        assert_eq!(
            passed,
            ["host: shop.example", "set-cookie: a=1", "set-cookie: b=2"]
        );
    }
}
