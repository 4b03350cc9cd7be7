//! Conditional requests (RFC 9110, section 13): `ETag`, `If-Match`, `If-None-Match`.
//!
//! The entity tag of all of a fleet's resources is the version of its configuration
//! ([`ConfigVersion`]). What is measured, such as states and counters, is not part of it, so responses
//! are not to be stored (`Cache-Control: no-store`): a cache would take them for unchanged.

use actix_web::http::header::{
    CACHE_CONTROL, ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH,
};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::error::ApiError;
use crate::actors::supervisor::{ConfigVersion, ExpectedVersions};

/// The versions that a change expects, if it says so. `*` is any that exists.
pub fn expected(request: &HttpRequest) -> Result<Option<ExpectedVersions>, ApiError> {
    let tags = match read(request.headers(), IF_MATCH)? {
        Some(Tags::List(tags)) => tags,
        Some(Tags::Any) | None => return Ok(None),
    };
    // A weak tag never equals another in the strong comparison of If-Match.
    let strong = tags.into_iter().filter(|tag| !tag.is_weak);
    Ok(Some(ExpectedVersions(
        strong.map(|tag| tag.opaque).collect(),
    )))
}

/// The response to a read: the resource, or 304 if the client has this version.
pub fn read_response(
    request: &HttpRequest,
    version: ConfigVersion,
    resource: &impl Serialize,
) -> Result<HttpResponse, ApiError> {
    let expected = expected(request)?;
    version.check(expected.as_ref()).map_err(ApiError::from)?;
    let opaque = version.to_string();
    let is_known = match read(request.headers(), IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::List(tags)) => tags.iter().any(|tag| tag.opaque == opaque),
    };
    Ok(match is_known {
        true => HttpResponse::NotModified()
            .insert_header((ETAG, format!("\"{opaque}\"")))
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish(),
        false => changed_response(version, resource),
    })
}

/// The response to a change: the resource after it.
pub fn changed_response(version: ConfigVersion, resource: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((ETAG, format!("\"{version}\"")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(resource)
}

/// What `If-Match` or `If-None-Match` lists.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    Any,
    List(Vec<Tag>),
}

/// `"opaque"`, or `W/"opaque"`.
#[derive(Debug, PartialEq, Eq)]
struct Tag {
    is_weak: bool,
    opaque: String,
}

fn read(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, ApiError> {
    let mut text = String::new();
    for line in headers.get_all(&name) {
        let line = line.to_str().map_err(|_| invalid(&name))?;
        text = if text.is_empty() {
            line.to_owned()
        } else {
            format!("{text}, {line}")
        };
    }
    if !headers.contains_key(&name) {
        return Ok(None);
    }
    if text.trim() == "*" {
        return Ok(Some(Tags::Any));
    }
    let tags = parse(&text).filter(|tags| !tags.is_empty());
    tags.map(Tags::List).map(Some).ok_or_else(|| invalid(&name))
}

fn invalid(name: &HeaderName) -> ApiError {
    ApiError::InvalidHeader(format!(
        "{name} must be a list of entity tags, as in \"1a2b3c4d-5\", or *"
    ))
}

/// A list of entity tags, which may hold commas; none if it is not one.
fn parse(mut rest: &str) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    loop {
        // Empty elements of a list are allowed (RFC 9110, section 5.6.1).
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(tags);
        }
        let strong = rest.strip_prefix("W/");
        let (opaque, after) = strong.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        let is_allowed = |b: u8| b.is_ascii_graphic();
        if !opaque.bytes().all(is_allowed) {
            return None;
        }
        tags.push(Tag {
            is_weak: strong.is_some(),
            opaque: opaque.to_owned(),
        });
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read_as(lines: &[&str]) -> Result<Option<Tags>, ApiError> {
        let request = lines.iter().fold(TestRequest::default(), |request, line| {
            request.append_header((IF_MATCH, *line))
        });
        read(request.to_http_request().headers(), IF_MATCH)
    }

    #[test]
    fn lists_of_entity_tags_are_read_as_rfc_9110_has_them() {
        let tag = |is_weak, opaque: &str| Tag {
            is_weak,
            opaque: opaque.to_owned(),
        };
        for (lines, expected) in [
            (&["\"a\""][..], vec![tag(false, "a")]),
            (
                &["W/\"a\",\"b,c\""],
                vec![tag(true, "a"), tag(false, "b,c")],
            ),
            (&["\"a\"", "\"\""], vec![tag(false, "a"), tag(false, "")]),
            (&[", \"a\" ,, "], vec![tag(false, "a")]),
        ] {
            assert_eq!(
                read_as(lines).unwrap(),
                Some(Tags::List(expected)),
                "{lines:?}"
            );
        }
        assert_eq!(read_as(&[" * "]).unwrap(), Some(Tags::Any));
        assert_eq!(read_as(&[]).unwrap(), None);
        for wrong in [
            "a",
            "",
            ",",
            "\"a",
            "\"a\"b",
            "\"a\" \"b\"",
            "\"a b\"",
            "*, \"a\"",
            "w/\"a\"",
        ] {
            let error = read_as(&[wrong]).unwrap_err().to_string();
            assert!(error.starts_with("if-match must be"), "{wrong}: {error}");
        }
    }
}
