//! Instances as containers, through the engine's API.
//!
//! The engine is the database: the fleet record (`record_store`) holds the desired replicas, the
//! containers are the actual ones. A container's name is `<fleet>-<replica>`, so a replica cannot
//! have two instances, whichever balancer starts them; its labels hold what a restarted balancer
//! needs to adopt it. The successor of a dead container takes its name: `launch` finds the name
//! in use, and `name_conflict` renames the dead container. That one stays until the replica dies
//! again or is removed, so that its log can be read later
//! (`docker logs <fleet>-<replica>-dead-<generation>`).
//!
//! Several balancers may share a fleet. The name is the lock between them (`name_conflict`), and
//! they learn of each other by the engine's events (`events`, `peers`): a container that starts
//! under a replica's name is its instance for all of them, and one that is renamed to
//! `<fleet>-<replica>-leaving-<generation>` belongs to a replica that has been removed.

mod anonymous_volumes;
mod by_flags;
mod compose_service;
mod container;
mod container_table;
mod description;
mod engine;
mod events;
mod exit_report;
mod foreign_container;
mod gateway;
mod image_facts;
mod image_watch;
mod inventory;
mod labels;
mod launch;
mod like;
mod name_conflict;
mod names;
mod network;
mod own_container;
mod peer_check;
mod peers;
mod prepare;
mod record_store;
mod registry;
mod rollout;
pub(crate) mod run_options;
mod service;
mod spares;
mod stop;
mod template;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::LocalBoxStream;
use log::{debug, warn};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::api::NewRollout;
use crate::fleet::{ContainerOptions, ContainerTemplate};
use crate::ring::ReplicaName;
pub use compose_service::ComposeService;
pub(crate) use container::own_labels;
pub(crate) use container_table::read_exit;
pub(crate) use description::{described, networks_of};
pub(crate) use engine::{Engine, is_missing};
pub(crate) use gateway::loopback_gateway;
pub(crate) use image_facts::{ImageFacts, port_hint};
pub(crate) use labels::is_of_replica;
pub(crate) use own_container::{compose_service, inspect_own, own_ids};
pub use record_store::DockerRecordStore;
pub(crate) use registry::RegistryAuth;
pub(crate) use run_options::others as other_networks;

use crate::runtime::{
    Definition, DefinitionTask, Existing, ExitReport, ImageDigests, InstanceHandle, InstanceId,
    LaunchAs, LaunchOrder, Launched, LeftSpares, ReplicaTemplate, Runtime, RuntimeError,
    RuntimeEvent, TakenSpare, Task,
};
use container::ContainerInfo;
use container_table::{ContainerId, ContainerTable};
use events::EventTx;
use service::KnownService;

/// The settings of the Docker runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSettings {
    /// The fleet's name: prefix of container names, value of their label, and the default for
    /// `network`. Default `ringmaster`.
    pub fleet: String,
    /// The image that replicas run.
    pub image: String,
    /// The network that they join.
    pub network: String,
    /// How far containers are restricted.
    pub security: Security,
    /// When the image is pulled at the balancer's start. It is never pulled for a respawn.
    pub pull: PullPolicy,
    /// The settings of every replica.
    pub template: ReplicaTemplate,
    /// What `docker run` can say of its container.
    pub container: ContainerOptions,
    /// The container that replicas are like, if they are: the rest is on top of it.
    pub like: Option<ContainerTemplate>,
    /// The compose service whose containers the fleet takes over, if it does.
    pub service: Option<ComposeService>,
}

/// When the image is pulled (the names are those of `docker run --pull`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// If the engine does not have it.
    #[default]
    Missing,
    /// Never: the engine has to have it.
    Never,
}

/// How far a replica's container is restricted (the names of Kubernetes' Pod Security Standards).
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
    inner: Rc<DockerFleet>,
}

/// The grace for a leftover container of a removed replica.
const LEAVING_GRACE: Duration = Duration::from_secs(10);

/// The containers of one fleet on one engine.
struct DockerFleet {
    engine: Engine,
    settings: DockerSettings,
    containers: RefCell<ContainerTable>,
    /// Notified when a launch is over, for a stop that waits for it.
    launch_over: Notify,
    /// What was found out about the image at the start; none if the engine did not have it.
    image: RefCell<Option<ImageFacts>>,
    /// One for each replica whose containers are being changed: see [`DockerFleet::lock`].
    locks: RefCell<HashMap<ReplicaName, Rc<Mutex<()>>>>,
    /// The network belongs to this fleet: `close` removes it.
    owns_network: Cell<bool>,
    /// Held while the network is created.
    network_lock: Mutex<()>,
    /// How often the network has been created.
    networks_created: Cell<u32>,
    /// Containers with our labels but a foreign name, which have been warned of.
    unmanaged: RefCell<HashSet<ContainerId>>,
    /// Instances that an earlier balancer started by another definition.
    outdated: RefCell<HashSet<InstanceId>>,
    /// None until the events are subscribed to.
    event_tx: RefCell<Option<EventTx>>,
    /// Instances whose image's own HEALTHCHECK says unhealthy.
    unhealthy: RefCell<HashSet<InstanceId>>,
    /// Foreign containers that hold a replica's name and whose removal is awaited.
    watched_foreign: RefCell<HashSet<ContainerId>>,
    /// This balancer is about to end: see `peer_check`.
    ending: Cell<bool>,
    /// The name of a check that this balancer makes while it goes on: it is for others to acknowledge.
    own_checks: RefCell<Vec<String>>,
    /// Other balancers serve the fleet, as far as is known.
    is_known_shared: Cell<bool>,
    /// Containers that other balancers have started beside those that play their replicas.
    successors: RefCell<HashMap<InstanceId, ContainerInfo>>,
    /// Instances whose place another one has taken, and when they may be ended where others follow.
    retiring: RefCell<HashMap<InstanceId, Instant>>,
    /// There are spares, or have been: then what a container is does not follow from its labels alone.
    has_spares: Cell<bool>,
    /// Why the engine does not answer.
    last_error: RefCell<Option<String>>,
    /// What is known of a compose service's containers.
    known_service: RefCell<KnownService>,
}

impl DockerRuntime {
    /// Containers of the engine of `DOCKER_HOST`, or of the usual socket. Makes no call yet:
    /// [`Runtime::prepare`] does.
    pub fn new(settings: DockerSettings) -> Result<Self, RuntimeError> {
        Ok(Self::on(Engine::from_env()?, settings))
    }

    /// Containers of the engine at an address such as `unix:///var/run/docker.sock`.
    pub fn at(host: &str, settings: DockerSettings) -> Result<Self, RuntimeError> {
        Ok(Self::on(Engine::connect(host.to_owned())?, settings))
    }

    /// What it starts.
    pub fn definition(&self) -> Definition {
        self.inner.settings.definition()
    }

    fn on(engine: Engine, settings: DockerSettings) -> Self {
        let inner = DockerFleet {
            engine,
            settings,
            containers: RefCell::default(),
            launch_over: Notify::new(),
            image: RefCell::default(),
            locks: RefCell::default(),
            owns_network: Cell::new(false),
            network_lock: Mutex::default(),
            networks_created: Cell::new(0),
            unmanaged: RefCell::default(),
            outdated: RefCell::default(),
            event_tx: RefCell::default(),
            unhealthy: RefCell::default(),
            watched_foreign: RefCell::default(),
            ending: Cell::new(false),
            own_checks: RefCell::default(),
            is_known_shared: Cell::new(false),
            successors: RefCell::default(),
            retiring: RefCell::default(),
            has_spares: Cell::new(false),
            last_error: RefCell::default(),
            known_service: RefCell::default(),
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

    fn continues_names(&self) -> bool {
        self.inner.settings.service.is_some()
    }

    fn prepare(&self) -> LocalBoxFuture<'_, Result<Vec<Existing>, RuntimeError>> {
        Rc::clone(&self.inner).prepare(false).boxed_local()
    }

    fn prepare_to_follow(&self) -> LocalBoxFuture<'_, Result<Vec<Existing>, RuntimeError>> {
        Rc::clone(&self.inner).prepare(true).boxed_local()
    }

    fn settle_rollout(&self) -> Task<Vec<Existing>> {
        Rc::clone(&self.inner).settle().boxed_local()
    }

    fn launch(
        &self,
        order: LaunchOrder,
        definition: &Arc<Definition>,
        launched_as: LaunchAs,
    ) -> Task<Launched> {
        let (inner, definition) = (Rc::clone(&self.inner), Arc::clone(definition));
        inner.launch(order, definition, launched_as).boxed_local()
    }

    fn refusal_of_extra(&self) -> Option<String> {
        let service = self.inner.settings.service.as_ref()?;
        let service = &service.name;
        Some(format!(
            "docker compose would take a canary for a replica of the service {service}, so there are \
             none with --service: start the rollout without one"
        ))
    }

    fn first_spare_generation(&self) -> u64 {
        // A replica has a new instance less than once a second, and begins with 1.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default().as_secs()
    }

    fn is_fit_spare(&self, spare: &InstanceId, order: &LaunchOrder) -> bool {
        spare.generation >= order.id.generation
    }

    fn take_spare(
        &self,
        spare: InstanceId,
        order: LaunchOrder,
    ) -> LocalBoxFuture<'static, TakenSpare> {
        let inner = Rc::clone(&self.inner);
        inner.take_spare(spare, order).boxed_local()
    }

    fn adopt_spares(&self) -> LocalBoxFuture<'static, LeftSpares> {
        Rc::clone(&self.inner).adopt_spares().boxed_local()
    }

    fn take_place(&self, id: InstanceId) -> LocalBoxFuture<'static, ()> {
        Rc::clone(&self.inner).take_place(id).boxed_local()
    }

    fn prepare_rollout(&self, definition: Definition, _: bool) -> Task<()> {
        let inner = Rc::clone(&self.inner);
        inner.prepare_rollout(definition).boxed_local()
    }

    fn owned_definition(&self, known: Definition, new: &NewRollout) -> Task<Option<Definition>> {
        let (inner, new) = (Rc::clone(&self.inner), new.clone());
        async move { inner.owned_definition(known, &new).await }.boxed_local()
    }

    fn define(&self, new: NewRollout, present: Definition) -> DefinitionTask {
        Rc::clone(&self.inner).define(new, present).boxed_local()
    }

    fn on_rollout(&self, under_way: bool) {
        self.inner.note_rollout(under_way);
    }

    fn announce_removal(&self, id: InstanceId) -> LocalBoxFuture<'static, ()> {
        self.inner.containers.borrow_mut().begin_removal(&id);
        Rc::clone(&self.inner).announce_removal(id).boxed_local()
    }

    fn keep_log(&self, id: &InstanceId) {
        self.inner.containers.borrow_mut().keep(id);
    }

    fn stop(&self, id: InstanceId, grace: Duration) -> Task<()> {
        // Now, not at the first poll: from here on its end is expected.
        self.inner.containers.borrow_mut().stopping(&id);
        Rc::clone(&self.inner).stop(id, grace).boxed_local()
    }

    fn exit_report(&self, id: InstanceId) -> LocalBoxFuture<'static, ExitReport> {
        Rc::clone(&self.inner).exit_report(id).boxed_local()
    }

    fn port_hint(&self, port: u16) -> Option<String> {
        Some(port_hint(port, &self.inner.image_facts()))
    }

    fn instance_handle(&self, id: &InstanceId) -> Option<InstanceHandle> {
        let prefix = self.inner.prefix();
        let name = match self.inner.is_stand_in(id) {
            true => names::stand_in_name(prefix, id),
            false => names::container_name(prefix, &id.replica),
        };
        let runs = self.inner.containers.borrow().runs(id);
        runs.then_some(InstanceHandle::Container(name))
    }

    fn last_error(&self) -> Option<String> {
        self.inner.last_error.borrow().clone()
    }

    fn is_outdated(&self, id: &InstanceId, by_definition: bool) -> bool {
        match self.inner.settings.service {
            Some(_) => self.inner.outdated.borrow().contains(id),
            None => by_definition,
        }
    }

    fn has_peers(&self) -> LocalBoxFuture<'static, bool> {
        Rc::clone(&self.inner).has_peers().boxed_local()
    }

    fn image_digests(&self, tag: String) -> Task<ImageDigests> {
        let fleet = Rc::clone(&self.inner);
        async move { fleet.engine.image_digests(&tag).await }.boxed_local()
    }

    fn is_shared(&self) -> LocalBoxFuture<'static, bool> {
        Rc::clone(&self.inner).is_shared().boxed_local()
    }

    fn is_present(&self, balancer: String) -> Task<bool> {
        Rc::clone(&self.inner).is_present(balancer).boxed_local()
    }

    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent> {
        events::watch(Rc::clone(&self.inner))
    }

    fn close(&self) -> LocalBoxFuture<'_, ()> {
        self.inner.close().boxed_local()
    }
}

impl DockerFleet {
    /// What is known of the image.
    fn image_facts(&self) -> ImageFacts {
        self.image.borrow().clone().unwrap_or_default()
    }

    /// Ends and removes a leftover container of a removed replica.
    async fn finish_removal(self: Rc<Self>, info: ContainerInfo) {
        if info.running
            && let Err(error) = self.end(&info.container, LEAVING_GRACE).await
        {
            warn!("docker: cannot end {}: {error}", info.name);
        }
        self.remove_leftover(&info).await;
    }

    /// The lock to hold while a replica's containers are renamed or removed: an engine (20.10)
    /// that does both at once lists the container until it restarts.
    fn lock(&self, replica: &ReplicaName) -> Rc<Mutex<()>> {
        let mut locks = self.locks.borrow_mut();
        locks.retain(|_, lock| Rc::strong_count(lock) > 1);
        Rc::clone(locks.entry(replica.clone()).or_default())
    }

    /// Removes a container that another has replaced. A failure is only logged: the container
    /// stays listed, and the next clean-up tries again.
    async fn remove_leftover(&self, info: &ContainerInfo) {
        let id = &info.order.id;
        self.containers.borrow_mut().removed(&info.container);
        match self.engine.remove(&info.container).await {
            Ok(()) => debug!("docker: removed the container of {id}"),
            Err(error) => warn!("docker: cannot remove the container of {id}: {error}"),
        }
    }

    async fn close(&self) {
        let Ok(listed) = self.list_fleet().await else {
            return;
        };
        let mut rest = listed.len();
        for info in listed {
            // Dead containers that were kept. One that is about to start belongs to another
            // balancer.
            if !info.running && !info.starting {
                self.remove_leftover(&info).await;
                rest -= 1;
            }
        }
        if rest == 0 {
            self.remove_network().await;
        }
    }
}

fn existing(info: ContainerInfo) -> Existing {
    Existing {
        order: info.order,
        endpoint: info.endpoint,
        definition: info.definition,
    }
}
