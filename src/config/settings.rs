//! The typed settings that the rest of Ringmaster is built from.
//!
//! [`Settings`] need not be checked again: every bound that an option's help states holds here.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::options::{
    EventOptions, HealthOptions, Limit, Limits, LogOptions, RolloutOptions, RuntimeKind,
    ServerOptions,
};
use crate::fleet::ScalingPolicy;
use crate::ring::{BalanceFactor, KeySource, ReplicaName, RingSpec};
use crate::runtime::ReplicaTemplate;
use crate::runtime::docker::DockerSettings;
use crate::runtime::static_servers::Upstream;
use crate::runtime::swarm::SwarmSettings;

/// The whole configuration, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The balancer itself.
    pub server: ServerOptions,
    /// The address of the admin listener was not given: another port does as well.
    pub default_admin: bool,
    /// Connections of clients at once; the kernel queues those beyond.
    pub max_connections: NonZeroUsize,
    /// What is hashed for a request.
    pub key: KeySource,
    /// What comes before it: the cookie that keeps a session on its replica.
    pub sticky_cookie: Option<StickyCookie>,
    /// How slot tables are built.
    pub ring: RingSpec,
    /// How far above its fair share of the load a replica may be.
    pub balance_factor: Limit<BalanceFactor>,
    /// When a replica is well, and what becomes of one that is not.
    pub health: HealthOptions,
    /// How rollouts are carried out.
    pub rollouts: RolloutOptions,
    /// How many replicas there are to be by the load, if that is to decide.
    pub scaling: Option<ScalingPolicy>,
    /// How often the image's tag is looked for at its registry (`docker`).
    pub image_watch: Option<Duration>,
    /// How much at once, and how long anything may take.
    pub limits: Limits,
    /// What is logged, and how.
    pub logs: LogOptions,
    /// Who is told of events.
    pub events: EventOptions,
    /// The replicas to begin with, in their stable order. For `static` the names of
    /// the upstreams.
    pub replicas: Vec<ReplicaName>,
    /// Where instances run.
    pub runtime: RuntimeSettings,
    /// The file that keeps the fleet record (`process`).
    pub state: Option<PathBuf>,
    /// Which names are derived.
    pub default_names: DefaultNames,
}

/// Which names are derived, since they were not given (`docker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefaultNames {
    /// The fleet's.
    pub fleet: bool,
    /// The network's.
    pub network: bool,
}

/// A cookie whose value is the key of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StickyCookie {
    /// Its name; valid.
    pub name: String,
    /// How long a browser keeps it; none: until it is closed.
    pub ttl: Option<Duration>,
}

/// Where instances run, and what is particular to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeSettings {
    /// Child processes of the balancer.
    Process(ReplicaTemplate),
    /// Containers.
    Docker(Box<DockerSettings>),
    /// Services of a Swarm.
    Swarm(Box<SwarmSettings>),
    /// Servers that run already; at least one.
    Static(Vec<Upstream>),
}

impl RuntimeSettings {
    /// How often a request that may have reached a replica is sent again, if that is safe. Once, so that
    /// one that kills replicas ends no more than two; but compose ends all containers of a service within
    /// milliseconds.
    pub fn resends(&self) -> u32 {
        match self {
            Self::Docker(docker) if docker.service.is_some() => 2,
            _ => 1,
        }
    }

    /// Which runtime it is.
    pub fn kind(&self) -> RuntimeKind {
        match self {
            Self::Process(_) => RuntimeKind::Process,
            Self::Docker(_) => RuntimeKind::Docker,
            Self::Swarm(_) => RuntimeKind::Swarm,
            Self::Static(_) => RuntimeKind::Static,
        }
    }

    /// What replicas run, where they are containers.
    pub fn containers(&self) -> Option<&DockerSettings> {
        match self {
            Self::Docker(docker) => Some(docker),
            Self::Swarm(swarm) => Some(&swarm.containers),
            Self::Process(_) | Self::Static(_) => None,
        }
    }

    pub(super) fn containers_mut(&mut self) -> Option<&mut DockerSettings> {
        match self {
            Self::Docker(docker) => Some(docker),
            Self::Swarm(swarm) => Some(&mut swarm.containers),
            Self::Process(_) | Self::Static(_) => None,
        }
    }
}
