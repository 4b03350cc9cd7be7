//! The start: checks that this is a manager of a Swarm, and takes over what an earlier balancer left.

use std::rc::Rc;

use log::{info, warn};

use super::SwarmFleet;
use super::api::ObjectKind;
use super::placement_rule::address_of;
use super::service::{ServiceInfo, ServiceRole};
use super::service_spec::set_role;
use super::task::TaskInfo;
use crate::runtime::docker::Security;
use crate::runtime::{Existing, RuntimeError};

impl SwarmFleet {
    /// `follows`: another balancer carries a rollout out.
    pub(super) async fn prepare(
        self: Rc<Self>,
        follows: bool,
    ) -> Result<Vec<Existing>, RuntimeError> {
        self.api.check_manager().await?;
        let image = &self.settings.containers.image;
        match self.image_facts(image).await {
            Ok(facts) => drop(self.image.replace(Some(facts))),
            // Services that run do not need it here.
            Err(error) => match self.api.services(self.name(), None).await {
                Ok(services) if !services.is_empty() => warn!(
                    "swarm: {error}; what runs serves on, and none can be started of that image"
                ),
                _ => return Err(error),
            },
        }
        self.registry_auth(image).await;
        self.ensure_network().await?;
        self.check_other_networks(&self.settings.containers).await?;
        self.presence.appear(&self.api).await?;
        let nodes = self.api.get("/nodes").await?;
        self.note_nodes(nodes.as_array().map(Vec::as_slice).unwrap_or_default());
        actix::spawn(Rc::clone(&self).restore_abandoned_nodes(nodes));
        match follows {
            true => {
                let mut services = self.api.services(self.name(), None).await?;
                services.retain(|service| service.role == ServiceRole::Current);
                self.existing_of(services).await
            }
            false => self.settle().await,
        }
    }

    /// Brings what another balancer has left of a rollout to one service a replica, and lists what runs.
    pub(super) async fn settle(self: Rc<Self>) -> Result<Vec<Existing>, RuntimeError> {
        let services = self.api.services(self.name(), None).await?;
        let services = self.settle_rollout(services).await;
        self.existing_of(services).await
    }

    async fn existing_of(&self, services: Vec<ServiceInfo>) -> Result<Vec<Existing>, RuntimeError> {
        let tasks = self.api.tasks(self.name(), self.network()).await?;
        let leaves = |service: &ServiceInfo| service.role == ServiceRole::Leaving;
        let services = services.into_iter().filter(|service| !leaves(service));
        Ok(services.map(|s| self.existing(s, &tasks)).collect())
    }

    /// Notes what nodes are called, and where they are.
    pub(super) fn note_nodes(&self, nodes: &[serde_json::Value]) {
        let names = nodes.iter().filter_map(|node| {
            let (id, name) = (
                node["ID"].as_str()?,
                node["Description"]["Hostname"].as_str()?,
            );
            Some((id.to_owned(), name.to_owned()))
        });
        self.node_names.borrow_mut().extend(names);
        let addresses = nodes
            .iter()
            .filter_map(|node| Some((node["ID"].as_str()?.to_owned(), address_of(node)?)));
        self.node_addresses.borrow_mut().extend(addresses);
    }

    pub(super) fn is_restricted(&self) -> bool {
        self.settings.containers.security == Security::Restricted
    }

    /// What there is of one instance.
    fn existing(&self, service: ServiceInfo, tasks: &[TaskInfo]) -> Existing {
        let mut own = tasks.iter().filter(|task| task.service == service.id);
        let live = own.find(|task| task.is_live() && task.endpoint.is_some());
        if let Some(task) = live {
            self.instances.borrow_mut().runs(task);
        }
        Existing {
            endpoint: live.and_then(|task| task.endpoint),
            order: service.order,
            definition: service.definition,
        }
    }

    /// Ends what a balancer left that died during a rollout: a successor that nothing waits for goes,
    /// one whose replica has no other instance plays it, and what has been replaced is removed. What
    /// belongs to replicas that were being removed goes, too.
    async fn settle_rollout(&self, services: Vec<ServiceInfo>) -> Vec<ServiceInfo> {
        let mut kept = Vec::new();
        let plays = |service: &ServiceInfo| {
            services.iter().any(|other| {
                other.role == ServiceRole::Current
                    && other.order.id.replica == service.order.id.replica
            })
        };
        for service in &services {
            let name = &service.name;
            let settled = match service.role {
                ServiceRole::Current => Ok(true),
                ServiceRole::Next if !plays(service) => {
                    let current = |spec: &mut _| set_role(spec, ServiceRole::Current);
                    self.api.change_service(name, current).await.map(|()| true)
                }
                _ => self
                    .api
                    .remove(ObjectKind::Service, name)
                    .await
                    .map(|()| false),
            };
            match settled {
                Ok(true) => kept.push(service.clone()),
                Ok(false) => info!("swarm: {name} was left behind, and is removed"),
                Err(error) => warn!("swarm: cannot settle {name}: {error}"),
            }
        }
        kept
    }
}
