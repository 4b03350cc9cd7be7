//! Instances as containers, through the engine's API.
//!
//! The engine is the database: the fleet record (`record_store`) says which replicas there
//! should be, the containers which there are. A container's name is `<fleet>-<replica>`, so no two
//! instances of a replica can exist under it, whoever starts them; its labels say what
//! a restarted balancer needs to know to adopt it. A dead container is put aside, not
//! removed, until its successor runs: there is no moment at which the engine would not
//! know that the replica is wanted. It stays until the replica dies again or is removed, so that
//! its log can be read the morning after (`docker logs <fleet>-<replica>-dead-<generation>`).
//!
//! Several balancers may share a fleet. The name is the lock between them (`holder`), and
//! the engine's events are how they hear of each other (`events`): a container that starts
//! under a replica's name plays it everywhere, and one that is renamed to
//! `<fleet>-<replica>-leaving-<generation>` is of a replica that has been removed.

mod book;
mod container;
mod engine;
mod events;
mod foreign_holder;
mod gateway;
mod holder;
mod inventory;
mod last_words;
mod launch;
mod names;
mod neighbours;
mod network;
mod own_container;
mod question;
mod record_store;
mod registry;
mod stop;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use actix::spawn;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::LocalBoxStream;
use log::{debug, warn};
use tokio::sync::{Mutex, Notify};

use crate::ring::ReplicaName;
pub(crate) use crate::runtime::docker::container::read_instance;
pub(crate) use crate::runtime::docker::engine::{Engine, is_missing};
pub(crate) use crate::runtime::docker::gateway::loopback_gateway;
pub(crate) use crate::runtime::docker::own_container::compose_service;
pub use crate::runtime::docker::record_store::DockerRecordStore;

use crate::runtime::docker::book::{Book, ContainerId};
use crate::runtime::docker::container::{ImageFacts, Record};
use crate::runtime::docker::events::News;
use crate::runtime::docker::inventory::{newest_of_each, outdated};
use crate::runtime::docker::names::Role;
use crate::runtime::{
    Found, InstanceId, LastWords, LaunchOrder, ReplicaTemplate, Running, Runtime, RuntimeError,
    RuntimeEvent, Whereabouts,
};

/// What an operator may set about the Docker runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSettings {
    /// Whose containers these are: prefix of their names, value of their label, and the
    /// default for `network`. Default `ringmaster`.
    pub fleet: String,
    /// The image that replicas run.
    pub image: String,
    /// The network that they join.
    pub network: String,
    /// How much of Docker's hardening applies.
    pub security: Security,
    /// When the image is pulled at the balancer's start; never when a replica is started again.
    pub pull: PullPolicy,
    /// What holds for every replica.
    pub template: ReplicaTemplate,
}

/// When the image is pulled (the names are those of `docker run --pull`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Whether the engine has it or not.
    Always,
    /// If the engine does not have it.
    #[default]
    Missing,
    /// Not at all: the engine has to have it.
    Never,
}

/// How far a replica's container is locked in (the names are Kubernetes' Pod Security Standards).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// Non-root user, no capabilities, read-only root with a tmpfs on `/tmp`, no new privileges.
    #[default]
    Restricted,
    /// The image's own user, Docker's default capabilities, writable root; no new privileges.
    Baseline,
}

/// Runs instances as containers of one Docker engine: that of `DOCKER_HOST`, or of the
/// usual socket.
pub struct DockerRuntime {
    inner: Rc<Inner>,
}

/// What is left of a replica that was removed may take so long to end.
const LEAVING_GRACE: Duration = Duration::from_secs(10);

struct Inner {
    engine: Engine,
    settings: DockerSettings,
    book: RefCell<Book>,
    /// Rings whenever a launch is over, for a stop that waits for that.
    launch_over: Notify,
    /// Known once the image is there.
    image: RefCell<ImageFacts>,
    /// Of each replica that is being dealt with: see [`Inner::lock`].
    locks: RefCell<HashMap<ReplicaName, Rc<Mutex<()>>>>,
    /// The network is this fleet's own, to be removed in the end.
    owns_network: Cell<bool>,
    /// Held by who makes the network.
    making_network: Mutex<()>,
    /// So often it was missing and is there again.
    networks_made: Cell<u32>,
    /// Containers that have our labels but no name of ours, and have been told of.
    strangers: RefCell<HashSet<ContainerId>>,
    /// Instances that an earlier balancer started by another definition.
    outdated: RefCell<HashSet<InstanceId>>,
    /// Where news is told; none before somebody listens.
    news: RefCell<Option<News>>,
    /// Instances whose image's own HEALTHCHECK says unhealthy.
    unhealthy: RefCell<HashSet<InstanceId>>,
    /// Foreign containers that have a name of ours, and whose end is waited for.
    watched_foreigners: RefCell<HashSet<ContainerId>>,
    /// This balancer is about to end: see `question`.
    ending: Cell<bool>,
    /// What keeps the engine from answering.
    trouble: RefCell<Option<String>>,
}

impl DockerRuntime {
    /// Containers of the engine of `DOCKER_HOST`, or of the usual socket. The engine is
    /// asked nothing yet: [`Runtime::prepare`] does.
    pub fn new(settings: DockerSettings) -> Result<Self, RuntimeError> {
        Ok(Self::on(Engine::from_env()?, settings))
    }

    /// Containers of the engine at an address such as `unix:///var/run/docker.sock`.
    pub fn at(host: &str, settings: DockerSettings) -> Result<Self, RuntimeError> {
        Ok(Self::on(Engine::connect(host.to_owned())?, settings))
    }

    fn on(engine: Engine, settings: DockerSettings) -> Self {
        let inner = Inner {
            engine,
            settings,
            book: RefCell::default(),
            launch_over: Notify::new(),
            image: RefCell::default(),
            locks: RefCell::default(),
            owns_network: Cell::new(false),
            making_network: Mutex::default(),
            networks_made: Cell::new(0),
            strangers: RefCell::default(),
            outdated: RefCell::default(),
            news: RefCell::default(),
            unhealthy: RefCell::default(),
            watched_foreigners: RefCell::default(),
            ending: Cell::new(false),
            trouble: RefCell::default(),
        };
        Self {
            inner: Rc::new(inner),
        }
    }
}

impl fmt::Debug for DockerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DockerRuntime")
            .field(&self.inner.settings)
            .finish()
    }
}

impl Runtime for DockerRuntime {
    fn kind(&self) -> &'static str {
        "docker"
    }

    fn is_restricted(&self) -> bool {
        self.inner.settings.security == Security::Restricted
    }

    fn prepare(&self) -> LocalBoxFuture<'_, Result<Vec<Found>, RuntimeError>> {
        Rc::clone(&self.inner).prepare().boxed_local()
    }

    fn launch(&self, order: LaunchOrder) -> LocalBoxFuture<'static, Result<Running, RuntimeError>> {
        Rc::clone(&self.inner).launch(order).boxed_local()
    }

    fn disown(&self, id: InstanceId) -> LocalBoxFuture<'static, ()> {
        self.inner.book.borrow_mut().disown(&id);
        Rc::clone(&self.inner).disown(id).boxed_local()
    }

    fn keep_log(&self, id: &InstanceId) {
        self.inner.book.borrow_mut().keep(id);
    }

    fn stop(
        &self,
        id: InstanceId,
        grace: Duration,
    ) -> LocalBoxFuture<'static, Result<(), RuntimeError>> {
        // At once, not when first polled: from here on its end is no news.
        self.inner.book.borrow_mut().stopping(&id);
        Rc::clone(&self.inner).stop(id, grace).boxed_local()
    }

    fn last_words(&self, id: InstanceId) -> LocalBoxFuture<'static, LastWords> {
        Rc::clone(&self.inner).last_words(id).boxed_local()
    }

    fn port_hint(&self, port: u16) -> Option<String> {
        Some(container::port_hint(port, &self.inner.image.borrow()))
    }

    fn whereabouts(&self, id: &InstanceId) -> Option<Whereabouts> {
        let name = names::container_name(&self.inner.settings.fleet, &id.replica);
        let runs = self.inner.book.borrow().runs(id);
        runs.then_some(Whereabouts::Container(name))
    }

    fn trouble(&self) -> Option<String> {
        self.inner.trouble.borrow().clone()
    }

    fn is_outdated(&self, id: &InstanceId) -> bool {
        self.inner.outdated.borrow().contains(id)
    }

    fn is_shared(&self) -> LocalBoxFuture<'static, bool> {
        Rc::clone(&self.inner).is_shared().boxed_local()
    }

    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent> {
        events::watch(Rc::clone(&self.inner))
    }

    fn close(&self) -> LocalBoxFuture<'_, ()> {
        self.inner.close().boxed_local()
    }
}

impl Inner {
    async fn prepare(self: Rc<Self>) -> Result<Vec<Found>, RuntimeError> {
        self.engine.handshake().await?;
        let DockerSettings { image, pull, .. } = &self.settings;
        *self.image.borrow_mut() = self.engine.ensure_image(image, *pull).await?;
        self.ensure_network().await?;

        self.answer_all().await;
        let mut records = self.list_fleet().await?;
        let leaving = records.extract_if(.., |record| self.role(record) == Role::Leaving);
        for record in leaving.collect::<Vec<_>>() {
            // Whoever removed that replica may be no more.
            spawn(Rc::clone(&self).see_off(record));
        }
        let (found, superseded) = newest_of_each(records);
        for record in outdated(superseded, &found) {
            self.clear_away(&record).await;
        }
        for record in found.iter().filter(|record| record.running) {
            let mut book = self.book.borrow_mut();
            book.adopted(&record.container, &record.order.id);
        }
        self.note_outdated(&found);
        Ok(found
            .into_iter()
            .map(|record| Found {
                order: record.order,
                endpoint: record.endpoint,
            })
            .collect())
    }

    /// Tells which of the instances that run were started by another definition. (To replace
    /// them in turn is for whoever carries out a rollout.)
    fn note_outdated(&self, found: &[Record]) {
        let present = self.settings.definition().hash();
        let is_other = |record: &&Record| {
            let other = record
                .definition
                .as_ref()
                .is_some_and(|hash| *hash != present);
            record.running && other
        };
        let outdated: Vec<_> = found.iter().filter(is_other).map(|r| &r.order.id).collect();
        if outdated.is_empty() {
            return;
        }
        let names: Vec<_> = outdated.iter().map(|id| id.replica.as_str()).collect();
        warn!(
            "docker: started by an earlier definition, and kept until they are replaced: {}",
            names.join(", ")
        );
        self.outdated
            .replace(outdated.into_iter().cloned().collect());
    }

    /// Ends and removes what is left of a replica that was removed.
    async fn see_off(self: Rc<Self>, record: Record) {
        if record.running
            && let Err(error) = self.end(&record.container, LEAVING_GRACE).await
        {
            warn!("docker: cannot end {}: {error}", record.name);
        }
        self.clear_away(&record).await;
    }

    /// To be held by whoever renames or removes a replica's containers, one at a time: an
    /// engine (20.10) that is asked to do both at once goes on listing the container for
    /// as long as it lives.
    fn lock(&self, replica: &ReplicaName) -> Rc<Mutex<()>> {
        let mut locks = self.locks.borrow_mut();
        locks.retain(|_, lock| Rc::strong_count(lock) > 1);
        Rc::clone(locks.entry(replica.clone()).or_default())
    }

    /// Removes what another container has replaced. Not worth failing for: it stays
    /// listed, so the next one to look gets rid of it.
    async fn clear_away(&self, record: &Record) {
        let id = &record.order.id;
        self.book.borrow_mut().removed(&record.container);
        match self.engine.remove(&record.container).await {
            Ok(()) => debug!("docker: cleared {id} away"),
            Err(error) => warn!("docker: cannot clear {id} away: {error}"),
        }
    }

    async fn close(&self) {
        let Ok(listed) = self.list_fleet().await else {
            return;
        };
        let mut rest = listed.len();
        for record in listed {
            // What was put aside and is not cleared away yet. What is about to start is
            // another balancer's.
            if !record.running && !record.starting {
                self.clear_away(&record).await;
                rest -= 1;
            }
        }
        if rest == 0 {
            self.remove_network().await;
        }
    }
}
