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
mod image;
mod instance_table;
mod labels;
mod launch;
mod names;
mod network;
mod node_drain;
mod own_container;
mod placement;
mod placement_rule;
mod poll_schedule;
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
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::LocalBoxStream;
use log::debug;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::docker::{DockerSettings, ImageFacts, described, port_hint};
use super::{
    BalancerLoad, Definition, DefinitionTask, Existing, ExitReport, ImageDigests, InstanceHandle,
    InstanceId, LaunchAs, LaunchOrder, Launched, Runtime, RuntimeError, RuntimeEvent, ScalingRole,
    Task,
};
use crate::api::{FleetSpread, NewRollout};
use crate::ring::{ReplicaName, Weight};
use api::{SwarmApi, SwarmError};
use image::KnownAuth;
use instance_table::{InstanceTable, Leaving};
use poll_schedule::PollSchedule;
use presence::Presence;
pub use record_store::SwarmRecordStore;
use service::ServiceRole;
pub use stack::StackService;
use task::TaskInfo;
pub use template::StackTemplate;
use watch::ReportTx;

/// Where engines of a Swarm tell each other of their networks: each has to reach it on all others.
const GOSSIP_PORT: u16 = 7946;

/// The settings of the Swarm runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmSettings {
    /// What replicas run, as containers have it; the network is an overlay.
    pub containers: DockerSettings,
    /// A service of the stack that the balancer belongs to says it: see [`StackService`].
    pub from_stack: bool,
    /// The label of nodes over whose values replicas are spread: `node.labels.zone`. That of a stack is in
    /// its service.
    pub zone: Option<String>,
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
    /// Instances that have been seen to start beside others.
    successors: RefCell<HashSet<InstanceId>>,
    /// Nodes on which an instance has ceased to answer, and when.
    suspects: RefCell<HashMap<String, Instant>>,
    /// The names of nodes by their ids.
    node_names: RefCell<HashMap<String, String>>,
    /// Where each can be reached by the others.
    node_addresses: RefCell<HashMap<String, IpAddr>>,
    /// What was found out about the image at the start; none if it was not there.
    image: RefCell<Option<ImageFacts>>,
    /// The credentials for its registry, as last read.
    known_auth: RefCell<Option<KnownAuth>>,
    /// The network belongs to this fleet: `close` removes it.
    owns_network: Cell<bool>,
    /// Our own container, if it has joined the network by itself.
    joined: RefCell<Option<String>>,
    schedule: PollSchedule,
    event_tx: RefCell<Option<ReportTx>>,
    presence: Presence,
    /// The node that is drained for a drill.
    drained_node: RefCell<Option<String>>,
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
            successors: RefCell::default(),
            suspects: RefCell::default(),
            node_names: RefCell::default(),
            node_addresses: RefCell::default(),
            image: RefCell::default(),
            known_auth: RefCell::default(),
            owns_network: Cell::new(false),
            joined: RefCell::default(),
            schedule: PollSchedule::default(),
            event_tx: RefCell::default(),
            presence,
            drained_node: RefCell::default(),
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

    fn names_have_generations(&self) -> bool {
        true
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
        let role = match launched_as {
            LaunchAs::Successor => ServiceRole::Next,
            LaunchAs::Extra => ServiceRole::Extra,
            // There are neither stand-ins nor spares.
            LaunchAs::Replica | LaunchAs::Relief | LaunchAs::Spare => ServiceRole::Current,
        };
        let (inner, definition) = (Rc::clone(&self.inner), Arc::clone(definition));
        inner.launch(order, definition, role).boxed_local()
    }

    fn refusal_of_extra(&self) -> Option<String> {
        None
    }

    fn take_place(&self, id: InstanceId) -> LocalBoxFuture<'static, ()> {
        Rc::clone(&self.inner).take_place(id).boxed_local()
    }

    fn define(&self, new: NewRollout, present: Definition) -> DefinitionTask {
        let inner = Rc::clone(&self.inner);
        async move {
            let mut changed = present.with_changes(&new, "swarm")?;
            if let Some(image) = &new.image {
                let pinned = inner.settings.pinned(inner.api.engine(), image).await;
                changed.image = pinned.or(changed.image);
            }
            Ok(changed)
        }
        .boxed_local()
    }

    fn image_digests(&self, tag: String) -> Task<ImageDigests> {
        let inner = Rc::clone(&self.inner);
        async move { inner.api.engine().image_digests(&tag).await }.boxed_local()
    }

    fn prepare_rollout(&self, definition: Definition, _: bool) -> Task<()> {
        let inner = Rc::clone(&self.inner);
        inner.prepare_rollout(definition).boxed_local()
    }

    fn announce_removal(&self, id: InstanceId) -> LocalBoxFuture<'static, ()> {
        self.inner
            .instances
            .borrow_mut()
            .leaves(&id, Leaving::Removed(Instant::now()));
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
        Rc::clone(&self.inner).exit_report(&id).boxed_local()
    }

    fn keeps_remains(&self) -> bool {
        true
    }

    fn port_hint(&self, port: u16) -> Option<String> {
        let facts = self.inner.image.borrow().clone().unwrap_or_default();
        Some(port_hint(port, &facts))
    }

    fn watches_connections(&self) -> bool {
        true
    }

    fn look_at(&self, id: &InstanceId, machine_answers: Option<bool>) {
        if let Some(answers) = machine_answers {
            let mut instances = self.inner.instances.borrow_mut();
            instances.note_node_answers(id, answers);
            // Now: before this balancer gives the instance up, another one may have ended it.
            if let Some(node) = instances.node(id).filter(|_| !answers) {
                let mut suspects = self.inner.suspects.borrow_mut();
                suspects.insert(node.to_owned(), Instant::now());
            }
        }
        self.inner.schedule.look_closely();
    }

    fn machine_of(&self, id: &InstanceId) -> Option<SocketAddr> {
        let instances = self.inner.instances.borrow();
        let addresses = self.inner.node_addresses.borrow();
        let address = addresses.get(instances.node(id)?)?;
        Some(SocketAddr::new(*address, GOSSIP_PORT))
    }

    fn others_on_machine(&self, id: &InstanceId) -> Vec<InstanceId> {
        self.inner.instances.borrow().others_on_node(id)
    }

    fn instance_handle(&self, id: &InstanceId) -> Option<InstanceHandle> {
        let instances = self.inner.instances.borrow();
        let node = instances.node(id).filter(|_| instances.is_live(id))?;
        let names = self.inner.node_names.borrow();
        // Until its name is known the id says which it is.
        let name = names.get(node).map_or(node, String::as_str);
        Some(InstanceHandle::OnNode {
            node: name.to_owned(),
            container: instances.container(id).map(str::to_owned),
        })
    }

    fn spread(&self, definition: &Arc<Definition>) -> Option<Task<FleetSpread>> {
        let (inner, definition) = (Rc::clone(&self.inner), Arc::clone(definition));
        Some(inner.spread(definition).boxed_local())
    }

    fn drain_node(&self, node: String) -> Option<Task<()>> {
        Some(Rc::clone(&self.inner).drain_node(node).boxed_local())
    }

    fn restore_node(&self) -> Task<()> {
        let inner = Rc::clone(&self.inner);
        async move { inner.restore_node().await }.boxed_local()
    }

    fn last_error(&self) -> Option<String> {
        self.inner.last_error.borrow().clone()
    }

    fn has_peers(&self) -> LocalBoxFuture<'static, bool> {
        let inner = Rc::clone(&self.inner);
        inner.is_leaving.set(true);
        async move {
            // While it has its presence.
            if let Err(error) = inner.restore_node().await {
                debug!("swarm: {error}");
            }
            inner.hands_over().await
        }
        .boxed_local()
    }

    fn is_shared(&self) -> LocalBoxFuture<'static, bool> {
        let inner = Rc::clone(&self.inner);
        async move { inner.presence.is_shared(&inner.api).await }.boxed_local()
    }

    fn is_present(&self, balancer: String) -> Task<bool> {
        let inner = Rc::clone(&self.inner);
        async move { Ok(inner.presence.is_present(&inner.api, &balancer).await?) }.boxed_local()
    }

    fn leads(&self) -> LocalBoxFuture<'static, bool> {
        let inner = Rc::clone(&self.inner);
        async move { inner.presence.is_first(&inner.api).await }.boxed_local()
    }

    fn share_load(&self, own: BalancerLoad) -> Option<LocalBoxFuture<'static, ScalingRole>> {
        let inner = Rc::clone(&self.inner);
        inner.presence.note_load(own);
        Some(async move { inner.presence.scaling_role(&inner.api).await }.boxed_local())
    }

    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent> {
        watch::events(Rc::clone(&self.inner))
    }

    fn close(&self) -> LocalBoxFuture<'_, ()> {
        Rc::clone(&self.inner).close().boxed_local()
    }
}

#[cfg(test)]
mod tests;
