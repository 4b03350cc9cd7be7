//! The data path: a request's way to a replica, and the response's way back.

use std::borrow::Cow;
use std::rc::Rc;

use actix_web::body::BodySize;
use actix_web::dev::RequestHead;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{Method, StatusCode, Version};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use awc::ClientResponse;
use log::{debug, warn};
use tokio::time::Instant;

use super::connection::{ClientConnection, InHand};
use super::error::ProxyError;
use super::reply_wait::ReplyWait;
use super::response_body::{NoBody, ResponseBody};
use super::unread::Unread;
use super::upgrade::Tunnel;
use super::{HttpSettings, Worker, forwarded, key, upgrade};
use crate::actors::proxy_worker::{AcquireSlot, Acquired};
use crate::actors::supervisor::ConnectionRefused;
use crate::actors::waiting_room::Shortage;
use crate::upstream::{
    Attempt, Exchange, Failure, Grant, Idle, OutgoingHead, Replay, Verdict, recycle,
};

/// Sends a request to the replica that its key belongs to, or to the next in the key's
/// order if that one cannot be reached.
pub async fn forward(
    request: &HttpRequest,
    payload: web::Payload,
    connection: Option<&Rc<ClientConnection>>,
) -> (Result<HttpResponse, ProxyError>, Option<Unread>) {
    let Some(worker) = request.app_data::<Rc<Worker>>() else {
        return (Err(ProxyError::NoReplica), Some(Unread::Payload(payload)));
    };
    worker.counters.request();
    worker.retry_budget.earn();
    let upgrade = match upgrade::asked(request) {
        _ if request.method() == Method::CONNECT => Err(ProxyError::Connect),
        upgrade => check_length(request.head(), worker.settings.max_body).and(upgrade),
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(error) => {
            worker.counters.failure();
            return (Err(error), Some(Unread::Payload(payload)));
        }
    };
    let body = if upgrade {
        Some(Replay::tunnel(payload))
    } else {
        body_of(request, payload, &worker.settings)
    };
    let answered =
        attempt_until_answered(worker, request, connection, upgrade, body.as_ref()).await;
    if answered.is_err() {
        worker.counters.failure();
    }
    (answered, body.map(Unread::Replay))
}

async fn attempt_until_answered(
    worker: &Worker,
    request: &HttpRequest,
    connection: Option<&Rc<ClientConnection>>,
    upgrade: bool,
    body: Option<&Replay>,
) -> Result<HttpResponse, ProxyError> {
    let times = &worker.settings.times;
    let deadline = times.request.map(|time| Instant::now() + time);
    let tunnel = upgrade.then(Tunnel::default);
    let fresh_id = key::fresh_id(request);
    let mut wanted = AcquireSlot {
        key: key::of(request, &worker.settings, fresh_id),
        tried: Vec::new(),
        refused: Vec::new(),
    };
    let mut attempt = Attempt::default();
    loop {
        let grant = acquire(worker, connection, wanted.clone(), deadline).await?;
        let failure = match send(
            worker,
            request,
            fresh_id,
            body,
            tunnel.as_ref(),
            &grant,
            ReplyWait {
                response: times.response,
                deadline,
                leaves_the_lost: attempt.may_be_sent_again(request.method()),
            },
        )
        .await
        {
            Ok(response) => {
                // While the response goes out, the client's request is in hand.
                let in_hand = connection.map(ClientConnection::hold);
                return Ok(match tunnel {
                    Some(tunnel) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                        tunnel.join(response, grant, in_hand, body.cloned(), times.tunnel)
                    }
                    _ => {
                        let idle = Idle::new(times.idle, deadline);
                        respond(request, response, (grant, in_hand), upgrade, idle)
                    }
                });
            }
            Err(failure) => failure,
        };
        let instance = grant.instance();
        if !failure.is_clients() && failure != Failure::OutOfFiles {
            instance.note_failure();
        }
        let refused = matches!(failure, Failure::NotConnected { refused: true, .. });
        if refused {
            let id = instance.id().clone();
            worker.links.refused.do_send(ConnectionRefused(id));
        }
        let in_hand = body.is_none_or(Replay::is_in_hand);
        let spend = || worker.retry_budget.spend(std::time::Instant::now());
        let verdict = attempt.judge(&failure, request.method(), in_hand, spend);
        if verdict == Verdict::OverBudget {
            worker.counters.over_budget();
        }
        match verdict {
            Verdict::TryNext => {
                debug!("{}: {failure}; on to the next replica", instance.id());
                if refused {
                    wanted.refused.push(instance.serial());
                } else if failure == Failure::OutOfFiles {
                    worker.clients.close_idle();
                } else {
                    wanted.tried.push(instance.id().replica.clone());
                }
                worker.counters.retry();
            }
            Verdict::OverBudget | Verdict::GiveUp => {
                let (method, path, id) = (request.method(), request.path(), instance.id());
                if failure.is_clients() {
                    debug!("{method} {path}: {failure}");
                } else {
                    warn!("{method} {path}: {failure} at {id}");
                }
                return Err(ProxyError::Upstream(failure));
            }
        }
    }
}

/// Refuses a request that says that its body is larger than it may be. One in chunks may turn
/// out to be so later.
pub fn check_length(request: &RequestHead, most: Option<u64>) -> Result<(), ProxyError> {
    let length = || content_length(request.headers()).unwrap_or_default();
    match most {
        Some(most) if length() > most => Err(ProxyError::Upstream(Failure::BodyTooLarge)),
        _ => Ok(()),
    }
}

/// The body that is to be sent on, if there is one.
fn body_of(
    request: &HttpRequest,
    payload: web::Payload,
    settings: &HttpSettings,
) -> Option<Replay> {
    let size = match content_length(request.headers()) {
        Some(0) => return None,
        Some(length) => BodySize::Sized(length),
        None if request.headers().contains_key(TRANSFER_ENCODING) => BodySize::Stream,
        None => return None,
    };
    let body = Replay::new(payload, size, settings.times.body);
    Some(body.at_most(settings.max_body))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A replica for the request: at once, or as soon as one is ready.
async fn acquire(
    worker: &Worker,
    connection: Option<&Rc<ClientConnection>>,
    wanted: AcquireSlot,
    deadline: Option<Instant>,
) -> Result<Grant, ProxyError> {
    let _waiting = connection.map(ClientConnection::wait);
    match worker.links.acquire.send(wanted).await {
        Ok(Acquired::Granted(grant)) => Ok(grant),
        Ok(Acquired::Wait(mut place)) => {
            worker.counters.wait();
            let shortage = match place.shortage() {
                Shortage::NoneReady => ProxyError::NoReplica,
                Shortage::AllBusy => ProxyError::AllBusy,
            };
            let patience = Instant::now() + worker.settings.times.wait;
            let (until, late) = match deadline.filter(|deadline| *deadline < patience) {
                Some(deadline) => (deadline, ProxyError::TookTooLong),
                None => (patience, shortage),
            };
            // In a box: it makes no request larger that need not wait.
            match Box::pin(tokio::time::timeout_at(until, place.grant())).await {
                Ok(Some(grant)) => Ok(grant),
                Ok(None) => Err(ProxyError::NoReplica),
                Err(_) => Err(late),
            }
        }
        Ok(Acquired::Full) => Err(ProxyError::Overloaded),
        Err(_) => Err(ProxyError::NoReplica),
    }
}

/// One attempt: the request goes out, the head of the response comes in.
async fn send(
    worker: &Worker,
    request: &HttpRequest,
    fresh_id: Option<u64>,
    body: Option<&Replay>,
    tunnel: Option<&Tunnel>,
    grant: &Grant,
    wait: ReplyWait,
) -> Result<ClientResponse, Failure> {
    let instance = grant.instance();
    let mut head = OutgoingHead::new(request.method().as_str(), &target(request));
    let trusted = &worker.settings.trusted_proxies;
    forwarded::tell_request(request, trusted, fresh_id, instance.authority(), &mut head);
    if tunnel.is_some() {
        upgrade::ask_on(request, &mut head);
    } else if body.is_none() && request.headers().contains_key(CONTENT_LENGTH) {
        // A length of zero that was told is told on: a POST without one may be refused.
        head.field("content-length", b"0");
    }
    let mut exchange = Exchange::new(request.method(), head, body.map(Replay::play));
    if let Some(tunnel) = tunnel {
        exchange = exchange.for_tunnel(tunnel.pause());
    }
    let sent = worker.clients.send(instance, exchange);
    let answered = wait.wait_for(sent, body, instance);
    match answered.await? {
        Ok(response) => Ok(response),
        Err(error) => {
            let broken = body.and_then(Replay::broken);
            Err(broken.map_or_else(|| Failure::of(&error), Failure::from))
        }
    }
}

/// A request's own path and query, untouched.
fn target(request: &HttpRequest) -> Cow<'_, str> {
    match request.uri().path_and_query().map(PathAndQuery::as_str) {
        // A target in absolute form may lack the path; written out, it has one.
        Some(query) if query.starts_with('?') => format!("/{query}").into(),
        Some(path) if !path.is_empty() => path.into(),
        _ => "/".into(),
    }
}

/// The replica's response as the client's.
fn respond(
    request: &HttpRequest,
    mut response: ClientResponse,
    (grant, in_hand): (Grant, Option<InHand>),
    upgrade: bool,
    idle: Idle,
) -> HttpResponse {
    let mut outgoing = HttpResponse::build(response.status());
    let length = content_length(response.headers());
    let not_modified = response.status() == StatusCode::NOT_MODIFIED;
    let has_body = request.method() != Method::HEAD
        && response.status() != StatusCode::NO_CONTENT
        && !not_modified;
    if request.version() < Version::HTTP_11 && length.is_none() {
        // Without chunks only the end of the connection can end the body.
        outgoing.force_close();
    }
    let failed = matches!(
        response.status(),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    );
    if failed {
        grant.instance().note_failure();
    } else if !has_body {
        grant.instance().note_success();
    }
    let mut outgoing = if has_body {
        let body = ResponseBody::new(response.take_payload(), length, grant, !failed, idle);
        let body = body.holding(in_hand);
        if upgrade && length.is_none() {
            let chunks = upgrade::Chunks::of(body);
            outgoing.body(chunks).map_into_boxed_body()
        } else {
            outgoing.body(body).map_into_boxed_body()
        }
    } else {
        // The length that the body would have had (RFC 9110, section 8.6). actix takes
        // that of a 304 from a header field only.
        let told = length.filter(|_| !not_modified && response.status() != StatusCode::NO_CONTENT);
        outgoing.body(NoBody(told)).map_into_boxed_body()
    };
    recycle(response.map_body(|head, payload| {
        std::mem::swap(&mut head.headers, outgoing.headers_mut());
        payload
    }));
    forwarded::tell_response(outgoing.status(), outgoing.headers_mut());
    if let (Some(length), true) = (length, not_modified) {
        outgoing.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    if upgrade {
        upgrade::decline(&mut outgoing);
    }
    outgoing
}
