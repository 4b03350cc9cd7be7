//! What answers a request: the admin calls on the client port, or the proxy.

use std::rc::Rc;

use actix_web::body::MessageBody as _;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::{HttpRequest, HttpResponse, ResponseError};

use super::api::{self, ApiError, ReplicaHandles};
use super::connection::state::ClientRequest;
use super::context::Worker;
use super::headers::{max_forwards, validate};
use super::proxy::access_trace::AccessTrace;
use super::proxy::forward::forward;
use super::server::Site;
use crate::config::AdminCalls;

/// What one worker thread serves: the admin calls by their exact path, and everything else
/// forwarded.
///
/// `/%72ep` is a path like any other and goes through untouched.
pub fn proxy_site(worker: Worker) -> Site {
    let worker = Rc::new(worker);
    let access_log = worker.access_log.clone();
    // An async block: an async function has its arguments twice in its future, and a box that is
    // larger than malloc's thread cache takes (1,032 bytes) costs 1,500 instructions a request.
    let site = Site::new(move |mut request: ServiceRequest| {
        let worker = Rc::clone(&worker);
        let client = ClientRequest::take(&request);
        let takes_calls = worker.settings.admin_guard.calls != AdminCalls::Off;
        let is_call = takes_calls && matches!(request.path(), "/rep" | "/add" | "/rm");
        if let (Some(client), true) = (&client, is_call) {
            client.raw.headers.copy_to(&mut request.head_mut().headers);
        }
        let (request, mut payload) = request.into_parts();
        async move {
            let response = match &client {
                Some(client) => {
                    let trace = AccessTrace::begin(&worker, &request, &client.raw);
                    let trace = trace.as_ref();
                    let response =
                        answer(&worker, &request, &mut payload, client, is_call, trace).await;
                    if let Some(trace) = trace {
                        trace.answered(response.status(), response.body().size());
                    }
                    response
                }
                // The server hands it over.
                None => HttpResponse::InternalServerError().finish(),
            };
            Ok(ServiceResponse::new(request, response))
        }
    });
    site.with_access_log(access_log)
}

async fn answer(
    worker: &Worker,
    request: &HttpRequest,
    payload: &mut Payload,
    client: &ClientRequest,
    is_call: bool,
    trace: Option<&Rc<AccessTrace>>,
) -> HttpResponse {
    if let Err(error) = validate::check(request.head(), client.raw.host()) {
        client.connection.counters().refuse(error.refusal());
        if let Some(trace) = trace {
            trace.end(error.reason().label());
        }
        return error.error_response();
    }
    if is_call {
        let handles = ReplicaHandles {
            supervisor: &worker.links.supervisor,
            body_timeout: worker.settings.limits.body_timeout,
        };
        return match worker.settings.admin_guard.check_client(request) {
            Ok(()) => api::answer(&handles, request, payload).await,
            Err(refusal) => ApiError::Refused(refusal).envelope(),
        };
    }
    let answered = match max_forwards::is_last(request.method(), &client.raw.headers) {
        true => max_forwards::answer(request.method()),
        false => forward(worker, request, payload.take(), client, trace).await,
    };
    answered.unwrap_or_else(|error| {
        if let Some(trace) = trace {
            trace.end(error.reason().label());
        }
        error.error_response()
    })
}
