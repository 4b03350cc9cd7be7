//! The overlay network that a fleet's replicas share, and the balancer's place in it.
//!
//! The addresses of an overlay can be reached from containers in it alone. A balancer in a container
//! joins the fleet's network by itself; one outside of any cannot reach its replicas.

use std::time::Duration;

use log::{info, warn};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::SwarmFleet;
use super::labels::FLEET;
use super::own_container::OwnContainer;
use crate::runtime::RuntimeError;
use crate::runtime::docker::{DockerSettings, other_networks};

/// How long a network may stay, which tasks that end still use, and the pause before it is tried again.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(20);
const REMOVE_PAUSE: Duration = Duration::from_millis(200);

impl SwarmFleet {
    /// Creates the replicas' network if it is missing, and joins it.
    pub(super) async fn ensure_network(&self) -> Result<(), RuntimeError> {
        let network = self.network();
        let found = match self.find_network(network).await? {
            Some(found) => found,
            None => self.create_network().await?,
        };
        if found["Scope"] != "swarm" || found["Ingress"] == true {
            return Err(RuntimeError(format!(
                "network {network} is no overlay of this Swarm that services can join: \
                 --docker-network names another one"
            )));
        }
        let owner = found["Labels"][FLEET].as_str();
        self.owns_network.set(owner == Some(self.name()));
        self.join_network(&found).await
    }

    /// Checks that the networks beside it exist: those are made by their owners.
    pub(super) async fn check_other_networks(
        &self,
        containers: &DockerSettings,
    ) -> Result<(), RuntimeError> {
        for other in other_networks(&containers.container, &containers.network) {
            let found = self.find_network(other).await?;
            if found.is_none_or(|found| found["Scope"] != "swarm") {
                return Err(RuntimeError(format!(
                    "--network {other}: the Swarm has no such network; docker network create \
                     --driver overlay {other} makes it"
                )));
            }
        }
        Ok(())
    }

    async fn find_network(&self, name: &str) -> Result<Option<Value>, RuntimeError> {
        match self.api.get(&format!("/networks/{name}")).await {
            // The engine also takes the beginning of an id for a name.
            Ok(found) => {
                Ok(Some(found).filter(|found| found["Name"] == name || found["Id"] == name))
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates it, unless another balancer has by now.
    async fn create_network(&self) -> Result<Value, RuntimeError> {
        let network = self.network();
        let request = json!({
            "Name": network,
            "Driver": "overlay",
            "Attachable": true,
            "CheckDuplicate": true,
            "Labels": { FLEET: self.name() },
        });
        match self.api.post("/networks/create", &request).await {
            Ok(_) => info!("swarm: created network {network}"),
            Err(error) if error.is_taken() => {}
            Err(error) => {
                return Err(RuntimeError(format!(
                    "cannot create network {network}: {error}"
                )));
            }
        }
        let created = self.find_network(network).await?;
        created.ok_or_else(|| RuntimeError(format!("network {network} has been removed")))
    }

    /// Has our own container join it, if it has not.
    async fn join_network(&self, found: &Value) -> Result<(), RuntimeError> {
        let network = self.network();
        let Some(own) = OwnContainer::find(&self.api).await? else {
            return Err(RuntimeError(format!(
                "the balancer runs in no container, and the addresses of network {network} can be \
                 reached from containers alone: run it in one on this node, with the engine's \
                 socket mounted"
            )));
        };
        if own.networks.iter().any(|joined| joined == network) {
            return Ok(());
        }
        let Some(id) = own.id_at_engine() else {
            return Err(RuntimeError(format!(
                "the balancer is not on network {network}, and its engine (DOCKER_HOST) is that of \
                 another node and cannot have it join: give the balancer's service that network"
            )));
        };
        let target = found["Id"].as_str().unwrap_or(network);
        match self.api.connect(target, id).await {
            Err(error) if !error.to_string().contains("already exists") => {
                return Err(RuntimeError(format!(
                    "cannot join network {network}: {error}; its option attachable lets \
                     containers join"
                )));
            }
            _ => {}
        }
        info!("swarm: joined network {network}");
        self.joined.replace(Some(id.to_owned()));
        Ok(())
    }

    /// Leaves the network if the balancer has joined it, and removes it if it is the fleet's.
    pub(super) async fn leave_network(&self) {
        let network = self.network();
        if let Some(own) = self.joined.take() {
            let request = json!({ "Container": own, "Force": true });
            let path = format!("/networks/{network}/disconnect");
            if let Err(error) = self.api.post(&path, &request).await {
                warn!("swarm: cannot leave network {network}: {error}");
            }
        }
        if !self.owns_network.get() {
            return;
        }
        // By its id: another balancer may create the next one of that name meanwhile.
        let found = match self.find_network(network).await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => return warn!("swarm: cannot remove network {network}: {error}"),
        };
        let id = found["Id"].as_str().unwrap_or(network);
        let path = format!("/networks/{id}");
        let deadline = Instant::now() + REMOVE_TIMEOUT;
        loop {
            let left = match self.api.call(hyper::Method::DELETE, &path, None).await {
                // Tasks that end are in it for a while.
                Err(error) if !error.is_missing() => error.to_string(),
                // The Swarm has removed it; this node's engine does so a little later.
                _ => match self.find_network(id).await {
                    Ok(Some(_)) => "this node still has it".to_owned(),
                    _ => return,
                },
            };
            if Instant::now() > deadline {
                return warn!("swarm: cannot remove network {network}: {left}");
            }
            sleep(REMOVE_PAUSE).await;
        }
    }
}
