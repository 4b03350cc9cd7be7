//! The dashboard at `/`: files that are compiled in, so that it needs nothing from elsewhere.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use xxhash_rust::xxh3::xxh3_64;

use super::error::ApiError;

/// Scripts, styles and calls go to the balancer alone, and no other page may frame this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

const PAGE: &str = include_str!("../../dashboard/index.html");

/// The files of the page, by their names below `/dashboard/`.
const FILES: &[(&str, &str)] = &[
    ("actions.js", include_str!("../../dashboard/actions.js")),
    ("api.js", include_str!("../../dashboard/api.js")),
    ("dialog.js", include_str!("../../dashboard/dialog.js")),
    ("element.js", include_str!("../../dashboard/element.js")),
    ("format.js", include_str!("../../dashboard/format.js")),
    (
        "heartbeats.js",
        include_str!("../../dashboard/heartbeats.js"),
    ),
    ("history.js", include_str!("../../dashboard/history.js")),
    ("icon.svg", include_str!("../../dashboard/icon.svg")),
    ("load.js", include_str!("../../dashboard/load.js")),
    ("main.js", include_str!("../../dashboard/main.js")),
    (
        "maintenance.js",
        include_str!("../../dashboard/maintenance.js"),
    ),
    ("pause.js", include_str!("../../dashboard/pause.js")),
    ("replicas.js", include_str!("../../dashboard/replicas.js")),
    ("rollout.js", include_str!("../../dashboard/rollout.js")),
    ("ring.js", include_str!("../../dashboard/ring.js")),
    ("session.js", include_str!("../../dashboard/session.js")),
    ("style.css", include_str!("../../dashboard/style.css")),
];

/// The page.
pub async fn page(request: HttpRequest) -> HttpResponse {
    respond(&request, "index.html", PAGE.as_bytes(), POLICY)
}

/// A file of the page.
pub async fn file(request: HttpRequest, name: Path<String>) -> Result<HttpResponse, ApiError> {
    let named = |(file, _): &&(&str, &str)| *file == name.as_str();
    let (name, text) = FILES.iter().find(named).ok_or(ApiError::UnknownPath)?;
    Ok(respond(&request, name, text.as_bytes(), POLICY))
}

/// The browser asks each time, and gets a file again only if another version of the balancer has
/// another one.
pub fn respond(
    request: &HttpRequest,
    name: &str,
    text: &'static [u8],
    policy: &'static str,
) -> HttpResponse {
    let tag = format!("\"{:016x}\"", xxh3_64(text));
    let known = request.headers().get(IF_NONE_MATCH);
    let is_known = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = match is_known {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    response
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CONTENT_TYPE, content_type(name)));
    match is_known {
        true => response.finish(),
        false => response.body(text),
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_and_its_modules_name_is_compiled_in() {
        let texts = FILES.iter().map(|(_, text)| *text).chain([PAGE]);
        let mut named = 0;
        for text in texts {
            for start in ["/dashboard/", "from \"./"] {
                for rest in text.split(start).skip(1) {
                    let file = rest.split('"').next().unwrap();
                    assert!(FILES.iter().any(|(name, _)| *name == file), "{file}");
                    named += 1;
                }
            }
        }
        assert!(named >= FILES.len(), "{named}");
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        for (name, text) in FILES.iter().chain([&("index.html", PAGE)]) {
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !elsewhere.contains("http:") && !elsewhere.contains("https:"),
                "{name}"
            );
            // The policy would keep the browser from applying it.
            assert!(
                !text.contains("style=\"") && !text.contains("onclick=\""),
                "{name}"
            );
        }
    }
}
