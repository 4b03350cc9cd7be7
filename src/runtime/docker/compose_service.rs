//! A service of docker compose, and how its containers tell which replica they are. Pure.

use std::collections::HashMap;

use super::labels::{
    COMPOSE_NUMBER, COMPOSE_ONE_OFF, COMPOSE_PROJECT, COMPOSE_SERVICE, GENERATION, read_instance,
};
use crate::ring::ReplicaName;
use crate::runtime::InstanceId;

/// A service of a compose project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeService {
    /// The project; empty: that of the container in which the balancer runs.
    pub project: String,
    /// The service's name in the compose file.
    pub name: String,
}

impl ComposeService {
    /// The labels that its containers have, and no others.
    pub(super) fn labels(&self) -> [(&'static str, &str); 3] {
        [
            (COMPOSE_PROJECT, &self.project),
            (COMPOSE_SERVICE, &self.name),
            (COMPOSE_ONE_OFF, "False"),
        ]
    }

    /// The instance of a container with these labels. One that compose has made has the second of
    /// its creation for a generation: every balancer knows it, and the next one is later.
    pub(super) fn instance(
        &self,
        labels: &HashMap<String, String>,
        created: Option<i64>,
    ) -> Option<InstanceId> {
        if labels.contains_key(GENERATION) {
            return read_instance(labels);
        }
        let number: u64 = labels.get(COMPOSE_NUMBER)?.parse().ok()?;
        let generation = created.and_then(|seconds| u64::try_from(seconds).ok());
        let replica = self.replica(number)?;
        Some(InstanceId::new(replica, generation.unwrap_or_default()))
    }

    /// The replica that the container of a number is.
    fn replica(&self, number: u64) -> Option<ReplicaName> {
        format!("{}-{number}", self.name).parse().ok()
    }

    /// The number of a replica, if it has a name as compose gives them.
    pub(super) fn number(&self, replica: &ReplicaName) -> Option<u64> {
        let number = replica.as_str().strip_prefix(&self.name)?;
        let number = number.strip_prefix('-')?.parse().ok()?;
        (self.replica(number).as_ref() == Some(replica)).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> ComposeService {
        ComposeService {
            project: "shop".to_owned(),
            name: "web".to_owned(),
        }
    }

    #[test]
    fn an_instance_follows_from_the_labels_of_compose_or_from_our_own() {
        let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let labels = HashMap::from([(COMPOSE_NUMBER, "2"), (COMPOSE_SERVICE, "web")].map(label));
        let id = web().instance(&labels, Some(1_764_398_000)).unwrap();
        assert_eq!(
            (id.replica.as_str(), id.generation),
            ("web-2", 1_764_398_000)
        );
        let own = HashMap::from(
            [
                (COMPOSE_NUMBER, "2"),
                ("io.ringmaster.replica", "web-2"),
                (GENERATION, "1764398001"),
            ]
            .map(label),
        );
        assert_eq!(
            web().instance(&own, Some(7)).unwrap().generation,
            1_764_398_001
        );
        assert_eq!(web().instance(&HashMap::new(), Some(7)), None);
    }

    #[test]
    fn replicas_have_composes_names() {
        let number = |name: &str| web().number(&name.parse().unwrap());
        assert_eq!(number("web-12"), Some(12));
        for other in ["web", "web-", "web-012", "web-x", "web2-1", "api-1", "blue"] {
            assert_eq!(
                other.parse().ok().and_then(|name| web().number(&name)),
                None,
                "{other}"
            );
        }
    }
}
