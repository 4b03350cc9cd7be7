//! The network that a fleet's replicas share.

use std::time::Duration;

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::InspectNetworkOptions;
use log::{info, warn};
use serde_json::json;
use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_64;

use super::description::other_networks;
use super::engine::{is_missing, is_taken};
use super::labels::FLEET;
use super::launch::Specification;
use super::{DockerFleet, DockerSettings, run_options};
use crate::runtime::{LaunchOrder, RuntimeError};

/// The bridge driver's option for the name of the host's interface.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// For how many attempts another balancer may be creating it: an engine takes a tenth of a second.
const ATTEMPTS: u32 = 40;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);

/// The name of the network's interface on the host, which other engines may share: at most 15
/// characters (Linux).
fn bridge(engine: &str, network: &str) -> String {
    let both = format!("{engine}/{network}");
    format!("rm-{:012x}", xxh3_64(both.as_bytes()) >> 16)
}

impl DockerFleet {
    /// Creates the replicas' network if it is missing.
    pub(super) async fn ensure_network(&self) -> Result<(), RuntimeError> {
        let network = self.settings.network.as_str();
        if matches!(network, "host" | "none") || network.starts_with("container:") {
            return Err(RuntimeError(format!(
                "network {network} gives replicas no address of their own; a bridge network is needed"
            )));
        }
        // Launches that run at once would all find it missing.
        let _alone = self.network_lock.lock().await;
        if self.find_network().await? {
            return Ok(());
        }
        self.create_network_once().await?;
        self.networks_created.set(self.networks_created.get() + 1);
        Ok(())
    }

    /// Checks that the networks beside it exist: those are made by their owners.
    pub(super) async fn check_other_networks(
        &self,
        settings: &DockerSettings,
    ) -> Result<(), RuntimeError> {
        for network in run_options::others(&settings.container, &settings.network) {
            let options = None::<InspectNetworkOptions>;
            let found = self.engine.quick().inspect_network(network, options).await;
            found.map_err(|error| match is_missing(&error) {
                true => RuntimeError(format!(
                    "--network {network}: the engine has no such network; docker network create \
                     {network} makes it"
                )),
                false => self.engine.explain(error),
            })?;
        }
        Ok(())
    }

    /// Joins a container that has not started yet to the networks beside it.
    pub(super) async fn join_networks(
        &self,
        container: &str,
        specification: &Specification,
        order: &LaunchOrder,
    ) -> Result<(), RuntimeError> {
        let Specification {
            settings, image, ..
        } = specification;
        let others = other_networks(settings, order, image)?;
        for (network, endpoint) in others {
            let request = json!({ "Container": container, "EndpointConfig": endpoint });
            let path = format!("/networks/{network}/connect");
            self.engine
                .post_json(&path, &request)
                .await
                .map_err(|error| {
                    let error = self.engine.explain(error);
                    RuntimeError(format!("cannot join network {network}: {error}"))
                })?;
        }
        Ok(())
    }

    /// Creates it, or waits until another balancer has.
    ///
    /// Old engines (20.10) allow two networks of one name, neither of which can be used then, and
    /// list a network only when it is complete. But an engine gives the name of a bridge to one
    /// network only, so that name is the lock between balancers.
    async fn create_network_once(&self) -> Result<(), RuntimeError> {
        let network = self.settings.network.as_str();
        let engine = self.engine.id().await?;
        let mut request = NetworkCreateRequest {
            name: network.to_owned(),
            driver: Some("bridge".to_owned()),
            options: Some([(BRIDGE_NAME.to_owned(), bridge(&engine, network))].into()),
            labels: Some([(FLEET.to_owned(), self.settings.fleet.clone())].into()),
            ..Default::default()
        };
        for attempt in 1.. {
            let docker = &self.engine.docker;
            let Err(error) = docker.create_network(request.clone()).await else {
                info!("docker: created network {network}");
                self.owns_network.set(true);
                break;
            };
            if matches!(self.find_network().await, Ok(true)) {
                break;
            }
            if !is_taken(&error) || attempt > ATTEMPTS {
                return Err(RuntimeError(format!(
                    "cannot create network {network}: {}",
                    self.engine.explain(error)
                )));
            }
            if attempt == ATTEMPTS {
                // No balancer is creating it: an engine that died halfway remembers the bridge.
                request.options = None;
            }
            sleep(ATTEMPT_PAUSE).await;
        }
        Ok(())
    }

    /// Whether it exists; if so, remembers whether it belongs to this fleet.
    async fn find_network(&self) -> Result<bool, RuntimeError> {
        let network = &self.settings.network;
        let options = None::<InspectNetworkOptions>;
        match self.engine.quick().inspect_network(network, options).await {
            // The engine also takes the beginning of an id for a name.
            Ok(found) if found.name.as_deref() == Some(network) => {
                let labels = found.labels.unwrap_or_default();
                let owner = labels.get(FLEET);
                self.owns_network.set(owner == Some(&self.settings.fleet));
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(self.engine.explain(error)),
        }
    }

    /// Removes it if it belongs to this fleet.
    pub(super) async fn remove_network(&self) {
        let network = &self.settings.network;
        if !self.owns_network.get() {
            return;
        }
        match self.engine.docker.remove_network(network).await {
            Err(error) if !is_missing(&error) => {
                let error = self.engine.explain(error);
                warn!("docker: cannot remove network {network}: {error}");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bridge;

    #[test]
    fn bridge_names_are_short_and_unique_to_network_and_engine() {
        let networks = [
            "ringmaster",
            "ringmaster2",
            "",
            "a-much-longer-name-of-a-network",
        ];
        let all = ["AB:CD", "EF:01"].map(|engine| networks.map(|network| bridge(engine, network)));
        for (at, name) in all.as_flattened().iter().enumerate() {
            assert_eq!(name.len(), 15, "{name}");
            assert!(!all.as_flattened()[..at].contains(name), "{name}");
        }
        // Balancers of different builds must agree.
        assert_eq!(bridge("AB:CD", "ringmaster"), "rm-5daf2396ad2e");
    }
}
