//! Ending one container.

use std::rc::Rc;
use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, StopContainerOptionsBuilder};
use log::debug;
use tokio::time::sleep_until;

use super::DockerFleet;
use super::container::ContainerInfo;
use super::engine::{is_conflict, is_missing};
use super::labels::{FLEET, GENERATION, REPLICA};
use super::names::{ContainerRole, leaving_name};
use crate::runtime::{InstanceId, RuntimeError};

/// What the engine may take on top of the grace to answer a stop.
const STOP_MARGIN: Duration = Duration::from_secs(60);

impl DockerFleet {
    /// Tells every balancer of the fleet that the replica is removed, by the `rename` event of its
    /// container.
    pub(super) async fn announce_removal(self: Rc<Self>, id: InstanceId) {
        let lock = self.lock(&id.replica);
        let _held = lock.lock().await;
        match self.list_instance(&id).await {
            Ok(listed) => {
                for info in listed {
                    self.mark_leaving(&info).await;
                }
            }
            // `stop` tries again.
            Err(error) => debug!("docker: cannot announce the removal of {id}: {error}"),
        }
    }

    async fn mark_leaving(&self, info: &ContainerInfo) {
        if self.role(info) == ContainerRole::Leaving {
            return;
        }
        let id = &info.order.id;
        let name = leaving_name(self.prefix(), id);
        if let Err(error) = self.rename(&info.container, &name).await {
            debug!("docker: cannot announce the removal of {id}: {error}");
        }
    }

    /// The containers of one instance.
    pub(super) async fn list_instance(
        &self,
        id: &InstanceId,
    ) -> Result<Vec<ContainerInfo>, RuntimeError> {
        let generation = id.generation.to_string();
        // By labels, not by name: a successor may have the name by now.
        let labels = [
            (FLEET, self.settings.fleet.as_str()),
            (REPLICA, id.replica.as_str()),
            (GENERATION, generation.as_str()),
        ];
        self.list(&labels).await
    }

    pub(super) async fn stop(
        self: Rc<Self>,
        id: InstanceId,
        grace: Duration,
    ) -> Result<(), RuntimeError> {
        loop {
            // Registers before the check, so that no notification is missed.
            let over = self.launch_over.notified();
            if !self.containers.borrow().is_launching(&id) {
                break;
            }
            over.await;
        }
        let lock = self.lock(&id.replica);
        // One whose place is just being taken is renamed first.
        let held = lock.lock().await;
        let end_at = self.may_end_at(&id);
        drop(held);
        if let Some(end_at) = end_at {
            sleep_until(end_at).await;
        }
        let _held = lock.lock().await;
        let listed = self.list_instance(&id).await?;
        let (is_removal, is_kept) = {
            let containers = self.containers.borrow();
            (containers.is_being_removed(&id), containers.is_kept(&id))
        };
        for info in listed {
            self.containers.borrow_mut().forget(&info.container);
            if self.is_stopped_by_owner(&info.container) {
                // Compose is about to end it, and would miss it.
                continue;
            }
            if is_removal {
                self.mark_leaving(&info).await;
            }
            if info.running {
                self.end(&info.container, grace).await?;
            }
            if self.settings.service.is_some() && info.spare.is_some() {
                self.remove_spare(&info, is_kept).await?;
            } else if self.settings.service.is_some() {
                self.remove_from_service(&info, is_removal).await?;
            } else if is_kept && self.role(&info) != ContainerRole::Extra {
                self.rename_dead(&info.container, &id).await?;
            } else {
                self.engine.remove(&info.container).await?;
            }
            self.containers.borrow_mut().removed(&info.container);
        }
        if is_removal {
            self.remove_dead(&id.replica).await;
        }
        self.containers.borrow_mut().stopped(&id);
        Ok(())
    }

    /// SIGTERM (or the image's STOPSIGNAL), grace, SIGKILL.
    pub(super) async fn end(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        let docker = &self.engine.docker;
        let ended = if grace.is_zero() {
            let options = KillContainerOptionsBuilder::default()
                .signal("SIGKILL")
                .build();
            docker.kill_container(container, Some(options)).await
        } else {
            // The engine counts in whole seconds.
            let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
            let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
            let options = StopContainerOptionsBuilder::default().t(seconds).build();
            let timeout = grace.saturating_add(STOP_MARGIN);
            let slow = docker.clone().with_timeout(timeout);
            slow.stop_container(container, Some(options)).await
        };
        match ended {
            // It has ended by itself meanwhile.
            Err(error) if is_missing(&error) || is_conflict(&error) => Ok(()),
            ended => ended.map_err(|e| self.engine.explain(e)),
        }
    }
}
