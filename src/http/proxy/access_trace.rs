//! A request's line in the access log, from its head to the end of its response.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use actix_web::HttpRequest;
use actix_web::body::BodySize;
use actix_web::http::{StatusCode, Version};
use actix_web::web::Bytes;

use crate::access_log::{AccessLine, AccessLog, AttemptRecord, RequestRecord};
use crate::api::DEFAULT_FLEET;
use crate::http::context::{HttpSettings, Worker};
use crate::http::headers::client_ip;
use crate::http::raw_request::RawRequest;
use crate::ring::Key;
use crate::upstream::{AttemptError, InFlightPermit};

/// The status of a request whose client left before a response, as nginx has it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A request that went as it should.
const COMPLETE: &str = "complete";

/// Collects what a line says. The line is written when the last reference is dropped: with the
/// end of the response, or when the client has left.
pub struct AccessTrace {
    log: Rc<AccessLog>,
    request: HttpRequest,
    raw: Rc<RawRequest>,
    settings: Rc<HttpSettings>,
    time: SystemTime,
    started: Instant,
    /// The id that it was given for want of one.
    fresh_id: Cell<Option<u64>>,
    record: RefCell<RequestRecord>,
    attempt_began: Cell<Instant>,
    /// Counts the request's body, if there is one.
    bytes_in: OnceCell<Rc<Cell<u64>>>,
}

impl AccessTrace {
    /// Begins the line of a request, if there is an access log.
    pub fn begin(worker: &Worker, request: &HttpRequest, raw: &Rc<RawRequest>) -> Option<Rc<Self>> {
        let log = worker.access_log.as_ref()?;
        let started = Instant::now();
        Some(Rc::new(Self {
            log: Rc::clone(log),
            request: request.clone(),
            raw: Rc::clone(raw),
            settings: Rc::clone(&worker.settings),
            time: SystemTime::now(),
            started,
            fresh_id: Cell::new(None),
            record: RefCell::default(),
            attempt_began: Cell::new(started),
            bytes_in: OnceCell::new(),
        }))
    }

    /// Its key is known, and the id that it was given for want of one.
    pub fn set_key(&self, key: Key, fresh_id: Option<u64>) {
        self.fresh_id.set(fresh_id);
        self.record.borrow_mut().key_hash = Some(key.0);
    }

    /// It waited for a replica since its beginning or the last attempt, and has one.
    pub fn begin_attempt(&self, permit: &InFlightPermit) {
        let now = Instant::now();
        let since = self.attempt_began.replace(now);
        let mut record = self.record.borrow_mut();
        let record = &mut *record;
        record.waited += now - since;
        record.slot = Some(permit.slot.get());
        record.attempts.push(AttemptRecord {
            instance: permit.instance().id().clone(),
            // Until something else comes of it.
            outcome: "client_closed",
            took: Duration::ZERO,
        });
    }

    /// The head of the response has come, on a connection that was opened for it in so long.
    pub fn responded(&self, connect: Option<Duration>) {
        self.end_attempt("response");
        let mut record = self.record.borrow_mut();
        record.connect = connect;
        record.first_byte = Some(self.attempt_began.get() - self.started);
    }

    /// The attempt has failed.
    pub fn failed(&self, error: &AttemptError) {
        self.end_attempt(error.reason().label());
    }

    fn end_attempt(&self, outcome: &'static str) {
        let now = Instant::now();
        let took = now - self.attempt_began.replace(now);
        if let Some(attempt) = self.record.borrow_mut().attempts.last_mut() {
            attempt.outcome = outcome;
            attempt.took = took;
        }
    }

    /// Its response begins.
    pub fn set_status(&self, status: StatusCode) {
        self.record.borrow_mut().status = status.as_u16();
    }

    /// The whole of a response is in memory, unless it comes from a replica.
    pub fn answered(&self, status: StatusCode, body: BodySize) {
        let mut record = self.record.borrow_mut();
        if record.status == 0 {
            record.status = status.as_u16();
            if let BodySize::Sized(length) = body {
                record.bytes_out = length;
            }
            drop(record);
            self.end(COMPLETE);
        }
    }

    /// A replica's response has no body.
    pub fn without_body(&self) {
        self.end(COMPLETE);
    }

    /// Part of the response's body is on its way to the client, or its end.
    pub fn sent<E>(&self, polled: &Poll<Option<Result<Bytes, E>>>, size: BodySize) {
        match polled {
            Poll::Ready(Some(Ok(bytes))) => {
                let mut record = self.record.borrow_mut();
                record.bytes_out += bytes.len() as u64;
                let is_whole = size == BodySize::Sized(record.bytes_out);
                drop(record);
                if is_whole {
                    self.end(COMPLETE);
                }
            }
            Poll::Ready(None) => self.end(COMPLETE),
            Poll::Ready(Some(Err(_))) => self.end("response_broken_off"),
            Poll::Pending => {}
        }
    }

    /// Part of what a replica says in a tunnel is on its way to the client.
    pub fn sent_in_tunnel(&self, length: usize) {
        self.record.borrow_mut().bytes_out += length as u64;
    }

    /// The request ends, and why. Only the first reason counts: the others follow from it.
    pub fn end(&self, why: &'static str) {
        let mut record = self.record.borrow_mut();
        if record.ended.is_empty() {
            record.ended = why;
        }
    }

    /// What counts the bytes of the request's body.
    pub fn body_counter(&self) -> Rc<Cell<u64>> {
        Rc::clone(self.bytes_in.get_or_init(Rc::default))
    }

    fn header<'h>(&'h self, name: &'h str) -> Option<Cow<'h, str>> {
        let value = self.raw.headers.get_all(name).next()?;
        Some(String::from_utf8_lossy(value))
    }
}

impl Drop for AccessTrace {
    fn drop(&mut self) {
        if self.record.borrow().ended.is_empty() && self.record.borrow().first_byte.is_none() {
            self.end_attempt("client_closed");
        }
        self.end("client_closed");
        let mut record = self.record.take();
        if record.status == 0 {
            record.status = CLIENT_CLOSED_REQUEST;
        }
        record.bytes_in = self.bytes_in.get().map_or(0, |bytes| bytes.get());
        let request = &self.request;
        let target = self.raw.path_and_query();
        let own_id = || String::from_utf8_lossy(self.raw.request_id().unwrap_or_default());
        let (id, mut digits) = (self.fresh_id.get(), itoa::Buffer::new());
        self.log.write(&AccessLine {
            time: self.time,
            request_id: id.map_or_else(own_id, |id| digits.format(id).into()),
            client: client_ip::client(request, &self.raw.headers, &self.settings.trusted_proxies),
            fleet: DEFAULT_FLEET,
            method: request.method().as_str(),
            target: String::from_utf8_lossy(&target),
            protocol: match request.version() {
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            host: self.raw.host().map(String::from_utf8_lossy),
            record: &record,
            total: self.started.elapsed(),
            referer: self.header("referer"),
            user_agent: self.header("user-agent"),
            traceparent: self.header("traceparent"),
        });
    }
}
