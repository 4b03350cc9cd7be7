//! Instances as services of a Docker Swarm, through the API of a manager.
//!
//! The Swarm is the database, as the engine is for containers: a config object (`record_store`) holds
//! the desired replicas, the services are the actual ones. Each instance is a service of its own, with
//! one task that the Swarm does not restart: there is one healer. A service's name is
//! `<fleet>-<replica>-<generation>`, so that of several balancers which start a replica again one
//! creates the service and the others take it over. Its labels hold what a balancer needs to adopt it,
//! and its role, which can be changed while the task runs: that is how balancers learn that a replica
//! is removed, or which of two instances plays it.
//!
//! There are no events of tasks (moby#37403): tasks are listed again and again (`watch`). What a list
//! says that is new comes from the `instance_table`.

mod api;
mod container_spec;
mod exit_report;
mod instance_table;
mod labels;
mod launch;
mod names;
mod network;
mod placement;
mod prepare;
mod presence;
mod record_store;
mod rollout;
mod service;
mod service_spec;
mod spread;
mod stack;
mod stop;
mod task;
mod template;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::LocalBoxStream;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::docker::{DockerSettings, ImageFacts, described, port_hint};
use super::{
    Definition, Existing, ExitReport, InstanceHandle, InstanceId, LaunchOrder, Launched, Runtime,
    RuntimeError, RuntimeEvent, Task,
};
use crate::ring::{ReplicaName, Weight};
use api::{SwarmApi, SwarmError};
use instance_table::InstanceTable;
use presence::Presence;
pub use record_store::SwarmRecordStore;
pub use stack::StackService;
use task::TaskInfo;
pub use template::StackTemplate;
use watch::ReportTx;

/// The settings of the Swarm runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmSettings {
    /// What replicas run, as containers have it; the network is an overlay.
    pub containers: DockerSettings,
    /// A service of the stack that the balancer belongs to says it: see [`StackService`].
    pub from_stack: bool,
}

impl SwarmSettings {
    /// Finds what a service cannot have of what is said of containers.
    ///
    /// # Errors
    ///
    /// The flag, and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.from_stack {
            return Ok(());
        }
        // A name that has all that can be filled in.
        let order = LaunchOrder {
            id: InstanceId::new(ReplicaName::from_address("Server1"), 1),
            weight: Weight::default(),
            ordinal: 1,
        };
        let body = described(&self.containers, &order, &ImageFacts::unknown());
        container_spec::translate(&body.map_err(|error| error.0)?).map(drop)
    }
}

/// Runs instances as services of the Swarm whose manager is the engine of `DOCKER_HOST`, or of the
/// usual socket.
pub struct SwarmRuntime {
    inner: Rc<SwarmFleet>,
}

/// The services of one fleet in one Swarm.
struct SwarmFleet {
    api: SwarmApi,
    settings: SwarmSettings,
    /// From SIGTERM to SIGKILL. It is a part of a task's spec, which cannot be changed later.
    stop_grace: Duration,
    instances: RefCell<InstanceTable>,
    /// Notified when a launch is over, for a stop that waits for it.
    launch_over: Notify,
    /// Held from a task's creation until it has a node, so that the next one is spread.
    placing: Mutex<()>,
    /// Held while an instance takes the place of another one, which is ended after that.
    taking_place: Mutex<()>,
    /// Nodes on which an instance has ceased to answer, and when.
    suspects: RefCell<HashMap<String, Instant>>,
    /// The names of nodes by their ids.
    node_names: RefCell<HashMap<String, String>>,
    /// Known once the image has been inspected.
    image: RefCell<ImageFacts>,
    /// The network belongs to this fleet: `close` removes it.
    owns_network: Cell<bool>,
    /// Our own container, if it has joined the network by itself.
    joined: RefCell<Option<String>>,
    /// Notified to list the tasks at once.
    look: Notify,
    /// Until then tasks are listed more often.
    looks_closely_until: Cell<Option<Instant>>,
    /// The services have to be listed, too.
    services_changed: Cell<bool>,
    event_tx: RefCell<Option<ReportTx>>,
    /// Instances that an earlier balancer started by another definition.
    outdated: RefCell<HashSet<InstanceId>>,
    presence: Presence,
    /// This balancer is about to end.
    is_leaving: Cell<bool>,
    /// The newest version of the record that has been seen.
    record_version: Cell<u64>,
    /// Why the manager does not answer.
    last_error: RefCell<Option<String>>,
}

impl SwarmRuntime {
    /// Services of the Swarm of `DOCKER_HOST`, or of the usual socket, whose tasks have `stop_grace`
    /// from SIGTERM to SIGKILL. Makes no call yet: [`Runtime::prepare`] does.
    pub fn new(settings: SwarmSettings, stop_grace: Duration) -> Result<Self, RuntimeError> {
        let presence = Presence::of_this_process(&settings.containers.fleet);
        let inner = SwarmFleet {
            api: SwarmApi::from_env()?,
            settings,
            stop_grace,
            instances: RefCell::default(),
            launch_over: Notify::new(),
            placing: Mutex::default(),
            taking_place: Mutex::default(),
            suspects: RefCell::default(),
            node_names: RefCell::default(),
            image: RefCell::default(),
            owns_network: Cell::new(false),
            joined: RefCell::default(),
            look: Notify::new(),
            looks_closely_until: Cell::new(None),
            services_changed: Cell::new(false),
            event_tx: RefCell::default(),
            outdated: RefCell::default(),
            presence,
            is_leaving: Cell::new(false),
            record_version: Cell::new(0),
            last_error: RefCell::default(),
        };
        Ok(Self {
            inner: Rc::new(inner),
        })
    }
}

impl fmt::Debug for SwarmRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SwarmRuntime")
            .field(&self.inner.settings)
            .finish()
    }
}

impl SwarmFleet {
    fn name(&self) -> &str {
        &self.settings.containers.fleet
    }

    fn network(&self) -> &str {
        &self.settings.containers.network
    }

    async fn tasks_of(&self, replica: &ReplicaName) -> Result<Vec<TaskInfo>, SwarmError> {
        self.api
            .tasks_of(self.name(), replica, self.network())
            .await
    }
}

impl Runtime for SwarmRuntime {
    fn kind(&self) -> &'static str {
        "swarm"
    }

    fn is_restricted(&self) -> bool {
        self.inner.settings.containers.security == super::docker::Security::Restricted
    }

    fn prepare(&self) -> LocalBoxFuture<'_, Result<Vec<Existing>, RuntimeError>> {
        Rc::clone(&self.inner).prepare().boxed_local()
    }

    fn launch(&self, order: LaunchOrder, definition: &Arc<Definition>) -> Task<Launched> {
        let (inner, definition) = (Rc::clone(&self.inner), Arc::clone(definition));
        inner.launch(order, definition, false).boxed_local()
    }

    fn launch_beside(&self, order: LaunchOrder, definition: &Arc<Definition>) -> Task<Launched> {
        let (inner, definition) = (Rc::clone(&self.inner), Arc::clone(definition));
        inner.launch(order, definition, true).boxed_local()
    }

    fn take_place(&self, id: InstanceId) -> LocalBoxFuture<'static, ()> {
        Rc::clone(&self.inner).take_place(id).boxed_local()
    }

    fn prepare_rollout(&self, definition: Definition, _: bool) -> Task<()> {
        let inner = Rc::clone(&self.inner);
        inner.prepare_rollout(definition).boxed_local()
    }

    fn announce_removal(&self, id: InstanceId) -> LocalBoxFuture<'static, ()> {
        self.inner
            .instances
            .borrow_mut()
            .begin_removal(&id, Instant::now());
        Rc::clone(&self.inner).announce_removal(id).boxed_local()
    }

    fn keep_log(&self, id: &InstanceId) {
        self.inner.instances.borrow_mut().keep(id);
    }

    fn stop(&self, id: InstanceId, _: Duration) -> Task<()> {
        // Now, not at the first poll: from here on its end is expected.
        self.inner.begin_stop(&id);
        Rc::clone(&self.inner).stop(id).boxed_local()
    }

    fn exit_report(&self, id: InstanceId) -> LocalBoxFuture<'static, ExitReport> {
        Rc::clone(&self.inner).exit_report(id).boxed_local()
    }

    fn port_hint(&self, port: u16) -> Option<String> {
        Some(port_hint(port, &self.inner.image.borrow()))
    }

    fn watches_connections(&self) -> bool {
        true
    }

    fn look_at(&self, id: &InstanceId, machine_answers: bool) {
        if machine_answers {
            self.inner.instances.borrow_mut().note_node_answers(id);
        }
        self.inner.look_closely();
    }

    fn instance_handle(&self, id: &InstanceId) -> Option<InstanceHandle> {
        let instances = self.inner.instances.borrow();
        let node = instances.node(id).filter(|_| instances.is_live(id))?;
        let names = self.inner.node_names.borrow();
        // Until its name is known the id says which it is.
        let name = names.get(node).map_or(node, String::as_str);
        Some(InstanceHandle::OnNode(name.to_owned()))
    }

    fn last_error(&self) -> Option<String> {
        self.inner.last_error.borrow().clone()
    }

    fn is_outdated(&self, id: &InstanceId) -> bool {
        self.inner.outdated.borrow().contains(id)
    }

    fn has_peers(&self) -> LocalBoxFuture<'static, bool> {
        let inner = Rc::clone(&self.inner);
        inner.is_leaving.set(true);
        inner.hands_over().boxed_local()
    }

    fn is_shared(&self) -> LocalBoxFuture<'static, bool> {
        let inner = Rc::clone(&self.inner);
        async move { inner.presence.is_shared(&inner.api).await }.boxed_local()
    }

    fn leads(&self) -> LocalBoxFuture<'static, bool> {
        let inner = Rc::clone(&self.inner);
        async move { inner.presence.is_first(&inner.api).await }.boxed_local()
    }

    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent> {
        watch::events(Rc::clone(&self.inner))
    }

    fn close(&self) -> LocalBoxFuture<'_, ()> {
        Rc::clone(&self.inner).close().boxed_local()
    }
}
