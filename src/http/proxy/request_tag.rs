//! What log lines and post-mortems say of a request.

use std::fmt::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use log::{info, warn};

use super::access_trace::AccessTrace;
use crate::api::{InterruptedRequest, RequestOutcome};
use crate::http::context::HttpSettings;
use crate::http::headers::client_ip;
use crate::http::raw_request::RawRequest;
use crate::human::duration;
use crate::repeats::LineLimit;

/// A request, as far as messages name it; kept while its response is on its way.
#[derive(Clone)]
pub struct RequestTag {
    request: HttpRequest,
    raw: Rc<RawRequest>,
    settings: Rc<HttpSettings>,
    /// The id that it was given for want of one.
    fresh_id: Option<u64>,
    started: Instant,
    /// Its line in the access log, which is written when the tag is dropped.
    trace: Option<Rc<AccessTrace>>,
}

impl RequestTag {
    /// A request that has just come.
    pub fn new(
        request: &HttpRequest,
        raw: &Rc<RawRequest>,
        settings: &Rc<HttpSettings>,
        fresh_id: Option<u64>,
        started: Instant,
    ) -> Self {
        Self {
            request: request.clone(),
            raw: Rc::clone(raw),
            settings: Rc::clone(settings),
            fresh_id,
            started,
            trace: None,
        }
    }

    /// The same, with a line in the access log.
    pub fn with_trace(mut self, trace: Option<&Rc<AccessTrace>>) -> Self {
        self.trace = trace.map(Rc::clone);
        self
    }

    /// Its line in the access log, if there is one.
    pub fn trace(&self) -> Option<&AccessTrace> {
        self.trace.as_deref()
    }

    /// Its X-Request-ID, its own or the one that it was given.
    pub fn id(&self) -> String {
        let own = self.raw.request_id().unwrap_or_default();
        match self.fresh_id {
            Some(id) => id.to_string(),
            None => String::from_utf8_lossy(own).into_owned(),
        }
    }

    /// How long ago it came.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes a warning about the request, unless many like it have been written just now.
    pub fn warn(&self, limit: &LineLimit, what: fmt::Arguments<'_>) {
        if limit.admits(Instant::now()) {
            warn!(request_id = self.id().as_str(); "{self}: {what}");
        }
    }

    /// The same for what is nothing to be warned of.
    pub fn info(&self, limit: &LineLimit, what: fmt::Arguments<'_>) {
        if limit.admits(Instant::now()) {
            info!(request_id = self.id().as_str(); "{self}: {what}");
        }
    }

    /// For the post-mortem of the replica that had it.
    pub fn interrupted(&self, outcome: RequestOutcome) -> InterruptedRequest {
        InterruptedRequest {
            method: self.request.method().to_string(),
            path: String::from_utf8_lossy(self.raw.path()).into_owned(),
            id: self.id(),
            elapsed_ms: u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome,
        }
    }
}

/// `GET /cart (id 4711, client 10.0.0.7, 723 ms)`: the path without the query, which may hold
/// what is secret.
impl fmt::Display for RequestTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.request.method();
        let (path, id) = (String::from_utf8_lossy(self.raw.path()), self.id());
        let path = Readable(&path);
        write!(f, "{method} {path} (id {}, client ", Readable(&id))?;
        match client_ip::client(
            &self.request,
            &self.raw.headers,
            &self.settings.trusted_proxies,
        ) {
            Some(client) => write!(f, "{client}")?,
            None => f.write_str("unknown")?,
        }
        write!(f, ", {})", duration(self.elapsed()))
    }
}

/// How many characters of what a client chooses stand in a line.
const MAX_CHARS: usize = 200;

/// A client's text without anything that could play tricks on a terminal, and not too long.
struct Readable<'t>(&'t str);

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(MAX_CHARS) {
            f.write_char(if c.is_control() { '\u{fffd}' } else { c })?;
        }
        match chars.next() {
            Some(_) => f.write_str("..."),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn tag_names_the_request_its_id_and_its_client() {
        let request = TestRequest::with_uri("/cart?token=secret")
            .peer_addr("10.9.0.1:4711".parse().unwrap())
            .to_http_request();
        let raw = Rc::new(crate::http::raw_request::tests::raw(
            "/cart?token=secret",
            &[("X-Request-ID", "abc"), ("X-Forwarded-For", "192.0.2.7")],
        ));
        let settings = Rc::new(crate::http::proxy::key::tests::settings());
        let tag = RequestTag::new(&request, &raw, &settings, None, Instant::now());
        let text = tag.to_string();
        assert!(
            text.starts_with("GET /cart (id abc, client 192.0.2.7, "),
            "{text}"
        );
        assert!(text.ends_with(" ms)"), "{text}");
        // An id that clears the screen where U+009B begins a command, and does not end.
        let id = Readable("a\u{9b}2Jb").to_string() + &Readable(&"x".repeat(8_000)).to_string();
        assert_eq!(id, format!("a\u{fffd}2Jb{}...", "x".repeat(200)));
        let tag = RequestTag::new(&request, &raw, &settings, Some(123_456), Instant::now());
        assert_eq!(tag.interrupted(RequestOutcome::Aborted).id, "123456");
    }
}
