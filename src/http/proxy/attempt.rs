//! One attempt to have a request answered: a replica for it, the request as that one gets it, and
//! the head of the response.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use log::debug;

use super::request_context::RequestContext;
use super::response_timeout::ReplyWait;
use super::upgrade;
use crate::actors::proxy_worker::{AcquireSlot, Acquired};
use crate::actors::request_queue::Unavailable;
use crate::http::connection::state::ConnectionState;
use crate::http::error::ProxyError;
use crate::http::headers::forwarded;
use crate::upstream::framed_connection::ProtocolError;
use crate::upstream::{
    AttemptError, InFlightPermit, Instance, ReplayBody, RequestHeadBuilder, UpstreamRequest,
    UpstreamResponse,
};

/// A replica for the request: at once, or as soon as one is ready.
pub async fn acquire(
    context: &RequestContext<'_>,
    wanted: &AcquireSlot,
) -> Result<InFlightPermit, ProxyError> {
    let worker = context.worker;
    let acquiring = context.client.connection.acquire();
    acquiring.set_asking(true);
    let acquired = worker.links.acquire.send(wanted.clone()).await;
    acquiring.set_asking(false);
    match acquired {
        Ok(Acquired::Granted(grant)) => Ok(grant),
        Ok(Acquired::Wait(mut place)) => {
            worker.counters.wait();
            let unavailable = match place.unavailable() {
                Unavailable::NoneReady | Unavailable::Held => ProxyError::NoReplica,
                Unavailable::AllBusy => ProxyError::AllBusy,
            };
            let wait_timeout = worker.settings.limits.wait_timeout;
            let joined = Instant::now();
            // In a box: it makes no request larger that need not wait.
            let granted = async {
                loop {
                    // While the fleet is paused the time does not pass.
                    let from = joined.max(place.held_until());
                    let wait_deadline = (from + wait_timeout).into();
                    let sooner = context.deadline.filter(|d| *d < wait_deadline);
                    let until = sooner.unwrap_or(wait_deadline);
                    let granted = tokio::select! {
                        biased;
                        granted = tokio::time::timeout_at(until, place.grant()) => granted,
                        () = half_closed(&context.client.connection) => {
                            let (method, path) = (context.request.method(), context.request.path());
                            debug!("{method} {path}: client closed while it waited for a replica");
                            return Err(ProxyError::ClientClosed);
                        }
                    };
                    match granted {
                        Ok(Some(grant)) => {
                            context.attempt_started.set(Instant::now());
                            return Ok(grant);
                        }
                        // A maintenance has begun, unless the balancer ends.
                        Ok(None) => {
                            let asked = worker.links.acquire.send(wanted.clone()).await;
                            return match asked {
                                Ok(Acquired::Granted(grant)) => Ok(grant),
                                Ok(Acquired::Refused(page)) => Err(ProxyError::Maintenance(page)),
                                _ => Err(ProxyError::NoReplica),
                            };
                        }
                        Err(_) if sooner.is_some() => return Err(ProxyError::TookTooLong),
                        // Paused meanwhile.
                        Err(_) if place.held_until() > from => {}
                        Err(_) => return Err(unavailable),
                    }
                }
            };
            Box::pin(granted).await
        }
        Ok(Acquired::Full) => Err(ProxyError::Overloaded),
        Ok(Acquired::Refused(maintenance)) => Err(ProxyError::Maintenance(maintenance)),
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
pub async fn send(
    context: &RequestContext<'_>,
    grant: &InFlightPermit,
    wait: &ReplyWait<'_>,
) -> Result<Box<UpstreamResponse>, AttemptError> {
    let (worker, instance) = (context.worker, grant.instance());
    let sent = pin!(
        worker
            .clients
            .send(instance, request_for(context, instance))
    );
    let response = wait.wait_for(sent, context.body, instance).await??;
    match upgrade::may_be_relayed(&context.client.raw.headers, &response.head) {
        true => Ok(response),
        false => Err(ProtocolError::UnsolicitedUpgrade.into()),
    }
}

/// The request as this replica gets it.
fn request_for(context: &RequestContext<'_>, instance: &Instance) -> UpstreamRequest {
    let RequestContext {
        request, client, ..
    } = context;
    let settings = &context.worker.settings;
    let mut head = RequestHeadBuilder::empty();
    forwarded::tell_request(
        request,
        &client.raw,
        &settings.trusted_proxies,
        settings.via.as_ref(),
        context.fresh_id,
        settings.sticky_cookie.as_ref(),
        instance.authority(),
        &mut head,
    );
    if settings.tells_replica {
        let name = instance.id().replica.as_str();
        head.header(forwarded::REPLICA, name.as_bytes());
    }
    if context.tunnel.is_some() {
        upgrade::ask_on(&client.raw.headers, &mut head);
    } else if context.body.is_none()
        && !client.is_bare
        && client.raw.headers.get("content-length").is_some()
    {
        // A length of zero that was told is told on: a POST without one may be refused.
        head.header("content-length", b"0");
    }
    let body = context.body.map(ReplayBody::attempt_body);
    let interim = client.connection.interim(context.via_line());
    let request = UpstreamRequest::new(request.method(), head, body).with_interim(interim);
    match &context.tunnel {
        Some(tunnel) => request.for_tunnel(tunnel.pause()),
        None if client.takes_trailers => request.asking_for_trailers(),
        None => request,
    }
}
