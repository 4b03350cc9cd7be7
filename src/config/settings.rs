//! The typed settings that the rest of Ringmaster is built from.
//!
//! Whoever holds a [`Settings`] need not check anything again: every bound that an
//! option's help text states holds here.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::Method;
use ipnet::IpNet;

use super::{AdminAccess, KeySource, RetryPolicy, StickyCookie};
use crate::fleet::{EjectionPolicy, Expectation, RestartLimit};
use crate::ring::{BalanceFactor, PanicThreshold, ReplicaName, RingSpec};
use crate::runtime::ReplicaTemplate;
use crate::runtime::docker::DockerSettings;
use crate::runtime::static_servers::Upstream;

/// Everything that an operator may set, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the balancer listens.
    pub listen: SocketAddr,
    /// `HOST:PORT` by which clients reach it, if that is not where it listens.
    pub public_address: Option<String>,
    /// Where the admin listener is, if there is one.
    pub admin: Option<SocketAddr>,
    /// HTTP worker threads.
    pub workers: NonZeroUsize,
    /// Connections of clients at once; the kernel queues those beyond.
    pub max_connections: NonZeroUsize,
    /// Proxies that are believed what they say of their clients.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may list, add and remove replicas.
    pub admin_access: AdminAccess,
    /// What is hashed for a request.
    pub key: KeySource,
    /// What comes before it: the cookie that keeps a session on its replica.
    pub sticky_cookie: Option<StickyCookie>,
    /// How slot tables are built.
    pub ring: RingSpec,
    /// How far above its fair share of the load a replica may be.
    pub balance_factor: Option<BalanceFactor>,
    /// How replicas are probed.
    pub heartbeat: HeartbeatSettings,
    /// When a replica that fails requests is passed over for a while.
    pub ejection: EjectionPolicy,
    /// How often a replica may die before it is started rarely.
    pub restart_limit: RestartLimit,
    /// Below which share of ready replicas requests go to unready ones, too.
    pub panic_threshold: PanicThreshold,
    /// How long things may take.
    pub times: Times,
    /// How many requests a replica may have in flight, tunnels aside.
    pub max_in_flight: Option<NonZeroU32>,
    /// The name in the Via fields that the balancer adds; none: it adds none.
    pub via: Option<String>,
    /// Which requests may be sent a second time.
    pub retry: RetryPolicy,
    /// How many tunnels may be open at once, over all replicas.
    pub max_tunnels: Option<NonZeroUsize>,
    /// How many connections one client may have open at once.
    pub max_connections_per_client: Option<NonZeroU32>,
    /// How many bytes a second a client has to send or take of a body.
    pub min_body_rate: Option<NonZeroU64>,
    /// Of a hundred requests, so many may be sent a second time; see `RetryBudget`.
    pub retry_budget: u32,
    /// How many requests may wait at once for a replica; 0 turns waiting off.
    pub max_waiting: usize,
    /// The most bytes that a request's body may have.
    pub max_body: Option<u64>,
    /// The replicas to begin with, in their stable order. For `static` the names of
    /// the upstreams.
    pub replicas: Vec<ReplicaName>,
    /// Where instances run.
    pub runtime: RuntimeSettings,
    /// The file that keeps the fleet record (`process`).
    pub state: Option<PathBuf>,
    /// Which names nobody has given.
    pub default_names: DefaultNames,
}

/// Which names are derived, since nobody has given them (`docker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefaultNames {
    /// The fleet's.
    pub fleet: bool,
    /// The network's.
    pub network: bool,
}

/// How replicas are probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// Whether a heartbeat only connects.
    pub is_tcp: bool,
    /// How it is asked for.
    pub method: Method,
    /// The path that is asked for; starts with `/`.
    pub path: String,
    /// Headers that are sent along.
    pub headers: Vec<(String, String)>,
    /// The port that is asked, if it is not the one that requests go to.
    pub port: Option<u16>,
    /// From one beat to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many misses in a row evict a replica.
    pub failures: NonZeroU32,
    /// So many good answers in a row bring one up.
    pub successes: NonZeroU32,
    /// What a good answer is.
    pub expectation: Expectation,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A fresh instance, until its first good heartbeat.
    pub start: Duration,
    /// A fresh instance, until it serves all of its keys; zero: at once.
    pub slow_start: Duration,
    /// A client, for the head of a request.
    pub header: Duration,
    /// A client, from a response to its next request.
    pub keep_alive: Duration,
    /// A client that has closed its side, while nothing can be sent to it; none: any time.
    pub half_closed: Option<Duration>,
    /// The parts of a request.
    pub request: RequestTimes,
    /// Connecting to a replica.
    pub connect: Duration,
    /// An instance that hangs, before it is replaced.
    pub hang_timeout: Duration,
    /// An instance that is unready, before it is replaced; none: as long as it likes.
    pub unready: Option<Duration>,
    /// Requests in flight, when a replica is removed or the balancer stops.
    pub drain: Duration,
    /// An instance, between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
}

/// How long the parts of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTimes {
    /// The wait for a replica to be ready.
    pub wait: Duration,
    /// A pause in the client's body.
    pub body: Duration,
    /// From the last byte of the request to the first of the response.
    pub response: Duration,
    /// A pause in the response's body.
    pub idle: Duration,
    /// A pause on both sides of a tunnel.
    pub tunnel: Duration,
    /// All of it, but for tunnels; none: as long as it likes.
    pub request: Option<Duration>,
}

/// Where instances run, and what is particular to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeSettings {
    /// Child processes of the balancer.
    Process(ReplicaTemplate),
    /// Containers.
    Docker(DockerSettings),
    /// Servers that somebody else runs; at least one.
    Static(Vec<Upstream>),
}

impl RuntimeSettings {
    /// The runtime's name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Docker(_) => "docker",
            Self::Static(_) => "static",
        }
    }
}
