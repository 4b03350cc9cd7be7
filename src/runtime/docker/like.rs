//! Settings of a fleet whose replicas are like an existing container (`--like`).

use std::time::Duration;

use log::info;

use super::engine::{Engine, is_missing};
use super::own_container::own_networks;
use super::{DockerSettings, template};
use crate::fleet::ContainerTemplate;
use crate::runtime::RuntimeError;

impl DockerSettings {
    /// How long the container that replicas are like has after its stop signal, if that was said.
    pub fn stop_timeout(&self) -> Option<Duration> {
        let seconds = self.like.as_ref()?.body["StopTimeout"].as_u64();
        // More than the engine takes itself could not be added to.
        seconds.map(|seconds| Duration::from_secs(seconds.min(i32::MAX as u64)))
    }

    /// These settings with the configuration of the container that replicas are like, on the
    /// engine of `DOCKER_HOST` or of the usual socket: its image, its port and its network where
    /// nothing else was given. `has_network`: a network was given. None if the container does not
    /// exist.
    ///
    /// # Errors
    ///
    /// The engine does not answer, or replicas cannot be like it.
    pub async fn like_container(mut self, has_network: bool) -> Result<Option<Self>, RuntimeError> {
        let Some(like) = self.like.take() else {
            return Ok(Some(self));
        };
        let name = like.container;
        let engine = Engine::from_env()?;
        engine.handshake().await?;
        let found = match engine.inspect_json(&name).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(engine.explain(error)),
        };
        let id = found["Image"].as_str().unwrap_or_default();
        let image = engine.image_json(id).await;
        // One that has been removed says nothing that could be left out.
        let image = image.unwrap_or_default();
        let wrong = |wrong: RuntimeError| RuntimeError(format!("--like {name}: {wrong}"));
        let body = template::body(&found, &image).map_err(wrong)?;
        if !has_network {
            let reachable = own_networks().await;
            let network = template::network_of(&body, &reachable);
            self.network = network.unwrap_or_default().to_owned();
        }
        if self.image.is_empty() {
            self.image = engine.image_of(&found).await;
        }
        self.template.port = self.template.port.or_else(|| template::port_of(&found));
        if found["HostConfig"]["PortBindings"]
            .as_object()
            .is_some_and(|ports| !ports.is_empty())
        {
            info!("docker: published ports of {name} are not copied: clients come by the balancer");
        }
        self.like = Some(ContainerTemplate {
            container: name,
            body,
        });
        Ok(Some(self))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stop_timeout_can_be_added_to_whatever_the_engine_says() {
        let timeout = |body| {
            let settings = DockerSettings {
                like: Some(ContainerTemplate {
                    container: "shop".to_owned(),
                    body,
                }),
                ..super::super::by_flags::tests::settings()
            };
            settings.stop_timeout()
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(timeout(json!({"StopTimeout": 3})), seconds(3));
        assert_eq!(timeout(json!({})), None);
        let longest = timeout(json!({"StopTimeout": u64::MAX}));
        assert_eq!(longest, seconds(2_147_483_647));
    }
}
