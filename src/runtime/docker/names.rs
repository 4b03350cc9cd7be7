//! What containers are called, and what that makes of them. Pure.

use crate::ring::ReplicaName;
use crate::runtime::InstanceId;

/// The name of a replica's container. It is the lock as well: the engine lets only one
/// container have it, whoever asks.
pub(super) fn container_name(fleet: &str, replica: &ReplicaName) -> String {
    format!("{fleet}-{replica}")
}

/// Where a dead container makes way for its successor.
pub(super) fn dead_name(fleet: &str, id: &InstanceId) -> String {
    format!("{fleet}-{}-dead-{}", id.replica, id.generation)
}

/// What the container of a replica that is removed for good is called until it is gone. The
/// engine tells every balancer of the fleet that it is called so.
pub(super) fn leaving_name(fleet: &str, id: &InstanceId) -> String {
    format!("{fleet}-{}-leaving-{}", id.replica, id.generation)
}

/// What a container is, by its name. Labels alone make nobody a replica: they can be
/// copied, and the engine lets any number of containers have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It has the replica's name.
    Holder,
    /// Dead, and put aside for its successor.
    Dead,
    /// Its replica is removed for good.
    Leaving,
    /// None of the fleet's, whatever its labels say.
    Stranger,
}

/// The role of a container of that name.
pub(super) fn role(fleet: &str, id: &InstanceId, name: &str) -> Role {
    if name == container_name(fleet, &id.replica) {
        Role::Holder
    } else if name == dead_name(fleet, id) {
        Role::Dead
    } else if name == leaving_name(fleet, id) {
        Role::Leaving
    } else {
        Role::Stranger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_name_says_what_it_is() {
        let id = InstanceId {
            replica: "S1".parse().unwrap(),
            generation: 7,
        };
        for (name, expected) in [
            ("zoo-S1", Role::Holder),
            ("zoo-S1-dead-7", Role::Dead),
            ("zoo-S1-leaving-7", Role::Leaving),
            ("zoo-S1-leaving-6", Role::Stranger),
            ("zoo-S2", Role::Stranger),
            ("", Role::Stranger),
        ] {
            assert_eq!(role("zoo", &id, name), expected, "{name}");
        }
    }
}
