//! Finds out whether another balancer serves the fleet, when this one is about to end.
//!
//! If there is one the replicas stay, else they are stopped. The check is a container that is
//! created and never started: every balancer of the fleet gets its `create` event, and one that
//! is not about to end removes it. So no state has to be kept up to date, and a balancer that
//! was killed does not count.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, ListContainersOptionsBuilder};
use log::{debug, info};
use tokio::time::sleep;

use super::container::{FLEET, ImageFacts, no_service};
use super::engine::{Engine, is_missing};
use super::{DockerFleet, DockerSettings};

/// The label of a check.
pub(super) const PEER_CHECK: &str = "io.ringmaster.peer-check";

/// The time for an acknowledgement. Requests are being finished meanwhile.
const PEER_TIMEOUT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Whether another balancer serves the fleet: creates a check and waits for its removal.
pub(super) async fn has_peer(
    engine: &Engine,
    fleet: &str,
    image: &str,
    facts: &ImageFacts,
) -> bool {
    let announced = announce(engine, fleet, image, facts);
    // An engine that takes longer is overloaded.
    let Ok(Some(check)) = tokio::time::timeout(PEER_TIMEOUT, announced).await else {
        return false;
    };
    let begun = Instant::now();
    while begun.elapsed() < PEER_TIMEOUT {
        sleep(POLL_INTERVAL).await;
        let found = engine.inspect(&check).await;
        if found.is_err_and(|error| is_missing(&error)) {
            info!("docker: another balancer serves fleet {fleet}");
            return true;
        }
    }
    remove(engine, &check).await;
    false
}

async fn announce(engine: &Engine, fleet: &str, image: &str, facts: &ImageFacts) -> Option<String> {
    let name = format!("{fleet}-peer-check-{:08x}", fastrand::u32(..));
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let mut labels = no_service(facts);
    labels.insert(FLEET.to_owned(), fleet.to_owned());
    labels.insert(
        PEER_CHECK.to_owned(),
        "does another balancer serve this fleet?".to_owned(),
    );
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        // A container needs a command even if its image has none. It never runs.
        cmd: Some(vec!["-".to_owned()]),
        labels: Some(labels),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    match engine.docker.create_container(Some(options), body).await {
        Ok(created) => Some(created.id),
        Err(error) => {
            let error = engine.explain(error);
            debug!("docker: cannot check for other balancers: {error}");
            None
        }
    }
}

async fn remove(engine: &Engine, check: &str) {
    if let Err(error) = engine.remove(check).await {
        debug!("docker: cannot remove a check for other balancers: {error}");
    }
}

impl DockerFleet {
    /// Whether another balancer serves this fleet. From now on this one acknowledges no check: of
    /// two that end at once, one has to find out that it is the last.
    pub(super) async fn has_peers(self: Rc<Self>) -> bool {
        self.ending.set(true);
        let facts = self.image.borrow().clone();
        let DockerSettings { fleet, image, .. } = &self.settings;
        has_peer(&self.engine, fleet, image, &facts).await
    }

    /// Acknowledges a check: this balancer serves the fleet.
    pub(super) async fn acknowledge(&self, check: &str) {
        remove(&self.engine, check).await;
    }

    /// Acknowledges all open checks, including those of balancers that have ended.
    pub(super) async fn acknowledge_all(&self) {
        let labels = vec![
            format!("{FLEET}={}", self.settings.fleet),
            PEER_CHECK.to_owned(),
        ];
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([("label".to_owned(), labels)]))
            .build();
        let listed = self.engine.quick().list_containers(Some(options)).await;
        for check in listed.unwrap_or_default() {
            if let Some(id) = check.id {
                self.acknowledge(&id).await;
            }
        }
    }
}
