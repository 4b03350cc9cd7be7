//! The data path: a request's way to a replica, and the response's way back.

use std::rc::Rc;

use actix_web::body::BodySize;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, web};
use awc::ClientResponse;
use awc::http::Uri;
use awc::http::uri::{PathAndQuery, Scheme};
use log::{debug, warn};

use super::connection::{ClientConnection, InHand};
use super::error::ProxyError;
use super::response_body::{NoBody, ResponseBody};
use super::upgrade::Tunnel;
use super::{Worker, forwarded, key, upgrade};
use crate::actors::proxy_worker::{AcquireSlot, Acquired};
use crate::actors::supervisor::ConnectionRefused;
use crate::upstream::{Attempt, Exchange, Failure, Grant, Replay, Verdict};

/// Sends a request to the replica that its key belongs to, or to the next in the key's
/// order if that one cannot be reached.
pub async fn forward(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ProxyError> {
    let worker: &Rc<Worker> = request.app_data().ok_or(ProxyError::NoReplica)?;
    worker.counters.request();
    let answered = attempt_until_answered(worker, request, payload).await;
    if answered.is_err() {
        worker.counters.failure();
    }
    answered
}

async fn attempt_until_answered(
    worker: &Worker,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ProxyError> {
    if request.method() == Method::CONNECT {
        return Err(ProxyError::Connect);
    }
    let upgrade = upgrade::asked(request)?;
    let body = if upgrade {
        Some(Replay::tunnel(payload))
    } else {
        body_of(request, payload, worker.settings.max_body)?
    };
    let tunnel = upgrade.then(Tunnel::default);
    let fresh_id = key::fresh_id(request);
    let mut wanted = AcquireSlot {
        key: key::of(request, &worker.settings.key, fresh_id),
        tried: Vec::new(),
        refused: Vec::new(),
    };
    let mut attempt = Attempt::default();
    loop {
        let grant = acquire(worker, request, wanted.clone()).await?;
        let failure = match send(
            worker,
            request,
            fresh_id,
            body.as_ref(),
            tunnel.as_ref(),
            &grant,
        )
        .await
        {
            Ok(response) => {
                return Ok(match tunnel {
                    Some(tunnel) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                        tunnel.join(response, grant, in_hand(request))
                    }
                    _ => respond(request, response, grant, upgrade),
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
        let in_hand = body.as_ref().is_none_or(Replay::is_in_hand);
        match attempt.judge(&failure, request.method(), in_hand) {
            Verdict::TryNext => {
                debug!("{}: {failure:?}; on to the next replica", instance.id());
                if refused {
                    wanted.refused.push(instance.serial());
                } else if failure == Failure::OutOfFiles {
                    worker.clients.close_idle();
                } else {
                    wanted.tried.push(instance.serial());
                }
                worker.counters.retry();
            }
            Verdict::GiveUp => {
                if !failure.is_clients() {
                    warn!(
                        "{} {}: {failure:?} at {}",
                        request.method(),
                        request.path(),
                        instance.id()
                    );
                }
                return Err(ProxyError::Upstream(failure));
            }
        }
    }
}

/// The body that is to be sent on, if there is one. An error if it is larger than `most`;
/// one whose length is not told may turn out to be so later.
fn body_of(
    request: &HttpRequest,
    payload: web::Payload,
    most: Option<u64>,
) -> Result<Option<Replay>, ProxyError> {
    let length = content_length(request.headers());
    if length.zip(most).is_some_and(|(length, most)| length > most) {
        return Err(ProxyError::Upstream(Failure::BodyTooLarge));
    }
    let size = match length {
        Some(0) => return Ok(None),
        Some(length) => BodySize::Sized(length),
        None if request.headers().contains_key(TRANSFER_ENCODING) => BodySize::Stream,
        None => return Ok(None),
    };
    Ok(Some(Replay::new(payload, size, most)))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A replica for the request: at once, or as soon as one is ready.
async fn acquire(
    worker: &Worker,
    request: &HttpRequest,
    wanted: AcquireSlot,
) -> Result<Grant, ProxyError> {
    let _waiting = ClientConnection::of(request).map(ClientConnection::wait);
    match worker.links.acquire.send(wanted).await {
        Ok(Acquired::Granted(grant)) => Ok(grant),
        Ok(Acquired::Wait(mut place)) => {
            worker.counters.wait();
            match tokio::time::timeout(worker.settings.wait_timeout, place.grant()).await {
                Ok(Some(grant)) => Ok(grant),
                Ok(None) | Err(_) => Err(ProxyError::NoReplica),
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
) -> Result<ClientResponse, Failure> {
    let instance = grant.instance();
    let client = worker.clients.of(instance);
    let mut outgoing = client
        .request(request.method().clone(), target(request, grant))
        // Or awc would ask for an encoding of its own.
        .no_decompress();
    let trusted = &worker.settings.trusted_proxies;
    forwarded::copy_request(request, trusted, fresh_id, outgoing.headers_mut());

    if tunnel.is_some() {
        upgrade::ask_on(request, &mut outgoing);
    }

    let mut exchange = Exchange::new(request.method(), outgoing.headers(), body.map(Replay::play));
    if let Some(tunnel) = tunnel {
        exchange = exchange.with_pause(tunnel.pause());
    }
    let sent = if body.is_none() && request.headers().contains_key(CONTENT_LENGTH) {
        // A length of zero that was told is told on: a POST without one may be refused.
        outgoing.send()
    } else {
        // A body goes beside awc.
        outgoing.send_body(actix_web::body::None::new())
    };
    let sent = exchange.run(sent);
    match tokio::time::timeout(worker.settings.response_timeout, sent).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            let fault = body.and_then(Replay::fault);
            Err(fault.map_or_else(|| Failure::of(&error), Failure::from))
        }
        Err(_) => Err(Failure::TimedOut),
    }
}

/// The replica's address with the request's own path and query, untouched.
fn target(request: &HttpRequest, grant: &Grant) -> Uri {
    let mut parts = awc::http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(grant.instance().authority().clone());
    let path = match request.uri().path_and_query() {
        // A target in absolute form may lack the path; written out, it has one.
        Some(query) if query.as_str().starts_with('?') => query.to_string().parse().ok(),
        path => path.cloned(),
    };
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    // All three parts are there and valid: this cannot fail.
    Uri::from_parts(parts).unwrap_or_default()
}

/// Keeps the client's request in hand while its response goes out.
fn in_hand(request: &HttpRequest) -> Option<InHand> {
    ClientConnection::of(request).map(ClientConnection::hold)
}

/// The replica's response as the client's.
fn respond(
    request: &HttpRequest,
    response: ClientResponse,
    grant: Grant,
    upgrade: bool,
) -> HttpResponse {
    let mut outgoing = HttpResponse::build(response.status());
    let length = content_length(response.headers());
    let has_body = request.method() != Method::HEAD
        && response.status() != StatusCode::NO_CONTENT
        && response.status() != StatusCode::NOT_MODIFIED;
    if request.version() < Version::HTTP_11 && length.is_none() {
        // Without chunks only the end of the connection can end the body.
        outgoing.force_close();
    }
    let from = response.headers().clone();
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
        let body = ResponseBody::new(response, length, grant, !failed).holding(in_hand(request));
        if upgrade && length.is_none() {
            let chunks = upgrade::Chunks::of(body);
            outgoing.body(chunks).map_into_boxed_body()
        } else {
            outgoing.body(body).map_into_boxed_body()
        }
    } else {
        // The length that the body would have had (RFC 9110, section 8.6). actix takes
        // that of a 304 from a header field only.
        let length = length.filter(|_| response.status() != StatusCode::NO_CONTENT);
        if let (Some(length), StatusCode::NOT_MODIFIED) = (length, response.status()) {
            outgoing.insert_header((CONTENT_LENGTH, length));
            outgoing.body(NoBody(None)).map_into_boxed_body()
        } else {
            outgoing.body(NoBody(length)).map_into_boxed_body()
        }
    };
    forwarded::copy_response(&from, outgoing.headers_mut());
    upgrade::keep_requirement(&from, &mut outgoing);
    if upgrade {
        upgrade::decline(&mut outgoing);
    }
    outgoing
}
