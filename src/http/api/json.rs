//! Request bodies in JSON, and what is wrong with one in the words of JSON: serde speaks of
//! `usize` and structs.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::BytesMut;
use futures::StreamExt;
use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::timeout;

use super::error::ApiError;

/// The largest body: a thousand names of the longest kind fit.
const MAX_BODY: usize = 128 * 1024;

/// Reads a body that must be JSON and say so: a page of another site can make a browser
/// post a form here, but not this content type. It comes without pauses longer than `pause`.
pub async fn read_json<T: DeserializeOwned>(
    request: &HttpRequest,
    body: &mut Payload,
    pause: Duration,
) -> Result<T, ApiError> {
    if !is_json(request) {
        return Err(ApiError::NotJson);
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = timeout(pause, body.next())
        .await
        .map_err(|_| ApiError::Stalled)?
    {
        let chunk = chunk.map_err(|error| ApiError::Aborted(error.to_string()))?;
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(ApiError::TooLarge(MAX_BODY));
        }
        bytes.extend_from_slice(&chunk);
    }
    parse(&bytes).map_err(ApiError::InvalidBody)
}

/// Reads a text that must be an object: serde takes a list for a struct's fields as well.
fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    if text.trim_ascii_start().first() == Some(&b'[') {
        return Err("invalid type: a list, expected an object".to_owned());
    }
    if let Err(error) = serde_json::from_slice::<NamedOnce>(text)
        && error.is_data()
    {
        return Err(error.to_string());
    }
    let read = serde_json::from_slice(text);
    read.or_else(|error| {
        // In JSON, 2.0 is a whole number as 2 is; serde reads it as one only if it is written so.
        let value = serde_json::from_slice(text).map(with_whole_numbers);
        value
            .and_then(serde_json::from_value)
            .map_err(|_| describe(&error))
    })
}

/// A JSON value whose objects have unique names. serde would take the last of two values; another parser may
/// take the first (RFC 8259, section 4), so the caller could mean either.
struct NamedOnce;

impl<'de> Deserialize<'de> for NamedOnce {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for NamedOnce {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            map.next_value::<Self>()?;
            names.insert(name);
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

/// The value, with whole numbers that were written with a fraction of zero as such.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().filter(|float| float.fract() == 0.0);
            // Beyond it a float stands for several whole numbers.
            let exact = float.filter(|float| (0.0..=9_007_199_254_740_992.0).contains(float));
            // Whole, not negative, and below 2^64.
            exact.map_or(Value::Number(number), |float| (float as u64).into())
        }
        Value::Array(items) => items.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, value)| (name, with_whole_numbers(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

fn is_json(request: &HttpRequest) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    let media_type = content_type.and_then(|value| value.to_str().ok());
    media_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"))
}

/// What is wrong with a text that should have been a certain JSON value.
fn describe(error: &serde_json::Error) -> String {
    in_words_of_json(&error.to_string())
}

/// What serde expects, and what a client knows it by.
const KINDS: &[(&str, &str)] = &[
    ("a borrowed string", "a string"),
    ("a boolean", "true or false"),
    ("a sequence", "a list"),
    ("a map", "an object"),
    ("unit", "null"),
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number, not negative"),
    ("usize", "a whole number, not negative"),
    ("i8", "a whole number"),
    ("i16", "a whole number"),
    ("i32", "a whole number"),
    ("i64", "a whole number"),
    ("isize", "a whole number"),
    ("f32", "a number"),
    ("f64", "a number"),
];

fn in_words_of_json(text: &str) -> String {
    // What was found stands before it, and a client's own text may be in that.
    let Some((found, expected)) = text.rsplit_once(", expected ") else {
        return text.to_owned();
    };
    let found = match found.strip_prefix("unknown variant ") {
        Some(value) => format!("unknown value {value}"),
        None => found.to_owned(),
    };
    let found = found
        .replacen("invalid type: sequence", "invalid type: a list", 1)
        .replacen("invalid type: map", "invalid type: an object", 1)
        .replacen("invalid type: floating point ", "invalid type: number ", 1);
    let (kind, place) = match expected.find(" at line ") {
        Some(at) => expected.split_at(at),
        None => (expected, ""),
    };
    let known = KINDS.iter().find(|(serde, _)| *serde == kind);
    let kind = match known {
        Some((_, json)) => json,
        None if kind.starts_with("struct ") => "an object",
        None => kind,
    };
    format!("{found}, expected {kind}{place}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        n: usize,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        weights: BTreeMap<String, u32>,
        #[serde(default)]
        factor: Option<f64>,
        #[serde(default, rename = "state")]
        _state: Option<State>,
    }

    #[derive(Debug, Deserialize)]
    enum State {
        Active,
        Drained,
    }

    #[test]
    fn words_of_rust_do_not_reach_clients() {
        for (body, expected) in [
            (
                "7",
                "invalid type: integer `7`, expected an object at line 1 column 1",
            ),
            ("[]", "invalid type: a list, expected an object"),
            ("{}", "missing field `n` at line 1 column 2"),
            (
                r#"{"n":"x"}"#,
                "invalid type: string \"x\", expected a whole number, not negative at line 1 column 8",
            ),
            (
                r#"{"n":-1}"#,
                "invalid value: integer `-1`, expected a whole number, not negative at line 1 column 7",
            ),
            (
                r#"{"n":1.5}"#,
                "invalid type: number `1.5`, expected a whole number, not negative at line 1 column 8",
            ),
            (
                r#"{"n":1,"names":"a, expected usize"}"#,
                "invalid type: string \"a, expected usize\", expected a list at line 1 column 34",
            ),
            (
                r#"{"n":1,"names":[{}]}"#,
                "invalid type: an object, expected a string at line 1 column 16",
            ),
            (
                r#"{"n":1,"weights":[1]}"#,
                "invalid type: a list, expected an object at line 1 column 17",
            ),
            (
                r#"{"n":1,"weights":{"a":5000000000}}"#,
                "invalid value: integer `5000000000`, expected a whole number from 0 to 4294967295 at line 1 column 32",
            ),
            (
                r#"{"n":1,"factor":"two"}"#,
                "invalid type: string \"two\", expected a number at line 1 column 21",
            ),
            (
                r#"{"n":1,"state":"on"}"#,
                "unknown value `on`, expected `Active` or `Drained` at line 1 column 19",
            ),
            (
                r#"{"n":1,"m":2}"#,
                "unknown field `m`, expected one of `n`, `names`, `weights`, `factor`, `state` at line 1 column 10",
            ),
        ] {
            let error = parse::<Body>(body.as_bytes()).unwrap_err();
            assert_eq!(error, expected, "{body}");
        }
    }

    #[test]
    fn name_that_is_there_twice_is_refused_wherever_it_is() {
        for (body, expected) in [
            (
                r#"{"n":1,"n":2}"#,
                "duplicate field `n` at line 1 column 10",
            ),
            (
                r#"{"n":1.0,"n":2}"#,
                "duplicate field `n` at line 1 column 12",
            ),
            (
                r#"{"n":1,"weights":{"a":1,"\u0061":2}}"#,
                "duplicate field `a` at line 1 column 32",
            ),
            (
                r#"{"n":1,"m":[{"a":1,"a":1}]}"#,
                "duplicate field `a` at line 1 column 22",
            ),
        ] {
            let error = parse::<Body>(body.as_bytes()).unwrap_err();
            assert_eq!(error, expected, "{body}");
        }
        let text = br#"{"n":1,"names":["a","a"],"weights":{"n":1}}"#;
        assert!(parse::<Body>(text).is_ok());
    }

    #[test]
    fn whole_numbers_may_have_a_fraction_of_zero() {
        let text = br#"{"n":2.0,"names":["1.0"],"weights":{"a":3.0e0},"factor":2}"#;
        let body = parse::<Body>(text).unwrap();
        assert_eq!((body.n, body.weights["a"]), (2, 3));
        assert_eq!((body.names[0].as_str(), body.factor), ("1.0", Some(2.0)));
        for wrong in [r#"{"n":2.5}"#, r#"{"n":-1.0}"#, r#"{"n":1e30}"#] {
            assert!(parse::<Body>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
