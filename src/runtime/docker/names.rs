//! The names of containers, and the roles that follow from them. Pure.

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

/// The name to which a container is renamed whose place another one has taken; that is no removal.
pub(super) fn retired_name(fleet: &str, id: &InstanceId) -> String {
    format!("{fleet}-{}-retired-{}", id.replica, id.generation)
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
    /// Another one has taken its place.
    Retired,
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
    } else if name == retired_name(fleet, id) {
        ContainerRole::Retired
    } else {
        ContainerRole::Unmanaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_follows_from_the_name() {
        let id = InstanceId::new("S1".parse().unwrap(), 7);
        for (name, expected) in [
            ("zoo-S1", ContainerRole::Current),
            ("zoo-S1-dead-7", ContainerRole::Dead),
            ("zoo-S1-leaving-7", ContainerRole::Leaving),
            ("zoo-S1-next-7", ContainerRole::Next),
            ("zoo-S1-retired-7", ContainerRole::Retired),
            ("zoo-S1-leaving-6", ContainerRole::Unmanaged),
            ("zoo-S2", ContainerRole::Unmanaged),
            ("", ContainerRole::Unmanaged),
        ] {
            assert_eq!(role("zoo", &id, name), expected, "{name}");
        }
    }
}
