//! The containers of the fleet, as the engine lists them.

use std::collections::{HashMap, HashSet};

use log::warn;

use super::DockerFleet;
use super::container::{ContainerInfo, FleetView};
use super::image_facts::{DEFAULT_PORT, port};
use super::labels::{FLEET, GENERATION, REPLICA, SPARE};
use super::names::{ContainerRole, container_name, role};
use crate::ring::ReplicaName;
use crate::runtime::{InstanceId, RuntimeError};

/// The most containers with our labels and foreign names that are warned of.
const MAX_UNMANAGED_WARNED: usize = 100;

impl DockerFleet {
    /// Every container of this fleet, running or not.
    pub(super) async fn list_fleet(&self) -> Result<Vec<ContainerInfo>, RuntimeError> {
        self.list(&[(FLEET, &self.settings.fleet)]).await
    }

    /// The fleet's containers with these labels. Unmanaged containers that have them are left out,
    /// with a warning.
    pub(super) async fn list(
        &self,
        labels: &[(&str, &str)],
    ) -> Result<Vec<ContainerInfo>, RuntimeError> {
        let pair = |(key, value): &(&str, &str)| format!("{key}={value}");
        let selected = match &self.settings.service {
            // Compose's own have none of our labels.
            Some(service) => service.labels().iter().map(pair).collect(),
            // One that was a spare has another replica in its labels than in its name.
            None if self.has_spares.get() => vec![pair(&(FLEET, self.settings.fleet.as_str()))],
            None => labels.iter().map(pair).collect(),
        };
        let mut listed = self.engine.list(self.view(), "label", selected).await?;
        if self.settings.service.is_some() {
            // They have none of compose's labels.
            let spares = vec![pair(&(FLEET, &self.settings.fleet)), SPARE.to_owned()];
            listed.extend(self.engine.list(self.view(), "label", spares).await?);
        }
        let id_fits = |id: &InstanceId| {
            labels.iter().all(|(key, value)| match *key {
                REPLICA => id.replica.as_str() == *value,
                GENERATION => id.generation.to_string() == *value,
                _ => true,
            })
        };
        if listed.iter().any(|info| info.spare.is_some()) {
            self.has_spares.set(true);
        }
        listed.retain(|info| {
            if self.is_foreign_spare(info) || !id_fits(&info.order.id) {
                return false;
            }
            // A known container may have been renamed by hand.
            let ours = self.role(info) != ContainerRole::Unmanaged
                || self.containers.borrow().knows(&info.container);
            if !ours {
                self.warn_of_unmanaged(info);
            }
            ours
        });
        Ok(listed)
    }

    pub(super) fn role(&self, info: &ContainerInfo) -> ContainerRole {
        role(self.prefix(), &info.order.id, &info.name)
    }

    /// What the names of the fleet's containers begin with.
    pub(super) fn prefix(&self) -> &str {
        match &self.settings.service {
            Some(service) => &service.project,
            None => &self.settings.fleet,
        }
    }

    /// What the fleet's containers are read by.
    pub(super) fn view(&self) -> FleetView<'_> {
        FleetView {
            prefix: self.prefix(),
            network: &self.settings.network,
            service: self.settings.service.as_ref(),
            port: match &self.settings.service {
                Some(_) => port(&self.settings, &self.image_facts()),
                None => DEFAULT_PORT,
            },
        }
    }

    fn warn_of_unmanaged(&self, info: &ContainerInfo) {
        if self.settings.service.is_some() {
            // Compose creates a container under another name before it replaces one.
            return;
        }
        let mut unmanaged = self.unmanaged.borrow_mut();
        if unmanaged.len() < MAX_UNMANAGED_WARNED && unmanaged.insert(info.container.clone()) {
            let name = container_name(self.prefix(), &info.order.id.replica);
            warn!(
                "docker: container {} has the labels of {} but not its name, {name}: not managed",
                info.name, info.order.id
            );
        }
    }
}

/// Splits containers into the newest of each replica, in the order in which replicas joined, and
/// those that it has replaced. A container with an address is newer than any without.
pub(super) fn newest_of_each(
    mut containers: Vec<ContainerInfo>,
) -> (Vec<ContainerInfo>, Vec<ContainerInfo>) {
    containers.sort_by_key(|info| (info.endpoint.is_some(), info.order.id.generation));
    let mut newest = HashMap::new();
    let mut superseded = Vec::new();
    for info in containers {
        let replica = info.order.id.replica.clone();
        superseded.extend(newest.insert(replica, info));
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_by(|a, b| {
        let place = |r: &ContainerInfo| (r.order.ordinal, r.order.id.replica.clone());
        place(a).cmp(&place(b))
    });
    (newest, superseded)
}

/// The replaced containers that are to be removed: all but the last dead one of each replica, whose
/// log people may want to read. `newest` are the replicas' current containers.
pub(super) fn outdated(
    mut replaced: Vec<ContainerInfo>,
    newest: &[ContainerInfo],
) -> Vec<ContainerInfo> {
    // A replica whose newest container has died keeps that one, and none before it.
    let died = newest.iter().filter(|info| is_dead(info));
    let mut kept: HashSet<ReplicaName> = died.map(|r| r.order.id.replica.clone()).collect();
    replaced.sort_by_key(|info| std::cmp::Reverse(info.order.id.generation));
    replaced.retain(|info| !is_dead(info) || !kept.insert(info.order.id.replica.clone()));
    replaced
}

/// Whether a container has run and has ended.
fn is_dead(info: &ContainerInfo) -> bool {
    !info.running && !info.starting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::LaunchOrder;

    fn info(replica: &str, generation: u64, ordinal: u64) -> ContainerInfo {
        ContainerInfo {
            container: format!("{replica}.{generation}"),
            order: LaunchOrder {
                id: InstanceId::new(replica.parse().unwrap(), generation),
                weight: Default::default(),
                ordinal,
            },
            name: String::new(),
            running: false,
            starting: false,
            unhealthy: false,
            endpoint: None,
            definition: None,
            config_hash: None,
            spare: None,
        }
    }

    fn names(containers: Vec<ContainerInfo>) -> Vec<String> {
        containers.into_iter().map(|r| r.container).collect()
    }

    #[test]
    fn last_dead_container_of_each_replica_is_kept() {
        let runs = |info: ContainerInfo| ContainerInfo {
            running: true,
            ..info
        };
        let newest = [runs(info("a", 4, 1)), info("b", 4, 2)];
        let replaced = vec![
            info("a", 1, 1),
            info("a", 3, 1),
            runs(info("a", 2, 1)),
            info("b", 3, 2),
        ];
        assert_eq!(names(outdated(replaced, &newest)), ["b.3", "a.2", "a.1"]);
    }

    #[test]
    fn newest_container_of_each_replica_is_current() {
        let (newest, superseded) = newest_of_each(vec![
            info("b", 9, 2),
            info("a", 2, 3),
            info("b", 10, 2),
            info("a", 1, 3),
            info("c", 1, 1),
        ]);
        assert_eq!(names(newest), ["c.1", "b.10", "a.2"]);
        assert_eq!(names(superseded), ["a.1", "b.9"]);
    }
}
