//! A compose service as a fleet (`--service`): compose starts the first containers, and the
//! balancer adopts, heals, adds and replaces them under compose's names and labels, so that
//! compose treats them as its own.
//!
//! Compose is their owner. What it stops is left to it for [`OWNER_PAUSE`], and what it destroys
//! for [`OWNER_ABSENCE`]; then the replica is started again, or leaves the fleet (`launch`). What
//! compose starts is adopted, whatever was there before (`adopt`). There is no fleet record: the
//! containers say what is wanted, dead ones included.

mod adopt;
mod dead_log;
mod define;
mod definition;
mod launch;
mod rollout;
mod stand_in;
mod start;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use log::warn;
use serde_json::Value;

use super::container_table::ContainerId;
use crate::fleet::ContainerTemplate;
use crate::ring::ReplicaName;
use crate::runtime::InstanceId;

/// How long compose, or an operator, may take to start a container again that was stopped through the
/// engine.
const OWNER_PAUSE: Duration = Duration::from_secs(2);

/// How long a container that was destroyed may take to be replaced by another.
const OWNER_ABSENCE: Duration = Duration::from_secs(5);

/// The grace that the engine gives a container that says none, and what it may take on top.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
const KILL_MARGIN: Duration = Duration::from_secs(10);

/// Signals that are sent to a program to tell it something, not to end it.
const NOTICES: [&str; 10] = [
    "1", "10", "12", "17", "28", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGWINCH",
];

/// What a balancer knows of the containers of its service.
#[derive(Default)]
pub(super) struct KnownService {
    /// The configuration of each replica's last container.
    templates: HashMap<ReplicaName, LastContainer>,
    /// The hash of the definition that a replica's last container has; none: as compose has it, or had
    /// it when this balancer started.
    definitions: HashMap<ReplicaName, String>,
    /// The hashes of the definitions before and after a rollout, by compose's own hashes.
    by_config_hash: HashMap<String, String>,
    /// This balancer's spares, by compose's hashes of the definitions that they have.
    spares: HashMap<ContainerId, String>,
    /// Spares that play a replica.
    stand_ins: HashSet<InstanceId>,
    /// Containers that have started beside those that play their replicas.
    beside: HashSet<ContainerId>,
    /// A rollout is under way; when compose was last seen to interfere.
    is_rolling: bool,
    interfered: Option<Instant>,
    /// When it was last told how compose's own recreation is avoided.
    advised: Option<Instant>,
    /// Replicas whose last container this balancer has removed itself.
    vacant: HashSet<ReplicaName>,
    /// Replicas that have left, and when, because their containers were destroyed.
    given_up: HashMap<ReplicaName, Instant>,
    /// Containers that were stopped through the engine, by others than this balancer.
    stops: HashMap<ContainerId, Instant>,
}

/// A replica's last container.
struct LastContainer {
    /// What makes another one like it, with its volumes.
    template: ContainerTemplate,
    /// Its mounts, as the engine has them.
    mounts: Value,
    /// When it was created, as the engine says it.
    created: String,
}

impl KnownService {
    /// A container of a replica runs: from now on only another program removes it.
    pub(super) fn launched(&mut self, replica: &ReplicaName) {
        self.vacant.remove(replica);
    }

    /// Compose has started a replica's container, by a definition with this hash of its own.
    fn adopted(&mut self, replica: &ReplicaName, config_hash: Option<&str>) {
        /// No container that was stopped longer ago is still there.
        const STOPS_KEPT: Duration = Duration::from_secs(600);

        self.launched(replica);
        self.given_up.remove(replica);
        self.stops.retain(|_, at| at.elapsed() < STOPS_KEPT);
        match config_hash.and_then(|hash| self.by_config_hash.get(hash)) {
            Some(definition) => {
                let definition = definition.clone();
                self.definitions.insert(replica.clone(), definition);
            }
            None => drop(self.definitions.remove(replica)),
        }
    }

    /// A replica has left because its container was destroyed.
    fn gave_up(&mut self, replica: &ReplicaName) {
        self.templates.remove(replica);
        self.given_up.insert(replica.clone(), Instant::now());
    }

    /// This balancer removes a replica's container.
    fn removes(&mut self, replica: &ReplicaName, container: &str) {
        self.vacant.insert(replica.clone());
        self.stops.remove(container);
    }

    /// Whether a replica has no container because there was none, or this balancer has removed it.
    fn is_free(&self, replica: &ReplicaName) -> bool {
        self.vacant.contains(replica) || !self.templates.contains_key(replica)
    }
}

impl super::DockerFleet {
    /// Notes a signal to a container of the service. This balancer's own come after it has
    /// forgotten the container.
    pub(super) fn note_kill(&self, container: &str, signal: &str) {
        /// Containers that are stopped within this time are stopped by one command.
        const ONE_COMMAND: Duration = Duration::from_secs(5);

        if !NOTICES.contains(&signal) && self.containers.borrow().is_live(container) {
            let mut known = self.known_service.borrow_mut();
            known.stops.insert(container.to_owned(), Instant::now());
            let is_told = known
                .interfered
                .is_some_and(|at| at.elapsed() < ONE_COMMAND);
            if known.is_rolling && !is_told {
                known.interfered = Some(Instant::now());
                warn!(
                    "docker: containers of the service are stopped through the engine during a rollout \
                     (docker compose up?): what was to take a place is started again, and the rollout goes \
                     on with what is there then"
                );
            }
        }
    }

    /// Whether a container of the service that has ended was to take a replica's place, and was ended by
    /// others.
    pub(super) fn is_taken_away(&self, container: &str) -> bool {
        let known = self.known_service.borrow();
        known.beside.contains(container) && known.stops.contains_key(container)
    }

    /// Whether a container of the service is being stopped, or was, by others than this balancer.
    pub(super) fn is_stopped_by_owner(&self, container: &str) -> bool {
        let known = self.known_service.borrow();
        let grace = self.settings.stop_timeout().unwrap_or(DEFAULT_GRACE) + KILL_MARGIN;
        let stopped = known.stops.get(container);
        // A container that still runs after its grace was sent another signal than one to stop.
        stopped.is_some_and(|at| at.elapsed() < grace)
    }
}
