//! The composition root: builds the actors, hands out what each may ask for, serves,
//! and takes everything down again in order.

mod access_log;
mod autoscaler;
mod exposure;
mod flags_rollout;
mod fleet_record;
mod image_watch;
mod listeners;
mod maintenance;
mod servers;
mod stack;
mod stack_follower;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Actor;
use futures::future::OptionFuture;
use log::{info, warn};
use tokio::task::JoinHandle;

use crate::access_log::AccessLogWriter;
use crate::actors::heartbeat_prober::{HeartbeatProber, ProbeRecipients, ProberHandle};
use crate::actors::lifeline::{Lifeline, LifelineWatch};
use crate::actors::request_queue::QueueLimit;
use crate::actors::ring_state::{RingHandle, RingState};
use crate::actors::shared_key_source::SharedKeySource;
use crate::actors::supervisor::{Begin, RingReconfigured, Supervisor, SupervisorHandle};
use crate::app::autoscaler::FleetScaler;
use crate::app::exposure::Exposure;
use crate::app::flags_rollout::FlagsRollout;
use crate::app::fleet_record::OpenedFleet;
use crate::app::image_watch::ImageWatcher;
use crate::app::listeners::{listen, listen_for_admin};
use crate::app::servers::{AccessRules, Shared, admin_tokens, serve, serve_admin};
use crate::app::stack_follower::StackFollower;
use crate::banner;
use crate::config::Settings;
use crate::fleet::{Policy, SparePool};
use crate::hooks::Hooks;
use crate::http::{GracefulShutdown, Server, Sessions};
use crate::log_report::LogReport;
use crate::ring::BuildError;
use crate::runtime::record::RecordKeeper;
use crate::runtime::{Runtime, RuntimeError, balancer_name};
use crate::sys::malloc;
use crate::upstream::{ConcurrencyLimit, Stats};

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
    /// The page of maintenances cannot be used: its file, and what is wrong.
    #[error("{0} (--maintenance-page): {1}")]
    MaintenancePage(String, String),
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
    shutdown: Arc<GracefulShutdown>,
    tally: Arc<Stats>,
    log_report: Rc<LogReport>,
    access_log: Option<AccessLogWriter>,
    /// Over when the service has been removed that replicas are made from.
    stack: Option<JoinHandle<()>>,
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
        let maintenance_page = maintenance::read_page(&settings.server)?;
        let local = |listener: &TcpListener| listener.local_addr().map_err(AppError::Server);
        let address = local(&listener)?;
        let admin = admin_listener.as_ref().map(local).transpose()?;
        let OpenedFleet {
            settings,
            runtime,
            found,
            record,
            stack,
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
            names_have_generations: runtime.names_have_generations(),
            balancer: balancer_name(),
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
        .pausing_at_most(settings.limits.max_pause)
        .showing(maintenance_page)
        .keeping(SparePool::new(
            settings.health.spares as usize,
            settings.health.start_timeout,
            settings.limits.stop_grace,
        ))
        .start();
        let prober = HeartbeatProber::new(
            settings.health.heartbeat.clone(),
            ProbeRecipients::all_of(&supervisor),
            line.of("heartbeat prober"),
        )
        .watching_connections(runtime.watches_connections())
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
                policy,
                ring: ring.clone(),
                queue: Arc::clone(&queue),
                stats: Arc::clone(&stats),
                supervisor: supervisor.clone(),
                runtime: Rc::clone(&runtime),
            };
            scaler.start();
        }

        let stack = stack.map(|flags| {
            let (record, runtime) = (Rc::clone(&record), Rc::clone(&runtime));
            actix::spawn(StackFollower::new(flags, record, supervisor.clone(), runtime).run())
        });
        let watcher = settings.image_watch.map(|every| ImageWatcher {
            every,
            supervisor: supervisor.clone(),
            runtime: Rc::clone(&runtime),
        });
        let by_flags = FlagsRollout::pending(&record, &supervisor);
        actix::spawn(async move {
            // One rollout at a time: what the flags say comes first.
            if let Some(rollout) = by_flags {
                rollout.run().await;
            }
            if let Some(watcher) = watcher {
                watcher.start();
            }
        });

        let shared = Shared {
            ring,
            supervisor: supervisor.clone(),
            prober,
            key_source,
            capacity,
            queue,
            shutdown: Arc::default(),
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
        let shutdown = Arc::clone(&shared.shutdown);
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
            shutdown,
            tally,
            log_report,
            access_log,
            stack,
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
        let stack_removed = OptionFuture::from(self.stack.take());
        tokio::select! {
            () = stop => {}
            Some(_) = stack_removed => info!("the stack has been removed, and the fleet with it"),
            actor = self.lifeline.first_end() => return Err(AppError::ActorLost(actor)),
            error = failed(&mut self.server, self.admin_server.as_mut()) => {
                return Err(AppError::Server(error));
            }
        }
        info!("stopping: finishing the requests in flight");
        // What is held goes on; usually nothing is.
        let _ = self.supervisor.resume(None).await;
        let activity = || (self.tally.snapshot().requests, self.server.open());
        let shutting_down = self.shutdown.begin(&self.listener, activity);
        let (hand_over, ()) = tokio::join!(self.runtime.has_peers(), shutting_down);
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
