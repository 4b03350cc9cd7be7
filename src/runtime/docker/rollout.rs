//! Containers of a rollout. Names are locks: a container that starts beside the one that plays its
//! replica is `<fleet>-<replica>-next-<generation>`; when it takes the place, the other one is renamed to
//! `-retired-<generation>`, which is no removal, and it gets the plain name.

use std::rc::Rc;

use actix::spawn;
use log::{info, warn};

use super::DockerFleet;
use super::container::ContainerInfo;
use super::labels::{FLEET, REPLICA};
use super::names::{ContainerRole, container_name, retired_name};
use crate::fleet::Definition;
use crate::runtime::{InstanceId, RuntimeError};

impl DockerFleet {
    /// Makes sure that the engine has the image, and that no other balancer serves the fleet.
    pub(super) async fn prepare_rollout(
        self: Rc<Self>,
        definition: Definition,
    ) -> Result<(), RuntimeError> {
        if self.settings.service.is_none() && Rc::clone(&self).is_shared().await {
            return Err(RuntimeError(
                "other balancers serve this fleet, and would not follow: stop them first"
                    .to_owned(),
            ));
        }
        let settings = self.settings.following(&definition);
        let checked = self.engine.ensure_image(&settings.image, settings.pull);
        checked.await.map(|_| ())
    }

    /// Has a container play its replica by its name. What cannot be renamed is logged: the fleet knows
    /// its containers by their ids, and the next start finishes the rename.
    pub(super) async fn take_place(self: Rc<Self>, id: InstanceId) {
        let lock = self.lock(&id.replica);
        let _held = lock.lock().await;
        let name = container_name(self.prefix(), &id.replica);
        let labels = [
            (FLEET, self.settings.fleet.as_str()),
            (REPLICA, id.replica.as_str()),
        ];
        let renamed = async {
            let listed = self.list(&labels).await?;
            let (successor, others): (Vec<_>, Vec<_>) =
                listed.into_iter().partition(|info| info.order.id == id);
            for info in others {
                if info.name == name {
                    let retired = retired_name(self.prefix(), &info.order.id);
                    self.rename(&info.container, &retired).await?;
                }
            }
            for info in successor {
                self.rename(&info.container, &name).await?;
                if self.settings.service.is_some() {
                    self.took_place(&info).await;
                }
            }
            Ok::<_, RuntimeError>(())
        };
        if let Err(error) = renamed.await {
            warn!("docker: cannot give {id} the name {name}: {error}");
        }
    }

    /// Brings what a rollout of an earlier balancer left half-way to one container a replica: one that
    /// has the plain name stays, and one beside it goes; without one, that beside it gets the name. One
    /// whose place was taken is ended. Returns the containers that stay.
    pub(super) async fn settle_rollout(
        self: &Rc<Self>,
        mut containers: Vec<ContainerInfo>,
    ) -> Vec<ContainerInfo> {
        let retired = containers.extract_if(.., |i| self.role(i) == ContainerRole::Retired);
        for info in retired.collect::<Vec<_>>() {
            spawn(Rc::clone(self).finish_removal(info));
        }
        let mut left = Vec::new();
        let next = containers.extract_if(.., |info| self.role(info) == ContainerRole::Next);
        for mut info in next.collect::<Vec<_>>() {
            let replica = &info.order.id.replica;
            let is_current = |other: &ContainerInfo| {
                other.order.id.replica == *replica && self.role(other) == ContainerRole::Current
            };
            if !info.running || containers.iter().any(is_current) {
                left.push(info);
                continue;
            }
            let name = container_name(self.prefix(), replica);
            match self.rename(&info.container, &name).await {
                Ok(()) => {
                    info!("docker: {} gets the name {name}", info.order.id);
                    info.name = name;
                    containers.push(info);
                }
                Err(error) => {
                    warn!(
                        "docker: cannot give {} the name {name}: {error}",
                        info.order.id
                    );
                    left.push(info);
                }
            }
        }
        for info in left {
            // It has had no requests, and its name is free at once for another attempt.
            self.remove_leftover(&info).await;
        }
        containers
    }
}
