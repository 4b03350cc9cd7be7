//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a call that is sent again because its
//! answer was lost is answered as before, and not carried out again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, ResponseError, rt};
use xxhash_rust::xxh3::xxh3_64;

use super::error::ApiError;
use crate::fleet::ChangeError;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a response has that is an earlier call's.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How long a key is remembered, and how many there may be; the longest response has 130 KiB.
const MAX_AGE: Duration = Duration::from_secs(3600);
const MAX_KEYS: usize = 100;

const MAX_KEY_LENGTH: usize = 200;

/// The key that a call has, if it has one.
pub fn key(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let mut lines = request.headers().get_all(&IDEMPOTENCY_KEY);
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let key = line.to_str().ok().and_then(parse);
    let key = key.filter(|_| lines.next().is_none());
    let invalid = || {
        ApiError::InvalidHeader(format!(
            "{IDEMPOTENCY_KEY} must be one key of 1 to {MAX_KEY_LENGTH} printable characters, in \
             quotes or without"
        ))
    };
    key.map(Some).ok_or_else(invalid)
}

/// The key is a string of structured fields (RFC 8941), in quotes; many clients leave these out.
fn parse(line: &str) -> Option<String> {
    let line = line.trim();
    let quoted = line
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let key = quoted.unwrap_or(line);
    let is_allowed = |b: u8| (b.is_ascii_graphic() && !b"\"\\".contains(&b)) || b == b' ';
    let is_key = (1..=MAX_KEY_LENGTH).contains(&key.len()) && key.bytes().all(is_allowed);
    is_key.then(|| key.to_owned())
}

/// The calls that had a key, and how they were answered.
#[derive(Debug, Default)]
pub struct IdempotentCalls(Mutex<HashMap<String, KeyedCall>>);

#[derive(Debug)]
struct KeyedCall {
    body_hash: u64,
    started: Instant,
    /// None while it is under way.
    answer: Option<StoredAnswer>,
}

#[derive(Debug, Clone)]
struct StoredAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl IdempotentCalls {
    /// Does the work of a call to its end, even if the client leaves; or answers as the first call with
    /// this key was answered.
    pub async fn run(
        self: Arc<Self>,
        key: Option<String>,
        body: &str,
        work: impl Future<Output = Result<HttpResponse, ApiError>> + 'static,
    ) -> Result<HttpResponse, ApiError> {
        let Some(key) = key else {
            return work.await;
        };
        if let Some(answer) = self.begin(&key, xxh3_64(body.as_bytes()))? {
            let mut response = answer.into_response();
            let replayed = HeaderValue::from_static("?1");
            response.headers_mut().insert(REPLAYED, replayed);
            return Ok(response);
        }
        let call = UnderWay { calls: self, key };
        let done = rt::spawn(async move {
            let answered = work.await;
            let is_final = !answered.as_ref().is_err_and(has_not_been_tried);
            let response = answered.unwrap_or_else(|error| error.error_response());
            let answer = StoredAnswer::of(response);
            if is_final {
                call.finish(answer.clone());
            }
            answer
        });
        let answer = done.await.map_err(|_| ApiError::Unavailable)?;
        Ok(answer.into_response())
    }

    /// The answer of an earlier call, or none: this is the first.
    fn begin(&self, key: &str, body_hash: u64) -> Result<Option<StoredAnswer>, ApiError> {
        let (mut calls, now) = (self.lock(), Instant::now());
        let is_old = |call: &KeyedCall| now.duration_since(call.started) > MAX_AGE;
        calls.retain(|_, call| call.answer.is_none() || !is_old(call));
        if let Some(call) = calls.get(key) {
            return match &call.answer {
                _ if call.body_hash != body_hash => Err(ApiError::KeyReused(key.to_owned())),
                None => Err(ApiError::KeyInUse(key.to_owned())),
                Some(answer) => Ok(Some(answer.clone())),
            };
        }
        if calls.len() >= MAX_KEYS {
            let done = calls.iter().filter(|(_, call)| call.answer.is_some());
            let oldest = done.min_by_key(|(_, call)| call.started);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return Err(ChangeError::Busy(calls.len()).into());
            };
            calls.remove(&oldest);
        }
        let call = KeyedCall {
            body_hash,
            started: now,
            answer: None,
        };
        calls.insert(key.to_owned(), call);
        Ok(None)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, KeyedCall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the same call may be made again because it has come to nothing before it began: it was too
/// much at once, or based on another version.
fn has_not_been_tried(error: &ApiError) -> bool {
    matches!(
        error.status_code(),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::PRECONDITION_FAILED
    )
}

/// A call that is under way; forgotten if it comes to no answer that is kept.
struct UnderWay {
    calls: Arc<IdempotentCalls>,
    key: String,
}

impl UnderWay {
    fn finish(self, answer: StoredAnswer) {
        if let Some(call) = self.calls.lock().get_mut(&self.key) {
            call.answer = Some(answer);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut calls = self.calls.lock();
        if calls
            .get(&self.key)
            .is_some_and(|call| call.answer.is_none())
        {
            calls.remove(&self.key);
        }
    }
}

impl StoredAnswer {
    fn of(response: HttpResponse) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        // Every response of the API is in memory.
        let body = response.into_body().try_into_bytes().unwrap_or_default();
        Self {
            status,
            headers,
            body,
        }
    }

    fn into_response(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status).body(self.body);
        *response.headers_mut() = self.headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_string_in_quotes_or_as_it_is() {
        for (line, expected) in [
            ("\"a-1\"", Some("a-1")),
            ("a-1", Some("a-1")),
            ("\"two words\"", Some("two words")),
            ("\"\"", None),
            ("", None),
            ("\"a", None),
            ("a\"b", None),
            ("\"a\";p=1", None),
            ("\u{e4}", None),
        ] {
            assert_eq!(parse(line).as_deref(), expected, "{line}");
        }
        assert!(parse(&"k".repeat(MAX_KEY_LENGTH)).is_some());
        assert!(parse(&"k".repeat(MAX_KEY_LENGTH + 1)).is_none());
    }

    fn created() -> Result<HttpResponse, ApiError> {
        Ok(HttpResponse::Created().body("made"))
    }

    async fn run(
        calls: &Arc<IdempotentCalls>,
        key: &str,
        body: &str,
        answer: Result<HttpResponse, ApiError>,
    ) -> Result<HttpResponse, ApiError> {
        let work = async { answer };
        Arc::clone(calls)
            .run(Some(key.to_owned()), body, work)
            .await
    }

    #[actix_web::test]
    async fn first_answer_is_replayed_for_the_same_body_alone() {
        let calls = Arc::<IdempotentCalls>::default();
        let first = run(&calls, "k", "body", created()).await.unwrap();
        assert!(!first.headers().contains_key(&REPLAYED));
        let again = async { unreachable!("it is carried out once") };
        let again = Arc::clone(&calls)
            .run(Some("k".to_owned()), "body", again)
            .await
            .unwrap();
        assert_eq!(again.status(), StatusCode::CREATED);
        assert_eq!(again.headers().get(&REPLAYED).unwrap(), "?1");
        assert_eq!(again.into_body().try_into_bytes().unwrap(), "made");
        let other = run(&calls, "k", "other body", created()).await;
        assert!(matches!(other, Err(ApiError::KeyReused(_))), "{other:?}");
    }

    #[actix_web::test]
    async fn errors_are_replayed_unless_the_call_has_not_been_tried() {
        let calls = Arc::<IdempotentCalls>::default();
        let failed = || Err(ApiError::Change(ChangeError::FixedFleet));
        for answer in [failed(), created()] {
            let answered = run(&calls, "failed", "", answer).await.unwrap();
            assert_eq!(answered.status(), StatusCode::CONFLICT);
        }
        let busy = Err(ApiError::Change(ChangeError::Busy(64)));
        let answered = run(&calls, "busy", "", busy).await.unwrap();
        assert_eq!(answered.status(), StatusCode::SERVICE_UNAVAILABLE);
        let answered = run(&calls, "busy", "", created()).await.unwrap();
        assert_eq!(answered.status(), StatusCode::CREATED);
    }

    #[actix_web::test]
    async fn call_goes_on_without_its_client_and_cannot_begin_twice() {
        let calls = Arc::<IdempotentCalls>::default();
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            finished.await.unwrap();
            created()
        };
        let mut first = Box::pin(Arc::clone(&calls).run(Some("k".to_owned()), "", work));
        assert!(futures::poll!(&mut first).is_pending());
        let second = run(&calls, "k", "", created()).await;
        assert!(matches!(second, Err(ApiError::KeyInUse(_))), "{second:?}");
        drop(first);
        finish.send(()).unwrap();
        while matches!(
            run(&calls, "k", "", created()).await,
            Err(ApiError::KeyInUse(_))
        ) {
            tokio::task::yield_now().await;
        }
        let third = run(&calls, "k", "", created()).await.unwrap();
        assert!(third.headers().contains_key(&REPLAYED));
    }

    #[actix_web::test]
    async fn oldest_keys_are_forgotten() {
        let calls = Arc::<IdempotentCalls>::default();
        for n in 0..=MAX_KEYS {
            run(&calls, &n.to_string(), "", created()).await.unwrap();
        }
        assert_eq!(calls.lock().len(), MAX_KEYS);
        let first = run(&calls, "0", "", created()).await.unwrap();
        assert!(!first.headers().contains_key(&REPLAYED));
        let last = run(&calls, &MAX_KEYS.to_string(), "", created())
            .await
            .unwrap();
        assert!(last.headers().contains_key(&REPLAYED));
    }
}
