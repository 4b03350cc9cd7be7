//! Starts a replica of a service, after compose has had the time to start it itself.

use std::rc::Rc;
use std::time::{Duration, Instant};

use log::info;
use serde_json::Value;
use tokio::time::sleep;

use super::super::container::ContainerInfo;
use super::super::engine::{is_conflict, is_missing};
use super::super::launch::{
    ATTEMPT_PAUSE, ATTEMPTS, ATTEMPTS_FOR_STARTING, Creation, Specification, has_plain_name,
};
use super::super::names::{ContainerRole, container_name};
use super::super::{ComposeService, DockerFleet};
use super::{OWNER_ABSENCE, OWNER_PAUSE};
use crate::runtime::docker::events::send;
use crate::runtime::{Event, InstanceEvent, LaunchAs, LaunchOrder, Launched, RuntimeError};

/// How long after a replica was given up the fleet may try once more to start it.
const RETRY_WINDOW: Duration = Duration::from_secs(1);

/// What has a replica's name before its next container.
enum Predecessor {
    /// A running container: it is the replica's instance.
    Runs(Launched),
    /// One that has ended, or is to: it hangs, or cannot be reached.
    Ended(Value),
    /// Nothing, and nothing is awaited.
    None,
}

impl DockerFleet {
    /// Creates the next container of a replica, with the configuration of the last unless a rollout
    /// brings another.
    pub(in super::super) async fn create_in_service(
        self: &Rc<Self>,
        service: &ComposeService,
        specification: &Specification,
        order: &LaunchOrder,
    ) -> Result<Creation, RuntimeError> {
        if specification.launched_as == LaunchAs::Spare {
            return self.create_spare(specification, order).await;
        }
        let replica = &order.id.replica;
        if service.number(replica).is_none() {
            let name = &service.name;
            return Err(RuntimeError(format!(
                "compose calls the replicas of this service {name}-1, {name}-2 and so on"
            )));
        }
        let name = container_name(self.prefix(), replica);
        if !has_plain_name(specification.launched_as) {
            return self.create_beside(&name, specification, order).await;
        }
        for _ in 0..ATTEMPTS {
            match self.predecessor(&name, order).await? {
                Predecessor::Runs(launched) => return Ok(Creation::Theirs(launched)),
                Predecessor::Ended(found) => self.clear_away(&found, order).await?,
                Predecessor::None => {}
            }
            let settings = self.settings_of(specification, order).await;
            let body = self.describe_in_service(&settings, specification, order)?;
            match self.engine.create(&name, &body).await {
                Ok(created) => return Ok(Creation::Like(created, Box::new(settings))),
                // Compose was quicker, or the name is not free yet.
                Err(error) if is_conflict(&error) => sleep(ATTEMPT_PAUSE).await,
                Err(error) => return Err(self.engine.explain(error)),
            }
        }
        Err(RuntimeError(format!("the container name {name} is taken")))
    }

    /// The container that has a replica's name, after compose had the time to replace one that was
    /// stopped or destroyed.
    async fn predecessor(
        &self,
        name: &str,
        order: &LaunchOrder,
    ) -> Result<Predecessor, RuntimeError> {
        let replica = &order.id.replica;
        let (mut ended, mut missing) = (None, None);
        let (mut unstarted, mut unreachable) = (0, 0);
        loop {
            if self.containers.borrow().is_cancelled(&order.id) {
                return Err(RuntimeError("stopped while it was starting".to_owned()));
            }
            match self.engine.inspect_json(name).await {
                Ok(found) => {
                    missing = None;
                    let id = found["Id"].as_str().unwrap_or_default();
                    match found["State"]["Status"].as_str() {
                        Some("created") if unstarted < ATTEMPTS_FOR_STARTING => unstarted += 1,
                        Some("removing") => {}
                        // One that compose is about to end is no instance to take over.
                        _ if found["State"]["Running"] == true && self.is_stopped_by_owner(id) => {}
                        _ if found["State"]["Running"] == true => {
                            if let Some(launched) = self.running(id).await? {
                                return Ok(Predecessor::Runs(launched));
                            }
                            unreachable += 1;
                            if unreachable > ATTEMPTS || self.containers.borrow().is_given_up(id) {
                                return Ok(Predecessor::Ended(found));
                            }
                        }
                        _ => {
                            if ended.is_none() {
                                // It may be gone the next time.
                                self.remember(replica, &found).await;
                            }
                            let since = *ended.get_or_insert_with(Instant::now);
                            if !self.is_stopped_by_owner(id) || since.elapsed() > OWNER_PAUSE {
                                return Ok(Predecessor::Ended(found));
                            }
                        }
                    }
                }
                Err(error) if is_missing(&error) => {
                    if self.is_given_up(order) {
                        return Err(self.give_up(order).await);
                    }
                    if self.known_service.borrow().is_free(replica) {
                        return Ok(Predecessor::None);
                    }
                    let since = *missing.get_or_insert_with(Instant::now);
                    if since.elapsed() > OWNER_ABSENCE {
                        info!(
                            "docker: the container of {replica} was removed through the engine, and \
                             there is no new one: one replica less"
                        );
                        return Err(self.give_up(order).await);
                    }
                }
                Err(error) => return Err(self.engine.explain(error)),
            }
            sleep(ATTEMPT_PAUSE).await;
        }
    }

    /// The instance that a running container is, if it has an address and was not given up.
    async fn running(&self, container: &str) -> Result<Option<Launched>, RuntimeError> {
        if self.containers.borrow().is_given_up(container) {
            return Ok(None);
        }
        let listed = self
            .engine
            .list(self.view(), "id", vec![container.to_owned()]);
        let info = listed.await?.into_iter().next();
        let Some(ContainerInfo {
            order,
            endpoint: Some(endpoint),
            ..
        }) = info
        else {
            return Ok(None);
        };
        self.containers.borrow_mut().adopted(container, &order.id);
        Ok(Some(Launched::ordered(order.id, endpoint)))
    }

    /// Whether the replica has just left because its container was destroyed. The fleet may try
    /// again before it hears of that.
    fn is_given_up(&self, order: &LaunchOrder) -> bool {
        let known = self.known_service.borrow();
        let since = known.given_up.get(&order.id.replica);
        since.is_some_and(|at| at.elapsed() < RETRY_WINDOW)
    }

    /// A replica's container was destroyed, and there is no other: the replica leaves.
    async fn give_up(&self, order: &LaunchOrder) -> RuntimeError {
        let replica = &order.id.replica;
        if !self.is_given_up(order) {
            self.known_service.borrow_mut().gave_up(replica);
        }
        if let Some(event_tx) = &*self.event_tx.borrow() {
            let destroyed = Event::Instance(order.id.clone(), InstanceEvent::Destroyed);
            send(event_tx, destroyed);
        }
        // So that the fleet hears of it before the launch has failed.
        sleep(ATTEMPT_PAUSE).await;
        RuntimeError("its container was removed through the engine".to_owned())
    }

    /// Keeps configuration and log of a container that has ended, and removes it: beside its
    /// successor, compose would take it for one of two of its number.
    async fn clear_away(&self, found: &Value, order: &LaunchOrder) -> Result<(), RuntimeError> {
        let container = found["Id"].as_str().unwrap_or_default();
        self.remember(&order.id.replica, found).await;
        self.save_log(container, &order.id).await;
        self.remove_own(container, order, false).await
    }

    /// Ends a container of the service that this balancer has stopped.
    pub(in super::super) async fn remove_from_service(
        &self,
        info: &ContainerInfo,
        is_removal: bool,
    ) -> Result<(), RuntimeError> {
        if self.role(info) != ContainerRole::Current {
            return self.remove_other(info).await;
        }
        if let Ok(found) = self.engine.inspect_json(&info.container).await {
            self.remember(&info.order.id.replica, &found).await;
        }
        self.save_log(&info.container, &info.order.id).await;
        self.remove_own(&info.container, &info.order, is_removal)
            .await?;
        if is_removal {
            let replica = &info.order.id.replica;
            self.known_service.borrow_mut().templates.remove(replica);
        }
        Ok(())
    }

    /// Removes a container so that its name is free for the next; its volumes stay for that unless
    /// the replica is removed.
    async fn remove_own(
        &self,
        container: &str,
        order: &LaunchOrder,
        volumes: bool,
    ) -> Result<(), RuntimeError> {
        let replica = &order.id.replica;
        let known = &self.known_service;
        known.borrow_mut().removes(replica, container);
        self.engine.remove_with(container, volumes).await?;
        self.containers.borrow_mut().removed(container);
        Ok(())
    }
}
