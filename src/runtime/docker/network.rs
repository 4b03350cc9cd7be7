//! The network that a fleet's replicas share.

use std::collections::HashMap;

use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};
use log::{info, warn};

use crate::runtime::RuntimeError;
use crate::runtime::docker::Inner;
use crate::runtime::docker::container::FLEET;
use crate::runtime::docker::engine::{is_conflict, is_missing};

impl Inner {
    /// Makes sure of the replicas' network.
    pub(super) async fn ensure_network(&self) -> Result<(), RuntimeError> {
        let network = self.settings.network.as_str();
        if matches!(network, "host" | "none") || network.starts_with("container:") {
            return Err(RuntimeError(format!(
                "network {network} gives replicas no address of their own; a bridge network is needed"
            )));
        }
        // All that start at once find it missing at once.
        let _alone = self.making_network.lock().await;
        if self.find_network().await? {
            return Ok(());
        }
        let request = NetworkCreateRequest {
            name: network.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some([(FLEET.to_owned(), self.settings.fleet.clone())].into()),
            ..Default::default()
        };
        match self.engine.docker.create_network(request).await {
            Ok(created) => {
                info!("docker: made network {network}");
                self.owns_network.set(true);
                self.yield_to_older(&created.id).await;
            }
            // Another balancer was quicker.
            Err(error) if is_conflict(&error) => {
                self.find_network().await?;
            }
            Err(error) => {
                return Err(RuntimeError(format!(
                    "cannot create network {network}: {}",
                    self.engine.explain(error)
                )));
            }
        }
        self.networks_made.set(self.networks_made.get() + 1);
        Ok(())
    }

    /// Whether it is there; if so, notes whose it is.
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

    /// Old engines (20.10) let two balancers that start at once make two networks of one
    /// name, which nobody could use then: the older one stays.
    async fn yield_to_older(&self, ours: &str) {
        let network = &self.settings.network;
        let filters = HashMap::from([("name".to_owned(), vec![network.clone()])]);
        let options = ListNetworksOptionsBuilder::default()
            .filters(&filters)
            .build();
        let listed = self.engine.quick().list_networks(Some(options)).await;
        let mut same: Vec<Network> = listed.unwrap_or_default();
        same.retain(|found| found.name.as_ref() == Some(network));
        let age = |network: &Network| (network.created.clone(), network.id.clone());
        let oldest = same.iter().min_by_key(|network| age(network));
        if oldest.is_some_and(|oldest| oldest.id.as_deref() != Some(ours))
            && let Err(error) = self.engine.docker.remove_network(ours).await
        {
            let error = self.engine.explain(error);
            warn!("docker: there are two networks {network}, and one cannot be removed: {error}");
        }
    }

    /// Removes it if it is this fleet's own.
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
