//! The names of containers, and the roles that follow from them. Pure.

use std::collections::HashMap;

use super::labels::{SPARE, read_instance};
use crate::ring::ReplicaName;
use crate::runtime::InstanceId;

/// The name of a replica's container. It is also the lock between balancers: the engine gives it
/// to one container only.
pub(super) fn container_name(fleet: &str, replica: &ReplicaName) -> String {
    format!("{fleet}-{replica}")
}

/// The name to which a dead container is renamed for its successor.
pub(super) fn dead_name(fleet: &str, id: &InstanceId) -> String {
    format!("{fleet}-{}-dead-{}", id.replica, id.generation)
}

/// The name to which the container of a removed replica is renamed until it is gone. Every balancer
/// of the fleet gets the `rename` event.
pub(super) fn leaving_name(fleet: &str, id: &InstanceId) -> String {
    format!("{fleet}-{}-leaving-{}", id.replica, id.generation)
}

/// The name of a container that starts beside the one that plays its replica.
pub(super) fn next_name(fleet: &str, id: &InstanceId) -> String {
    format!("{fleet}-{}-next-{}", id.replica, id.generation)
}

/// The name of a container that plays no replica: one of a rollout's canary.
pub(super) fn extra_name(fleet: &str, id: &InstanceId) -> String {
    format!("{fleet}-{}-extra-{}", id.replica, id.generation)
}

/// The name to which a container is renamed whose place another one has taken; that is no removal.
pub(super) fn retired_name(fleet: &str, id: &InstanceId) -> String {
    format!("{fleet}-{}-retired-{}", id.replica, id.generation)
}

/// The name of a balancer's spare. Its owner is in it, since labels cannot be changed.
pub(super) fn spare_name(fleet: &str, spare: &ReplicaName, balancer: &str) -> String {
    format!("{fleet}-{spare}-of-{balancer}")
}

/// The name of a spare that plays a replica of a compose service: the plain name is compose's.
pub(super) fn stand_in_name(fleet: &str, id: &InstanceId) -> String {
    format!("{fleet}-{}-spare-{}", id.replica, id.generation)
}

/// The balancer whose spare a container of this name is; none if it plays a replica.
pub(super) fn spare_owner<'a>(fleet: &str, spare: &ReplicaName, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(&spare_name(fleet, spare, ""))
}

/// The instance that a container is. One that was started as a spare plays the replica whose name it has,
/// whatever its labels say; its generation stays.
pub(super) fn instance(
    fleet: &str,
    name: &str,
    labels: &HashMap<String, String>,
) -> Option<InstanceId> {
    let started_as = read_instance(labels)?;
    if !labels.contains_key(SPARE) || spare_owner(fleet, &started_as.replica, name).is_some() {
        return Some(started_as);
    }
    let generation = started_as.generation;
    let rest = name.strip_prefix(fleet).and_then(|r| r.strip_prefix('-'));
    let replica = rest.and_then(|rest| {
        let mut suffixes = ["dead", "leaving", "retired", "spare"].into_iter();
        let plain = suffixes.find_map(|s| rest.strip_suffix(&format!("-{s}-{generation}")));
        plain.unwrap_or(rest).parse().ok()
    });
    Some(replica.map_or(started_as, |replica| InstanceId::new(replica, generation)))
}

/// What a container is, by its name. Labels alone do not make a replica: any number of containers
/// can have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContainerRole {
    /// It has the replica's name: it is its instance.
    Current,
    /// Dead, renamed for its successor.
    Dead,
    /// Its replica has been removed.
    Leaving,
    /// It starts beside the one that plays its replica.
    Next,
    /// It plays no replica.
    Extra,
    /// Another one has taken its place.
    Retired,
    /// It plays no replica yet.
    Spare,
    /// It plays a replica of a compose service for the time being.
    StandIn,
    /// Not managed by the fleet, despite its labels.
    Unmanaged,
}

/// The role of a container of that name.
pub(super) fn role(fleet: &str, id: &InstanceId, name: &str) -> ContainerRole {
    if name == container_name(fleet, &id.replica) {
        ContainerRole::Current
    } else if name == dead_name(fleet, id) {
        ContainerRole::Dead
    } else if name == leaving_name(fleet, id) {
        ContainerRole::Leaving
    } else if name == next_name(fleet, id) {
        ContainerRole::Next
    } else if name == extra_name(fleet, id) {
        ContainerRole::Extra
    } else if name == retired_name(fleet, id) {
        ContainerRole::Retired
    } else if name == stand_in_name(fleet, id) {
        ContainerRole::StandIn
    } else if spare_owner(fleet, &id.replica, name).is_some() {
        ContainerRole::Spare
    } else {
        ContainerRole::Unmanaged
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::{GENERATION, REPLICA};
    use super::*;

    #[test]
    fn role_follows_from_the_name() {
        let id = InstanceId::new("S1".parse().unwrap(), 7);
        for (name, expected) in [
            ("zoo-S1", ContainerRole::Current),
            ("zoo-S1-dead-7", ContainerRole::Dead),
            ("zoo-S1-leaving-7", ContainerRole::Leaving),
            ("zoo-S1-next-7", ContainerRole::Next),
            ("zoo-S1-extra-7", ContainerRole::Extra),
            ("zoo-S1-retired-7", ContainerRole::Retired),
            ("zoo-S1-of-host-1f", ContainerRole::Spare),
            ("zoo-S1-spare-7", ContainerRole::StandIn),
            ("zoo-S1-leaving-6", ContainerRole::Unmanaged),
            ("zoo-S2", ContainerRole::Unmanaged),
            ("", ContainerRole::Unmanaged),
        ] {
            assert_eq!(role("zoo", &id, name), expected, "{name}");
        }
    }

    #[test]
    fn spare_plays_the_replica_whose_name_it_has() {
        let labels = [(REPLICA, "spare-3"), (GENERATION, "1007"), (SPARE, "true")];
        let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let labels = HashMap::from(labels.map(label));
        for (name, replica, expected) in [
            ("zoo-spare-3-of-host-1f", "spare-3", ContainerRole::Spare),
            ("zoo-S1", "S1", ContainerRole::Current),
            ("zoo-S1-dead-1007", "S1", ContainerRole::Dead),
            ("zoo-S1-leaving-1007", "S1", ContainerRole::Leaving),
            ("zoo-S1-retired-1007", "S1", ContainerRole::Retired),
            ("zoo-web-1-spare-1007", "web-1", ContainerRole::StandIn),
            // Renamed by hand.
            ("else", "spare-3", ContainerRole::Unmanaged),
        ] {
            let id = instance("zoo", name, &labels).unwrap();
            assert_eq!(id, InstanceId::new(replica.parse().unwrap(), 1007));
            assert_eq!(role("zoo", &id, name), expected, "{name}");
        }
        let owner = |name| spare_owner("zoo", &"spare-3".parse().unwrap(), name);
        assert_eq!(owner("zoo-spare-3-of-host-1f"), Some("host-1f"));
        assert_eq!(owner("zoo-S1"), None);
        // What was no spare is what its labels say.
        let mut labels = labels;
        labels.remove(SPARE);
        let id = instance("zoo", "zoo-S1", &labels).unwrap();
        assert_eq!(role("zoo", &id, "zoo-S1"), ContainerRole::Unmanaged);
    }
}
