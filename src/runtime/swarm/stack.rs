//! The stack that the balancer's own container belongs to, and the service in it that replicas are made
//! from: the one with the label `ringmaster.fleet`.

use std::time::Duration;

use log::debug;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::SwarmSettings;
use super::api::{SwarmApi, SwarmError};
use super::own_container::OwnContainer;
use super::template::{self, FLEET, STACK, StackTemplate};
use crate::fleet::ContainerTemplate;
use crate::runtime::RuntimeError;

/// How often the service is read although no event has told of a change.
const READ_INTERVAL: Duration = Duration::from_secs(10);

/// The pause before the events are subscribed to again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The service of a stack that replicas are made from.
pub struct StackService {
    api: SwarmApi,
    /// Its name.
    name: String,
    /// The networks that the balancer is on.
    reachable: Vec<String>,
    has_changed: Notify,
}

impl StackService {
    /// The one in the stack of the container in which this process runs, and what it says.
    ///
    /// # Errors
    ///
    /// There is no such stack, none or several such services, or something is wrong with it.
    pub async fn find() -> Result<(Self, StackTemplate), RuntimeError> {
        let api = SwarmApi::from_env()?;
        api.check_manager().await?;
        let own = OwnContainer::find(&api).await?;
        let in_stack = own.and_then(|own| Some((own.labels.get(STACK)?.clone(), own.networks)));
        let (stack, reachable) = in_stack.ok_or_else(|| {
            RuntimeError(
                "there is nothing to run: the balancer's container belongs to no stack whose file \
                 could say it (docker stack deploy); outside of one --image does"
                    .to_owned(),
            )
        })?;
        let listed = api
            .list("services", &[(STACK, &stack), (FLEET, "")])
            .await?;
        let name_of = |service: &Value| service["Spec"]["Name"].as_str().map(str::to_owned);
        let mut names: Vec<_> = listed.iter().filter_map(name_of).collect();
        names.sort();
        let name = match names.as_slice() {
            [name] => name.clone(),
            [] => {
                return Err(RuntimeError(format!(
                    "no service of the stack {stack} has the label {FLEET} (below deploy), which \
                     makes it the one that replicas are made from"
                )));
            }
            several => {
                let several = several.join(", ");
                return Err(RuntimeError(format!(
                    "several services of the stack {stack} have the label {FLEET}: {several}; a \
                     balancer has one fleet"
                )));
            }
        };
        let service = Self {
            api,
            name,
            reachable,
            has_changed: Notify::new(),
        };
        let found = service.read().await?;
        let gone = || RuntimeError(format!("service {} has been removed", service.name));
        let found = found.ok_or_else(gone)?;
        Ok((service, found))
    }

    /// What it says now; none if it has been removed.
    ///
    /// # Errors
    ///
    /// The manager does not answer, or something is wrong with the service.
    pub async fn read(&self) -> Result<Option<StackTemplate>, RuntimeError> {
        let found = match self.api.get(&format!("/services/{}", self.name)).await {
            Err(error) if error.is_missing() => return Ok(None),
            found => found?,
        };
        let mut networks = Vec::new();
        for id in template::networks_of(&found["Spec"]["TaskTemplate"]) {
            let network = self.api.get(&format!("/networks/{id}")).await?;
            networks.push(network["Name"].as_str().unwrap_or(id).to_owned());
        }
        template::read(&found, &networks)
            .map(Some)
            .map_err(RuntimeError)
    }

    /// Done when the service may have changed. To be polled together with [`StackService::follow`].
    pub async fn changed(&self) {
        tokio::select! {
            () = self.has_changed.notified() => {}
            () = sleep(READ_INTERVAL) => {}
        }
    }

    /// Follows the events of the service, for ever.
    pub async fn follow(&self) {
        loop {
            let is_ours =
                |event: &Value| event["Actor"]["Attributes"]["name"] == self.name.as_str();
            let followed = self.api.follow_events(|event| {
                if event["Type"] == "service" && is_ours(&event) {
                    self.has_changed.notify_one();
                }
            });
            if let Err(error) = followed.await {
                debug!(
                    "swarm: the events of service {} broke off: {error}",
                    self.name
                );
            }
            sleep(RECONNECT_PAUSE).await;
            // What happened meanwhile.
            self.has_changed.notify_one();
        }
    }

    /// The settings of replicas that are made from it. The network is the one given, else the first of
    /// the service's that the balancer is on.
    ///
    /// # Errors
    ///
    /// The balancer is on none of its networks.
    pub fn settings(
        &self,
        flags: &SwarmSettings,
        found: &StackTemplate,
        given_network: Option<&str>,
    ) -> Result<SwarmSettings, RuntimeError> {
        let joined: Vec<_> = template::networks_of(&found.task).collect();
        let is_shared = |name: &&&str| match given_network {
            Some(given) => **name == given,
            None => self.reachable.iter().any(|own| own == *name),
        };
        let network = joined.iter().find(is_shared).ok_or_else(|| {
            let (name, joined) = (&self.name, joined.join(", "));
            RuntimeError(match given_network {
                Some(given) => format!("service {name} is not on --docker-network {given} ({joined})"),
                None => format!(
                    "the balancer is on no network of service {name} ({joined}), so it cannot reach \
                     replicas: have both on one in the stack file"
                ),
            })
        })?;
        let mut containers = flags.containers.clone();
        containers.network = (*network).to_owned();
        containers.fleet.clone_from(&found.fleet);
        containers.image.clone_from(&found.image);
        containers.template.port = found.port.or(containers.template.port);
        containers.like = Some(ContainerTemplate {
            container: found.service.clone(),
            body: found.task.clone(),
        });
        Ok(SwarmSettings {
            containers,
            ..flags.clone()
        })
    }
}

/// Whether a service has been removed. Not known without an answer.
pub(super) async fn is_removed(api: &SwarmApi, service: &str) -> Result<bool, SwarmError> {
    match api.get(&format!("/services/{service}")).await {
        Err(error) if error.is_missing() => Ok(true),
        found => found.map(|_| false),
    }
}
