//! The pairs of a Cookie header, and which of them replicas neither get nor set: those of
//! Ringmaster's own.
//!
//! Cookies know no ports. A browser sends the session of the admin listener's dashboard to the
//! client port of the same host, too, and a replica's Set-Cookie there could replace it.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::config::StickyCookie;

/// What the name of a dashboard's session cookie begins with; the port of its listener follows.
pub const SESSION_COOKIE: &str = "ringmaster_session_";

static SESSION_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(SESSION_COOKIE));

/// The pairs of a Cookie header (RFC 6265, section 4.2.1).
pub fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pairs = line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty())
}

/// The value of a pair of that name.
pub fn value_in<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let rest = pair.strip_prefix(name.as_bytes())?;
    rest.strip_prefix(b"=").map(<[u8]>::trim_ascii)
}

/// The values of the session cookies in a Cookie header, of this listener and of others.
pub fn session_values(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let sessions = pairs(line).filter(|pair| is_session(pair));
    sessions.filter_map(|pair| pair.splitn(2, |byte| *byte == b'=').nth(1))
}

/// A Cookie header for a replica: borrowed if nothing of it is Ringmaster's, None if nothing else
/// is in it.
pub fn strip<'v>(line: &'v [u8], sticky: Option<&StickyCookie>) -> Option<Cow<'v, [u8]>> {
    let has_session = SESSION_FINDER.find(line).is_some();
    if !has_session && sticky.is_none() {
        return Some(line.into());
    }
    let is_sticky =
        |pair: &[u8]| sticky.is_some_and(|cookie| value_in(pair, &cookie.name).is_some());
    let is_own = |pair: &[u8]| (has_session && is_session(pair)) || is_sticky(pair);
    if !pairs(line).any(is_own) {
        return Some(line.into());
    }
    let others: Vec<_> = pairs(line).filter(|pair| !is_own(pair)).collect();
    (!others.is_empty()).then(|| others.join(&b"; "[..]).into())
}

/// Whether the value of a Set-Cookie header sets a session cookie. Browsers send a cookie without
/// a name (`=NAME=VALUE`) as if it had one.
pub fn sets_session(value: &[u8]) -> bool {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'=');
    let begin = value.iter().position(|byte| !is_blank(byte));
    is_session(&value[begin.unwrap_or(value.len())..])
}

fn is_session(pair: &[u8]) -> bool {
    pair.starts_with(SESSION_COOKIE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_of_ringmaster_are_taken_out_alone() {
        let sticky = StickyCookie {
            name: "rm".to_owned(),
            ttl: None,
        };
        for (line, left, with_sticky) in [
            ("a=b", Some("a=b"), Some("a=b")),
            ("rm=1", Some("rm=1"), None),
            ("a=b; rm=1; c=d", Some("a=b; rm=1; c=d"), Some("a=b; c=d")),
            (
                "a=b;rm = 1;c=d",
                Some("a=b;rm = 1;c=d"),
                Some("a=b;rm = 1;c=d"),
            ),
            (
                "arm=1; rmx=2; RM=3",
                Some("arm=1; rmx=2; RM=3"),
                Some("arm=1; rmx=2; RM=3"),
            ),
            ("a=rm=1", Some("a=rm=1"), Some("a=rm=1")),
            ("", Some(""), Some("")),
            ("ringmaster_session_5001=x", None, None),
            ("ringmaster_session_5001=x; rm=1", Some("rm=1"), None),
            (
                "a=b;ringmaster_session_1=x;c=d; ringmaster_session_2=y",
                Some("a=b; c=d"),
                Some("a=b; c=d"),
            ),
            ("ringmaster_session_5001", None, None),
            (
                "a=ringmaster_session_1",
                Some("a=ringmaster_session_1"),
                Some("a=ringmaster_session_1"),
            ),
            (
                "xringmaster_session_1=x",
                Some("xringmaster_session_1=x"),
                Some("xringmaster_session_1=x"),
            ),
        ] {
            let text = |left: Option<Cow<'_, [u8]>>| {
                left.map(|left| String::from_utf8_lossy(&left).into_owned())
            };
            assert_eq!(
                text(strip(line.as_bytes(), None)).as_deref(),
                left,
                "{line}"
            );
            assert_eq!(
                text(strip(line.as_bytes(), Some(&sticky))).as_deref(),
                with_sticky,
                "{line}"
            );
        }
        assert!(matches!(
            strip(b"a=b", Some(&sticky)),
            Some(Cow::Borrowed(_))
        ));
    }

    #[test]
    fn set_cookie_of_a_session_is_known_without_a_name_too() {
        for (value, is_session) in [
            ("ringmaster_session_5001=x; Path=/", true),
            (" ringmaster_session_5001=x", true),
            ("=ringmaster_session_5001=x", true),
            (" = ringmaster_session_5001", true),
            ("ringmaster_session=x", false),
            ("a=ringmaster_session_5001=x", false),
            ("", false),
            ("=", false),
        ] {
            assert_eq!(sets_session(value.as_bytes()), is_session, "{value}");
        }
    }

    #[test]
    fn session_values_are_those_of_all_ports() {
        let values = |line: &'static str| session_values(line.as_bytes()).collect::<Vec<_>>();
        let line = "a=b; ringmaster_session_1=x=; ringmaster_session_2=y; ringmaster_session_3";
        assert_eq!(values(line), [&b"x="[..], b"y"]);
        assert!(values("ringmaster=1").is_empty());
    }
}
