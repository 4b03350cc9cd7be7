//! The options of heartbeats, which depend on each other.

use std::num::NonZeroU32;

use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};

use super::reader::Reader;
use super::settings::HeartbeatSettings;
use super::text;
use crate::fleet::{Expectation, InvalidStatusSet};

/// Options that say what a request asks, or what a good answer is.
const HTTP_ONLY: [&str; 5] = [
    "heartbeat-path",
    "heartbeat-method",
    "heartbeat-header",
    "heartbeat-status",
    "heartbeat-body",
];

/// Headers that say how the request is framed, or what becomes of its connection.
const OURS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads them all.
pub(super) fn settings(reader: &mut Reader<'_>) -> HeartbeatSettings {
    let is_tcp = reader.value("heartbeat", |text| match text {
        "http" => Ok(false),
        "tcp" => Ok(true),
        _ => Err("not a kind of heartbeat".to_owned()),
    });
    if is_tcp {
        for key in HTTP_ONLY {
            if reader.given(key).is_some() {
                reader.mistake(key, "is for --heartbeat http, but --heartbeat is tcp");
            }
        }
    }
    let method = reader.value("heartbeat-method", |text| match text {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "OPTIONS" => Ok(Method::OPTIONS),
        "POST" => Ok(Method::POST),
        _ => Err("not a method for it".to_owned()),
    });
    let expectation = Expectation {
        statuses: reader.value("heartbeat-status", |text| {
            text.parse()
                .map_err(|wrong: InvalidStatusSet| wrong.to_string())
        }),
        body: reader.optional("heartbeat-body", |text| match text {
            "" => Err("empty".to_owned()),
            text => Ok(text.to_owned()),
        }),
    };
    if method == Method::HEAD && expectation.body.is_some() {
        let wrong = "the answer to --heartbeat-method HEAD has no body";
        reader.mistake("heartbeat-body", wrong);
    }
    HeartbeatSettings {
        is_tcp,
        method,
        path: reader.value("heartbeat-path", text::path),
        headers: headers(reader),
        port: reader.optional_whole("heartbeat-port"),
        interval: reader.duration("heartbeat-interval"),
        timeout: reader.duration("heartbeat-timeout"),
        // The table's lower bound is 1.
        failures: NonZeroU32::new(reader.whole("heartbeat-failures")).unwrap_or(NonZeroU32::MIN),
        successes: NonZeroU32::new(reader.whole("heartbeat-successes")).unwrap_or(NonZeroU32::MIN),
        expectation,
    }
}

fn headers(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (item, header) in reader.list("heartbeat-header", header) {
        if headers.iter().any(|(name, _)| *name == header.0) {
            let wrong = format!("{} is given twice", header.0);
            reader.item_mistake("heartbeat-header", &item, wrong);
        } else {
            headers.push(header);
        }
    }
    headers
}

/// Reads a header as it stands in a request; its name in lower case.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("has no ':'")?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "not a header's name")?;
    if OURS.contains(&name.as_str()) {
        return Err(format!("{name} is set by the balancer alone"));
    }
    let value = value.trim();
    let is_text = HeaderValue::from_str(value).is_ok_and(|value| value.to_str().is_ok());
    match is_text {
        true => Ok((name.to_string(), value.to_owned())),
        false => Err("its value is not text in ASCII".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_stand_in_a_request() {
        for (text, expected) in [
            ("Host: shop.example", Ok(("host", "shop.example"))),
            ("X-Probe:1", Ok(("x-probe", "1"))),
            ("X-Empty:", Ok(("x-empty", ""))),
            ("X-Time: 12:00", Ok(("x-time", "12:00"))),
            ("Host", Err("has no ':'")),
            (": x", Err("not a header's name")),
            ("Host : x", Err("not a header's name")),
            ("X: a\r\nY: b", Err("its value is not text in ASCII")),
            ("X: \u{e4}", Err("its value is not text in ASCII")),
            (
                "Content-Length: 5",
                Err("content-length is set by the balancer alone"),
            ),
        ] {
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(header(text), expected.map_err(str::to_owned), "{text:?}");
        }
    }
}
