//! Settings and the fleet record: what the flags say of the fleet, and what the record makes of
//! the settings.

use super::{RuntimeSettings, Settings};
use crate::fleet::{Definition, FleetFlags, FleetRecord, RingSettings};
use crate::ring::Member;
use crate::runtime::swarm::SwarmSettings;

/// The port of the default `--listen`.
const DEFAULT_PORT: u16 = 5000;

/// The longest name of a fleet.
const MAX_NAME_LEN: usize = 63;

/// The default name of a fleet: balancers on one machine have ports of their own, so
/// their fleets have names of their own.
pub(super) fn default_fleet(port: u16) -> String {
    match port {
        DEFAULT_PORT => "ringmaster".to_owned(),
        port => format!("ringmaster-{port}"),
    }
}

impl Settings {
    /// These settings with the names that nobody has given: those of the compose service whose
    /// container this is, else by the port that clients are listened to on.
    #[must_use]
    pub fn named(&self, port: u16, compose_service: Option<(String, String)>) -> Self {
        let mut settings = self.clone();
        if let Some(docker) = settings.runtime.containers_mut()
            && self.default_names.fleet
        {
            let service = compose_service.map(|(project, service)| format!("{project}-{service}"));
            let service = service.filter(|name| name.len() <= MAX_NAME_LEN);
            docker.fleet = service.unwrap_or_else(|| default_fleet(port));
            if self.default_names.network {
                docker.network.clone_from(&docker.fleet);
            }
        }
        settings
    }

    /// What the flags say of the fleet.
    pub fn fleet_flags(&self) -> FleetFlags {
        FleetFlags {
            replicas: self.replicas.clone(),
            definition: match &self.runtime {
                RuntimeSettings::Process(template) => template.clone().into(),
                RuntimeSettings::Docker(docker) => docker.definition(),
                RuntimeSettings::Swarm(swarm) => swarm.containers.definition(),
                RuntimeSettings::Static(_) => Definition::default(),
            },
            ring: RingSettings {
                spec: self.ring,
                balance_factor: self.balance_factor,
            },
            key: self.key.clone(),
        }
    }

    /// These settings with all that a record says of the fleet.
    #[must_use]
    pub fn following(&self, record: &FleetRecord) -> Self {
        let definition = &record.definition;
        let names = record.members().into_iter().map(|Member { name, .. }| name);
        Self {
            replicas: names.collect(),
            ring: record.ring.spec,
            balance_factor: record.ring.balance_factor,
            key: record.key.clone().unwrap_or_else(|| self.key.clone()),
            runtime: match &self.runtime {
                RuntimeSettings::Process(_) => {
                    RuntimeSettings::Process(definition.template.clone())
                }
                RuntimeSettings::Docker(docker) => {
                    RuntimeSettings::Docker(Box::new(docker.following(definition)))
                }
                RuntimeSettings::Swarm(swarm) => {
                    let containers = swarm.containers.following(definition);
                    RuntimeSettings::Swarm(Box::new(SwarmSettings {
                        containers,
                        ..(**swarm).clone()
                    }))
                }
                fixed @ RuntimeSettings::Static(_) => fixed.clone(),
            },
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Invocation, parse};

    fn settings(args: &[&str]) -> Settings {
        let args = ["ringmaster"].iter().chain(args).map(Into::into);
        match parse(args, std::iter::empty()) {
            Ok(Invocation::Balance { settings, .. }) => *settings,
            other => panic!("{other:?}"),
        }
    }

    fn names(settings: &Settings) -> (String, String) {
        match &settings.runtime {
            RuntimeSettings::Docker(docker) => (docker.fleet.clone(), docker.network.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fleet_without_a_name_has_one_of_its_own() {
        let own = |args: &[&str], port, service: Option<(&str, &str)>| {
            let service = service.map(|(p, s)| (p.to_owned(), s.to_owned()));
            let (fleet, network) = names(&settings(args).named(port, service));
            (fleet, network)
        };
        let both = |name: &str| (name.to_owned(), name.to_owned());
        let image = ["--image", "shop:1"];
        assert_eq!(own(&image, 5000, None), both("ringmaster"));
        assert_eq!(own(&image, 5010, None), both("ringmaster-5010"));
        let service = Some(("shop", "balancer"));
        assert_eq!(own(&image, 5000, service), both("shop-balancer"));
        let network = [&image[..], &["--docker-network", "net"]].concat();
        assert_eq!(own(&network, 5010, None).1, "net");
        let given = [&image[..], &["--fleet", "zoo"]].concat();
        assert_eq!(own(&given, 5010, service), both("zoo"));
        let long = "x".repeat(60);
        assert_eq!(own(&image, 5000, Some((&long, "web"))), both("ringmaster"));
    }

    #[test]
    fn settings_follow_the_record_in_all_that_it_says() {
        let before = settings(&["--image", "shop:1", "--replicas", "2", "--memory", "64m"]);
        let record = FleetRecord::rebuild(&before.fleet_flags(), &[]);
        let after = settings(&[
            "--image",
            "shop:2",
            "--slots",
            "1024",
            "--balance-factor",
            "none",
        ]);
        let followed = after.following(&record);
        assert_eq!(followed.fleet_flags(), before.fleet_flags());
        assert_eq!(followed.server, after.server);
        assert_eq!(before.following(&record), before);
    }
}
