//! Who has a replica's name, when a launch finds it taken.
//!
//! The engine lets one container have a name, whoever asks: of two balancers that start a
//! replica one is first. The other leaves the winner's container alone and takes it over as
//! it is. Taken away is the name only from what is dead, from what this balancer has given
//! up (it hangs, and would not stop), and from what cannot be reached.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::SystemTime;

use actix::spawn;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as Status};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder};
use log::{debug, info, warn};

use crate::runtime::docker::Inner;
use crate::runtime::docker::container::{FLEET, address, read_instance, read_port};
use crate::runtime::docker::engine::{is_conflict, is_missing};
use crate::runtime::docker::names::dead_name;
use crate::runtime::{InstanceId, LaunchOrder, Running, RuntimeError};

/// What has become of the holder of a name.
pub(super) enum Holder {
    /// The name is free, or soon may be: worth another try.
    MayBeGone,
    /// It plays the replica.
    Stays(Running),
}

impl Inner {
    /// Deals with whoever holds the name. With patience, one that was created and does not
    /// run yet is waited for: another balancer is about to start it.
    pub(super) async fn make_way(
        self: &Rc<Self>,
        name: &str,
        order: &LaunchOrder,
        patient: bool,
    ) -> Result<Holder, RuntimeError> {
        let asked_at = SystemTime::now();
        let lock = self.lock(&order.id.replica);
        let _held = lock.lock().await;
        let holder = match self.engine.inspect(name).await {
            Ok(holder) => holder,
            Err(error) if is_missing(&error) => return Ok(Holder::MayBeGone),
            Err(error) => return Err(self.engine.explain(error)),
        };
        let status = holder.state.as_ref().and_then(|state| state.status);
        if status == Some(Status::REMOVING) {
            return Ok(Holder::MayBeGone);
        }
        let labels = holder.config.as_ref().and_then(|c| c.labels.as_ref());
        let fleet = &self.settings.fleet;
        let instance = labels.and_then(|labels| {
            let ours = labels.get(FLEET) == Some(fleet);
            read_instance(labels).filter(|i| ours && i.replica == order.id.replica)
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
        let given_up = self.book.borrow().is_given_up(&container);
        match (is_running(&holder), self.endpoint(&holder)) {
            (true, Some(endpoint)) if !given_up => {
                info!("docker: {id} runs already, another balancer has started it");
                self.book.borrow_mut().adopted(&container, &id);
                return Ok(Holder::Stays(Running { id, endpoint }));
            }
            (true, _) => {
                // Nobody here is served by it any more.
                warn!("docker: {id} still runs; its successor takes over");
                self.engine.remove(&container).await?;
                self.book.borrow_mut().removed(&container);
            }
            (false, _) if status == Some(Status::CREATED) => {
                if !patient {
                    self.remove_unstarted(&container).await?;
                }
            }
            (false, _) => {
                self.book.borrow_mut().removed(&container);
                self.put_aside(&container, &id).await?;
            }
        }
        Ok(Holder::MayBeGone)
    }

    fn endpoint(&self, holder: &ContainerInspectResponse) -> Option<SocketAddr> {
        let networks = holder.network_settings.as_ref()?.networks.as_ref()?;
        let address = address(networks.get(&self.settings.network)?)?;
        let labels = holder.config.as_ref()?.labels.as_ref()?;
        Some(SocketAddr::new(address, read_port(labels)))
    }

    /// Renames a dead container, or removes it if even that name is taken.
    pub(super) async fn put_aside(
        &self,
        container: &str,
        instance: &InstanceId,
    ) -> Result<(), RuntimeError> {
        let aside = dead_name(&self.settings.fleet, instance);
        let Err(error) = self.rename(container, &aside).await else {
            return Ok(());
        };
        // Another balancer may have been quicker.
        let found = self.engine.inspect(container).await;
        if found.is_ok_and(|found| found.name.as_deref() == Some(&format!("/{aside}"))) {
            return Ok(());
        }
        debug!("docker: cannot put {instance} aside: {error}");
        self.engine.remove(container).await
    }

    /// Gives a container another name. One that is gone is fine.
    pub(super) async fn rename(&self, container: &str, name: &str) -> Result<(), RuntimeError> {
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        let renamed = self
            .engine
            .docker
            .rename_container(container, options)
            .await;
        match renamed {
            Err(error) if !is_missing(&error) => Err(self.engine.explain(error)),
            _ => Ok(()),
        }
    }

    /// Removes what was created and never started, unless it is started at this moment.
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
