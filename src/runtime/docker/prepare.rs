//! What happens before anything listens: the engine, the image and the network are there, and the containers
//! of an earlier balancer, or of others, are found.

use std::rc::Rc;

use actix::spawn;
use log::{info, warn};

use super::container::ContainerInfo;
use super::inventory::{newest_of_each, outdated};
use super::names::ContainerRole;
use super::{DockerFleet, DockerSettings, Security, existing, run_options};
use crate::runtime::{Existing, RuntimeError};

impl DockerFleet {
    /// `follows`: another balancer carries a rollout out.
    pub(super) async fn prepare(
        self: Rc<Self>,
        follows: bool,
    ) -> Result<Vec<Existing>, RuntimeError> {
        self.engine.handshake().await?;
        self.find_image().await?;
        self.ensure_network().await?;
        self.check_other_networks(&self.settings).await?;
        report_loosened(&self.settings);

        self.acknowledge_all().await;
        let mut containers = self.list_fleet().await?;
        let leaving = containers.extract_if(.., |info| self.role(info) == ContainerRole::Leaving);
        for info in leaving.collect::<Vec<_>>() {
            // The balancer that removed that replica may have ended.
            spawn(Rc::clone(&self).finish_removal(info));
        }
        let containers = match follows {
            true => {
                let others = [
                    ContainerRole::Next,
                    ContainerRole::Extra,
                    ContainerRole::Retired,
                ];
                containers.retain(|info| !others.contains(&self.role(info)));
                self.is_known_shared.set(true);
                containers
            }
            false => self.settle_rollout(containers).await,
        };
        self.adopt_from_compose(&containers).await;
        let containers = self.settle_stand_ins(containers).await;
        let (found, superseded) = newest_of_each(containers);
        for info in outdated(superseded, &found) {
            self.remove_leftover(&info).await;
        }
        for info in found.iter().filter(|info| info.running) {
            let mut containers = self.containers.borrow_mut();
            containers.adopted(&info.container, &info.order.id);
        }
        self.find_outdated(&found);
        Ok(found.into_iter().map(existing).collect())
    }

    /// Finds out about the image. Containers that run do not need one that is gone.
    async fn find_image(&self) -> Result<(), RuntimeError> {
        let DockerSettings { image, pull, .. } = &self.settings;
        let error = match self.engine.ensure_image(image, *pull).await {
            Ok(facts) => {
                self.image.replace(Some(facts));
                return Ok(());
            }
            Err(error) => error,
        };
        let listed = match self.settings.service {
            // Their port is said by the image.
            Some(_) => Vec::new(),
            None => self.list_fleet().await.unwrap_or_default(),
        };
        if !listed.iter().any(|info| info.endpoint.is_some()) {
            return Err(error);
        }
        warn!("docker: {error}; what runs serves on, and none can be started of that image");
        Ok(())
    }

    /// Remembers which running containers compose would make in another way now.
    fn find_outdated(&self, found: &[ContainerInfo]) {
        if self.settings.service.is_none() {
            return;
        }
        let running = || found.iter().filter(|info| info.running);
        // The last one that compose has made shows what it would make now.
        let last = running().max_by_key(|info| info.order.id.generation);
        let present = last.and_then(|info| info.config_hash.as_ref());
        let outdated = running()
            .filter(|info| info.config_hash.is_some() && info.config_hash.as_ref() != present)
            .map(|info| info.order.id.clone());
        self.outdated.replace(outdated.collect());
    }
}

/// Logs what lets replicas do more than their level of security does.
pub(super) fn report_loosened(settings: &DockerSettings) {
    let DockerSettings {
        security,
        container,
        ..
    } = settings;
    let flags = run_options::loosened(container, *security == Security::Restricted);
    if !flags.is_empty() {
        let (level, flags) = (security.name(), flags.join(", "));
        info!("docker: --replica-security {level}, loosened by {flags}");
    }
}
