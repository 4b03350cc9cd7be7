//! Tokens of the admin API, and the right that each gives.

use std::fmt;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use subtle::{Choice, ConstantTimeEq};

use crate::api::AdminRight;

/// The tokens that are accepted. Neither their `Debug` nor an error shows one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AdminTokens(Vec<(AdminRight, String)>);

impl fmt::Debug for AdminTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminTokens({} of them)", self.0.len())
    }
}

impl AdminTokens {
    /// Reads lines of `read TOKEN` or `admin TOKEN`; blank lines and those that begin with `#` are
    /// skipped.
    ///
    /// # Errors
    ///
    /// Which line is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Self::default();
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || format!("line {}: must be read TOKEN or admin TOKEN", number + 1);
            let right = match line.split_whitespace().next() {
                Some("read") => AdminRight::Read,
                Some("admin") => AdminRight::Admin,
                _ => return Err(wrong()),
            };
            let token = line.split_whitespace().nth(1).ok_or_else(wrong)?;
            if line.split_whitespace().count() != 2 {
                return Err(wrong());
            }
            let added = tokens.add(right, token);
            added.map_err(|why| format!("line {}: {why}", number + 1))?;
        }
        match tokens.is_empty() {
            true => Err("there is no token in it".to_owned()),
            false => Ok(tokens),
        }
    }

    /// Accepts one more.
    ///
    /// # Errors
    ///
    /// It cannot stand in a header.
    pub fn add(&mut self, right: AdminRight, token: &str) -> Result<(), &'static str> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.is_empty() || !token.bytes().all(is_plain) {
            return Err("a token has letters, digits and -._~+/= only");
        }
        self.0.push((right, token.to_owned()));
        Ok(())
    }

    /// Whether none is accepted, so that other rules hold.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The right that a token gives. Takes as long for every token of a length.
    pub fn right_of(&self, token: &[u8]) -> Option<AdminRight> {
        let mut found = None;
        for (right, known) in &self.0 {
            let is_it: Choice = known.as_bytes().ct_eq(token);
            if bool::from(is_it) {
                found = found.max(Some(*right));
            }
        }
        found
    }
}

/// The token of `Authorization: Bearer TOKEN`.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)?;
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_file_gives_each_token_its_right() {
        let text = "# for the dashboards\nread abc\n\n  admin d.e-f_~+/= \nread d.e-f_~+/=\n";
        let tokens = AdminTokens::parse(text).unwrap();
        for (token, right) in [
            ("abc", Some(AdminRight::Read)),
            ("d.e-f_~+/=", Some(AdminRight::Admin)),
            ("ab", None),
            ("abcd", None),
            ("", None),
        ] {
            assert_eq!(tokens.right_of(token.as_bytes()), right, "{token}");
        }
        assert_eq!(format!("{tokens:?}"), "AdminTokens(3 of them)");
    }

    #[test]
    fn token_file_that_is_wrong_is_refused_without_its_tokens() {
        for (text, wrong) in [
            ("", "there is no token"),
            ("# only this", "there is no token"),
            ("read", "line 1: must be"),
            ("read abc\nsecret", "line 2: must be"),
            ("write secret", "line 1: must be"),
            ("read secret secret", "line 1: must be"),
            ("read s\u{e9}cret", "line 1: a token has letters"),
        ] {
            let error = AdminTokens::parse(text).unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn bearer_is_read_from_its_header_alone() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(of("Bearer abc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(of("bearer  abc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(of("Basic abc"), None);
        assert_eq!(of("Bearer"), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
