//! `Prefer: respond-async` (RFC 7240): a long call that is answered before its work is done.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, rt};
use log::warn;

use super::error::ApiError;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";

/// What fails within this time is refused, and is no work that goes on.
const REFUSAL_TIME: Duration = Duration::from_millis(100);

/// Does the work of a call, to its end even if the caller leaves. A caller that prefers it gets a 202
/// at once, with the place where to look; an error that comes as soon is the answer all the same.
pub async fn run(
    request: &HttpRequest,
    location: String,
    work: impl Future<Output = Result<HttpResponse, ApiError>> + 'static,
) -> Result<HttpResponse, ApiError> {
    let mut work = rt::spawn(work);
    if !prefers_async(request.headers()) {
        return work.await.unwrap_or(Err(ApiError::Unavailable));
    }
    match tokio::time::timeout(REFUSAL_TIME, &mut work).await {
        Ok(done) => drop(done.unwrap_or(Err(ApiError::Unavailable))?),
        Err(_) => {
            let call = format!("{} {}", request.method(), request.path());
            rt::spawn(async move {
                if let Ok(Err(error)) = work.await {
                    warn!("{call}, which was accepted, has failed: {error}");
                }
            });
        }
    }
    Ok(HttpResponse::Accepted()
        .insert_header((LOCATION, location))
        .insert_header((PREFERENCE_APPLIED, RESPOND_ASYNC))
        .finish())
}

fn prefers_async(headers: &HeaderMap) -> bool {
    let lists = headers
        .get_all(PREFER)
        .filter_map(|list| list.to_str().ok());
    let preferences = lists.flat_map(|list| list.split(','));
    let mut names = preferences.filter_map(|one| one.split([';', '=']).next());
    names.any(|name| name.trim().eq_ignore_ascii_case(RESPOND_ASYNC))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn preference_is_found_among_others() {
        for (values, expected) in [
            (&[][..], false),
            (&["respond-async"][..], true),
            (&["wait=10, Respond-Async ; x=1"][..], true),
            (&["return=minimal", "respond-async"][..], true),
            (&["respond-asynchronously", "x=respond-async"][..], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            assert_eq!(prefers_async(&headers), expected, "{values:?}");
        }
    }
}
