//! Adopts what compose has started.

use std::rc::Rc;

use bollard::errors::Error;
use log::{debug, info};
use serde_json::{Value, json};

use super::super::container::ContainerInfo;
use super::super::container_table::ContainerId;
use super::super::events::EventTx;
use super::super::labels::COMPOSE_CONFIG_HASH;
use super::super::names::{ContainerRole, container_name};
use super::super::{DockerFleet, anonymous_volumes, template};
use super::{LastContainer, stand_in};
use crate::fleet::ContainerTemplate;
use crate::ring::ReplicaName;

impl DockerFleet {
    /// Adopts the containers that a service has at the start; none if there is no service.
    pub(in super::super) async fn adopt_from_compose(&self, found: &[ContainerInfo]) {
        if self.settings.service.is_none() {
            return;
        }
        for info in found.iter().filter(|info| info.spare.is_none()) {
            self.take_over(info).await;
        }
    }

    /// Adopts a container of the service that has been started.
    pub(in super::super) async fn adopt_from_service(
        self: Rc<Self>,
        container: ContainerId,
        tx: EventTx,
    ) {
        let listed = self.engine.list(self.view(), "id", vec![container]).await;
        // If the list fails, the next resync finds it.
        for info in listed.unwrap_or_default() {
            if self.role(&info) == ContainerRole::Current {
                self.take_over(&info).await;
                self.report_running(info, &tx);
            }
        }
    }

    /// Keeps the configuration of a container, and its restarts from the engine: they are the
    /// balancer's from now on.
    async fn take_over(&self, info: &ContainerInfo) {
        let replica = &info.order.id.replica;
        let found = match self.engine.inspect_json(&info.container).await {
            Ok(found) => found,
            Err(error) => {
                let error = self.engine.explain(error);
                return debug!("docker: cannot inspect {}: {error}", info.name);
            }
        };
        self.advise(replica, &found);
        self.remember(replica, &found).await;
        let config = found["Config"]["Labels"][COMPOSE_CONFIG_HASH].as_str();
        self.known_service.borrow_mut().adopted(replica, config);
        self.replace_other_spares(config);
        let policy = found["HostConfig"]["RestartPolicy"]["Name"].as_str();
        if policy.is_some_and(|name| !matches!(name, "" | "no"))
            && let Err(error) = self.stop_restarts(&info.container).await
        {
            let error = self.engine.explain(error);
            info!("docker: {replica} is restarted by the engine, too: {error}");
        }
    }

    async fn stop_restarts(&self, container: &str) -> Result<Value, Error> {
        let update = json!({ "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 } });
        let path = format!("/containers/{container}/update");
        self.engine.post_json(&path, &update).await
    }

    /// The same for a container that this balancer has started: it may be removed before anybody looks at it
    /// again.
    pub(in super::super) async fn remember_started(self: Rc<Self>, replica: ReplicaName) {
        let name = container_name(self.prefix(), &replica);
        if self.settings.service.is_some()
            && let Ok(found) = self.engine.inspect_json(&name).await
        {
            self.remember(&replica, &found).await;
        }
    }

    /// Keeps the configuration of a replica's container for its successor, volumes without a name
    /// included.
    pub(super) async fn remember(&self, replica: &ReplicaName, found: &Value) {
        let id = found["Image"].as_str().unwrap_or_default();
        let image = self.engine.image_json(id).await;
        let Ok(mut body) = template::body(found, &image.unwrap_or_default()) else {
            return;
        };
        anonymous_volumes::keep(&mut body, &found["Mounts"]);
        // What is healed stays what it was, whatever its name means by now.
        body["Image"] = json!(self.engine.image_of(found).await);
        let name = found["Name"].as_str().unwrap_or_default();
        let template = ContainerTemplate {
            container: name.trim_start_matches('/').to_owned(),
            body,
        };
        let last = LastContainer {
            template,
            mounts: found["Mounts"].clone(),
            created: stand_in::created(found),
        };
        let mut known = self.known_service.borrow_mut();
        known.templates.insert(replica.clone(), last);
    }
}
