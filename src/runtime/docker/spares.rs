//! Warm spares as containers. A spare is `<fleet>-<spare>-of-<balancer>`: each balancer of a fleet has its
//! own, and takes over those of one that has ended by renaming them. Where a replica dies the name of its
//! container is the lock, as it is for a container that is started: the dead one is renamed, and the spare
//! gets the plain name. So its name says at every moment what it is.

use std::collections::HashMap;
use std::rc::Rc;

use actix::spawn;
use bollard::errors::Error;
use bollard::query_parameters::RenameContainerOptionsBuilder;
use log::{debug, info, warn};
use tokio::time::sleep;

use super::container::ContainerInfo;
use super::engine::{is_conflict, is_missing};
use super::labels::{FLEET, SPARE};
use super::launch::{ATTEMPT_PAUSE, ATTEMPTS, ATTEMPTS_FOR_STARTING};
use super::name_conflict::Resolution;
use super::names::{ContainerRole, container_name, spare_name, spare_owner};
use super::{DockerFleet, existing};
use crate::fleet::spare_number;
use crate::runtime::{
    Existing, InstanceId, LaunchOrder, LeftSpares, RuntimeError, TakenSpare, balancer_name,
};

impl DockerFleet {
    /// Whether a container is another balancer's spare.
    pub(super) fn is_foreign_spare(&self, info: &ContainerInfo) -> bool {
        self.role(info) == ContainerRole::Spare
            && spare_owner(self.prefix(), &info.order.id.replica, &info.name)
                != Some(balancer_name())
    }

    /// Gives a spare the name of a replica whose instance was to be started.
    pub(super) async fn take_spare(
        self: Rc<Self>,
        spare: InstanceId,
        order: LaunchOrder,
    ) -> TakenSpare {
        let Some(container) = self.containers.borrow().live_container(&spare) else {
            return TakenSpare::Gone;
        };
        if self.settings.service.is_some() {
            return self.stand_in(container, spare, order).await;
        }
        // Addressed by its name as a spare: once it has another one it is not this balancer's to take.
        let own = spare_name(self.prefix(), &spare.replica, balancer_name());
        let name = container_name(self.prefix(), &order.id.replica);
        let mut attempts = 0;
        loop {
            // Most probably the dead container has the name.
            let wait_for_start = attempts < ATTEMPTS_FOR_STARTING;
            match self
                .resolve_name_conflict(&name, &order, wait_for_start)
                .await
            {
                Ok(Resolution::Retry) => {}
                Ok(Resolution::TakenOver(running)) => return TakenSpare::Stays(Ok(running)),
                Err(error) => return TakenSpare::Stays(Err(error)),
            }
            match self.rename_spare(&own, &name).await {
                Ok(()) => break,
                Err(error) if is_missing(&error) => return TakenSpare::Gone,
                Err(error) if is_conflict(&error) && attempts < ATTEMPTS => {
                    attempts += 1;
                    sleep(ATTEMPT_PAUSE).await;
                }
                Err(error) => return TakenSpare::Stays(Err(self.engine.explain(error))),
            }
        }
        let id = InstanceId::new(order.id.replica, spare.generation);
        if !self.containers.borrow_mut().plays(&container, &id) {
            return TakenSpare::Gone;
        }
        spawn(self.remove_predecessors(id.clone()));
        TakenSpare::Plays(id)
    }

    /// Renames a container; unlike for others it is an error if there is none of this name.
    pub(super) async fn rename_spare(&self, from: &str, to: &str) -> Result<(), Error> {
        let options = RenameContainerOptionsBuilder::default().name(to).build();
        self.engine.docker.rename_container(from, options).await
    }

    /// Takes over the spares of balancers that have ended.
    pub(super) async fn adopt_spares(self: Rc<Self>) -> LeftSpares {
        let started_as_spares = match self.started_as_spares().await {
            Ok(listed) => listed,
            Err(error) => {
                warn!("docker: cannot look for the spares of an earlier balancer: {error}");
                return LeftSpares::default();
            }
        };
        let running = started_as_spares.iter().filter(|info| info.running);
        let numbers = running.filter_map(|info| spare_number(info.spare.as_ref()?));
        let last_number = numbers.max().unwrap_or_default();
        let mut present = HashMap::new();
        let mut running = Vec::new();
        for info in started_as_spares {
            let spare = &info.order.id.replica;
            let Some(owner) = spare_owner(self.prefix(), spare, &info.name) else {
                // It plays a replica.
                continue;
            };
            let is_present = match present.get(owner) {
                Some(known) => *known,
                None => {
                    let asked = Rc::clone(&self).is_present(owner.to_owned()).await;
                    // If the engine does not say, they are not touched.
                    let is_present = asked.unwrap_or(true);
                    present.insert(owner.to_owned(), is_present);
                    is_present
                }
            };
            if is_present {
                continue;
            }
            if !info.running {
                self.remove_leftover(&info).await;
                continue;
            }
            let name = spare_name(self.prefix(), spare, balancer_name());
            match self.rename_spare(&info.name, &name).await {
                Ok(()) => {
                    info!("docker: {spare} was the spare of an earlier balancer");
                    let mut containers = self.containers.borrow_mut();
                    containers.adopted(&info.container, &info.order.id);
                    let definition = match self.settings.service {
                        Some(_) => self.adopt_spare_of_service(&info),
                        None => info.definition.clone(),
                    };
                    running.push(Existing {
                        definition,
                        ..existing(info)
                    });
                }
                // Another balancer was quicker, perhaps.
                Err(error) => {
                    let error = self.engine.explain(error);
                    debug!("docker: cannot take over {}: {error}", info.name);
                }
            }
        }
        LeftSpares {
            running,
            last_number,
        }
    }

    /// Every container that was started as a spare, whatever it plays by now.
    async fn started_as_spares(&self) -> Result<Vec<ContainerInfo>, RuntimeError> {
        let fleet = format!("{FLEET}={}", self.settings.fleet);
        let labels = vec![fleet, SPARE.to_owned()];
        let mut listed = self.engine.list(self.view(), "label", labels).await?;
        listed.sort_by_key(|info| info.order.id.generation);
        Ok(listed)
    }
}
