//! The labels of containers: our own, and compose's.

use std::collections::HashMap;

use crate::runtime::InstanceId;

/// The fleet of a container or network.
pub(super) const FLEET: &str = "io.ringmaster.fleet";
pub(super) const REPLICA: &str = "io.ringmaster.replica";
pub(super) const GENERATION: &str = "io.ringmaster.generation";
pub(super) const WEIGHT: &str = "io.ringmaster.weight";
pub(super) const ORDINAL: &str = "io.ringmaster.ordinal";
/// The port it listens on: the setting may have changed when the container is adopted.
pub(super) const PORT: &str = "io.ringmaster.port";

/// Whether it was started as a spare: whom it plays is in its name then.
pub(super) const SPARE: &str = "io.ringmaster.spare";

/// Compose's hash of the definition that a spare of a service has.
pub(super) const SPARE_CONFIG: &str = "io.ringmaster.spare-config";

/// The hash of the definition that it was started by.
pub(super) const DEFINITION: &str = "io.ringmaster.definition";

/// The prefix of compose's labels, on its containers and on the images that it builds, from
/// which containers inherit them.
pub(super) const COMPOSE: &str = "com.docker.compose.";

pub(super) const COMPOSE_PROJECT: &str = "com.docker.compose.project";
pub(super) const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// Whether it was started by `docker compose run`.
pub(super) const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";
/// The number of a container in its service.
pub(super) const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
/// The hash of the definition that it was made by: compose recreates what has another.
pub(super) const COMPOSE_CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// The id of its image.
pub(super) const COMPOSE_IMAGE: &str = "com.docker.compose.image";
/// The services that it depends on.
pub(super) const COMPOSE_DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// The container that it has replaced.
pub(super) const COMPOSE_REPLACED: &str = "com.docker.compose.replace";

/// The instance of a container that a balancer has made, by its labels.
pub(crate) fn read_instance(labels: &HashMap<String, String>) -> Option<InstanceId> {
    Some(InstanceId::new(
        labels.get(REPLICA)?.parse().ok()?,
        labels.get(GENERATION)?.parse().ok()?,
    ))
}

/// Whether the container of this name is a replica's: a balancer has made it, or compose under that name.
pub(crate) fn is_of_replica(name: &str, labels: &HashMap<String, String>, replica: &str) -> bool {
    let label = |key: &str| labels.get(key).map(String::as_str);
    match label(REPLICA) {
        Some(_) if label(SPARE).is_some() => {
            let plays = |fleet| format!("{fleet}-{replica}") == name;
            // Of a compose service.
            let stands_in = |own| name.ends_with(&format!("-{replica}-spare-{own}"));
            label(FLEET).is_some_and(plays) || label(GENERATION).is_some_and(stands_in)
        }
        Some(name) => name == replica,
        None => label(COMPOSE_SERVICE)
            .zip(label(COMPOSE_NUMBER))
            .is_some_and(|(service, number)| format!("{service}-{number}") == replica),
    }
}
