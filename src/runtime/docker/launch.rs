//! Starting one container.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::spawn;
use bollard::query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions};
use log::warn;
use tokio::time::sleep;

use crate::fleet::death_hint;
use crate::ring::ReplicaName;
use crate::runtime::docker::book::{ContainerId, read_exit};
use crate::runtime::docker::container::{FLEET, REPLICA, Record, address, describe, port};
use crate::runtime::docker::engine::is_conflict;
use crate::runtime::docker::holder::{Holder, is_running};
use crate::runtime::docker::inventory::{newest_of_each, outdated};
use crate::runtime::docker::names::{Role, container_name};
use crate::runtime::docker::{Inner, Security};
use crate::runtime::{Exit, InstanceId, LaunchOrder, Running, RuntimeError, with_output};

/// How often a name that is in the way is dealt with before giving up, and the pause
/// between: the engine may be in the middle of removing its holder, or another balancer of
/// starting it.
const ATTEMPTS: u32 = 100;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);

/// So often a holder that was created and does not start is waited for: longer than an
/// engine takes to start one, and whoever created it may be no more.
const ATTEMPTS_FOR_STARTING: u32 = 60;

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

/// What has a replica's name after a launch has asked for it.
enum Creation {
    Ours(ContainerId),
    /// Another balancer's instance.
    Theirs(Running),
}

impl Inner {
    pub(super) async fn launch(
        self: Rc<Self>,
        order: LaunchOrder,
    ) -> Result<Running, RuntimeError> {
        let launch = Launch::open(&self, &order.id)?;
        let networks_made = self.networks_made.get();
        let mut launched = self.try_launch(&launch, &order).await;
        if launched.is_err() && launch.check_wanted().is_ok() {
            match self.ensure_network().await {
                // Somebody had removed it; it was made again here, or by another launch.
                Ok(()) if self.networks_made.get() > networks_made => {
                    launched = self.try_launch(&launch, &order).await;
                }
                // It was not that: the first error stands.
                Ok(()) => {}
                Err(error) => log::debug!("docker: no network: {error}"),
            }
        }
        let running = launched?;
        // Not waited for: a removal takes as long as a sixth of a launch.
        spawn(Rc::clone(&self).clear_others(running.id.clone()));
        Ok(running)
    }

    async fn try_launch(
        self: &Rc<Self>,
        launch: &Launch,
        order: &LaunchOrder,
    ) -> Result<Running, RuntimeError> {
        let container = match self.create(order).await? {
            Creation::Ours(container) => container,
            Creation::Theirs(running) => return Ok(running),
        };
        self.book.borrow_mut().created(&container, &order.id);
        let started = async {
            launch.check_wanted()?;
            let endpoint = self.start(&container).await?;
            launch.check_wanted()?;
            let started = self.book.borrow_mut().started(&container);
            match started {
                Ok(()) => Ok(endpoint),
                Err(exit) => Err(self.ended_at_once(&container, &exit).await),
            }
        };
        match started.await {
            Ok(endpoint) => Ok(Running {
                id: order.id.clone(),
                endpoint,
            }),
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
    async fn create(self: &Rc<Self>, order: &LaunchOrder) -> Result<Creation, RuntimeError> {
        let name = container_name(&self.settings.fleet, &order.id.replica);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = describe(&self.settings, order, &self.image.borrow());
        let mut attempts = 0;
        loop {
            let options = Some(options.clone());
            let created = self.engine.docker.create_container(options, body.clone());
            match created.await {
                Ok(created) => return Ok(Creation::Ours(created.id)),
                Err(error) if is_conflict(&error) && attempts < ATTEMPTS => {
                    if attempts > 0 {
                        sleep(ATTEMPT_PAUSE).await;
                    }
                    attempts += 1;
                    let patient = attempts < ATTEMPTS_FOR_STARTING;
                    if let Holder::Stays(running) = self.make_way(&name, order, patient).await? {
                        return Ok(Creation::Theirs(running));
                    }
                }
                Err(error) => return Err(self.engine.explain(error)),
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
            return Err(self.ended_at_once(container, &exit).await);
        }
        let networks = found.network_settings.and_then(|all| all.networks);
        let ip = networks
            .as_ref()
            .and_then(|all| address(all.get(&settings.network)?));
        let network = &settings.network;
        let ip =
            ip.ok_or_else(|| RuntimeError(format!("it has no address in network {network}")))?;
        Ok(SocketAddr::new(ip, port(settings, &self.image.borrow())))
    }

    /// Why a container that has ended at its start did so.
    async fn ended_at_once(&self, container: &str, exit: &Exit) -> RuntimeError {
        let lines = self.last_lines(container).await;
        let restricted = self.settings.security == Security::Restricted;
        let hint = death_hint(exit, &lines, restricted);
        RuntimeError(with_output(&format!("{exit} at once"), &lines, hint))
    }

    /// Removes what is dead of a replica that this instance plays, but for the last that died.
    pub(super) async fn clear_others(self: Rc<Self>, id: InstanceId) {
        let lock = self.lock(&id.replica);
        let _held = lock.lock().await;
        let (newest, mut others) = self.containers_of(&id.replica).await;
        // Another that runs is another balancer's, which knows more.
        others.retain(|record| !record.running);
        for record in outdated(others, &newest) {
            if record.order.id != id {
                self.clear_away(&record).await;
            }
        }
    }

    /// Removes every container of a replica that does not run.
    pub(super) async fn clear_dead(&self, replica: &ReplicaName) {
        let (newest, others) = self.containers_of(replica).await;
        for record in newest.into_iter().chain(others) {
            if !record.running && !record.starting {
                self.clear_away(&record).await;
            }
        }
    }

    /// The newest container of a replica, if it has any, and its others.
    async fn containers_of(&self, replica: &ReplicaName) -> (Vec<Record>, Vec<Record>) {
        let labels = [
            (FLEET, self.settings.fleet.as_str()),
            (REPLICA, replica.as_str()),
        ];
        // What is not listed stays until the next death.
        let mut listed = self.list(&labels).await.unwrap_or_default();
        listed.retain(|record| self.role(record) != Role::Leaving);
        newest_of_each(listed)
    }
}
