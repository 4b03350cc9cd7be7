//! Sessions that stay with their replica by a cookie of ours (`--sticky-cookie`).
//!
//! The cookie's value is an opaque key: hashed like any other, so nothing is remembered here,
//! and each balancer of a fleet reads it alike. The first answer of a session sets a key that
//! hashes to the replica which gave it.

use std::borrow::Cow;

use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue, InvalidHeaderValue};

use crate::config::StickyCookie;
use crate::ring::SessionKey;

/// The key that a request's cookie holds.
pub fn value_of<'r>(cookie: &StickyCookie, headers: &'r HeaderMap) -> Option<&'r [u8]> {
    let pairs = headers
        .get_all(COOKIE)
        .flat_map(|line| pairs(line.as_bytes()));
    let mut values = pairs.filter_map(|pair| value_in(pair, &cookie.name));
    values.find(|value| !value.is_empty())
}

/// A Cookie header for a replica: without ours. None if nothing is left of it.
pub fn strip<'v>(cookie: &StickyCookie, line: &'v [u8]) -> Option<Cow<'v, [u8]>> {
    let is_ours = |pair: &&[u8]| value_in(pair, &cookie.name).is_some();
    if !pairs(line).any(|pair| is_ours(&pair)) {
        return Some(line.into());
    }
    let others: Vec<_> = pairs(line).filter(|pair| !is_ours(pair)).collect();
    (!others.is_empty()).then(|| others.join(&b"; "[..]).into())
}

/// The value of the Set-Cookie header that gives a session its key.
///
/// # Errors
///
/// None in practice: the name has been checked.
pub fn set_cookie(
    cookie: &StickyCookie,
    key: SessionKey,
    is_secure: bool,
) -> Result<HeaderValue, InvalidHeaderValue> {
    let name = &cookie.name;
    let mut text = format!("{name}={key}; Path=/; HttpOnly; SameSite=Lax");
    if let Some(ttl) = cookie.ttl {
        text.push_str(&format!("; Max-Age={}", ttl.as_secs()));
    }
    if is_secure {
        text.push_str("; Secure");
    }
    text.try_into()
}

/// The pairs of a Cookie header (RFC 6265, section 4.2.1).
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pairs = line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty())
}

/// The value of a pair of that name.
fn value_in<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let rest = pair.strip_prefix(name.as_bytes())?;
    rest.strip_prefix(b"=").map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cookie(ttl: Option<u64>) -> StickyCookie {
        StickyCookie {
            name: "rm".to_owned(),
            ttl: ttl.map(Duration::from_secs),
        }
    }

    #[test]
    fn cookie_is_found_by_its_whole_name_and_taken_out_alone() {
        for (line, value, left) in [
            ("rm=1", Some("1"), None),
            ("a=b; rm=1; c=d", Some("1"), Some("a=b; c=d")),
            ("a=b;rm = 1;c=d", None, Some("a=b;rm = 1;c=d")),
            ("arm=1; rmx=2; RM=3", None, Some("arm=1; rmx=2; RM=3")),
            ("rm=; rm=2", Some("2"), None),
            ("rm", None, Some("rm")),
            ("a=rm=1", None, Some("a=rm=1")),
            ("", None, Some("")),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, line.parse().unwrap());
            let found = value_of(&cookie(None), &headers);
            assert_eq!(found, value.map(str::as_bytes), "{line}");
            let rest = strip(&cookie(None), line.as_bytes());
            assert_eq!(rest.as_deref(), left.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let text = |ttl, secure| {
            let value = set_cookie(&cookie(ttl), SessionKey(0xabc), secure).unwrap();
            value.to_str().unwrap().to_owned()
        };
        assert_eq!(
            text(None, false),
            "rm=0000000000000abc; Path=/; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            text(Some(3600), true),
            "rm=0000000000000abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure"
        );
    }
}
