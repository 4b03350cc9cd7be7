//! The data path: a request's way to a replica, and the response's way back.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use actix_web::body::{BodySize, BoxBody};
use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, HeaderMap, HeaderValue, SET_COOKIE, TRANSFER_ENCODING,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use log::debug;
use tokio::time::Instant;

use super::{added_headers, key, upgrade};
use crate::actors::proxy_worker::{AcquireSlot, Acquired, Session};
use crate::actors::request_queue::Unavailable;
use crate::api::RequestOutcome;
use crate::h1::{self, is_bodiless};
use crate::http::connection::state::{ClientRequest, ConnectionState};
use crate::http::context::{FAILED_REQUESTS, HttpSettings, Worker};
use crate::http::error::ProxyError;
use crate::http::headers::{client_ip, forwarded, sticky};
use crate::http::proxy::access_trace::AccessTrace;
use crate::http::proxy::request_tag::RequestTag;
use crate::http::proxy::response_body::{NoBody, ResponseBody};
use crate::http::proxy::response_timeout::ReplyWait;
use crate::http::proxy::upgrade::Tunnel;
use crate::ring::{Key, SessionKey};
use crate::upstream::framed_connection::ProtocolError;
use crate::upstream::stats::CountedResponse;
use crate::upstream::{
    AttemptError, Exclude, IdleTimeout, InFlightPermit, Instance, RawResponseHead, ReplayBody,
    RequestHeadBuilder, RetryDecision, RetryState, UpstreamBody, UpstreamRequest, UpstreamResponse,
};

/// A request that is to be forwarded, and all that is known of it. It is made once and
/// referred to from then on: what the steps below keep each for themselves is in the future
/// of every request.
struct RequestContext<'r> {
    worker: &'r Worker,
    request: &'r HttpRequest,
    client: &'r ClientRequest,
    body: Option<&'r ReplayBody>,
    /// It asks for another protocol.
    tunnel: Option<Tunnel>,
    /// The id that it is given for want of one.
    fresh_id: Option<u64>,
    started: std::time::Instant,
    /// When its present attempt began.
    attempt_started: Cell<std::time::Instant>,
    /// When it has taken too long.
    deadline: Option<Instant>,
    /// Its line in the access log, if there is one.
    trace: Option<&'r Rc<AccessTrace>>,
}

impl RequestContext<'_> {
    fn tag(&self) -> RequestTag {
        let settings = &self.worker.settings;
        let raw = &self.client.raw;
        let tag = RequestTag::new(self.request, raw, settings, self.fresh_id, self.started);
        tag.with_trace(self.trace)
    }
}

/// Sends a request to the replica that its key belongs to, or to the next in the key's
/// order if that one cannot be reached.
pub async fn forward(
    worker: &Worker,
    request: &HttpRequest,
    payload: Payload,
    client: &ClientRequest,
    trace: Option<&Rc<AccessTrace>>,
) -> Result<HttpResponse, ProxyError> {
    worker.counters.request();
    worker.retry_budget.deposit();
    let started = std::time::Instant::now();
    let answered = forward_since(started, worker, request, payload, client, trace).await;
    answered.inspect_err(|error| {
        let (reason, status) = (error.reason(), error.status_code());
        let counters = &worker.counters;
        counters.reject(reason, request.method(), status, started.elapsed());
    })
}

async fn forward_since(
    started: std::time::Instant,
    worker: &Worker,
    request: &HttpRequest,
    payload: Payload,
    client: &ClientRequest,
    trace: Option<&Rc<AccessTrace>>,
) -> Result<HttpResponse, ProxyError> {
    let is_upgrade = validate(worker, request, client.is_bare)?;
    let tunnel = match is_upgrade.then(|| worker.tunnel_limit.try_acquire()) {
        None => None,
        Some(Some(permit)) => Some(Tunnel::new(permit)),
        Some(None) => return Err(ProxyError::TooManyTunnels),
    };
    let body = if client.is_bare {
        None
    } else if is_upgrade {
        Some(ReplayBody::tunnel(payload))
    } else {
        body_of(request, payload, &worker.settings)
    };
    if let (Some(trace), Some(body)) = (trace, &body) {
        body.count_into(trace.body_counter());
    }
    let within = worker.settings.limits.request_timeout;
    let context = RequestContext {
        worker,
        request,
        client,
        body: body.as_ref(),
        tunnel,
        fresh_id: key::fresh_id(&client.raw),
        started,
        attempt_started: Cell::new(started),
        deadline: within.map(|time| Instant::now() + time),
        trace,
    };
    attempt_until_answered(&context).await
}

/// Whether a request asks for another protocol; an error if it is not to be forwarded.
fn validate(worker: &Worker, request: &HttpRequest, is_bare: bool) -> Result<bool, ProxyError> {
    if is_bare {
        return Ok(false);
    }
    if request.method() == Method::CONNECT {
        return Err(ProxyError::Connect);
    }
    check_length(request.head(), worker.settings.limits.max_body)?;
    upgrade::offered(request)
}

async fn attempt_until_answered(context: &RequestContext<'_>) -> Result<HttpResponse, ProxyError> {
    let RequestContext {
        worker,
        request,
        body,
        ..
    } = context;
    let cookie = worker.settings.sticky_cookie.as_ref();
    let session_key = cookie.and_then(|cookie| sticky::value_of(cookie, request.headers()));
    let (key, session) = match session_key {
        Some(value) => (Key::from_bytes(value), Session::Known),
        None => {
            let key = key::of(
                request,
                &context.client.raw,
                &worker.settings,
                context.fresh_id,
            );
            let is_new = cookie.is_some() && context.tunnel.is_none();
            (key, if is_new { Session::New } else { Session::None })
        }
    };
    if let Some(trace) = context.trace {
        trace.set_key(key, context.fresh_id);
    }
    let mut wanted = AcquireSlot {
        key,
        tried: Vec::new(),
        refused: Vec::new(),
        session,
    };
    let mut attempt = RetryState::new(worker.settings.limits.retry);
    loop {
        let grant = acquire(context, wanted.clone()).await?;
        if let Some(trace) = context.trace {
            trace.begin_attempt(&grant);
        }
        let wait = ReplyWait {
            response: worker.settings.limits.response_timeout,
            deadline: context.deadline,
            leaves_the_lost: attempt.may_be_sent_again(request.method()),
            client: &context.client.connection,
        };
        let began = worker.settings.server_timing.then(std::time::Instant::now);
        let error = match send(context, &grant, &wait).await {
            Ok(response) => return Ok(relay(context, response, grant, began)),
            Err(error) => error,
        };
        let instance = grant.instance();
        let is_replayable = body.is_none_or(ReplayBody::is_replayable);
        let withdraw = || worker.retry_budget.withdraw(std::time::Instant::now());
        let decision = attempt.on_error(&error, request.method(), is_replayable, withdraw);
        note_error(context, instance, &error, decision);
        if decision != RetryDecision::NextReplica {
            return Err(ProxyError::Upstream(error));
        }
        match error.exclude() {
            Exclude::Instance => wanted.refused.push(instance.uid()),
            Exclude::Replica => wanted.tried.push(instance.id().replica.clone()),
            Exclude::Nothing => worker.clients.close_idle(),
        }
        context.attempt_started.set(std::time::Instant::now());
    }
}

/// Counts, reports and logs the error of an attempt.
fn note_error(
    context: &RequestContext<'_>,
    instance: &Instance,
    error: &AttemptError,
    decision: RetryDecision,
) {
    let worker = context.worker;
    if let Some(trace) = context.trace {
        trace.failed(error);
    }
    let (thread, reason) = (worker.counters.thread(), error.reason());
    instance
        .stats()
        .on(thread, |counters| counters.failed(reason));
    if error.is_replicas() {
        instance.note_failure();
    }
    if error.is_refused() {
        let id = instance.id().clone();
        worker.links.supervisor.connection_refused(id);
    }
    match decision {
        RetryDecision::NextReplica => worker.counters.retry(reason),
        RetryDecision::OverBudget => worker.counters.over_budget(),
        RetryDecision::GiveUp => {}
    }
    let is_retried = decision == RetryDecision::NextReplica;
    if error.reached_the_replica() {
        let outcome = match is_retried {
            true => RequestOutcome::Retried,
            false => RequestOutcome::Failed,
        };
        let interrupted = || context.tag().interrupted(outcome);
        let now = std::time::Instant::now();
        instance.interrupted().record(now, interrupted);
    }
    let (tag, id) = (context.tag(), instance.id());
    if is_retried {
        debug!("{tag}: {error} at {id}; on to the next replica");
    } else if error.is_clients() {
        debug!("{tag}: {error}");
    } else {
        tag.warn(&FAILED_REQUESTS, format_args!("{error} at {id}"));
    }
}

/// Refuses a request that says that its body is larger than it may be. One in chunks may turn
/// out to be so later.
pub fn check_length(request: &RequestHead, most: Option<u64>) -> Result<(), ProxyError> {
    let length = || content_length(request.headers()).unwrap_or_default();
    match most {
        Some(most) if length() > most => Err(ProxyError::Upstream(AttemptError::BodyTooLarge)),
        _ => Ok(()),
    }
}

/// The body that is to be sent on, if there is one.
fn body_of(request: &HttpRequest, payload: Payload, settings: &HttpSettings) -> Option<ReplayBody> {
    let size = match content_length(request.headers()) {
        Some(0) => return None,
        Some(length) => BodySize::Sized(length),
        None if request.headers().contains_key(TRANSFER_ENCODING) => BodySize::Stream,
        None => return None,
    };
    let body = ReplayBody::new(payload, size, settings.limits.body_timeout);
    let body = body.with_min_rate(settings.limits.min_body_rate);
    Some(body.at_most(settings.limits.max_body))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    h1::parse_content_length(headers.get(CONTENT_LENGTH)?.as_bytes())
}

/// A replica for the request: at once, or as soon as one is ready.
async fn acquire(
    context: &RequestContext<'_>,
    wanted: AcquireSlot,
) -> Result<InFlightPermit, ProxyError> {
    let worker = context.worker;
    let acquiring = context.client.connection.acquire();
    acquiring.set_asking(true);
    let acquired = worker.links.acquire.send(wanted).await;
    acquiring.set_asking(false);
    match acquired {
        Ok(Acquired::Granted(grant)) => Ok(grant),
        Ok(Acquired::Wait(mut place)) => {
            worker.counters.wait();
            let unavailable = match place.unavailable() {
                Unavailable::NoneReady => ProxyError::NoReplica,
                Unavailable::AllBusy => ProxyError::AllBusy,
            };
            let wait_deadline = Instant::now() + worker.settings.limits.wait_timeout;
            let (until, late) = match context
                .deadline
                .filter(|deadline| *deadline < wait_deadline)
            {
                Some(deadline) => (deadline, ProxyError::TookTooLong),
                None => (wait_deadline, unavailable),
            };
            // In a box: it makes no request larger that need not wait.
            let granted = async {
                tokio::select! {
                    biased;
                    grant = tokio::time::timeout_at(until, place.grant()) => match grant {
                        Ok(Some(grant)) => {
                            context.attempt_started.set(std::time::Instant::now());
                            Ok(grant)
                        }
                        Ok(None) => Err(ProxyError::NoReplica),
                        Err(_) => Err(late),
                    },
                    () = half_closed(&context.client.connection) => {
                        let (method, path) = (context.request.method(), context.request.path());
                        debug!("{method} {path}: client closed while it waited for a replica");
                        Err(ProxyError::ClientClosed)
                    }
                }
            };
            Box::pin(granted).await
        }
        Ok(Acquired::Full) => Err(ProxyError::Overloaded),
        Err(_) => Err(ProxyError::NoReplica),
    }
}

/// Waits until the client has closed its side, which wakes the request's task.
async fn half_closed(client: &ConnectionState) {
    poll_fn(|_| match client.is_half_closed() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// One attempt: the request goes out, the head of the response comes in.
async fn send(
    context: &RequestContext<'_>,
    grant: &InFlightPermit,
    wait: &ReplyWait<'_>,
) -> Result<Box<UpstreamResponse>, AttemptError> {
    let (worker, instance) = (context.worker, grant.instance());
    let sent = pin!(worker.clients.send(instance, exchange(context, instance)));
    wait.wait_for(sent, context.body, instance).await?
}

/// The request as this replica gets it.
fn exchange(context: &RequestContext<'_>, instance: &Instance) -> UpstreamRequest {
    let RequestContext {
        worker, request, ..
    } = context;
    let mut head = RequestHeadBuilder::empty();
    let trusted = &worker.settings.trusted_proxies;
    let address = instance.authority();
    let cookie = worker.settings.sticky_cookie.as_ref();
    let via = worker.settings.via.as_ref();
    forwarded::tell_request(
        request,
        &context.client.raw,
        trusted,
        via,
        context.fresh_id,
        cookie,
        address,
        &mut head,
    );
    if context.tunnel.is_some() {
        upgrade::ask_on(request, &mut head);
    } else if context.body.is_none()
        && !context.client.is_bare
        && request.headers().contains_key(CONTENT_LENGTH)
    {
        // A length of zero that was told is told on: a POST without one may be refused.
        head.header("content-length", b"0");
    }
    let exchange = UpstreamRequest::new(
        request.method(),
        head,
        context.body.map(ReplayBody::attempt_body),
    );
    let interim = context.client.connection.interim(via_line(context));
    let exchange = exchange.with_interim(interim);
    match &context.tunnel {
        Some(tunnel) => exchange.for_tunnel(tunnel.pause()),
        None => exchange,
    }
}

/// The line that says that a response came through here.
fn via_line(context: &RequestContext<'_>) -> &'static [u8] {
    let via = context.worker.settings.via.as_ref();
    via.map_or(&[], |via| via.line(false))
}

/// The replica's response on its way to the client, whose connection writes its head as it came.
fn relay(
    context: &RequestContext<'_>,
    mut response: Box<UpstreamResponse>,
    mut grant: InFlightPermit,
    began: Option<std::time::Instant>,
) -> HttpResponse {
    if let Some(trace) = context.trace {
        trace.responded(response.connect);
    }
    count_head(context, response.head.status(), &mut grant);
    let is_switch = response.head.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_switch && !upgrade::may_switch(context.request, &response.head) {
        let error = AttemptError::InvalidResponse(ProtocolError::UnsolicitedUpgrade);
        if let Some(trace) = context.trace {
            trace.end(error.reason().label());
        }
        return ProxyError::Upstream(error).error_response();
    }
    if let Some(trace) = context.trace {
        trace.set_status(response.head.status());
    }
    let settings = &context.worker.settings;
    let replica = settings.replica_header.as_ref();
    let replica = replica.map(|header| (header, grant.instance().id().clone()));
    let connection = &context.client.connection;
    let body = response.body.take();
    let mut outgoing = match &context.tunnel {
        Some(tunnel) if is_switch => {
            let (client, silence) = (
                context.body.cloned(),
                context.worker.settings.limits.tunnel_timeout,
            );
            tunnel.join(body, grant, connection, client, silence, context.tag())
        }
        _ => respond(context, &response.head, body, grant),
    };
    if let Some((header, id)) = replica {
        added_headers::name_replica(header, &id, outgoing.headers_mut());
    }
    if let Some(began) = began {
        let headers = outgoing.headers_mut();
        added_headers::server_timing(response.connect, began, context.started, headers);
    }
    response.head.append(via_line(context));
    connection.leave_replica_response(response);
    outgoing
}

/// Counts a response's head, and has its end counted. A tunnel counts at once: how long it lasts
/// is not how long a response takes.
fn count_head(context: &RequestContext<'_>, status: StatusCode, grant: &mut InFlightPermit) {
    let (thread, method) = (context.worker.counters.thread(), context.request.method());
    let stats = grant.instance().stats();
    let took = context.attempt_started.get().elapsed();
    stats.on(thread, |counters| counters.head(took));
    let response = CountedResponse::new(thread, method, status, context.started);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        response.count(stats);
    } else {
        grant.set_response(response);
    }
}

/// The replica's response as the client's.
fn respond(
    context: &RequestContext<'_>,
    head: &RawResponseHead,
    body: Option<UpstreamBody>,
    grant: InFlightPermit,
) -> HttpResponse {
    let status = head.status();
    let mut outgoing = HttpResponse::build(status);
    let has_body = context.request.method() != Method::HEAD && !is_bodiless(status.as_u16());
    let length = match has_body {
        true => head.body_length(),
        false => head.content_length(),
    };
    if context.tunnel.is_some() {
        // What the client has sent since may be another request, or the other protocol's.
        outgoing.force_close();
    }
    let settings = &context.worker.settings;
    let failed = settings.outlier_on.is_failure(status.as_u16());
    if failed {
        grant.instance().note_failure();
    } else if !has_body || length == Some(0) {
        // An empty body is never polled, so its end would go unseen.
        grant.instance().note_success();
    }
    if let Some(trace) = context.trace
        && (!has_body || length == Some(0))
    {
        trace.without_body();
    }
    let session_key = grant.session_key;
    let mut outgoing = if has_body {
        let idle = IdleTimeout::new(settings.limits.idle_timeout, context.deadline);
        let (tag, client) = (context.tag(), &context.client.connection);
        let body = ResponseBody::new(body, length, grant, !failed, idle, tag, client);
        // In its box at once: on the way through a builder it would be copied several times.
        outgoing.body(BoxBody::new(body))
    } else {
        // The length that the body would have had (RFC 9110, section 8.6), but for a 304, whose
        // headers have it.
        let declared = length.filter(|_| !is_bodiless(status.as_u16()));
        outgoing.body(NoBody(declared)).map_into_boxed_body()
    };
    if let Some(key) = session_key {
        let is_cacheable = head.get_all("cache-control").next().is_none();
        begin_session(context, key, is_cacheable, outgoing.headers_mut());
    }
    outgoing
}

/// Has the client keep the key of its session, and no cache between give it to another.
fn begin_session(
    context: &RequestContext<'_>,
    key: SessionKey,
    is_cacheable: bool,
    to: &mut HeaderMap,
) {
    let settings = &context.worker.settings;
    let is_secure = client_ip::is_https(context.request, &settings.trusted_proxies);
    let cookie = settings.sticky_cookie.as_ref();
    let Some(Ok(cookie)) = cookie.map(|cookie| sticky::set_cookie(cookie, key, is_secure)) else {
        return;
    };
    to.append(SET_COOKIE, cookie);
    if is_cacheable {
        to.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}
