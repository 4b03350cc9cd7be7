//! Finds out whether another balancer serves the fleet, when this one is about to end.
//!
//! If there is one the replicas stay, else they are stopped. The check is a container that is
//! created and never started: every balancer of the fleet gets its `create` event, and one that
//! is not about to end removes it. So no state has to be kept up to date, and a balancer that
//! was killed does not count.
//!
//! Balancers that follow a rollout ask the one that carries it out in the same way, by its name.

use std::rc::Rc;
use std::time::{Duration, Instant};

use log::{debug, info};
use tokio::time::sleep;

use super::engine::{Engine, is_missing};
use super::image_facts::{ImageFacts, no_service};
use super::labels::FLEET;
use super::{DockerFleet, DockerSettings};
use crate::runtime::RuntimeError;

/// The label of a check.
pub(super) const PEER_CHECK: &str = "io.ringmaster.peer-check";

/// The label of a check for one balancer; its value is that one's name.
pub(super) const BALANCER_CHECK: &str = "io.ringmaster.balancer-check";

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
    let question = (PEER_CHECK, "does another balancer serve this fleet?");
    let answered = ask(engine, name, fleet, image, facts, question).await;
    answered.unwrap_or_else(|error| {
        debug!("docker: cannot check for other balancers: {error}");
        false
    })
}

/// Whether a check with this label is acknowledged in time.
async fn ask(
    engine: &Engine,
    name: &str,
    fleet: &str,
    image: &str,
    facts: &ImageFacts,
    question: (&str, &str),
) -> Result<bool, RuntimeError> {
    let mut labels = no_service(facts);
    let own = [(FLEET, fleet), question];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let announced = async {
        let created = engine.create_label(name, image, "-", labels.clone()).await;
        match created {
            // The image has been removed: one that the fleet's containers have is there.
            Err(error) if is_missing(&error) => match any_image(engine, fleet).await {
                Some(image) => engine.create_label(name, &image, "-", labels).await,
                None => Err(error),
            },
            created => created,
        }
    };
    let late = |_| RuntimeError("the engine is overloaded".to_owned());
    let check = tokio::time::timeout(PEER_TIMEOUT, announced).await;
    let check = check.map_err(late)?;
    let check = check.map_err(|error| engine.explain(error))?;
    let begun = Instant::now();
    while begun.elapsed() < PEER_TIMEOUT {
        sleep(POLL_INTERVAL).await;
        let found = engine.inspect(&check).await;
        if found.is_err_and(|error| is_missing(&error)) {
            return Ok(true);
        }
    }
    remove(engine, &check).await;
    Ok(false)
}

/// The id of an image that containers of the fleet have.
async fn any_image(engine: &Engine, fleet: &str) -> Option<String> {
    let of_fleet = vec![format!("{FLEET}={fleet}")];
    let listed = engine.summaries("label", of_fleet).await.ok()?;
    listed.into_iter().find_map(|summary| summary.image_id)
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
        let facts = self.image_facts();
        let DockerSettings { fleet, image, .. } = &self.settings;
        has_peer(&self.engine, fleet, image, &facts).await
    }

    /// Whether another balancer serves this fleet now.
    pub(super) async fn is_shared(self: Rc<Self>) -> bool {
        let facts = self.image_facts();
        let DockerSettings { fleet, image, .. } = &self.settings;
        let name = check_name(fleet);
        self.own_checks.borrow_mut().push(name.clone());
        let shared = has_peer_by(&self.engine, &name, fleet, image, &facts).await;
        self.own_checks.borrow_mut().retain(|own| *own != name);
        self.is_known_shared.set(shared);
        shared
    }

    /// Whether the balancer of this name serves this fleet now.
    pub(super) async fn is_present(self: Rc<Self>, balancer: String) -> Result<bool, RuntimeError> {
        let facts = self.image_facts();
        let DockerSettings { fleet, image, .. } = &self.settings;
        let question = (BALANCER_CHECK, balancer.as_str());
        let name = check_name(fleet);
        ask(&self.engine, &name, fleet, image, &facts, question).await
    }

    /// Whether a check of this name is for this balancer to acknowledge.
    pub(super) fn is_asked_by(&self, check: Option<&str>) -> bool {
        let is_own = |check: &str| self.own_checks.borrow().iter().any(|own| own == check);
        !self.ending.get() && !check.is_some_and(is_own)
    }

    /// Acknowledges a check: this balancer serves the fleet.
    pub(super) async fn acknowledge(&self, check: &str) {
        self.is_known_shared.set(true);
        remove(&self.engine, check).await;
    }

    /// Acknowledges all open checks, including those of balancers that have ended.
    pub(super) async fn acknowledge_all(&self) {
        let fleet = format!("{FLEET}={}", self.settings.fleet);
        for kind in [PEER_CHECK, BALANCER_CHECK] {
            let labels = vec![fleet.clone(), kind.to_owned()];
            let listed = self.engine.summaries("label", labels).await;
            for check in listed.unwrap_or_default() {
                if let Some(id) = check.id {
                    remove(&self.engine, &id).await;
                }
            }
        }
    }
}
