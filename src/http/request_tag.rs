//! What log lines and post-mortems say of a request.

use std::time::Duration;

use actix_web::HttpRequest;

use super::key::REQUEST_ID;
use crate::coarse_clock::CoarseInstant;
use crate::upstream::{InterruptedRequest, Interruption};

/// A request, as far as messages name it; kept while its response is on its way.
#[derive(Debug, Clone)]
pub struct RequestTag {
    request: HttpRequest,
    /// The id that it was given for want of one.
    fresh_id: Option<u64>,
    started: CoarseInstant,
}

impl RequestTag {
    /// A request that has just come.
    pub fn new(request: &HttpRequest, fresh_id: Option<u64>, started: CoarseInstant) -> Self {
        Self {
            request: request.clone(),
            fresh_id,
            started,
        }
    }

    /// Its X-Request-ID, its own or the one that it was given.
    pub fn id(&self) -> String {
        let own = self.request.headers().get(&REQUEST_ID);
        match self.fresh_id {
            Some(id) => id.to_string(),
            None => own.map_or_else(String::new, |id| {
                String::from_utf8_lossy(id.as_bytes()).into_owned()
            }),
        }
    }

    /// How long ago it came, to some milliseconds.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// For the post-mortem of the replica that had it.
    pub fn interrupted(&self, outcome: Interruption) -> InterruptedRequest {
        InterruptedRequest {
            method: self.request.method().to_string(),
            path: self.request.path().to_owned(),
            id: self.id(),
            elapsed_ms: u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome,
        }
    }
}
