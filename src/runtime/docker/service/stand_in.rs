//! Spares of a service. Compose must not count them, so they have none of its labels, none of the names by
//! which other containers find the service, and no published ports. One that plays a replica is called
//! `<project>-<replica>-spare-<generation>`: the plain name is for the container with compose's labels that
//! relieves it, whether the balancer makes that or `docker compose up` does.

use std::rc::Rc;

use actix::spawn;
use serde_json::{Value, json};

use super::super::container::ContainerInfo;
use super::super::container_table::ContainerId;
use super::super::engine::is_missing;
use super::super::events::send;
use super::super::labels::{COMPOSE_CONFIG_HASH, SPARE, SPARE_CONFIG};
use super::super::launch::{Creation, Specification};
use super::super::names::{ContainerRole, container_name, spare_name, stand_in_name};
use super::super::{DockerFleet, DockerSettings, anonymous_volumes};
use super::LastContainer;
use crate::fleet::ContainerTemplate;
use crate::ring::ReplicaName;
use crate::runtime::{
    Event, InstanceEvent, InstanceId, LaunchOrder, RuntimeError, TakenSpare, balancer_name,
};

impl LastContainer {
    fn config_hash(&self) -> Option<&str> {
        config_hash(&self.template)
    }
}

fn config_hash(template: &ContainerTemplate) -> Option<&str> {
    template.body["Labels"][COMPOSE_CONFIG_HASH].as_str()
}

impl DockerFleet {
    /// Creates a spare like the newest container of the definition, with volumes of its own.
    pub(super) async fn create_spare(
        &self,
        specification: &Specification,
        order: &LaunchOrder,
    ) -> Result<Creation, RuntimeError> {
        let settings = self.settings_like_newest(specification);
        let config = settings.like.as_ref().and_then(config_hash);
        let config = config.unwrap_or_default().to_owned();
        let mut body = self.describe_in_service(&settings, specification, order)?;
        body["Labels"][SPARE] = json!("true");
        body["Labels"][SPARE_CONFIG] = json!(config);
        let name = spare_name(self.prefix(), &order.id.replica, balancer_name());
        let created = self.engine.create(&name, &body).await;
        let created = created.map_err(|error| self.engine.explain(error))?;
        let mut known = self.known_service.borrow_mut();
        // Some have failed to start.
        let containers = self.containers.borrow();
        known.spares.retain(|spare, _| containers.knows(spare));
        known.spares.insert(created.clone(), config);
        Ok(Creation::Like(created, Box::new(settings)))
    }

    /// The settings of a container like the newest that has a definition, with volumes of its own.
    pub(super) fn settings_like_newest(&self, specification: &Specification) -> DockerSettings {
        let mut settings = specification.settings.clone();
        if let Some(newest) = self.newest_template(&specification.definition) {
            let image = newest.body["Image"].as_str().map(str::to_owned);
            settings.image = image.unwrap_or(settings.image);
            settings.like = Some(newest);
        }
        if let Some(like) = &mut settings.like {
            anonymous_volumes::forget(&mut like.body);
        }
        settings
    }

    /// What makes a container like the newest that has a definition.
    fn newest_template(&self, definition: &str) -> Option<ContainerTemplate> {
        let known = self.known_service.borrow();
        let has_it = |replica: &ReplicaName| {
            let hash = known.definitions.get(replica);
            hash.is_none_or(|hash| hash == definition)
        };
        let of_it = known.templates.iter().filter(|(name, _)| has_it(name));
        let newest = of_it.map(|(_, last)| last).max_by_key(|l| &l.created);
        newest.map(|last| last.template.clone())
    }

    /// Has a spare play a replica, if compose is not about to start it by itself.
    pub(in super::super) async fn stand_in(
        self: Rc<Self>,
        container: ContainerId,
        spare: InstanceId,
        order: LaunchOrder,
    ) -> TakenSpare {
        let replica = order.id.replica;
        if !self.may_stand_in(&container, &replica).await {
            return TakenSpare::Refused;
        }
        // Addressed by its name as a spare, as any that is taken.
        let own = spare_name(self.prefix(), &spare.replica, balancer_name());
        let id = InstanceId::new(replica, spare.generation);
        let name = stand_in_name(self.prefix(), &id);
        match self.rename_spare(&own, &name).await {
            Ok(()) => {}
            Err(error) if is_missing(&error) => return TakenSpare::Gone,
            Err(error) => return TakenSpare::Stays(Err(self.engine.explain(error))),
        }
        if !self.containers.borrow_mut().plays(&container, &id) {
            return TakenSpare::Gone;
        }
        let mut known = self.known_service.borrow_mut();
        known.spares.remove(&container);
        let containers = self.containers.borrow();
        known.stand_ins.retain(|id| containers.runs(id));
        known.stand_ins.insert(id.clone());
        drop((known, containers));
        spawn(Rc::clone(&self).remove_predecessors(id.clone()));
        TakenSpare::StandsIn(id)
    }

    /// Whether a replica's container has ended by itself, or this balancer has removed it, and was like
    /// this spare. What was stopped or removed through the engine is its owner's for a while.
    async fn may_stand_in(&self, spare: &str, replica: &ReplicaName) -> bool {
        let name = container_name(self.prefix(), replica);
        let found = self.engine.inspect_json(&name).await;
        let known = self.known_service.borrow();
        let last = known.templates.get(replica);
        let config = match &found {
            Ok(found) => {
                let id = found["Id"].as_str().unwrap_or_default();
                let has_ended =
                    matches!(found["State"]["Status"].as_str(), Some("exited" | "dead"));
                if !has_ended || self.is_stopped_by_owner(id) {
                    return false;
                }
                found["Config"]["Labels"][COMPOSE_CONFIG_HASH].as_str()
            }
            Err(error) if is_missing(error) && known.is_free(replica) => {
                last.and_then(LastContainer::config_hash)
            }
            Err(_) => return false,
        };
        let own = known.spares.get(spare);
        config.is_none_or(|config| own.is_none_or(|own| own == config))
    }

    /// Compose has started a container by the definition with this hash of its own: spares of another one
    /// are no use any more.
    pub(super) fn replace_other_spares(&self, config: Option<&str>) {
        let Some(tx) = &*self.event_tx.borrow() else {
            return;
        };
        let mut known = self.known_service.borrow_mut();
        let others = known
            .spares
            .extract_if(|_, own| Some(own.as_str()) != config);
        for (container, _) in others {
            let spare = self.containers.borrow().instance_of(&container);
            if let Some(spare) = spare {
                send(tx, Event::Instance(spare, InstanceEvent::Destroyed));
            }
        }
    }

    /// Notes a spare that an earlier balancer has left. Returns the hash of its definition, if that is the
    /// present one of the service.
    pub(in super::super) fn adopt_spare_of_service(&self, info: &ContainerInfo) -> Option<String> {
        let mut known = self.known_service.borrow_mut();
        let newest = known.templates.values().max_by_key(|last| &last.created);
        let newest = newest.and_then(LastContainer::config_hash);
        let own = info.config_hash.clone().unwrap_or_default();
        let is_present = newest == Some(&own);
        known.spares.insert(info.container.clone(), own);
        is_present.then(|| self.settings.definition().hash())
    }

    /// Settles what is there of replicas that stand-ins play: those go on, and what else there is of such a
    /// replica is their relief, or made again as that. Returns the containers that play a replica.
    pub(in super::super) async fn settle_stand_ins(
        &self,
        containers: Vec<ContainerInfo>,
    ) -> Vec<ContainerInfo> {
        let (stand_ins, mut others): (Vec<_>, Vec<_>) = containers
            .into_iter()
            .partition(|info| self.role(info) == ContainerRole::StandIn);
        for info in stand_ins {
            if !info.running {
                self.remove_leftover(&info).await;
                continue;
            }
            let id = &info.order.id;
            self.known_service.borrow_mut().stand_ins.insert(id.clone());
            others.retain(|other| other.order.id.replica != id.replica);
            others.push(info);
        }
        others
    }

    /// Whether an instance is a stand-in, or was.
    pub(in super::super) fn is_stand_in(&self, id: &InstanceId) -> bool {
        self.known_service.borrow().stand_ins.contains(id)
    }

    /// Ends a container that has none of compose's labels; its log is kept if it has died.
    pub(in super::super) async fn remove_spare(
        &self,
        info: &ContainerInfo,
        has_died: bool,
    ) -> Result<(), RuntimeError> {
        let id = &info.order.id;
        if has_died && self.is_stand_in(id) {
            self.save_log(&info.container, id).await;
        }
        {
            let mut known = self.known_service.borrow_mut();
            known.spares.remove(&info.container);
            known.stand_ins.remove(id);
        }
        self.engine.remove(&info.container).await
    }
}

/// When a container was created, as the engine says it.
pub(super) fn created(found: &Value) -> String {
    found["Created"].as_str().unwrap_or_default().to_owned()
}
