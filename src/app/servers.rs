//! The two servers: of clients, with a ProxyWorker on each of its threads, and of the admin listener.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::AppError;
use crate::access_log::AccessLogWriter;
use crate::actors::heartbeat_prober::ProberHandle;
use crate::actors::proxy_worker::ProxyWorker;
use crate::actors::request_queue::QueueLimit;
use crate::actors::ring_state::RingHandle;
use crate::actors::shared_key_source::SharedKeySource;
use crate::actors::supervisor::SupervisorHandle;
use crate::api::{AdminRight, Timestamp};
use crate::config::Settings;
use crate::http::{
    self, AdminGuard, AdminHandles, AdminTokens, ClientLimit, GracefulShutdown, HttpSettings,
    Links, Server, ServerSettings, Sessions, TunnelLimit, Via, Worker,
};
use crate::upstream::{ConcurrencyLimit, RetryBudget, Stats, UpstreamPools};

/// What the threads of the servers share.
#[derive(Clone)]
pub struct Shared {
    pub ring: RingHandle,
    pub supervisor: SupervisorHandle,
    pub prober: ProberHandle,
    pub key_source: Arc<SharedKeySource>,
    pub capacity: Arc<ConcurrencyLimit>,
    pub queue: Arc<QueueLimit>,
    pub shutdown: Arc<GracefulShutdown>,
    pub tally: Arc<Stats>,
    pub access_log: Option<AccessLogWriter>,
}

/// The HTTP server, with a ProxyWorker on each of its threads.
pub async fn serve(
    settings: &Settings,
    listener: TcpListener,
    shared: Shared,
    guard: AdminGuard,
) -> Result<Server, AppError> {
    let Shared {
        ring,
        supervisor,
        prober: _,
        key_source,
        capacity,
        queue: room,
        shutdown,
        tally,
        access_log,
    } = shared;
    let (retry_percent, max_in_flight) =
        (settings.limits.retry_budget, settings.limits.max_in_flight);
    let connect_timeout = settings.limits.connect_timeout;
    let http_settings = HttpSettings {
        admin_guard: guard,
        sticky_cookie: settings.sticky_cookie.clone(),
        trusted_proxies: settings.server.trusted_proxy.as_slice().into(),
        limits: settings.limits,
        resends: settings.runtime.resends(),
        outlier_on: settings.health.outlier_on,
        server_timing: settings.logs.server_timing,
        tells_replica: settings.health.spares > 0,
        // Settings hold only good names.
        replica_header: settings
            .logs
            .replica_header
            .as_deref()
            .and_then(|name| name.parse().ok()),
        // Settings hold only names that can stand in a header.
        via: settings
            .server
            .via
            .as_deref()
            .and_then(|name| Via::new(name).ok()),
    };
    let tunnel_limit = TunnelLimit::new(settings.limits.max_tunnels);
    let server_settings = ServerSettings {
        client_limit: settings
            .limits
            .max_connections_per_client
            .map(|most| ClientLimit::new(most, settings.server.trusted_proxy.as_slice().into())),
        stats: Arc::clone(&tally),
        ..server_settings(settings, settings.server.workers)
    };
    let server = http::serve(server_settings, listener, shutdown, move || {
        let clients = UpstreamPools::new(connect_timeout);
        let room = Arc::clone(&room);
        let ring = ring.registry();
        let proxy_worker = ProxyWorker::launch(ring, room, &capacity, Rc::clone(&clients));
        let links = Links {
            acquire: proxy_worker.recipient(),
            supervisor: supervisor.clone(),
        };
        http::proxy_site(Worker {
            links,
            clients,
            retry_budget: RetryBudget::new(retry_percent, max_in_flight, Instant::now()),
            tunnel_limit: Arc::clone(&tunnel_limit),
            key_source: key_source.reader(),
            settings: Rc::new(http_settings.clone()),
            access_log: access_log.as_ref().map(AccessLogWriter::worker),
            counters: tally.counters(),
        })
    });
    server.await.map_err(AppError::Server)
}

fn server_settings(settings: &Settings, workers: NonZeroUsize) -> ServerSettings {
    ServerSettings {
        workers,
        max_connections: settings.max_connections,
        client_limit: None,
        limits: settings.limits,
        // Those of the admin listener are not counted.
        stats: Arc::default(),
    }
}

/// The variable that holds a token with all rights.
const TOKEN_VARIABLE: &str = "RINGMASTER_ADMIN_TOKEN";

/// The tokens of the file and of the environment.
pub fn admin_tokens(settings: &Settings) -> Result<AdminTokens, AppError> {
    let mut tokens = AdminTokens::default();
    if let Some(path) = &settings.server.admin_token_file {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read: {error}"));
        let read = text.and_then(|text| AdminTokens::parse(&text));
        tokens = read.map_err(|wrong| AppError::Tokens(path.display().to_string(), wrong))?;
    }
    if let Some(token) = std::env::var_os(TOKEN_VARIABLE).filter(|token| !token.is_empty()) {
        let added = tokens.add(AdminRight::Admin, token.to_str().unwrap_or_default());
        added.map_err(|wrong| AppError::Tokens(TOKEN_VARIABLE.to_owned(), wrong.to_owned()))?;
    }
    Ok(tokens)
}

/// Who may use the admin listener.
pub struct AccessRules {
    pub guard: AdminGuard,
    pub tokens: AdminTokens,
    pub sessions: Arc<Sessions>,
}

/// The admin listener's server: one thread is plenty.
pub async fn serve_admin(
    settings: &Settings,
    listener: TcpListener,
    shared: Shared,
    access: AccessRules,
) -> Result<Server, AppError> {
    let handles = AdminHandles {
        guard: access.guard,
        tokens: access.tokens,
        sessions: access.sessions,
        supervisor: shared.supervisor,
        prober: shared.prober,
        ring: shared.ring,
        queue: shared.queue,
        tally: shared.tally,
        metrics: Arc::default(),
        drills: Arc::default(),
        idempotent_calls: Arc::default(),
        started_at: Timestamp::now(),
        key_source: shared.key_source,
        sticky_cookie: (settings.sticky_cookie.as_ref()).map(|cookie| cookie.name.clone()),
        max_connections: settings.max_connections.get(),
        max_in_flight: settings.limits.max_in_flight,
        body_timeout: settings.limits.body_timeout,
    };
    let server_settings = server_settings(settings, NonZeroUsize::MIN);
    // Its clients see the balancer to its end.
    let server = http::serve(server_settings, listener, Arc::default(), move || {
        http::admin_site(handles.clone())
    });
    server.await.map_err(AppError::Server)
}
