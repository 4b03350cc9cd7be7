//! The data path: attempts to have a request answered, until one succeeds or none is left.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use actix_web::body::BodySize;
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use log::debug;

use super::access_trace::AccessTrace;
use super::attempt::{acquire, send};
use super::key;
use super::relay::relay;
use super::request_context::RequestContext;
use super::response_timeout::ReplyWait;
use super::upgrade::{self, Tunnel};
use crate::actors::proxy_worker::{AcquireSlot, Session};
use crate::api::RequestOutcome;
use crate::h1::{self, HeaderLines};
use crate::http::connection::state::ClientRequest;
use crate::http::context::{FAILED_REQUESTS, HttpSettings, Worker};
use crate::http::error::ProxyError;
use crate::http::headers::sticky;
use crate::ring::Key;
use crate::upstream::{AttemptError, Exclude, Instance, ReplayBody, RetryDecision, RetryState};

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
    let started = Instant::now();
    let answered = async {
        let is_upgrade = validate(worker, request, client)?;
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
            body_of(payload, client, &worker.settings)
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
            deadline: within.map(|time| tokio::time::Instant::now() + time),
            trace,
        };
        attempt_until_answered(&context).await
    };
    answered.await.inspect_err(|error| {
        let (reason, status) = (error.reason(), error.status_code());
        let counters = &worker.counters;
        counters.reject(reason, request.method(), status, started.elapsed());
    })
}

/// Whether a request asks for another protocol; an error if it is not to be forwarded.
fn validate(
    worker: &Worker,
    request: &HttpRequest,
    client: &ClientRequest,
) -> Result<bool, ProxyError> {
    if client.is_bare {
        return Ok(false);
    }
    if request.method() == Method::CONNECT {
        return Err(ProxyError::NotImplemented("CONNECT is not supported"));
    }
    check_length(&client.raw.headers, worker.settings.limits.max_body)?;
    upgrade::offered(request, &client.raw.headers)
}

async fn attempt_until_answered(context: &RequestContext<'_>) -> Result<HttpResponse, ProxyError> {
    let RequestContext {
        worker,
        request,
        body,
        ..
    } = context;
    let cookie = worker.settings.sticky_cookie.as_ref();
    let session_key =
        cookie.and_then(|cookie| sticky::value_of(cookie, &context.client.raw.headers));
    let (key, session) = match session_key {
        Some(value) => (Key::from_bytes(value), Session::Known),
        None => {
            let key = key::of(
                request,
                &context.client.raw,
                &worker.key_source.current(),
                &worker.settings.trusted_proxies,
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
    let mut attempt = RetryState::new(worker.settings.limits.retry, worker.settings.resends);
    loop {
        let grant = acquire(context, &wanted).await?;
        if let Some(trace) = context.trace {
            trace.begin_attempt(&grant);
        }
        let wait = ReplyWait {
            response: worker.settings.limits.response_timeout,
            deadline: context.deadline,
            leaves_the_lost: attempt.may_be_sent_again(request.method()),
            client: &context.client.connection,
        };
        let began = worker.settings.server_timing.then(Instant::now);
        let error = match send(context, &grant, &wait).await {
            Ok(response) => return Ok(relay(context, response, grant, began)),
            Err(error) => error,
        };
        let instance = grant.instance();
        let is_replayable = body.is_none_or(ReplayBody::is_replayable);
        let withdraw = || worker.retry_budget.withdraw(Instant::now());
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
        context.attempt_started.set(Instant::now());
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
        let now = Instant::now();
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
fn check_length(headers: &HeaderLines, most: Option<u64>) -> Result<(), ProxyError> {
    let length = || content_length(headers).unwrap_or_default();
    match most {
        Some(most) if length() > most => Err(ProxyError::Upstream(AttemptError::BodyTooLarge)),
        _ => Ok(()),
    }
}

/// The body that is to be sent on, if there is one.
fn body_of(
    payload: Payload,
    client: &ClientRequest,
    settings: &HttpSettings,
) -> Option<ReplayBody> {
    let headers = &client.raw.headers;
    let size = match content_length(headers) {
        Some(0) => return None,
        Some(length) => BodySize::Sized(length),
        None if headers.get("transfer-encoding").is_some() => BodySize::Stream,
        None => return None,
    };
    let body = ReplayBody::new(payload, size, settings.limits.body_timeout);
    let body = body
        .with_min_rate(settings.limits.min_body_rate)
        .with_trailers(client.raw.trailers.get().cloned());
    Some(body.at_most(settings.limits.max_body))
}

fn content_length(headers: &HeaderLines) -> Option<u64> {
    h1::parse_content_length(headers.get("content-length")?)
}
