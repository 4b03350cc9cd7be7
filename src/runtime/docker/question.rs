//! "Is anybody else there?", asked by a balancer that is about to end.
//!
//! If another balancer serves the fleet, the replicas stay; if not, they are stopped. The
//! question is a container that is created and never started: the engine tells every
//! balancer of the fleet of it, and whoever is there, and stays, removes it. So nothing has
//! to be kept up to date while nobody asks, and a balancer that was killed is not taken for
//! one that is there.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, ListContainersOptionsBuilder};
use log::{debug, info};
use tokio::time::sleep;

use crate::runtime::docker::container::{FLEET, ImageFacts, no_service};
use crate::runtime::docker::engine::{Engine, is_missing};
use crate::runtime::docker::{DockerSettings, Inner};

/// Marks a container as a question.
pub(super) const QUESTION: &str = "io.ringmaster.question";

/// So long an answer is waited for. Requests are being finished meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks whether another balancer serves the fleet, and waits for an answer.
pub(super) async fn is_answered(
    engine: &Engine,
    fleet: &str,
    image: &str,
    facts: &ImageFacts,
) -> bool {
    let asked = ask(engine, fleet, image, facts);
    // An engine that takes longer has more to do than to end this.
    let Ok(Some(question)) = tokio::time::timeout(PATIENCE, asked).await else {
        return false;
    };
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        sleep(LOOK_EVERY).await;
        let found = engine.inspect(&question).await;
        if found.is_err_and(|error| is_missing(&error)) {
            info!("docker: another balancer serves fleet {fleet}");
            return true;
        }
    }
    remove(engine, &question).await;
    false
}

async fn ask(engine: &Engine, fleet: &str, image: &str, facts: &ImageFacts) -> Option<String> {
    let name = format!("{fleet}-question-{:08x}", fastrand::u32(..));
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let mut labels = no_service(facts);
    labels.insert(FLEET.to_owned(), fleet.to_owned());
    labels.insert(QUESTION.to_owned(), "is anybody there?".to_owned());
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        // An image need not have a command, and a container has to. It never runs.
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
            debug!("docker: cannot ask for other balancers: {error}");
            None
        }
    }
}

async fn remove(engine: &Engine, question: &str) {
    if let Err(error) = engine.remove(question).await {
        debug!("docker: cannot answer a balancer that ends: {error}");
    }
}

impl Inner {
    /// Whether another balancer serves this fleet. From now on this one answers nobody: of two
    /// that end at once, one has to know that it is the last.
    pub(super) async fn is_shared(self: Rc<Self>) -> bool {
        self.ending.set(true);
        let facts = self.image.borrow().clone();
        let DockerSettings { fleet, image, .. } = &self.settings;
        is_answered(&self.engine, fleet, image, &facts).await
    }

    /// Answers a question: this balancer is there.
    pub(super) async fn answer(&self, question: &str) {
        remove(&self.engine, question).await;
    }

    /// Answers all that are open, also those whose balancer is no more.
    pub(super) async fn answer_all(&self) {
        let labels = vec![
            format!("{FLEET}={}", self.settings.fleet),
            QUESTION.to_owned(),
        ];
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([("label".to_owned(), labels)]))
            .build();
        let listed = self.engine.quick().list_containers(Some(options)).await;
        for question in listed.unwrap_or_default() {
            if let Some(id) = question.id {
                self.answer(&id).await;
            }
        }
    }
}
