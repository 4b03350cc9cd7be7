//! Where a request's key comes from (`--key`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The part of a request that is hashed. Where a request lacks it, its id is hashed
/// instead (see [`KeySource::Id`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeySource {
    /// The request's id: `X-Request-ID`, else a random six-digit number.
    #[default]
    Id,
    /// The value of a header. The name is valid and in lower case.
    Header(String),
    /// The value of a cookie. The name is valid; its case counts.
    Cookie(String),
    /// The value of a parameter of the query string. The name is not empty and is
    /// compared as it stands, percent-encoding included.
    Query(String),
    /// The path, without the query string.
    Path,
    /// The client's IP address.
    ClientIp,
}

impl KeySource {
    /// What a text may be that is read as one, for people.
    pub const ALLOWED: &'static str = "id, header:NAME, cookie:NAME, query:NAME, path or client-ip";
}

impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        let named = |good: fn(&str) -> bool| match name {
            None | Some("") => Err(format!("a name is missing: write {kind}:NAME")),
            Some(name) if good(name) => Ok(name.to_owned()),
            Some(name) => Err(format!("{name:?} cannot be the name of a {kind}")),
        };
        let alone = |source| match name {
            None => Ok(source),
            Some(_) => Err(format!("{kind} takes no name")),
        };
        match kind {
            "id" => alone(Self::Id),
            "path" => alone(Self::Path),
            "client-ip" => alone(Self::ClientIp),
            // Header names are compared without regard to case: one form, known to all.
            "header" => Ok(Self::Header(named(is_token)?.to_ascii_lowercase())),
            "cookie" => Ok(Self::Cookie(named(is_token)?)),
            "query" => Ok(Self::Query(named(is_in_query)?)),
            _ => Err("not a kind of key".to_owned()),
        }
    }
}

impl TryFrom<String> for KeySource {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<KeySource> for String {
    fn from(source: KeySource) -> Self {
        source.to_string()
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("id"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path => f.write_str("path"),
            Self::ClientIp => f.write_str("client-ip"),
        }
    }
}

/// A `token` (RFC 9110, section 5.6.2): what headers and cookies may be called.
fn is_token(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A name that can stand in a query string.
fn is_in_query(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_graphic() && !b"&=#".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_source_reads_back_as_it_was_written_and_others_are_refused() {
        for text in [
            "id",
            "path",
            "client-ip",
            "header:x-user",
            "cookie:SID",
            "query:user%20id",
        ] {
            let source: KeySource = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
            let json = serde_json::to_string(&source).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<KeySource>(&json).unwrap(), source);
        }
        assert_eq!(
            "header:X-User".parse(),
            Ok(KeySource::Header("x-user".to_owned()))
        );
        for (text, wrong) in [
            ("", "not a kind of key"),
            ("moon", "not a kind of key"),
            ("path:x", "path takes no name"),
            ("header", "a name is missing: write header:NAME"),
            ("cookie:", "a name is missing: write cookie:NAME"),
            ("header:a b", "\"a b\" cannot be the name of a header"),
            ("cookie:a=b", "\"a=b\" cannot be the name of a cookie"),
            ("query:a&b", "\"a&b\" cannot be the name of a query"),
            ("query:a b", "\"a b\" cannot be the name of a query"),
        ] {
            assert_eq!(text.parse::<KeySource>(), Err(wrong.to_owned()), "{text}");
        }
    }
}
