//! Starts one instance: creates its service, and waits until its task runs.
//!
//! A connection to a task's address before its container is there leaves the kernel with a neighbour
//! that it cannot resolve for a second. So a launch ends when the task runs, not when its address is
//! known.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::spawn;
use log::{debug, warn};
use tokio::time::{Instant, sleep};

use super::SwarmFleet;
use super::api::ObjectKind;
use super::container_spec::translate;
use super::instance_table::{placed, running};
use super::names::service_name;
use super::service::{ServiceInfo, ServiceRole};
use super::service_spec::{ServicePlan, spec};
use super::spread::{eligible, excluded};
use super::task::{TaskInfo, TaskState};
use crate::fleet::{Definition, death_hint};
use crate::ring::ReplicaName;
use crate::runtime::docker::{described, networks_of};
use crate::runtime::{Exit, InstanceId, LaunchOrder, Launched, RuntimeError, with_output};

/// How often a task that starts is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(40);

/// A task without a node for longer than this has constraints that no node meets.
const SPREAD_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a task may have no node without those of the spread.
const PENDING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node may take to fetch the image and to start the container.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// How often a launch tries to get the name: its holder may be about to go.
const MAX_ATTEMPTS: u32 = 5;

/// How long a node is avoided on which an instance has ceased to answer: longer than a Swarm takes
/// to find out that it is lost.
const SUSPICION: Duration = Duration::from_secs(30);

/// Marks a launch as under way until dropped.
struct OpenLaunch {
    fleet: Rc<SwarmFleet>,
    id: InstanceId,
}

impl OpenLaunch {
    fn open(fleet: &Rc<SwarmFleet>, id: &InstanceId) -> Result<Self, RuntimeError> {
        if !fleet.instances.borrow_mut().open_launch(id) {
            return Err(RuntimeError(format!("{id} is being started already")));
        }
        Ok(Self {
            fleet: Rc::clone(fleet),
            id: id.clone(),
        })
    }

    fn check_not_cancelled(&self) -> Result<(), RuntimeError> {
        if self.fleet.instances.borrow().is_cancelled(&self.id) {
            return Err(RuntimeError("stopped while it was starting".to_owned()));
        }
        Ok(())
    }
}

impl Drop for OpenLaunch {
    fn drop(&mut self) {
        self.fleet.instances.borrow_mut().close_launch(&self.id);
        self.fleet.launch_over.notify_waiters();
    }
}

/// How a task that was created got on.
enum Placement {
    /// It has a node, or has ended.
    Placed,
    /// It has none: why, in the Swarm's words.
    Pending(String),
}

impl SwarmFleet {
    /// Starts an instance of a definition: `beside` the one that plays its replica, or as that.
    pub(super) async fn launch(
        self: Rc<Self>,
        order: LaunchOrder,
        definition: Arc<Definition>,
        beside: bool,
    ) -> Result<Launched, RuntimeError> {
        let launch = OpenLaunch::open(&self, &order.id)?;
        let role = if beside {
            ServiceRole::Next
        } else {
            ServiceRole::Current
        };
        let plan = self.plan(&order, &definition, role).await?;
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                sleep(POLL_INTERVAL).await;
            }
            launch.check_not_cancelled()?;
            if !beside && let Some(theirs) = self.playing(&order.id.replica).await? {
                return self.take_over(theirs).await;
            }
            if !self.create_and_place(&plan, &order, &launch).await? {
                // Another balancer was quicker, or the name's holder is about to go.
                self.make_way(&plan.name, &order.id).await?;
                continue;
            }
            if !beside && let Some(theirs) = self.newer(&order.id).await? {
                self.discard(&plan.name).await;
                return self.take_over(theirs).await;
            }
            let started = self.await_running(&plan.name, &order, &launch).await;
            return match started {
                Ok(launched) => {
                    spawn(Rc::clone(&self).remove_predecessors(launched.id.clone()));
                    Ok(launched)
                }
                Err(error) => {
                    self.discard(&plan.name).await;
                    Err(error)
                }
            };
        }
        let name = &plan.name;
        Err(RuntimeError(format!("the service name {name} is taken")))
    }

    /// What the service of an instance is made of.
    async fn plan(
        &self,
        order: &LaunchOrder,
        definition: &Definition,
        role: ServiceRole,
    ) -> Result<ServicePlan, RuntimeError> {
        let settings = self.settings.containers.following(definition);
        let image = match settings.image == self.settings.containers.image {
            true => self.image.borrow().clone(),
            false => self.image_facts(&settings.image).await?,
        };
        let body = described(&settings, order, &image)?;
        Ok(ServicePlan {
            name: service_name(self.name(), &order.id),
            role,
            parts: translate(&body).map_err(RuntimeError)?,
            networks: networks_of(&settings, order, &image)?,
            stop_grace: self.stop_grace,
        })
    }

    /// The service of another balancer that plays a replica now, if there is one: not one that has
    /// died or that is given up here.
    async fn playing(&self, replica: &ReplicaName) -> Result<Option<ServiceInfo>, RuntimeError> {
        let services = self.api.services(self.name(), Some(replica)).await?;
        let tasks = self.api.tasks(self.name(), self.network()).await?;
        let instances = self.instances.borrow();
        let plays = |service: &ServiceInfo| {
            let id = &service.order.id;
            let mut own = tasks.iter().filter(|task| task.service == service.id);
            service.role == ServiceRole::Current
                && !service.is_ended
                && !instances.is_given_up(id)
                && own.all(|task| task.is_wanted && !task.has_ended())
        };
        let playing = services.into_iter().filter(plays);
        Ok(playing.max_by_key(|service| service.order.id.generation))
    }

    /// The newest service of a replica that has come after this one, which plays it.
    async fn newer(&self, id: &InstanceId) -> Result<Option<ServiceInfo>, RuntimeError> {
        let services = self.api.services(self.name(), Some(&id.replica)).await?;
        let newer = services.into_iter().filter(|service| {
            service.role == ServiceRole::Current && service.order.id.generation > id.generation
        });
        Ok(newer.max_by_key(|service| service.order.id.generation))
    }

    /// Another balancer's instance plays the replica.
    async fn take_over(&self, service: ServiceInfo) -> Result<Launched, RuntimeError> {
        let id = service.order.id;
        debug!("swarm: {id} has been started by another balancer");
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            let tasks = self.api.tasks(self.name(), self.network()).await?;
            if let Some((task, endpoint)) = running(&tasks, &id) {
                self.instances.borrow_mut().runs(&task);
                return Ok(Launched { id, endpoint });
            }
            let of_it = tasks.iter().filter(|task| task.service == service.id);
            let (mut own, mut is_there) = (of_it.peekable(), false);
            is_there |= own.peek().is_some();
            if !is_there || own.all(|task| task.has_ended() || !task.is_wanted) {
                let gone = format!("{id}, which another balancer has started, has ended");
                return Err(RuntimeError(gone));
            }
            sleep(POLL_INTERVAL).await;
        }
        let late = format!("{id}, which another balancer has started, does not run");
        Err(RuntimeError(late))
    }

    /// Creates the service, spread over the nodes, and waits until its task has one. False if the name
    /// is taken.
    async fn create_and_place(
        &self,
        plan: &ServicePlan,
        order: &LaunchOrder,
        launch: &OpenLaunch,
    ) -> Result<bool, RuntimeError> {
        let _alone = self.placing.lock().await;
        launch.check_not_cancelled()?;
        let mut nodes = self.excluded_nodes().await;
        loop {
            match self.api.create_service(&spec(plan, &nodes)).await {
                Err(error) if error.is_taken() => return Ok(false),
                created => created.map(drop)?,
            }
            let timeout = match nodes.is_empty() {
                true => PENDING_TIMEOUT,
                false => SPREAD_TIMEOUT,
            };
            match self.await_node(order, launch, timeout).await {
                Ok(Placement::Placed) => return Ok(true),
                Ok(Placement::Pending(_)) if !nodes.is_empty() => {
                    debug!("swarm: no other node takes {}: it is not spread", order.id);
                    self.api.remove(ObjectKind::Service, &plan.name).await?;
                    nodes.clear();
                }
                Ok(Placement::Pending(reason)) => {
                    self.discard(&plan.name).await;
                    return Err(RuntimeError(reason));
                }
                Err(error) => {
                    self.discard(&plan.name).await;
                    return Err(error);
                }
            }
        }
    }

    async fn await_node(
        &self,
        order: &LaunchOrder,
        launch: &OpenLaunch,
        timeout: Duration,
    ) -> Result<Placement, RuntimeError> {
        let begun = Instant::now();
        loop {
            launch.check_not_cancelled()?;
            let tasks = self.api.tasks(self.name(), self.network()).await?;
            let task = newest(&tasks, &order.id);
            if task.is_some_and(|task| task.state != TaskState::Pending) {
                return Ok(Placement::Placed);
            }
            if begun.elapsed() > timeout {
                let reason = task.and_then(|task| task.error.clone());
                let reason = reason.unwrap_or_else(|| "no node takes it".to_owned());
                return Ok(Placement::Pending(reason));
            }
            sleep(POLL_INTERVAL / 4).await;
        }
    }

    /// The nodes that have their share of the fleet, and those in doubt. None if the nodes are not
    /// known: a replica on the wrong node is better than none.
    async fn excluded_nodes(&self) -> Vec<String> {
        let (nodes, tasks) = futures::join!(
            self.api.get("/nodes"),
            self.api.tasks(self.name(), self.network())
        );
        let (Ok(nodes), Ok(mut tasks)) = (nodes, tasks) else {
            return Vec::new();
        };
        let nodes = eligible(nodes.as_array().map(Vec::as_slice).unwrap_or_default());
        {
            let instances = self.instances.borrow();
            tasks.retain(|task| !instances.is_given_up(&task.order.id));
        }
        let mut suspects = self.suspects.borrow_mut();
        suspects.retain(|_, since| since.elapsed() < SUSPICION);
        let suspects = suspects.keys().cloned().collect();
        excluded(&nodes, placed(&tasks), &suspects)
    }

    /// Waits until the task of a service that was created runs.
    async fn await_running(
        &self,
        name: &str,
        order: &LaunchOrder,
        launch: &OpenLaunch,
    ) -> Result<Launched, RuntimeError> {
        let begun = Instant::now();
        let mut seen = false;
        while begun.elapsed() < START_TIMEOUT {
            launch.check_not_cancelled()?;
            let tasks = self.api.tasks(self.name(), self.network()).await?;
            let id = &order.id;
            if let Some((task, endpoint)) = running(&tasks, id) {
                self.instances.borrow_mut().runs(&task);
                return Ok(Launched {
                    id: id.clone(),
                    endpoint,
                });
            }
            match newest(&tasks, id) {
                Some(task) if task.has_ended() => return Err(self.ended_at_once(task).await),
                Some(task) if task.is_live() => {
                    let network = self.network();
                    let lacking = format!("it has no address in network {network}");
                    return Err(RuntimeError(lacking));
                }
                Some(task) if !task.is_wanted => {
                    return Err(RuntimeError("the Swarm ends it again".to_owned()));
                }
                Some(_) => seen = true,
                None if seen => {
                    let gone = format!("its service {name} has been removed");
                    return Err(RuntimeError(gone));
                }
                None => {}
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(RuntimeError(format!(
            "its node does not start it within {} s",
            START_TIMEOUT.as_secs()
        )))
    }

    /// The error for a task that ended at once, or was rejected by its node.
    async fn ended_at_once(&self, task: &TaskInfo) -> RuntimeError {
        let exit = match &task.state {
            TaskState::Ended(exit) => exit.clone(),
            _ => Exit::default(),
        };
        if exit == Exit::default() {
            let error = task.error.clone();
            return RuntimeError(error.unwrap_or_else(|| "its node has rejected it".to_owned()));
        }
        let lines = self.output_of(&task.id).await;
        let hint = death_hint(&exit, &lines, self.is_restricted());
        RuntimeError(with_output(&format!("{exit} at once"), &lines, hint))
    }

    /// The name of a service is taken: removes its holder if it has ended.
    async fn make_way(&self, name: &str, id: &InstanceId) -> Result<(), RuntimeError> {
        let services = self.api.services(self.name(), Some(&id.replica)).await?;
        let Some(holder) = services.into_iter().find(|service| service.name == name) else {
            // It is gone, or not of this fleet.
            return Ok(());
        };
        let tasks = self.api.tasks(self.name(), self.network()).await?;
        let mut own = tasks.iter().filter(|task| task.service == holder.id);
        if holder.is_ended || own.any(|task| task.has_ended() || !task.is_wanted) {
            self.api.remove(ObjectKind::Service, name).await?;
        }
        Ok(())
    }

    /// Removes a service that is not to be.
    async fn discard(&self, name: &str) {
        if let Err(error) = self.api.remove(ObjectKind::Service, name).await {
            warn!("swarm: cannot remove the service {name}: {error}");
        }
    }

    /// Removes the services of a replica's earlier instances that have ended, but for the last one,
    /// which stays for its log.
    pub(super) async fn remove_predecessors(self: Rc<Self>, id: InstanceId) {
        let (services, tasks) = futures::join!(
            self.api.services(self.name(), Some(&id.replica)),
            self.api.tasks(self.name(), self.network())
        );
        let (Ok(services), Ok(tasks)) = (services, tasks) else {
            // They stay until the next death.
            return;
        };
        let has_ended = |service: &ServiceInfo| {
            let mut own = tasks.iter().filter(|task| task.service == service.id);
            service.is_ended || own.all(TaskInfo::has_ended)
        };
        let mut older: Vec<_> = services
            .into_iter()
            .filter(|service| service.order.id.generation < id.generation && has_ended(service))
            .collect();
        older.sort_by_key(|service| service.order.id.generation);
        older.pop();
        for service in older {
            self.discard(&service.name).await;
        }
        self.instances.borrow_mut().forget_older(&id);
    }
}

/// The task of an instance that is wanted, else any.
fn newest<'t>(tasks: &'t [TaskInfo], id: &InstanceId) -> Option<&'t TaskInfo> {
    let own = tasks.iter().filter(|task| task.order.id == *id);
    own.max_by_key(|task| (task.is_wanted, !task.has_ended()))
}
