//! The settings of a fleet that takes over a service, as its containers make them.

use std::time::{Duration, Instant};

use log::info;
use tokio::time::sleep;

use super::super::engine::Engine;
use super::super::labels::COMPOSE_NUMBER;
use super::super::own_container::own_networks;
use super::super::{ComposeService, DockerSettings, PullPolicy, template};
use super::DEFAULT_GRACE;
use crate::fleet::ContainerTemplate;
use crate::runtime::RuntimeError;

/// How long compose may take to create the first container: it starts services side by side.
const FIRST_CONTAINER_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What compose takes on top of a container's grace to recreate it, and then some.
const RECREATION: Duration = Duration::from_secs(5);

impl DockerSettings {
    /// How long requests have to wait for compose to recreate the service's containers, if this
    /// fleet takes over a service.
    pub fn recreation_time(&self) -> Option<Duration> {
        self.service.as_ref()?;
        Some(self.stop_timeout().unwrap_or(DEFAULT_GRACE) + RECREATION)
    }

    /// These settings as the service has it that the fleet takes over, on the engine of
    /// `DOCKER_HOST` or of the usual socket: image, port, network and configuration. `own`: project
    /// and service of the balancer's own container. Waits for compose to create the first one.
    ///
    /// # Errors
    ///
    /// No project, no container, or one that cannot be balanced over.
    pub async fn of_service(
        mut self,
        own: Option<(String, String)>,
        has_network: bool,
    ) -> Result<Self, RuntimeError> {
        let Some(mut service) = self.service.take() else {
            return Ok(self);
        };
        if service.project.is_empty() {
            let unknown = || {
                RuntimeError(format!(
                    "--service {name}: the balancer runs in no container of compose, so its project \
                     is unknown: write --service PROJECT/{name}",
                    name = service.name
                ))
            };
            service.project = own.ok_or_else(unknown)?.0;
        }
        let engine = Engine::from_env()?;
        engine.handshake().await?;
        let found = first_container(&engine, &service).await?;
        let (project, name) = (&service.project, &service.name);
        let wrong = |wrong: String| RuntimeError(format!("--service {name}: {wrong}"));

        let container = found["Name"].as_str().unwrap_or_default();
        let container = container.trim_start_matches('/').to_owned();
        let number = &found["Config"]["Labels"][COMPOSE_NUMBER];
        let expected = format!("{project}-{name}-{}", number.as_str().unwrap_or_default());
        if container != expected {
            return Err(wrong(format!(
                "its container is called {container}, not {expected}: compose v2 calls it so unless \
                 the service has a container_name, which leaves room for one only; docker-compose \
                 1.29 writes _ for -, and cannot be used"
            )));
        }
        let id = found["Image"].as_str().unwrap_or_default();
        let image = engine.image_json(id).await;
        let body = template::body(&found, &image.unwrap_or_default());
        let body = body.map_err(|error| wrong(error.to_string()))?;
        if !has_network {
            let network = template::network_of(&body, &own_networks().await);
            self.network = network.unwrap_or_default().to_owned();
        }
        self.fleet = format!("{project}-{name}");
        self.image = engine.image_of(&found).await;
        // Compose has pulled or built it, and may have done so here alone.
        self.pull = PullPolicy::Never;
        self.template.port = self.template.port.or_else(|| template::port_of(&found));
        self.like = Some(ContainerTemplate { container, body });
        self.service = Some(service);
        Ok(self)
    }
}

/// What the engine says of a container of the service: the one of the lowest number.
async fn first_container(
    engine: &Engine,
    service: &ComposeService,
) -> Result<serde_json::Value, RuntimeError> {
    let labels = service
        .labels()
        .map(|(key, value)| format!("{key}={value}"));
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        let listed = engine.summaries("label", labels.to_vec()).await?;
        let number = |labels: &std::collections::HashMap<String, String>| {
            labels.get(COMPOSE_NUMBER)?.parse::<u64>().ok()
        };
        let mut found: Vec<_> = listed
            .into_iter()
            .filter_map(|summary| {
                // While compose replaces one, the next has another name.
                let named = summary.names?.into_iter().any(|name| {
                    let name = name.trim_start_matches('/');
                    let prefix = name.split_once('_').map_or("", |(prefix, _)| prefix);
                    !(prefix.len() == 12 && prefix.bytes().all(|b| b.is_ascii_hexdigit()))
                });
                let number = number(summary.labels.as_ref()?)?;
                named.then_some((number, summary.id?))
            })
            .collect();
        found.sort_unstable();
        if let Some((_, id)) = found.first() {
            let found = engine.inspect_json(id).await;
            return found.map_err(|error| engine.explain(error));
        }
        let ComposeService { project, name } = service;
        if begun.elapsed() > FIRST_CONTAINER_TIMEOUT {
            return Err(RuntimeError(format!(
                "--service {name}: project {project} has no container of it: docker compose up {name} \
                 starts one"
            )));
        }
        if !is_told {
            info!("docker: waiting for compose to create a container of {name}");
            is_told = true;
        }
        sleep(POLL_INTERVAL).await;
    }
}
