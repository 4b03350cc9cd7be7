//! What clients see: the admin calls, and everything else forwarded.
//!
//! Handlers know messages, not actors: what they may ask for is in [`Links`].

mod accept;
mod address;
mod api;
mod canned_response;
mod client_limit;
mod connection;
mod departure;
mod error;
mod forwarded;
mod headers;
mod key;
mod lane;
mod loads;
mod proxy;
mod raw_request;
mod reply_wait;
mod request_tag;
mod response_body;
mod server;
mod slow_reader;
mod sticky;
mod sweeper;
mod timeouts;
mod tunnel_limit;
mod upgrade;
mod via;
mod wellformed;

use std::rc::Rc;
use std::sync::Arc;

use actix::Recipient;
use actix_web::dev::{Payload, ServiceResponse};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use ipnet::IpNet;

use crate::actors::proxy_worker::AcquireSlot;
use crate::actors::supervisor::SupervisorHandle;
use crate::config::{AdminCalls, KeySource, Limits, StickyCookie};
use crate::fleet::OutlierOn;
use crate::repeats::LineLimit;
use crate::upstream::{RetryBudget, ThreadCounters, UpstreamPools};
pub use api::{AdminGuard, AdminHandles, admin_site};
use api::{ApiError, ReplicaHandles};
pub use client_limit::ClientLimit;
use connection::ClientRequest;
pub use departure::Departure;
#[cfg(feature = "fuzzing")]
pub use lane::fuzz;
use server::Answered;
pub use server::{Server, ServerSettings, Site, serve};
pub use tunnel_limit::TunnelLimit;
pub use via::Via;

/// What a worker thread's handlers may ask for, and whom.
pub struct Links {
    /// The replica for a request; answered on the same thread.
    pub acquire: Recipient<AcquireSlot>,
    /// The fleet.
    pub supervisor: SupervisorHandle,
}

/// What holds for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Proxies that are believed what they say of their clients.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Who may use the admin calls.
    pub admin_guard: AdminGuard,
    /// What is hashed.
    pub key: KeySource,
    /// What comes before it.
    pub sticky_cookie: Option<StickyCookie>,
    /// How much at once, and how long anything may take.
    pub limits: Limits,
    /// Which answers of a replica are failures.
    pub outlier_on: OutlierOn,
    /// What requests and responses are given as Via; none: they are given none.
    pub via: Option<Via>,
}

/// How many lines about requests that fail are written: there may be thousands a second.
pub static FAILED_REQUESTS: LineLimit = LineLimit::new();

/// The same for responses that break off.
pub static BROKEN_RESPONSES: LineLimit = LineLimit::new();

/// Lines about tunnels that ended for want of a replica, or of anything said.
pub static ENDED_TUNNELS: LineLimit = LineLimit::new();

/// Everything that a worker thread's handlers use.
pub struct Worker {
    /// Whom to ask.
    pub links: Links,
    /// The thread's own upstream clients.
    pub clients: Rc<UpstreamPools>,
    /// How many requests the thread may send a second time.
    pub retry_budget: RetryBudget,
    /// How many tunnels may be open at once.
    pub tunnel_limit: Arc<TunnelLimit>,
    /// What holds for every request.
    pub settings: Rc<HttpSettings>,
    /// What the thread counts.
    pub counters: Arc<ThreadCounters>,
}

/// What one worker thread serves: the admin calls by their exact path, and everything else
/// forwarded.
///
/// `/%72ep` is a path like any other and goes through untouched.
pub fn proxy_site(worker: Worker) -> Site {
    let worker = Rc::new(worker);
    Site::new(move |request, payload| dispatch(Rc::clone(&worker), request, payload))
}

async fn dispatch(worker: Rc<Worker>, request: HttpRequest, payload: Payload) -> Answered {
    let response = answer(&worker, &request, payload).await;
    Ok(ServiceResponse::new(request, response))
}

async fn answer(worker: &Worker, request: &HttpRequest, mut payload: Payload) -> HttpResponse {
    // The server puts it there.
    let Some(client) = ClientRequest::take(request) else {
        return HttpResponse::InternalServerError().finish();
    };
    if let Err(error) = wellformed::check(request.head()) {
        return error.error_response();
    }
    match request.uri().path() {
        "/rep" | "/add" | "/rm" if worker.settings.admin_guard.calls != AdminCalls::Off => {
            let handles = ReplicaHandles {
                supervisor: &worker.links.supervisor,
                body_timeout: worker.settings.limits.body_timeout,
            };
            match worker.settings.admin_guard.check_client(request) {
                Ok(()) => api::answer(&handles, request, &mut payload).await,
                Err(refusal) => ApiError::Refused(refusal).error_response(),
            }
        }
        _ => {
            let answered = proxy::forward(worker, request, payload, &client).await;
            answered.unwrap_or_else(|error| error.error_response())
        }
    }
}
