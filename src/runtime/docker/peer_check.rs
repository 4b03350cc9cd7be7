//! Finds out whether another balancer serves the fleet, when this one is about to end.
//!
//! If there is one the replicas stay, else they are stopped. The check is a container that is
//! created and never started: every balancer of the fleet gets its `create` event, and one that
//! is not about to end removes it. So no state has to be kept up to date, and a balancer that
//! was killed does not count.

use std::rc::Rc;
use std::time::{Duration, Instant};

use log::{debug, info};
use tokio::time::sleep;

use super::container::{ImageFacts, no_service};
use super::engine::{Engine, is_missing};
use super::labels::FLEET;
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
    let found = has_peer_by(engine, &check_name(fleet), fleet, image, facts).await;
    if found {
        info!("docker: another balancer serves fleet {fleet}");
    }
    found
}

fn check_name(fleet: &str) -> String {
    format!("{fleet}-peer-check-{:08x}", fastrand::u32(..))
}

/// The same by a check of this name.
async fn has_peer_by(
    engine: &Engine,
    name: &str,
    fleet: &str,
    image: &str,
    facts: &ImageFacts,
) -> bool {
    let announced = announce(engine, name, fleet, image, facts);
    // An engine that takes longer is overloaded.
    let Ok(Some(check)) = tokio::time::timeout(PEER_TIMEOUT, announced).await else {
        return false;
    };
    let begun = Instant::now();
    while begun.elapsed() < PEER_TIMEOUT {
        sleep(POLL_INTERVAL).await;
        let found = engine.inspect(&check).await;
        if found.is_err_and(|error| is_missing(&error)) {
            return true;
        }
    }
    remove(engine, &check).await;
    false
}

async fn announce(
    engine: &Engine,
    name: &str,
    fleet: &str,
    image: &str,
    facts: &ImageFacts,
) -> Option<String> {
    let mut labels = no_service(facts);
    let question = "does another balancer serve this fleet?";
    let own = [(FLEET, fleet), (PEER_CHECK, question)];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let created = engine.create_label(name, image, "-", labels).await;
    let failed = |error| {
        let error = engine.explain(error);
        debug!("docker: cannot check for other balancers: {error}");
    };
    created.map_err(failed).ok()
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
        if self.settings.service.is_some() {
            // They are compose's: it stops and removes them.
            return true;
        }
        let facts = self.image.borrow().clone();
        let DockerSettings { fleet, image, .. } = &self.settings;
        has_peer(&self.engine, fleet, image, &facts).await
    }

    /// Whether another balancer serves this fleet now.
    pub(super) async fn is_shared(self: Rc<Self>) -> bool {
        let facts = self.image.borrow().clone();
        let DockerSettings { fleet, image, .. } = &self.settings;
        let name = check_name(fleet);
        self.own_checks.borrow_mut().push(name.clone());
        let shared = has_peer_by(&self.engine, &name, fleet, image, &facts).await;
        self.own_checks.borrow_mut().retain(|own| *own != name);
        shared
    }

    /// Whether a check of this name is for this balancer to acknowledge.
    pub(super) fn is_asked_by(&self, check: Option<&str>) -> bool {
        let is_own = |check: &str| self.own_checks.borrow().iter().any(|own| own == check);
        !self.ending.get() && !check.is_some_and(is_own)
    }

    /// Acknowledges a check: this balancer serves the fleet.
    pub(super) async fn acknowledge(&self, check: &str) {
        remove(&self.engine, check).await;
    }

    /// Acknowledges all open checks, including those of balancers that have ended.
    pub(super) async fn acknowledge_all(&self) {
        let fleet = format!("{FLEET}={}", self.settings.fleet);
        let labels = vec![fleet, PEER_CHECK.to_owned()];
        let listed = self.engine.summaries("label", labels).await;
        for check in listed.unwrap_or_default() {
            if let Some(id) = check.id {
                self.acknowledge(&id).await;
            }
        }
    }
}
