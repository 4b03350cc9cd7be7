//! Starts one instance: creates its service, and waits until its task runs.
//!
//! A connection to a task's address before its container is there leaves the kernel with a neighbour
//! that it cannot resolve for a second. So a launch ends when the task runs, not when its address is
//! known.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::spawn;
use log::{debug, warn};
use tokio::time::{Instant, sleep};

use super::SwarmFleet;
use super::api::ObjectKind;
use super::container_spec::translate;
use super::names::service_name;
use super::service::{ServiceInfo, ServiceRole};
use super::service_spec::{ServicePlan, scale_down};
use super::task::{TaskInfo, TaskState};
use super::template;
use crate::fleet::{Definition, death_hint};
use crate::ring::ReplicaName;
use crate::runtime::docker::{DockerSettings, described, networks_of};
use crate::runtime::{Exit, InstanceId, LaunchOrder, Launched, RuntimeError, with_output};

/// How often a task that starts is looked for.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long a node may take to fetch the image and to start the container.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// How often a launch tries to get the name, and the pause before: its holder may be about to go.
const MAX_ATTEMPTS: u32 = 5;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(40);

/// Marks a launch as under way until dropped.
pub(super) struct OpenLaunch {
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

    pub(super) fn check_not_cancelled(&self) -> Result<(), RuntimeError> {
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

impl SwarmFleet {
    /// Starts an instance of a definition, for this role.
    pub(super) async fn launch(
        self: Rc<Self>,
        order: LaunchOrder,
        definition: Arc<Definition>,
        role: ServiceRole,
    ) -> Result<Launched, RuntimeError> {
        let launch = OpenLaunch::open(&self, &order.id)?;
        let plays = role == ServiceRole::Current;
        let settings = self.settings.containers.following(&definition);
        let image = settings.image.clone();
        let plan = self.plan(&order, settings, role).await?;
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                sleep(ATTEMPT_PAUSE).await;
            }
            launch.check_not_cancelled()?;
            if plays && let Some(theirs) = self.playing(&order.id.replica).await? {
                return self.take_over(theirs).await;
            }
            let Some(service) = self.create_and_place(&plan, &order, &launch).await? else {
                // Another balancer was quicker, or the name's holder is about to go.
                self.make_way(&plan.name, &order.id).await?;
                continue;
            };
            debug!("swarm: {} has a node", order.id);
            if plays && let Some(theirs) = self.newer(&order.id).await? {
                self.discard(&plan.name).await;
                return self.take_over(theirs).await;
            }
            let started = self.await_running(&service, &order, &launch).await;
            return match started {
                Ok(launched) => {
                    debug!("swarm: {} runs", launched.id);
                    if role != ServiceRole::Extra {
                        spawn(Rc::clone(&self).remove_predecessors(launched.id.clone()));
                    }
                    Ok(launched)
                }
                Err(error) => {
                    self.discard(&plan.name).await;
                    Err(self.explain_missing(error, &image).await)
                }
            };
        }
        let name = &plan.name;
        Err(RuntimeError(format!("the service name {name} is taken")))
    }

    /// What the service of an instance is made of.
    async fn plan(
        self: &Rc<Self>,
        order: &LaunchOrder,
        settings: DockerSettings,
        role: ServiceRole,
    ) -> Result<ServicePlan, RuntimeError> {
        let known = self.image.borrow().clone();
        let known = known.filter(|_| settings.image == self.settings.containers.image);
        let image = match known {
            Some(image) => image,
            None => self.image_facts(&settings.image).await?,
        };
        let (parts, networks, stop_grace) = match &settings.like {
            Some(like) => (
                template::parts(like, &settings, order, &image),
                template::networks(like, &settings, order),
                template::stop_grace(like).unwrap_or(self.stop_grace),
            ),
            None => {
                let body = described(&settings, order, &image)?;
                (
                    translate(&body).map_err(RuntimeError)?,
                    networks_of(&settings, order, &image)?,
                    self.stop_grace,
                )
            }
        };
        Ok(ServicePlan {
            name: service_name(self.name(), &order.id),
            role,
            parts,
            networks,
            stop_grace,
            auth: self.registry_auth(&settings.image).await,
        })
    }

    /// The service of another balancer that plays a replica now, if there is one: not one that has
    /// died or that is given up here.
    async fn playing(&self, replica: &ReplicaName) -> Result<Option<ServiceInfo>, RuntimeError> {
        let services = self.api.services(self.name(), Some(replica)).await?;
        let tasks = self.tasks_of(replica).await?;
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
            let tasks = self.tasks_of(&id.replica).await?;
            if let Some((task, endpoint)) = running(&tasks, &id) {
                self.instances.borrow_mut().runs(&task);
                return Ok(Launched {
                    id,
                    endpoint,
                    definition: service.definition,
                });
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

    /// Waits until the task of a service that was created runs.
    async fn await_running(
        &self,
        service: &str,
        order: &LaunchOrder,
        launch: &OpenLaunch,
    ) -> Result<Launched, RuntimeError> {
        let begun = Instant::now();
        let mut seen = false;
        while begun.elapsed() < START_TIMEOUT {
            launch.check_not_cancelled()?;
            let mut tasks = self.tasks_of(&order.id.replica).await?;
            // Tasks of an earlier service of the same name may not have ended yet.
            tasks.retain(|task| task.service == service);
            let id = &order.id;
            if let Some((task, endpoint)) = running(&tasks, id) {
                self.instances.borrow_mut().runs(&task);
                return Ok(Launched::ordered(id.clone(), endpoint));
            }
            match newest(&tasks, service) {
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
                    return Err(RuntimeError("its service has been removed".to_owned()));
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
        let tasks = self.tasks_of(&id.replica).await?;
        let mut own = tasks.iter().filter(|task| task.service == holder.id);
        if holder.is_ended || own.any(|task| task.has_ended() || !task.is_wanted) {
            self.api.remove(ObjectKind::Service, name).await?;
        }
        Ok(())
    }

    /// Removes a service that is not to be.
    pub(super) async fn discard(&self, name: &str) {
        if let Err(error) = self.api.remove(ObjectKind::Service, name).await {
            warn!("swarm: cannot remove the service {name}: {error}");
        }
    }

    /// Removes the services of a replica's earlier instances that have ended, but for the last one,
    /// which stays for its log. Ends those that run and play nothing: no manager answered when they were
    /// to be stopped, or a launch that has failed here was carried out later.
    pub(super) async fn remove_predecessors(self: Rc<Self>, id: InstanceId) {
        let (services, tasks) = futures::join!(
            self.api.services(self.name(), Some(&id.replica)),
            self.tasks_of(&id.replica)
        );
        let (Ok(services), Ok(tasks)) = (services, tasks) else {
            // They stay until the next death.
            return;
        };
        let has_ended = |service: &ServiceInfo| {
            let mut own = tasks.iter().filter(|task| task.service == service.id);
            service.is_ended || own.all(TaskInfo::has_ended)
        };
        let older = services
            .into_iter()
            .filter(|service| service.order.id.generation < id.generation);
        let (mut older, running): (Vec<_>, Vec<_>) = older.partition(has_ended);
        for service in running {
            let plays_nothing = {
                let (instances, old) = (self.instances.borrow(), &service.order.id);
                instances.is_given_up(old) || !instances.knows(old)
            };
            if plays_nothing
                && service.role == ServiceRole::Current
                && let Err(error) = self.api.change_service(&service.name, scale_down).await
                && !error.is_missing()
            {
                warn!("swarm: {} is left running: {error}", service.name);
            }
        }
        older.sort_by_key(|service| service.order.id.generation);
        older.pop();
        for service in older {
            self.discard(&service.name).await;
        }
        self.instances.borrow_mut().forget_older(&id);
    }
}

/// The task of a service that is wanted, else any.
pub(super) fn newest<'t>(tasks: &'t [TaskInfo], service: &str) -> Option<&'t TaskInfo> {
    let own = tasks.iter().filter(|task| task.service == service);
    own.max_by_key(|task| (task.is_wanted, !task.has_ended()))
}

/// The address of a task that runs.
fn running(tasks: &[TaskInfo], id: &InstanceId) -> Option<(TaskInfo, SocketAddr)> {
    let live = tasks
        .iter()
        .find(|task| task.order.id == *id && task.is_live())?;
    Some((live.clone(), live.endpoint?))
}
