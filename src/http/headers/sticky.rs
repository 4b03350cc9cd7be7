//! Sessions that stay with their replica by a cookie of ours (`--sticky-cookie`).
//!
//! The cookie's value is an opaque key: hashed like any other, so nothing is remembered here,
//! and each balancer of a fleet reads it alike. The first answer of a session sets a key that
//! hashes to the replica which gave it.

use actix_web::http::header::{HeaderValue, InvalidHeaderValue};

use super::cookies::{pairs, value_in};
use crate::config::StickyCookie;
use crate::h1::HeaderLines;
use crate::ring::SessionKey;

/// The key that a request's cookie holds.
pub fn value_of<'r>(cookie: &StickyCookie, headers: &'r HeaderLines) -> Option<&'r [u8]> {
    let pairs = headers.get_all("cookie").flat_map(pairs);
    let mut values = pairs.filter_map(|pair| value_in(pair, &cookie.name));
    values.find(|value| !value.is_empty())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::raw_request::tests::raw;

    fn cookie(ttl: Option<u64>) -> StickyCookie {
        StickyCookie {
            name: "rm".to_owned(),
            ttl: ttl.map(Duration::from_secs),
        }
    }

    #[test]
    fn cookie_is_found_by_its_whole_name() {
        for (line, value) in [
            ("rm=1", Some("1")),
            ("a=b; rm=1; c=d", Some("1")),
            ("a=b;rm = 1;c=d", None),
            ("arm=1; rmx=2; RM=3", None),
            ("rm=; rm=2", Some("2")),
            ("rm", None),
            ("a=rm=1", None),
            ("", None),
        ] {
            let raw = raw("/", &[("Cookie", line)]);
            let found = value_of(&cookie(None), &raw.headers);
            assert_eq!(found, value.map(str::as_bytes), "{line}");
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
