//! Where the admin API of a balancer is, and what it wants to see of a caller.

use std::fmt;

use crate::api::DEFAULT_FLEET;

/// Where the admin API of a balancer is, and what it wants to see of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminAccess {
    /// `http://HOST:PORT`.
    pub url: String,
    /// The token of every call.
    pub token: Option<AdminToken>,
    /// The fleet that calls are about.
    pub fleet: String,
}

impl AdminAccess {
    /// The default fleet of a balancer that takes calls without a token.
    pub fn open(url: String) -> Self {
        Self {
            url,
            token: None,
            fleet: DEFAULT_FLEET.to_owned(),
        }
    }
}

/// A token of the admin API. No text of the program has it.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

impl AdminToken {
    /// The only token in a text, or, in the file that a balancer reads (`read TOKEN` or `admin
    /// TOKEN` a line, `#` comments), the first one that may change most.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot stand in a header. The error does not have the token.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found = None;
        let lines = text.lines().map(str::trim).enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (rank, token) = match words.as_slice() {
                ["read", token] => (1, *token),
                ["admin", token] => (2, *token),
                [token] => (3, *token),
                _ => {
                    let allowed = "must be TOKEN, read TOKEN or admin TOKEN";
                    return Err(format!("line {}: {allowed}", number + 1));
                }
            };
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let wrong = "a token has no character but visible ASCII";
                return Err(format!("line {}: {wrong}", number + 1));
            }
            if found.is_none_or(|(best, _)| rank > best) {
                found = Some((rank, token));
            }
        }
        let (_, token) = found.ok_or("there is no token in it")?;
        Ok(Self(token.to_owned()))
    }

    /// For the header Authorization.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_bare_or_the_strongest_of_a_balancers_file() {
        for (text, token) in [
            ("abc\n", "abc"),
            ("# mine\n\n  a.b-c=  \n", "a.b-c="),
            ("read looker\nadmin changer\nadmin other\n", "changer"),
            ("read looker", "looker"),
        ] {
            let parsed = AdminToken::parse(text).unwrap();
            assert_eq!(parsed.secret(), token, "{text}");
            assert!(!format!("{parsed:?}").contains(token));
        }
    }

    #[test]
    fn token_that_is_none_is_refused_without_being_shown() {
        for (text, wrong) in [
            ("", "there is no token in it"),
            ("# only this", "there is no token in it"),
            (
                "\nwrite secret",
                "line 2: must be TOKEN, read TOKEN or admin TOKEN",
            ),
            ("secret s\u{e9}cret x", "line 1: must be"),
            (
                "s\u{e9}cret",
                "line 1: a token has no character but visible ASCII",
            ),
        ] {
            let error = AdminToken::parse(text).unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
            assert!(!error.contains("cret"), "{error}");
        }
    }
}
