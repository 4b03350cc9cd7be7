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
mod launch;
mod start;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::container_table::ContainerId;
use crate::fleet::ContainerTemplate;
use crate::ring::ReplicaName;

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
    /// The configuration of each replica's last container, with its volumes.
    templates: HashMap<ReplicaName, ContainerTemplate>,
    /// Replicas whose last container this balancer has removed itself.
    vacant: HashSet<ReplicaName>,
    /// Replicas that have left, and when, because their containers were destroyed.
    given_up: HashMap<ReplicaName, Instant>,
    /// Containers that were stopped through the engine, by others than this balancer.
    stops: HashMap<ContainerId, Instant>,
}

impl KnownService {
    /// A container of a replica runs: from now on only another program removes it.
    pub(super) fn launched(&mut self, replica: &ReplicaName) {
        self.vacant.remove(replica);
    }

    /// Compose has started a replica's container.
    fn adopted(&mut self, replica: &ReplicaName) {
        /// No container that was stopped longer ago is still there.
        const STOPS_KEPT: Duration = Duration::from_secs(600);

        self.launched(replica);
        self.given_up.remove(replica);
        self.stops.retain(|_, at| at.elapsed() < STOPS_KEPT);
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
        if !NOTICES.contains(&signal) && self.containers.borrow().is_live(container) {
            let mut known = self.known_service.borrow_mut();
            known.stops.insert(container.to_owned(), Instant::now());
        }
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
