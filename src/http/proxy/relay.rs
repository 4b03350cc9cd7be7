//! A replica's response on its way to the client.

use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, SET_COOKIE};
use actix_web::http::{Method, StatusCode};

use super::added_headers;
use super::request_context::RequestContext;
use super::response_body::{NoBody, ResponseBody};
use crate::h1::is_bodiless;
use crate::http::headers::{client_ip, sticky};
use crate::ring::SessionKey;
use crate::upstream::stats::CountedResponse;
use crate::upstream::{
    IdleTimeout, InFlightPermit, RawResponseHead, UpstreamBody, UpstreamResponse,
};

/// So much of a body is taken before the client has to take any of it.
const MAX_SMALL: u64 = 8 * 1024;

/// The replica's response as the client's, whose connection writes its head as it came.
pub fn relay(
    context: &RequestContext<'_>,
    mut response: Box<UpstreamResponse>,
    mut grant: InFlightPermit,
    began: Option<Instant>,
) -> HttpResponse {
    let status = response.head.status();
    if let Some(trace) = context.trace {
        trace.responded(response.connect);
        trace.set_status(status);
    }
    count_head(context, &response.head, &mut grant);
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
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
    response.head.append(context.via_line());
    connection.leave_replica_response(response);
    outgoing
}

/// Counts a response's head, and has its end counted. A tunnel counts at once: how long it lasts
/// is not how long a response takes. The clock is read once for a head and a small body that has
/// come with it.
fn count_head(context: &RequestContext<'_>, head: &RawResponseHead, grant: &mut InFlightPermit) {
    let (thread, method) = (context.worker.counters.thread(), context.request.method());
    let (stats, now) = (grant.instance().stats(), Instant::now());
    let took = now - context.attempt_started.get();
    stats.on(thread, |counters| counters.head(took));
    let mut response = CountedResponse::new(thread, method, head.status(), context.started);
    let is_small = head.body_length().is_some_and(|length| length <= MAX_SMALL);
    response.ended = is_small.then_some(now);
    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
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
        let is_cacheable = head.lines.get_all("cache-control").next().is_none();
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
    let is_secure = client_ip::is_https(
        context.request,
        &context.client.raw.headers,
        &settings.trusted_proxies,
    );
    let cookie = settings.sticky_cookie.as_ref();
    let Some(Ok(cookie)) = cookie.map(|cookie| sticky::set_cookie(cookie, key, is_secure)) else {
        return;
    };
    to.append(SET_COOKIE, cookie);
    if is_cacheable {
        to.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}
