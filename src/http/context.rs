//! What the handlers of a worker thread use: settings, handles, limits, counters.

use std::rc::Rc;
use std::sync::Arc;

use actix::Recipient;
use actix_web::http::header::HeaderName;
use ipnet::IpNet;

use super::api::AdminGuard;
use super::headers::via::Via;
use super::tunnel_limit::TunnelLimit;
use crate::access_log::AccessLog;
use crate::actors::proxy_worker::AcquireSlot;
use crate::actors::shared_key_source::KeySourceReader;
use crate::actors::supervisor::SupervisorHandle;
use crate::config::{Limits, StickyCookie};
use crate::fleet::OutlierOn;
use crate::repeats::LineLimit;
use crate::upstream::{RetryBudget, ThreadCounters, UpstreamPools};

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
    /// What comes before it.
    pub sticky_cookie: Option<StickyCookie>,
    /// How much at once, and how long anything may take.
    pub limits: Limits,
    /// How often a request that may have reached a replica is sent again, if that is safe.
    pub resends: u32,
    /// Which answers of a replica are failures.
    pub outlier_on: OutlierOn,
    /// Whether responses say how long they took.
    pub server_timing: bool,
    /// Whether requests name the replica that they go to: with spares a server's own name is not it.
    pub tells_replica: bool,
    /// The header in which responses name their replica.
    pub replica_header: Option<HeaderName>,
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
    /// What is hashed.
    pub key_source: KeySourceReader,
    /// What holds for every request.
    pub settings: Rc<HttpSettings>,
    /// Where a line for each request goes; none: nowhere.
    pub access_log: Option<Rc<AccessLog>>,
    /// What the thread counts.
    pub counters: Arc<ThreadCounters>,
}
