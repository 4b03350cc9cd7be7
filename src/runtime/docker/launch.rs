//! Starts one container. At a respawn the dead predecessor still has the name: the engine answers
//! 409, and `name_conflict` renames it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::spawn;
use bollard::query_parameters::StartContainerOptions;
use log::warn;
use tokio::time::sleep;

use super::container::{ContainerInfo, address};
use super::container_table::{ContainerId, read_state};
use super::description::describe;
use super::engine::{is_conflict, no_such_image};
use super::image_facts::{ImageFacts, port};
use super::inventory::{newest_of_each, outdated};
use super::labels::{FLEET, REPLICA, SPARE};
use super::name_conflict::{Resolution, is_running};
use super::names::{ContainerRole, container_name, extra_name, next_name, spare_name};
use super::{DockerFleet, DockerSettings, Security};
use crate::fleet::{Definition, death_hint};
use crate::ring::ReplicaName;
use crate::runtime::{
    Exit, InstanceId, LaunchAs, LaunchOrder, Launched, RuntimeError, balancer_name, with_output,
};

/// How often a launch tries to get the name, and the pause between: the engine may be removing
/// the container that holds it, or another balancer starting it.
pub(super) const ATTEMPTS: u32 = 100;
pub(super) const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);

/// For how many attempts a container that was created and does not run yet is left alone: longer
/// than an engine takes to start one. The balancer that created it may have ended.
pub(super) const ATTEMPTS_FOR_STARTING: u32 = 60;

/// Marks a launch as under way in the table until dropped.
struct Launch {
    inner: Rc<DockerFleet>,
    id: InstanceId,
}

impl Launch {
    fn open(inner: &Rc<DockerFleet>, id: &InstanceId) -> Result<Self, RuntimeError> {
        if !inner.containers.borrow_mut().open_launch(id) {
            return Err(RuntimeError(format!("{id} is being started already")));
        }
        Ok(Self {
            inner: Rc::clone(inner),
            id: id.clone(),
        })
    }

    fn check_not_cancelled(&self) -> Result<(), RuntimeError> {
        if self.inner.containers.borrow().is_cancelled(&self.id) {
            return Err(RuntimeError("stopped while it was starting".to_owned()));
        }
        Ok(())
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        self.inner.containers.borrow_mut().close_launch(&self.id);
        self.inner.launch_over.notify_waiters();
    }
}

/// What a container is made of.
#[derive(Clone)]
pub(super) struct Specification {
    pub(super) settings: DockerSettings,
    pub(super) image: ImageFacts,
    /// What it is for.
    pub(super) launched_as: LaunchAs,
    /// The hash of its definition.
    pub(super) definition: String,
}

/// Whether the container has its replica's plain name from the beginning: a relief, too, which compose may
/// start as well.
pub(super) fn has_plain_name(launched_as: LaunchAs) -> bool {
    matches!(launched_as, LaunchAs::Replica | LaunchAs::Relief)
}

/// The container that has a replica's name after a launch.
pub(super) enum Creation {
    /// It has been created, and does not run yet.
    Ours(ContainerId),
    /// The same, by these settings instead.
    Like(ContainerId, Box<DockerSettings>),
    /// Another balancer's instance.
    Theirs(Launched),
}

impl DockerFleet {
    /// Starts a container of a definition.
    pub(super) async fn launch(
        self: Rc<Self>,
        order: LaunchOrder,
        definition: Arc<Definition>,
        launched_as: LaunchAs,
    ) -> Result<Launched, RuntimeError> {
        let launch = Launch::open(&self, &order.id)?;
        let networks_created = self.networks_created.get();
        let container = self.specify(&definition, launched_as).await?;
        let mut launched = self.try_launch(&launch, &container, &order).await;
        if launched.is_err() && launch.check_not_cancelled().is_ok() {
            match self.ensure_network().await {
                // The network had been removed; this launch or another has created it again.
                Ok(()) if self.networks_created.get() > networks_created => {
                    launched = self.try_launch(&launch, &container, &order).await;
                }
                // The network was not the cause: return the first error.
                Ok(()) => {}
                Err(error) => log::debug!("docker: no network: {error}"),
            }
        }
        let running = launched?;
        if has_plain_name(launched_as) {
            if running.id == order.id {
                self.started_in_service(&running.id, &container.definition);
                spawn(Rc::clone(&self).remember_started(order.id.replica.clone()));
            } else {
                let replica = &running.id.replica;
                self.known_service.borrow_mut().launched(replica);
            }
            // In the background: a removal takes a sixth of the time of a launch.
            spawn(Rc::clone(&self).remove_predecessors(running.id.clone()));
        }
        Ok(running)
    }

    /// What a container of this definition is made of.
    async fn specify(
        &self,
        definition: &Definition,
        launched_as: LaunchAs,
    ) -> Result<Specification, RuntimeError> {
        let settings = self.settings.following(definition);
        let known = self.image.borrow().clone();
        let image = match known.filter(|_| settings.image == self.settings.image) {
            Some(image) => image,
            // If the rollout began by pulling it, it may be a different one by now.
            None => {
                let found = self.engine.image_facts(&settings.image).await?;
                found.ok_or_else(|| no_such_image(&settings.image))?
            }
        };
        Ok(Specification {
            settings,
            image,
            launched_as,
            definition: definition.hash(),
        })
    }

    async fn try_launch(
        self: &Rc<Self>,
        launch: &Launch,
        specification: &Specification,
        order: &LaunchOrder,
    ) -> Result<Launched, RuntimeError> {
        let adjusted;
        let (container, specification) = match self.create(specification, order).await? {
            Creation::Ours(container) => (container, specification),
            Creation::Like(container, settings) => {
                adjusted = Specification {
                    settings: *settings,
                    ..specification.clone()
                };
                (container, &adjusted)
            }
            Creation::Theirs(running) => return Ok(running),
        };
        self.containers.borrow_mut().created(&container, &order.id);
        let started = async {
            launch.check_not_cancelled()?;
            self.join_networks(&container, specification, order).await?;
            let endpoint = self.start(&container, specification).await?;
            launch.check_not_cancelled()?;
            let started = self.containers.borrow_mut().started(&container);
            match started {
                Ok(()) => Ok(endpoint),
                Err(exit) => Err(self.ended_at_once(&container, specification, &exit).await),
            }
        };
        match started.await {
            Ok(endpoint) => Ok(Launched::ordered(order.id.clone(), endpoint)),
            Err(error) => {
                self.containers.borrow_mut().forget(&container);
                if let Err(error) = self.engine.remove(&container).await {
                    let id = &order.id;
                    warn!("docker: cannot remove the failed container of {id}: {error}");
                }
                Err(error)
            }
        }
    }

    /// Creates the container. A dead predecessor is renamed.
    async fn create(
        self: &Rc<Self>,
        specification: &Specification,
        order: &LaunchOrder,
    ) -> Result<Creation, RuntimeError> {
        if let Some(service) = &self.settings.service {
            return self.create_in_service(service, specification, order).await;
        }
        let Specification {
            settings,
            image,
            launched_as,
            ..
        } = specification;
        let mut body = describe(settings, order, image)?;
        // No other container has such a name: it has the generation or this balancer in it.
        let name = match launched_as {
            LaunchAs::Replica | LaunchAs::Relief => None,
            LaunchAs::Successor => Some(next_name(&settings.fleet, &order.id)),
            LaunchAs::Extra => Some(extra_name(&settings.fleet, &order.id)),
            LaunchAs::Spare => {
                body["Labels"][SPARE] = "true".into();
                self.has_spares.set(true);
                let spare = &order.id.replica;
                Some(spare_name(&settings.fleet, spare, balancer_name()))
            }
        };
        if let Some(name) = name {
            let created = self.engine.create(&name, &body).await;
            let created = created.map_err(|error| self.engine.explain(error))?;
            return Ok(Creation::Ours(created));
        }
        let name = container_name(&settings.fleet, &order.id.replica);
        let mut attempts = 0;
        loop {
            match self.engine.create(&name, &body).await {
                Ok(created) => return Ok(Creation::Ours(created)),
                Err(error) if is_conflict(&error) && attempts < ATTEMPTS => {
                    if attempts > 0 {
                        sleep(ATTEMPT_PAUSE).await;
                    }
                    attempts += 1;
                    let wait_for_start = attempts < ATTEMPTS_FOR_STARTING;
                    if let Resolution::TakenOver(running) = self
                        .resolve_name_conflict(&name, order, wait_for_start)
                        .await?
                    {
                        return Ok(Creation::Theirs(running));
                    }
                }
                Err(error) => return Err(self.engine.explain(error)),
            }
        }
    }

    /// Starts the container and returns its address.
    async fn start(
        &self,
        container: &str,
        specification: &Specification,
    ) -> Result<SocketAddr, RuntimeError> {
        let Specification {
            settings, image, ..
        } = specification;
        let engine = &self.engine;
        let options = None::<StartContainerOptions>;
        let started = engine.docker.start_container(container, options).await;
        started.map_err(|e| engine.explain(e))?;
        let found = engine.inspect(container).await;
        let found = found.map_err(|e| engine.explain(e))?;
        if !is_running(&found) {
            let exit = read_state(found.state.unwrap_or_default());
            return Err(self.ended_at_once(container, specification, &exit).await);
        }
        let networks = found.network_settings.and_then(|all| all.networks);
        let network = &settings.network;
        let ip = networks.as_ref().and_then(|all| address(all.get(network)?));
        let lacking = || RuntimeError(format!("it has no address in network {network}"));
        let ip = ip.ok_or_else(lacking)?;
        Ok(SocketAddr::new(ip, port(settings, image)))
    }

    /// The error for a container that ended at once.
    async fn ended_at_once(
        &self,
        container: &str,
        specification: &Specification,
        exit: &Exit,
    ) -> RuntimeError {
        let lines = self.log_tail(container).await;
        let restricted = specification.settings.security == Security::Restricted;
        let hint = death_hint(exit, &lines, restricted);
        RuntimeError(with_output(&format!("{exit} at once"), &lines, hint))
    }

    /// Removes the dead containers of this instance's replica, but for the last one.
    pub(super) async fn remove_predecessors(self: Rc<Self>, id: InstanceId) {
        let lock = self.lock(&id.replica);
        let _held = lock.lock().await;
        let (newest, mut others) = self.containers_of(&id.replica).await;
        // A second running one belongs to another balancer, which removes it if need be.
        others.retain(|info| !info.running && !info.starting);
        let outdated = match self.settings.service {
            // The last one of compose's has volumes that the next one gets.
            Some(_) => {
                others.retain(|info| self.role(info) == ContainerRole::StandIn);
                others
            }
            None => outdated(others, &newest),
        };
        for info in outdated {
            if info.order.id != id {
                self.remove_leftover(&info).await;
            }
        }
    }

    /// Removes every container of a replica that does not run.
    pub(super) async fn remove_dead(&self, replica: &ReplicaName) {
        let (newest, others) = self.containers_of(replica).await;
        for info in newest.into_iter().chain(others) {
            if !info.running && !info.starting {
                self.remove_leftover(&info).await;
            }
        }
    }

    /// The newest container of a replica, if it has any, and its others.
    async fn containers_of(
        &self,
        replica: &ReplicaName,
    ) -> (Vec<ContainerInfo>, Vec<ContainerInfo>) {
        let labels = [
            (FLEET, self.settings.fleet.as_str()),
            (REPLICA, replica.as_str()),
        ];
        // If the list fails, they stay until the next death.
        let mut listed = self.list(&labels).await.unwrap_or_default();
        let others = [ContainerRole::Leaving, ContainerRole::Spare];
        listed.retain(|info| !others.contains(&self.role(info)));
        newest_of_each(listed)
    }
}
