//! `GET /api/v1/events` as server-sent events: what has happened since, then what happens.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{Error, HttpResponse};
use futures::stream;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use super::error::ApiError;
use crate::actors::supervisor::EventFeed;
use crate::api::ReplicaEvent;

/// The media type of a stream of events.
const EVENT_STREAM: &str = "text/event-stream";

/// A comment is sent after this long without an event, so that a client that has gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Whether a request asks for a stream.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).map(HeaderValue::as_bytes);
    let mut types = values.flat_map(|value| value.split(|byte| *byte == b','));
    types.any(|one| one.trim_ascii_start().starts_with(EVENT_STREAM.as_bytes()))
}

/// The number of the last event that a client has seen, if it says.
///
/// # Errors
///
/// It is no number.
pub fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    // As the description has it: 64 bits with a sign.
    let number = value
        .to_str()
        .ok()
        .and_then(|text| text.parse::<i64>().ok());
    let number = number.and_then(|number| u64::try_from(number).ok());
    let wrong = || ApiError::InvalidHeader("Last-Event-ID must be a whole number".to_owned());
    number.ok_or_else(wrong).map(Some)
}

/// Sends what the feed has and what comes. It ends if the client is too slow for what happens, its
/// session ends, or the balancer stops; a client then asks again, from where it was.
pub fn response(feed: EventFeed, may_go_on: impl Fn() -> bool + 'static) -> HttpResponse {
    let state = (VecDeque::from(feed.past), feed.coming, may_go_on);
    let events = stream::unfold(state, |(mut past, mut coming, may_go_on)| async move {
        let text = match past.pop_front() {
            Some(event) => text(&event),
            None => next(&mut coming).await?,
        };
        let text = may_go_on().then(|| Ok::<_, Error>(Bytes::from(text)))?;
        Some((text, (past, coming, may_go_on)))
    });
    // The first bytes go out at once: a client knows then that it is connected.
    let begin = stream::once(async { Ok(Bytes::from_static(b"retry: 1000\n\n")) });
    HttpResponse::Ok()
        .content_type(EVENT_STREAM)
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(Box::pin(futures::StreamExt::chain(begin, events)))
}

async fn next(coming: &mut Receiver<ReplicaEvent>) -> Option<String> {
    match timeout(KEEP_ALIVE, coming.recv()).await {
        Ok(Ok(event)) => Some(text(&event)),
        Ok(Err(_)) => None,
        Err(_) => Some(":\n\n".to_owned()),
    }
}

fn text(event: &ReplicaEvent) -> String {
    // Its parts are always JSON, on one line.
    let json = serde_json::to_string(event).unwrap_or_default();
    format!("id: {}\ndata: {json}\n\n", event.id)
}
