//! Converts the settings of a runtime to the definition in a fleet record, and back.

use crate::fleet::Definition;
use crate::runtime::RuntimeError;
use crate::runtime::docker::{DockerSettings, Security};

impl DockerSettings {
    /// What replicas run, for the record.
    pub fn definition(&self) -> Definition {
        Definition {
            image: Some(self.image.clone()),
            template: self.template.clone(),
            // A container that replicas are like has its own.
            security: (self.like.is_none()).then(|| self.security.name().to_owned()),
            network: Some(self.network.clone()),
            container: self.container.clone(),
            like: self.like.clone(),
        }
    }

    /// These settings with everything that a definition sets.
    pub fn following(&self, definition: &Definition) -> Self {
        let known = [Security::Restricted, Security::Baseline];
        let security = definition.security.as_deref();
        let mut known = known.into_iter();
        let security = known.find(|level| Some(level.name()) == security);
        Self {
            image: definition.image.as_ref().unwrap_or(&self.image).clone(),
            network: definition.network.as_ref().unwrap_or(&self.network).clone(),
            security: security.unwrap_or(self.security),
            template: definition.template.clone(),
            container: definition.container.clone(),
            like: definition.like.clone(),
            ..self.clone()
        }
    }
}

impl DockerSettings {
    /// Checks that a rollout can lead from those settings to these.
    pub(crate) fn check_network(&self, before: &Self) -> Result<(), RuntimeError> {
        let (network, present) = (&self.network, &before.network);
        if network == present {
            return Ok(());
        }
        Err(RuntimeError(format!(
            "replicas are in network {present} and cannot be rolled out to network {network}: stop the \
             balancer, which ends the fleet, and start it again"
        )))
    }
}

impl Security {
    /// The level's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::ContainerOptions;
    use crate::runtime::ReplicaTemplate;

    #[test]
    fn settings_follow_every_part_of_a_definition() {
        let recorded = DockerSettings {
            fleet: "zoo".to_owned(),
            image: "shop:1".to_owned(),
            network: "zoo-net".to_owned(),
            security: Security::Baseline,
            pull: Default::default(),
            template: ReplicaTemplate {
                command: Some(vec!["serve".to_owned()]),
                port: Some(8080),
                env: vec![("COLOUR".to_owned(), "blue".to_owned())],
                memory: Some(1 << 27),
                nano_cpus: Some(1_000_000_000),
                pids: Some(64),
            },
            container: ContainerOptions {
                user: Some("app".to_owned()),
                label: vec![("team".to_owned(), "zoo".to_owned())],
                ..Default::default()
            },
            like: None,
            service: None,
        };
        let flags = DockerSettings {
            image: "shop:2".to_owned(),
            network: "other".to_owned(),
            security: Security::Restricted,
            template: ReplicaTemplate::default(),
            container: ContainerOptions::default(),
            ..recorded.clone()
        };
        let definition = recorded.definition();
        assert_eq!(flags.following(&definition), recorded);
        assert_eq!(flags.following(&flags.definition()), flags);
        assert_eq!(flags.check_network(&flags), Ok(()));
        let refused = flags.check_network(&recorded).unwrap_err().to_string();
        assert!(
            refused.starts_with("replicas are in network zoo-net"),
            "{refused}"
        );
        let words = definition.differences(&flags.definition());
        assert_eq!(words.len(), 11, "{words:?}");
    }
}
