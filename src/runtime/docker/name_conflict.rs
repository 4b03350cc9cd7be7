//! Resolves the conflict when a launch finds a replica's name in use.
//!
//! The engine gives a name to one container only: of two balancers that start a replica one is
//! first, and the other takes over its container as it is. A container loses its name only if it
//! is dead (the normal case at a respawn), if this balancer has given it up (it hangs and does
//! not stop), or if it has no address in the fleet's network.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::SystemTime;

use actix::spawn;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as Status};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder};
use log::{debug, info, warn};

use super::DockerFleet;
use super::container::{address, read_port};
use super::engine::{is_conflict, is_missing};
use super::labels::{DEFINITION, FLEET};
use super::names::{dead_name, instance};
use crate::runtime::{InstanceId, LaunchOrder, Launched, RuntimeError};

/// How a conflict was resolved.
pub(super) enum Resolution {
    /// The name is free, or soon may be: try again.
    Retry,
    /// The container that holds the name is the replica's instance.
    TakenOver(Launched),
}

impl DockerFleet {
    /// Resolves the conflict with the container that holds the name. If `wait_for_start`, a
    /// container that was created and does not run yet is left alone: another balancer is about
    /// to start it.
    pub(super) async fn resolve_name_conflict(
        self: &Rc<Self>,
        name: &str,
        order: &LaunchOrder,
        wait_for_start: bool,
    ) -> Result<Resolution, RuntimeError> {
        let asked_at = SystemTime::now();
        let lock = self.lock(&order.id.replica);
        let _held = lock.lock().await;
        let holder = match self.engine.inspect(name).await {
            Ok(holder) => holder,
            Err(error) if is_missing(&error) => return Ok(Resolution::Retry),
            Err(error) => return Err(self.engine.explain(error)),
        };
        let status = holder.state.as_ref().and_then(|state| state.status);
        if status == Some(Status::REMOVING) {
            return Ok(Resolution::Retry);
        }
        let labels = holder.config.as_ref().and_then(|c| c.labels.as_ref());
        let fleet = &self.settings.fleet;
        let instance = labels.and_then(|labels| {
            let ours = labels.get(FLEET) == Some(fleet);
            let named = instance(self.prefix(), name, labels);
            named.filter(|i| ours && i.replica == order.id.replica)
        });
        let (Some(id), Some(container)) = (instance, holder.id.clone()) else {
            if let Some(foreigner) = holder.id {
                let replica = order.id.replica.clone();
                spawn(Rc::clone(self).await_removal(foreigner, replica, asked_at));
            }
            return Err(RuntimeError(format!(
                "the container name {name} is taken by a container that is not of fleet {fleet}"
            )));
        };
        let given_up = self.containers.borrow().is_given_up(&container);
        match (is_running(&holder), self.endpoint(&holder)) {
            (true, Some(endpoint)) if !given_up => {
                info!("docker: {id} already runs: another balancer has started it");
                self.containers.borrow_mut().adopted(&container, &id);
                return Ok(Resolution::TakenOver(Launched {
                    id,
                    endpoint,
                    definition: labels.and_then(|labels| labels.get(DEFINITION).cloned()),
                }));
            }
            (true, _) => {
                // This balancer sends no requests to it any more.
                warn!("docker: {id} still runs; removing it for its successor");
                self.engine.remove(&container).await?;
                self.containers.borrow_mut().removed(&container);
            }
            (false, _) if status == Some(Status::CREATED) => {
                if !wait_for_start {
                    self.remove_unstarted(&container).await?;
                }
            }
            (false, _) => {
                self.containers.borrow_mut().removed(&container);
                self.rename_dead(&container, &id).await?;
            }
        }
        Ok(Resolution::Retry)
    }

    pub(super) fn endpoint(&self, holder: &ContainerInspectResponse) -> Option<SocketAddr> {
        let networks = holder.network_settings.as_ref()?.networks.as_ref()?;
        let address = address(networks.get(&self.settings.network)?)?;
        let labels = holder.config.as_ref()?.labels.as_ref()?;
        Some(SocketAddr::new(
            address,
            read_port(labels, self.view().port),
        ))
    }

    /// Renames a dead container, or removes it if the new name is taken.
    pub(super) async fn rename_dead(
        &self,
        container: &str,
        instance: &InstanceId,
    ) -> Result<(), RuntimeError> {
        let aside = dead_name(self.prefix(), instance);
        let Err(error) = self.rename(container, &aside).await else {
            return Ok(());
        };
        // Another balancer may have renamed it.
        let found = self.engine.inspect(container).await;
        if found.is_ok_and(|found| found.name.as_deref() == Some(&format!("/{aside}"))) {
            return Ok(());
        }
        debug!("docker: cannot rename the dead container of {instance}: {error}");
        self.engine.remove(container).await
    }

    /// Renames a container. It is no error if it is gone.
    pub(super) async fn rename(&self, container: &str, name: &str) -> Result<(), RuntimeError> {
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        let docker = &self.engine.docker;
        match docker.rename_container(container, options).await {
            Err(error) if !is_missing(&error) => Err(self.engine.explain(error)),
            _ => Ok(()),
        }
    }

    /// Removes a container that was created and never started, unless it has been started since.
    async fn remove_unstarted(&self, container: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default().v(true).build();
        let docker = &self.engine.docker;
        match docker.remove_container(container, Some(options)).await {
            Err(error) if !is_missing(&error) && !is_conflict(&error) => {
                Err(self.engine.explain(error))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn is_running(container: &ContainerInspectResponse) -> bool {
    container.state.as_ref().and_then(|state| state.running) == Some(true)
}
