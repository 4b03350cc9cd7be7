//! The start: checks that this is a manager of a Swarm, and takes over what an earlier balancer left.

use std::rc::Rc;

use log::{debug, info, warn};

use super::SwarmFleet;
use super::api::ObjectKind;
use super::service::{ServiceInfo, ServiceRole};
use super::service_spec::set_role;
use super::task::TaskInfo;
use crate::runtime::docker::{ImageFacts, PullPolicy, Security};
use crate::runtime::{Existing, RuntimeError};

impl SwarmFleet {
    pub(super) async fn prepare(self: Rc<Self>) -> Result<Vec<Existing>, RuntimeError> {
        self.api.check_manager().await?;
        let facts = self.image_facts(&self.settings.containers.image).await?;
        *self.image.borrow_mut() = facts;
        self.ensure_network().await?;
        self.presence.appear(&self.api).await?;
        let nodes = self.api.get("/nodes").await?;
        self.note_node_names(nodes.as_array().map(Vec::as_slice).unwrap_or_default());
        let services = self.api.services(self.name(), None).await?;
        let tasks = self.api.tasks(self.name(), self.network()).await?;
        let services = self.settle_rollout(services).await;
        let found: Vec<_> = services
            .into_iter()
            .filter(|service| service.role != ServiceRole::Leaving)
            .map(|service| self.existing(service, &tasks))
            .collect();
        self.find_outdated(&found);
        Ok(found)
    }

    /// What the image says of its containers. With `--pull never` the nodes may have what this one
    /// has not: then its user and port are not known here, and stay the image's.
    pub(super) async fn image_facts(&self, image: &str) -> Result<ImageFacts, RuntimeError> {
        // What a stack runs is for the nodes to fetch, with credentials that are not known here.
        let pull = match self.settings.from_stack {
            true => PullPolicy::Never,
            false => self.settings.containers.pull,
        };
        let found = self.api.engine().ensure_image(image, pull).await;
        match found {
            Err(error) if pull == PullPolicy::Never => {
                debug!("swarm: {error}");
                Ok(ImageFacts::unknown())
            }
            found => found,
        }
    }

    /// Notes what nodes are called.
    pub(super) fn note_node_names(&self, nodes: &[serde_json::Value]) {
        let names = nodes.iter().filter_map(|node| {
            let (id, name) = (
                node["ID"].as_str()?,
                node["Description"]["Hostname"].as_str()?,
            );
            Some((id.to_owned(), name.to_owned()))
        });
        self.node_names.borrow_mut().extend(names);
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

    /// Remembers and logs which running instances were started by another definition. A rollout would
    /// replace them.
    fn find_outdated(&self, found: &[Existing]) {
        let present = self.settings.containers.definition().hash();
        let is_other = |existing: &&Existing| {
            let hash = existing.definition.as_ref();
            existing.endpoint.is_some() && hash.is_some_and(|hash| *hash != present)
        };
        let outdated = found
            .iter()
            .filter(is_other)
            .map(|found| found.order.id.clone());
        let outdated: std::collections::HashSet<_> = outdated.collect();
        if !outdated.is_empty() {
            let mut names: Vec<_> = outdated.iter().map(|id| id.replica.as_str()).collect();
            names.sort_unstable();
            warn!(
                "swarm: started by an earlier definition, and kept until they are replaced: {}",
                names.join(", ")
            );
        }
        self.outdated.replace(outdated);
    }
}
