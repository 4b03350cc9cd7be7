//! Rollouts of a service's containers. Those that start beside others are called `-next-` and have the
//! number of their replica in compose's labels, so that they need the plain name alone to be compose's
//! own.
//!
//! Compose's next free number would leave the replicas with other numbers than names after each
//! rollout. The price is `docker compose up` with another file than that of the rollout in the seconds
//! in which two containers have one number: compose cannot give the second one its name, and says so;
//! what it leaves is removed here. With the file of the rollout it removes the newcomer and recreates
//! what is not up to date.

use std::rc::Rc;

use log::{debug, info, warn};
use serde_json::{Value, json};

use super::super::container::ContainerInfo;
use super::super::description::describe;
use super::super::labels::{COMPOSE_CONFIG_HASH, DEFINITION};
use super::super::launch::{Creation, Specification};
use super::super::names::{container_name, next_name};
use super::super::{DockerFleet, DockerSettings, anonymous_volumes};
use crate::ring::ReplicaName;
use crate::runtime::{InstanceId, LaunchOrder, RuntimeError};

/// The digits of a container's id before the name of the one that compose makes in its place.
const SHORT_ID_LENGTH: usize = 12;

impl DockerFleet {
    /// Creates a container of another definition beside the one that has the name.
    pub(super) async fn create_beside(
        self: &Rc<Self>,
        name: &str,
        specification: &Specification,
        order: &LaunchOrder,
    ) -> Result<Creation, RuntimeError> {
        if let Ok(found) = self.engine.inspect_json(name).await {
            self.remember(&order.id.replica, &found).await;
        }
        let settings = self.settings_by_definition(specification, order).await;
        let body = self.describe_in_service(&settings, specification, order)?;
        let name = next_name(self.prefix(), &order.id);
        let created = self.engine.create(&name, &body).await;
        let created = created.map_err(|error| self.engine.explain(error))?;
        let mut known = self.known_service.borrow_mut();
        known.beside.insert(created.clone());
        Ok(Creation::Like(created, Box::new(settings)))
    }

    /// The settings of a replica's next container: like its last one, if that had this definition. The first
    /// one of a replica is like the newest of the others.
    pub(super) async fn settings_of(
        &self,
        specification: &Specification,
        order: &LaunchOrder,
    ) -> DockerSettings {
        let is_first = {
            let known = self.known_service.borrow();
            !known.templates.contains_key(&order.id.replica)
        };
        if is_first {
            return self.settings_like_newest(specification);
        }
        let last = {
            let known = self.known_service.borrow();
            let replica = &order.id.replica;
            let definition = known.definitions.get(replica);
            let is_same = definition.is_none_or(|hash| *hash == specification.definition);
            let last = known.templates.get(replica).filter(|_| is_same);
            last.map(|last| last.template.clone())
        };
        let Some(last) = last else {
            return self.settings_by_definition(specification, order).await;
        };
        let image = last.body["Image"].as_str();
        DockerSettings {
            image: image.unwrap_or(&specification.settings.image).to_owned(),
            like: Some(last),
            ..specification.settings.clone()
        }
    }

    /// The settings of a definition, with the volumes without a name of the replica's last container.
    async fn settings_by_definition(
        &self,
        specification: &Specification,
        order: &LaunchOrder,
    ) -> DockerSettings {
        let mut settings = specification.settings.clone();
        let mounts = {
            let known = self.known_service.borrow();
            let last = known.templates.get(&order.id.replica);
            last.map(|last| last.mounts.clone())
        };
        if let (Some(like), Some(mounts)) = (&mut settings.like, mounts) {
            let image = self.engine.image_json(&settings.image).await;
            let volumes = &image.unwrap_or_default()["Config"]["Volumes"];
            anonymous_volumes::inherit(&mut like.body, &mounts, volumes);
        }
        settings
    }

    pub(super) fn describe_in_service(
        &self,
        settings: &DockerSettings,
        specification: &Specification,
        order: &LaunchOrder,
    ) -> Result<Value, RuntimeError> {
        let mut body = describe(settings, order, &specification.image)?;
        body["Labels"][DEFINITION] = json!(specification.definition);
        Ok(body)
    }

    /// A container plays its replica from now on: what heals it is made like it.
    pub(in super::super) async fn took_place(&self, info: &ContainerInfo) {
        let replica = &info.order.id.replica;
        if let Ok(found) = self.engine.inspect_json(&info.container).await {
            self.remember(replica, &found).await;
        }
        let mut known = self.known_service.borrow_mut();
        let began_beside = known.beside.remove(&info.container);
        if let Some(definition) = info.definition.as_ref().filter(|_| began_beside) {
            known
                .definitions
                .insert(replica.clone(), definition.clone());
        }
    }

    /// A container has been started in a replica's place.
    pub(in super::super) fn started_in_service(&self, id: &InstanceId, definition: &str) {
        let mut known = self.known_service.borrow_mut();
        known.launched(&id.replica);
        // Of a replica whose container has no definition but compose's the next has none either.
        if let Some(hash) = known.definitions.get_mut(&id.replica) {
            definition.clone_into(hash);
        }
    }

    /// Removes a container that does not have its replica's name, and what compose has made in its place
    /// and could not name.
    pub(super) async fn remove_other(&self, info: &ContainerInfo) -> Result<(), RuntimeError> {
        {
            let mut known = self.known_service.borrow_mut();
            known.beside.remove(&info.container);
            known.stops.remove(&info.container);
        }
        // Its volumes without a name are those of the one beside it.
        self.engine.remove_with(&info.container, false).await?;
        let id = info.container.get(..SHORT_ID_LENGTH).unwrap_or_default();
        let name = container_name(self.prefix(), &info.order.id.replica);
        let leftover = format!("{id}_{name}");
        if self.engine.inspect(&leftover).await.is_ok() {
            warn!("docker: removing {leftover}, which docker compose has left behind");
            self.engine.remove_with(&leftover, false).await?;
        }
        Ok(())
    }

    /// Tells how what compose has just done with a replica is done without a gap.
    pub(super) fn advise(&self, replica: &ReplicaName, found: &Value) {
        /// Compose recreates all containers of a service at once.
        const PAUSE: std::time::Duration = std::time::Duration::from_secs(60);

        let Some(service) = &self.settings.service else {
            return;
        };
        let hash_of = |labels: &Value| labels[COMPOSE_CONFIG_HASH].as_str().map(str::to_owned);
        let mut known = self.known_service.borrow_mut();
        let before = known.templates.get(replica);
        let before = before.and_then(|last| hash_of(&last.template.body["Labels"]));
        let after = hash_of(&found["Config"]["Labels"]);
        let is_told = known.advised.is_some_and(|at| at.elapsed() < PAUSE);
        if before.is_none() || before == after || known.is_rolling || is_told {
            return;
        }
        known.advised = Some(std::time::Instant::now());
        let line = super::define::command_line(&service.name);
        info!(
            "docker: docker compose has recreated containers of {} with another definition, all at once; \
             without a gap: {line}",
            service.name
        );
    }

    /// A rollout has begun, or has ended.
    pub(in super::super) fn note_rollout(&self, under_way: bool) {
        debug!("docker: a rollout is under way: {under_way}");
        let mut known = self.known_service.borrow_mut();
        known.is_rolling = under_way;
        known.interfered = None;
    }
}
