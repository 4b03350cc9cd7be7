//! Starting and stopping one container.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::spawn;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as Status};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RenameContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder,
};
use log::{debug, warn};
use tokio::time::sleep;

use crate::runtime::docker::Inner;
use crate::runtime::docker::book::{ContainerId, read_exit};
use crate::runtime::docker::container::{
    FLEET, GENERATION, REPLICA, address, container_name, dead_name, describe, port, read_instance,
};
use crate::runtime::docker::engine::{is_conflict, is_missing};
use crate::runtime::{InstanceId, LaunchOrder, RuntimeError};

/// How often a name that is in the way is dealt with before giving up, and the pause
/// between: the engine may be in the middle of removing its holder.
const ATTEMPTS: u32 = 100;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);

/// What the engine may take on top of the grace to answer a stop.
const STOP_MARGIN: Duration = Duration::from_secs(60);

/// Keeps a launch open in the book; closes it however the launch ends.
struct Launch {
    inner: Rc<Inner>,
    id: InstanceId,
}

impl Launch {
    fn open(inner: &Rc<Inner>, id: &InstanceId) -> Result<Self, RuntimeError> {
        if !inner.book.borrow_mut().open_launch(id) {
            return Err(RuntimeError(format!("{id} is being started already")));
        }
        Ok(Self {
            inner: Rc::clone(inner),
            id: id.clone(),
        })
    }

    fn check_wanted(&self) -> Result<(), RuntimeError> {
        if self.inner.book.borrow().is_cancelled(&self.id) {
            return Err(RuntimeError("stopped while it was starting".to_owned()));
        }
        Ok(())
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        self.inner.book.borrow_mut().close_launch(&self.id);
        self.inner.launch_over.notify_waiters();
    }
}

impl Inner {
    pub(super) async fn launch(
        self: Rc<Self>,
        order: LaunchOrder,
    ) -> Result<SocketAddr, RuntimeError> {
        let launch = Launch::open(&self, &order.id)?;
        let container = self.create(&order).await?;
        self.book.borrow_mut().created(&container, &order.id);
        let started = async {
            launch.check_wanted()?;
            let endpoint = self.start(&container).await?;
            launch.check_wanted()?;
            let ended = |exit| RuntimeError(format!("{exit} at once"));
            self.book.borrow_mut().started(&container).map_err(ended)?;
            Ok(endpoint)
        };
        match started.await {
            Ok(endpoint) => {
                // Not waited for: a removal takes as long as a sixth of a launch.
                spawn(Rc::clone(&self).clear_older(order.id));
                Ok(endpoint)
            }
            Err(error) => {
                self.book.borrow_mut().forget(&container);
                if let Err(error) = self.engine.remove(&container).await {
                    warn!("docker: a failed {} is left behind: {error}", order.id);
                }
                Err(error)
            }
        }
    }

    /// Creates the container, moving a dead predecessor out of its name.
    async fn create(&self, order: &LaunchOrder) -> Result<ContainerId, RuntimeError> {
        let name = container_name(&self.settings.fleet, &order.id.replica);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = describe(&self.settings, order, &self.image.borrow());
        let mut attempts = 0;
        loop {
            let options = Some(options.clone());
            let created = self.engine.docker.create_container(options, body.clone());
            match created.await {
                Ok(created) => return Ok(created.id),
                Err(error) if is_conflict(&error) && attempts < ATTEMPTS => {
                    if attempts > 0 {
                        sleep(ATTEMPT_PAUSE).await;
                    }
                    attempts += 1;
                    self.make_way(&name, order).await?;
                }
                Err(error) => return Err(self.engine.explain(error)),
            }
        }
    }

    /// Deals with whoever holds the name. Afterwards it is worth another try.
    async fn make_way(&self, name: &str, order: &LaunchOrder) -> Result<(), RuntimeError> {
        let lock = self.lock(&order.id.replica);
        let _held = lock.lock().await;
        let holder = match self.engine.inspect(name).await {
            Ok(holder) => holder,
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(self.engine.explain(error)),
        };
        let running = is_running(&holder);
        if holder.state.as_ref().and_then(|state| state.status) == Some(Status::REMOVING) {
            return Ok(());
        }
        let labels = holder.config.and_then(|config| config.labels);
        let labels = labels.unwrap_or_default();
        let fleet = &self.settings.fleet;
        let instance = read_instance(&labels).filter(|instance| {
            labels.get(FLEET) == Some(fleet) && instance.replica == order.id.replica
        });
        let (Some(instance), Some(container)) = (instance, holder.id) else {
            return Err(RuntimeError(format!(
                "the container name {name} is taken by a container that is not of fleet {fleet}"
            )));
        };
        if running && instance.generation >= order.id.generation {
            return Err(RuntimeError(format!(
                "container {name} runs as {instance}; does another balancer serve fleet {fleet}?"
            )));
        }
        self.book.borrow_mut().forget(&container);
        if running {
            // Given up by whoever ordered a newer one, so nobody is served by it any more.
            warn!("docker: {instance} still runs; its successor takes over");
            self.engine.remove(&container).await
        } else {
            self.put_aside(&container, &instance).await
        }
    }

    /// Renames a dead container, or removes it if even that name is taken.
    async fn put_aside(&self, container: &str, instance: &InstanceId) -> Result<(), RuntimeError> {
        let aside = dead_name(&self.settings.fleet, &instance.replica, instance.generation);
        let options = RenameContainerOptionsBuilder::default()
            .name(&aside)
            .build();
        match self
            .engine
            .docker
            .rename_container(container, options)
            .await
        {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => {
                debug!("docker: cannot put {instance} aside: {error}");
                self.engine.remove(container).await
            }
        }
    }

    /// Starts the container and finds out where it is.
    async fn start(&self, container: &str) -> Result<SocketAddr, RuntimeError> {
        let Self {
            engine, settings, ..
        } = self;
        let options = None::<StartContainerOptions>;
        let started = engine.docker.start_container(container, options).await;
        started.map_err(|e| engine.explain(e))?;
        let found = engine
            .inspect(container)
            .await
            .map_err(|e| engine.explain(e))?;
        if !is_running(&found) {
            let state = found.state.unwrap_or_default();
            let exit = read_exit(state.exit_code, state.oom_killed == Some(true));
            return Err(RuntimeError(format!("{exit} at once")));
        }
        let networks = found.network_settings.and_then(|all| all.networks);
        let ip = networks
            .as_ref()
            .and_then(|all| address(all.get(&settings.network)?));
        let network = &settings.network;
        let ip =
            ip.ok_or_else(|| RuntimeError(format!("it has no address in network {network}")))?;
        Ok(SocketAddr::new(ip, port(settings)))
    }

    /// Removes the dead predecessors of a running instance.
    async fn clear_older(self: Rc<Self>, id: InstanceId) {
        let lock = self.lock(&id.replica);
        let _held = lock.lock().await;
        let labels = [
            (FLEET, self.settings.fleet.as_str()),
            (REPLICA, id.replica.as_str()),
        ];
        let listed = self.engine.list(&self.settings.network, &labels).await;
        for record in listed.unwrap_or_default() {
            if record.order.id.generation < id.generation && !record.running {
                self.clear_away(&record).await;
            }
        }
    }

    pub(super) async fn stop(
        self: Rc<Self>,
        id: InstanceId,
        grace: Duration,
    ) -> Result<(), RuntimeError> {
        loop {
            // Listens before it looks, so that no ring is missed in between.
            let over = self.launch_over.notified();
            if !self.book.borrow().is_launching(&id) {
                break;
            }
            over.await;
        }
        let lock = self.lock(&id.replica);
        let _held = lock.lock().await;
        let generation = id.generation.to_string();
        // By its labels and not by its name: that may be a successor's by now.
        let labels = [
            (FLEET, self.settings.fleet.as_str()),
            (REPLICA, id.replica.as_str()),
            (GENERATION, generation.as_str()),
        ];
        let listed = self.engine.list(&self.settings.network, &labels).await?;
        for record in listed {
            self.book.borrow_mut().forget(&record.container);
            if record.running {
                self.end(&record.container, grace).await?;
            }
            self.engine.remove(&record.container).await?;
        }
        Ok(())
    }

    /// SIGTERM (or what the image asks for), grace, SIGKILL.
    async fn end(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        let docker = &self.engine.docker;
        let ended = if grace.is_zero() {
            let options = KillContainerOptionsBuilder::default()
                .signal("SIGKILL")
                .build();
            docker.kill_container(container, Some(options)).await
        } else {
            // The engine counts in whole seconds.
            let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
            let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
            let options = StopContainerOptionsBuilder::default().t(seconds).build();
            let patient = docker
                .clone()
                .with_timeout(grace.saturating_add(STOP_MARGIN));
            patient.stop_container(container, Some(options)).await
        };
        match ended {
            // It has ended by itself meanwhile.
            Err(error) if is_missing(&error) || is_conflict(&error) => Ok(()),
            ended => ended.map_err(|e| self.engine.explain(e)),
        }
    }
}

fn is_running(container: &ContainerInspectResponse) -> bool {
    container.state.as_ref().and_then(|state| state.running) == Some(true)
}
