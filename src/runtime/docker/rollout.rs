//! Containers of a rollout. Names are locks: a container that starts beside the one that plays its
//! replica is `<fleet>-<replica>-next-<generation>`; when it takes the place, the other one is renamed to
//! `-retired-<generation>`, which is no removal, and it gets the plain name.

use std::rc::Rc;
use std::time::Duration;

use actix::spawn;
use log::{info, warn};
use tokio::time::Instant;

use super::container::ContainerInfo;
use super::inventory::newest_of_each;
use super::labels::{FLEET, REPLICA};
use super::names::{ContainerRole, container_name, retired_name};
use super::prepare::report_loosened;
use super::{DockerFleet, DockerSettings, existing};
use crate::fleet::Definition;
use crate::runtime::{Existing, InstanceId, RuntimeError};

/// From the moment in which a container takes the place of another one to the end of that: other
/// balancers have it on their rings by then, and have finished what they had in flight on the old one,
/// but for long requests.
const FOLLOWING: Duration = Duration::from_secs(1);

impl DockerFleet {
    /// Makes sure that the engine has the image and the networks, and finds out whether other balancers
    /// will follow.
    pub(super) async fn prepare_rollout(
        self: Rc<Self>,
        definition: Definition,
    ) -> Result<(), RuntimeError> {
        if self.settings.service.is_none() {
            Rc::clone(&self).is_shared().await;
        }
        let mut words = definition.template.command.iter().flatten();
        let names_replica = |word: &String| word.contains("{name}") || word.contains("{ordinal}");
        if self.has_spares.get() && words.any(names_replica) {
            let wrong = "{name} and {ordinal} in the command would be a spare's; take the header \
                         Ringmaster-Replica, or start the balancer without --spares";
            return Err(RuntimeError(wrong.to_owned()));
        }
        let settings = self.settings.following(&definition);
        settings.check_network(&self.settings)?;
        self.check_other_networks(&settings).await?;
        let of = |settings: &DockerSettings| (settings.container.clone(), settings.security);
        if of(&settings) != of(&self.settings) {
            report_loosened(&settings);
        }
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
                if info.name == name || self.role(&info) == ContainerRole::StandIn {
                    let retired = retired_name(self.prefix(), &info.order.id);
                    self.rename(&info.container, &retired).await?;
                    if !self.containers.borrow().knows(&info.container) {
                        // Another balancer has just started it, and leaves it to this one.
                        spawn(Rc::clone(&self).finish_removal(info));
                        continue;
                    }
                    let end_at = Instant::now() + FOLLOWING;
                    let mut retiring = self.retiring.borrow_mut();
                    retiring.insert(info.order.id, end_at);
                }
            }
            for info in successor {
                if info.name != name {
                    self.rename(&info.container, &name).await?;
                }
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

    /// When the container of an instance may be ended whose place another one has taken; none: at once.
    pub(super) fn may_end_at(&self, id: &InstanceId) -> Option<Instant> {
        let end_at = self.retiring.borrow_mut().remove(id)?;
        self.is_known_shared.get().then_some(end_at)
    }

    /// Brings what another balancer has left of a rollout to one container a replica.
    pub(super) async fn settle(self: Rc<Self>) -> Result<Vec<Existing>, RuntimeError> {
        let containers = self.list_fleet().await?;
        let settled = self.settle_rollout(containers).await;
        let mut found = newest_of_each(settled).0;
        found.retain(|info| self.role(info) == ContainerRole::Current);
        for info in found.iter().filter(|info| info.running) {
            let mut containers = self.containers.borrow_mut();
            if !containers.knows(&info.container) {
                containers.adopted(&info.container, &info.order.id);
            }
        }
        Ok(found.into_iter().map(existing).collect())
    }

    /// Brings what a rollout of an earlier balancer left half-way to one container a replica: one that
    /// has the plain name stays, and one beside it goes; without one, that beside it gets the name. One
    /// whose place was taken is ended. One of a canary goes: if there still is a canary, it is started
    /// anew. Returns the containers that stay.
    pub(super) async fn settle_rollout(
        self: &Rc<Self>,
        mut containers: Vec<ContainerInfo>,
    ) -> Vec<ContainerInfo> {
        let retired = containers.extract_if(.., |i| self.role(i) == ContainerRole::Retired);
        for info in retired.collect::<Vec<_>>() {
            spawn(Rc::clone(self).finish_removal(info));
        }
        let extra = containers.extract_if(.., |i| self.role(i) == ContainerRole::Extra);
        let mut left: Vec<_> = extra.collect();
        for info in &left {
            info!(
                "docker: {} was a canary of an earlier balancer: it is removed",
                info.name
            );
        }
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
            // It has no requests any more, and its name is free at once for another attempt.
            self.remove_leftover(&info).await;
        }
        containers
    }
}
