//! Where a request's key comes from (`--key`).

use std::fmt;
use std::str::FromStr;

/// The part of a request that is hashed. Where a request lacks it, its id is hashed
/// instead (see [`KeySource::Id`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
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

/// Why a text is no [`KeySource`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySource {
    /// It is none of the words.
    #[error("not a kind of key")]
    Unknown,
    /// `header`, `cookie` or `query` alone.
    #[error("a name is missing: write {0}:NAME")]
    NameMissing(&'static str),
    /// The name cannot be one.
    #[error("{name:?} cannot be the name of a {kind}")]
    BadName {
        /// What it should be the name of.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name where none belongs.
    #[error("{0} takes no name")]
    NameUnused(&'static str),
}

impl FromStr for KeySource {
    type Err = InvalidKeySource;

    fn from_str(text: &str) -> Result<Self, InvalidKeySource> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        let named = |kind, good: fn(&str) -> bool| match name {
            None | Some("") => Err(InvalidKeySource::NameMissing(kind)),
            Some(name) if good(name) => Ok(name.to_owned()),
            Some(name) => Err(InvalidKeySource::BadName {
                kind,
                name: name.to_owned(),
            }),
        };
        let alone = |kind, source| match name {
            None => Ok(source),
            Some(_) => Err(InvalidKeySource::NameUnused(kind)),
        };
        match kind {
            "id" => alone("id", Self::Id),
            "path" => alone("path", Self::Path),
            "client-ip" => alone("client-ip", Self::ClientIp),
            // Header names are compared without regard to case: one form, known to all.
            "header" => Ok(Self::Header(
                named("header", is_token)?.to_ascii_lowercase(),
            )),
            "cookie" => Ok(Self::Cookie(named("cookie", is_token)?)),
            "query" => Ok(Self::Query(named("query", is_in_query)?)),
            _ => Err(InvalidKeySource::Unknown),
        }
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
pub(super) fn is_token(name: &str) -> bool {
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
    fn every_kind_reads_and_writes_itself() {
        for text in [
            "id",
            "header:x-user-id",
            "cookie:SESSION",
            "query:user",
            "query:a:b",
            "path",
            "client-ip",
        ] {
            assert_eq!(text.parse::<KeySource>().unwrap().to_string(), text);
        }
        assert_eq!(
            "header:X-User-Id".parse(),
            Ok(KeySource::Header("x-user-id".into()))
        );
        for (text, expected) in [
            ("", "not a kind of key"),
            ("ID", "not a kind of key"),
            ("ip", "not a kind of key"),
            ("header", "a name is missing: write header:NAME"),
            ("cookie:", "a name is missing: write cookie:NAME"),
            ("header:a b", "\"a b\" cannot be the name of a header"),
            ("cookie:a=b", "\"a=b\" cannot be the name of a cookie"),
            ("query:a&b", "\"a&b\" cannot be the name of a query"),
            ("query:ä", "\"ä\" cannot be the name of a query"),
            ("path:x", "path takes no name"),
        ] {
            assert_eq!(
                text.parse::<KeySource>().unwrap_err().to_string(),
                expected,
                "{text:?}"
            );
        }
    }
}
