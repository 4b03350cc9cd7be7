//! The composition root: builds the actors, hands out what each may ask for, serves,
//! and takes everything down again in order.

mod access_log;
mod autoscaler;
mod exposure;
mod fleet_record;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Actor;
use futures::future::OptionFuture;
use log::{info, warn};

use crate::access_log::AccessLogWriter;
use crate::actors::heartbeat_prober::{HeartbeatProber, ProbeRecipients, ProberHandle};
use crate::actors::lifeline::{Lifeline, LifelineWatch};
use crate::actors::proxy_worker::ProxyWorker;
use crate::actors::request_queue::QueueLimit;
use crate::actors::ring_state::{RingHandle, RingState};
use crate::actors::shared_key_source::SharedKeySource;
use crate::actors::supervisor::{Begin, RingReconfigured, Supervisor, SupervisorHandle};
use crate::api::{AdminRight, Timestamp};
use crate::app::autoscaler::FleetScaler;
use crate::app::exposure::Exposure;
use crate::app::fleet_record::OpenedFleet;
use crate::banner;
use crate::config::Settings;
use crate::fleet::{Autoscaler, Policy};
use crate::hooks::Hooks;
use crate::http::{
    self, AdminGuard, AdminHandles, AdminTokens, ClientLimit, Departure, HttpSettings, Links,
    Server, ServerSettings, Sessions, TunnelLimit, Via, Worker,
};
use crate::log_report::LogReport;
use crate::ring::BuildError;
use crate::runtime::record::RecordKeeper;
use crate::runtime::{Runtime, RuntimeError};
use crate::sys::malloc;
use crate::upstream::{ConcurrencyLimit, RetryBudget, Stats, UpstreamPools};

/// Connections waiting to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How long the stop waits for the fleet record's removal: its file system, or the engine, may hang.
const RECORD_END_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the balancer could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address to listen on is taken, or not ours.
    #[error("cannot listen on {address} ({flag}): {cause}{advice}")]
    Listen {
        /// The option that says so.
        flag: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
        /// What can be done about it; may be empty.
        advice: String,
    },
    /// The access log cannot be opened.
    #[error("cannot write to {0} (--access-log): {1}")]
    AccessLog(String, io::Error),
    /// The runtime cannot start anything.
    #[error("{0}")]
    Runtime(#[from] RuntimeError),
    /// The replicas do not fit on the ring.
    #[error("cannot build the ring: {0}")]
    Ring(#[from] BuildError),
    /// Signals cannot be handled.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    /// The server gave up.
    #[error("the HTTP server has failed: {0}")]
    Server(io::Error),
    /// Tokens of the admin API that cannot be read: where they are, and what is wrong.
    #[error("{0}: {1}")]
    Tokens(String, String),
    /// The secret that signs events cannot be read: its file, and what is wrong.
    #[error("{0} (--on-event-secret-file): {1}")]
    EventSecret(String, String),
    /// Clients beyond this machine could use the admin API.
    #[error(
        "--admin {address} is open beyond this machine, and which clients are on it is unknown: \
         {cause}; listen on loopback, require tokens (--admin-token-file), or accept calls from everyone \
         (--admin-insecure)"
    )]
    AdminExposed {
        /// The admin listener's address.
        address: SocketAddr,
        /// Why local clients are not known.
        cause: RuntimeError,
    },
    /// A control actor ended before its time.
    #[error("the {0} has ended unexpectedly")]
    ActorLost(&'static str),
}

/// A balancer that runs. Lives on the thread that started it, which must be the
/// process's first and have an actix system.
pub struct Balancer {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    takes_changes: bool,
    /// The dashboard's logins, if it has them.
    sessions: Option<Arc<Sessions>>,
    settings: Settings,
    runtime: Rc<dyn Runtime>,
    record: Rc<RecordKeeper>,
    supervisor: SupervisorHandle,
    listener: TcpListener,
    departure: Arc<Departure>,
    tally: Arc<Stats>,
    log_report: Rc<LogReport>,
    access_log: Option<AccessLogWriter>,
    server: Server,
    /// It ends with the process: its clients see the stop, too.
    admin_server: Option<Server>,
    lifeline: LifelineWatch,
}

impl Balancer {
    /// Starts a balancer. It listens when this returns; its replicas are starting.
    pub async fn start(settings: &Settings) -> Result<Self, AppError> {
        malloc::tune();
        // The address first: a port that is taken must not cost the start of N replicas.
        let listener = listen("--listen", settings.server.listen)?;
        let admin_listener = listen_for_admin(settings)?;
        let access_log = access_log::open(&settings.logs)?;
        let hooks = Hooks::prepare(&settings.events)
            .map_err(|(path, wrong)| AppError::EventSecret(path, wrong))?;
        let local = |listener: &TcpListener| listener.local_addr().map_err(AppError::Server);
        let address = local(&listener)?;
        let admin = admin_listener.as_ref().map(local).transpose()?;
        let OpenedFleet {
            settings,
            runtime,
            found,
            record,
        } = fleet_record::open(settings, address).await?;

        let capacity = ConcurrencyLimit::new(settings.limits.max_in_flight);
        let (line, lifeline) = Lifeline::new();
        let stats = Arc::new(Stats::new(settings.server.workers.get()));
        let ring = RingState::new(
            settings.ring,
            settings.balance_factor,
            settings.health.ejection_policy(),
            settings.health.slow_start,
            settings.health.panic_threshold,
            Arc::clone(&capacity),
            line.of("ring state"),
        )?
        .counted_in(&stats);
        let ring = RingHandle::new(ring.start());
        let policy = Policy {
            start_timeout: settings.health.start_timeout,
            stop_grace: settings.limits.stop_grace,
            hang_timeout: settings.health.hang_timeout,
            unready_timeout: settings.health.unready_timeout,
            restart_limit: settings.health.restart_limit(),
            rollout: settings.rollouts.policy(),
            spawns: runtime.spawns(),
            continues_names: runtime.continues_names(),
        };
        let key_source = SharedKeySource::new(settings.key.clone());
        let supervisor = Supervisor::new(
            policy,
            Rc::clone(&record),
            found,
            Rc::clone(&runtime),
            ring.clone(),
            settings.limits.drain_timeout,
            line.of("supervisor"),
        )
        .counted_in(&stats)
        .sets_key_of(&key_source)
        .start();
        let prober = HeartbeatProber::new(
            settings.health.heartbeat.clone(),
            ProbeRecipients {
                health_changes: supervisor.clone().recipient(),
                failures: supervisor.clone().recipient(),
            },
            line.of("heartbeat prober"),
        )
        .counted_in(&stats)
        .start();
        ring.subscribe_ejections(supervisor.clone().recipient());
        supervisor.do_send(RingReconfigured {
            ring: settings.fleet_flags().ring,
            weights: Vec::new(),
        });
        let prober = ProberHandle::new(prober);
        supervisor.do_send(Begin(prober.clone()));
        let supervisor = SupervisorHandle::new(supervisor);
        hooks.start(&supervisor);
        let queue = QueueLimit::new(settings.limits.max_waiting);
        if let Some(policy) = settings.scaling {
            let scaler = FleetScaler {
                rule: Autoscaler::new(policy),
                ring: ring.clone(),
                queue: Arc::clone(&queue),
                supervisor: supervisor.clone(),
                runtime: Rc::clone(&runtime),
            };
            scaler.start(policy);
        }

        let shared = Shared {
            ring,
            supervisor: supervisor.clone(),
            prober,
            key_source,
            capacity,
            queue,
            departure: Arc::default(),
            tally: stats,
            access_log: access_log.clone(),
        };
        let tokens = admin_tokens(&settings)?;
        let Exposure {
            client_guard: guard,
            admin_guard,
            takes_changes,
        } = exposure::of(&settings, address, admin, !tokens.is_empty()).await?;
        let sessions = Arc::<Sessions>::default();
        let has_login = admin.is_some() && !tokens.is_empty();
        let admin_server = match admin_listener {
            Some(listener) => {
                let access = AccessRules {
                    guard: admin_guard,
                    tokens,
                    sessions: Arc::clone(&sessions),
                };
                Some(serve_admin(&settings, listener, shared.clone(), access).await?)
            }
            None => None,
        };
        let log_report = LogReport::start(Arc::clone(&shared.tally), access_log.clone());
        let departure = Arc::clone(&shared.departure);
        let tally = Arc::clone(&shared.tally);
        let clone = listener.try_clone().map_err(AppError::Server)?;
        let server = serve(&settings, clone, shared, guard).await?;
        Ok(Self {
            address,
            admin,
            takes_changes,
            sessions: has_login.then_some(sessions),
            settings,
            runtime,
            record,
            supervisor,
            listener,
            departure,
            tally,
            log_report,
            access_log,
            server,
            admin_server,
            lifeline,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What holds: the settings that it was started with, as the fleet record makes them.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where its admin listener is, if it has one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Whether clients on this machine may add and remove replicas on the client port.
    pub fn takes_changes(&self) -> bool {
        self.takes_changes
    }

    /// A link that logs in to the dashboard once, if it has logins. It is for a terminal alone.
    pub fn login_link(&self) -> Option<String> {
        let code = self.sessions.as_ref()?.issue_code(Instant::now());
        let code = code.inspect_err(|error| warn!("no link to log in: {error}"));
        Some(format!(
            "{}/#login={}",
            banner::url(self.admin?),
            code.ok()?
        ))
    }

    /// Serves until `stop` is over, then stops in order: no new connections, requests in
    /// flight finished, replicas stopped. Ends with an error if something breaks before.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        tokio::select! {
            () = stop => {}
            actor = self.lifeline.first_end() => return Err(AppError::ActorLost(actor)),
            error = failed(&mut self.server, self.admin_server.as_mut()) => {
                return Err(AppError::Server(error));
            }
        }
        info!("stopping: finishing the requests in flight");
        let activity = || (self.tally.snapshot().requests, self.server.open());
        let departing = self.departure.begin(&self.listener, activity);
        let (hand_over, ()) = tokio::join!(self.runtime.has_peers(), departing);
        drop(self.listener);
        self.server.stop().await;
        self.log_report.finish();
        match hand_over {
            true => info!("stopping: leaving the replicas as they run"),
            false => info!("stopping: ending the replicas"),
        }
        if self.supervisor.shut_down(hand_over).await.is_err() {
            warn!("the supervisor ended before its replicas did");
        }
        if !hand_over {
            // The fleet has ended, and with it what was wanted of it.
            let ending = tokio::time::timeout(RECORD_END_TIMEOUT, self.record.end());
            if ending.await.is_err() {
                warn!("the fleet record is left behind: it could not be removed in time");
            }
            self.runtime.close().await;
        }
        self.lifeline.expect_ends();
        if let Some(log) = self.access_log {
            log.flush_for_exit();
        }
        Ok(())
    }
}

/// Waits until either server fails.
async fn failed(clients: &mut Server, admin: Option<&mut Server>) -> io::Error {
    let admin = OptionFuture::from(admin.map(Server::failed));
    tokio::select! {
        error = clients.failed() => error,
        Some(error) = admin => error,
    }
}

/// How far beyond a port that is taken a free one is looked for.
const PORTS_TRIED: u16 = 100;

/// The admin listener, if there is to be one. By default it takes the next free port where its own
/// is taken: by another balancer, most likely.
fn listen_for_admin(settings: &Settings) -> Result<Option<TcpListener>, AppError> {
    let Some(address) = settings.server.admin else {
        return Ok(None);
    };
    let listener = match listen("--admin", address) {
        Err(AppError::Listen { cause, .. })
            if settings.default_admin && cause.kind() == io::ErrorKind::AddrInUse =>
        {
            let others = ports_after(address).chain([SocketAddr::new(address.ip(), 0)]);
            let mut others = others.map(|other| listen("--admin", other));
            let listener = others.find_map(Result::ok);
            if let Some(Ok(other)) = listener.as_ref().map(TcpListener::local_addr) {
                info!("{address} is taken: the admin API is at {other}");
            }
            return Ok(listener);
        }
        listener => listener?,
    };
    Ok(Some(listener))
}

/// The addresses with the next ports.
fn ports_after(address: SocketAddr) -> impl Iterator<Item = SocketAddr> {
    let ports = (1..=PORTS_TRIED).filter_map(move |step| address.port().checked_add(step));
    ports.map(move |port| SocketAddr::new(address.ip(), port))
}

fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        // The standard library's backlog is 128: a burst of clients must not be refused.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|cause| AppError::Listen {
        flag,
        address,
        advice: listen_advice(flag, address, &cause),
        cause,
    })
}

/// What to do about an address that cannot be listened on.
fn listen_advice(flag: &str, address: SocketAddr, cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            let free = ports_after(address).find(|other| TcpListener::bind(other).is_ok());
            free.map_or_else(String::new, |free| format!("; {flag} {free} is free"))
        }
        io::ErrorKind::PermissionDenied => format!(
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE: {flag} {}:8080 needs neither",
            address.ip()
        ),
        _ => String::new(),
    }
}

/// What the threads of the servers share.
#[derive(Clone)]
struct Shared {
    ring: RingHandle,
    supervisor: SupervisorHandle,
    prober: ProberHandle,
    key_source: Arc<SharedKeySource>,
    capacity: Arc<ConcurrencyLimit>,
    queue: Arc<QueueLimit>,
    departure: Arc<Departure>,
    tally: Arc<Stats>,
    access_log: Option<AccessLogWriter>,
}

/// The HTTP server, with a ProxyWorker on each of its threads.
async fn serve(
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
        departure,
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
        outlier_on: settings.health.outlier_on,
        server_timing: settings.logs.server_timing,
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
    let server = http::serve(server_settings, listener, departure, move || {
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
fn admin_tokens(settings: &Settings) -> Result<AdminTokens, AppError> {
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
struct AccessRules {
    guard: AdminGuard,
    tokens: AdminTokens,
    sessions: Arc<Sessions>,
}

/// The admin listener's server: one thread is plenty.
async fn serve_admin(
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
