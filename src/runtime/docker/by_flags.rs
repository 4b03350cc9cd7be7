//! A replica's container as flags have it, described for the engine. Pure.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, NetworkingConfig, RestartPolicy,
    RestartPolicyNameEnum,
};
use serde_json::{Value, json};

use super::container::own_labels;
use super::image_facts::{ImageFacts, no_service, port};
use super::run_options::{self, Placeholders};
use super::{DockerSettings, Security};
use crate::runtime::{LaunchOrder, RuntimeError};

/// The uid and gid of `nobody`: numbers, because an image made from nothing has no /etc/passwd to look the name up in.
const NOBODY: &str = "65534:65534";

/// The request that creates a container by flags.
///
/// # Errors
///
/// A placeholder cannot be filled in for this replica.
pub(super) fn describe_by_flags(
    settings: &DockerSettings,
    order: &LaunchOrder,
    image: &ImageFacts,
) -> Result<ContainerCreateBody, RuntimeError> {
    let template = &settings.template;
    let replica = &order.id.replica;
    let port = port(settings, image).to_string();
    let placeholders = Placeholders::new(replica.as_str(), &port);

    let mut env = vec![format!("PORT={port}"), format!("SERVER_ID={replica}")];
    let ours = |name: &str| matches!(name, "PORT" | "SERVER_ID");
    let theirs = template.env.iter().filter(|(name, _)| !ours(name));
    env.extend(theirs.map(|(name, value)| format!("{name}={value}")));

    let mut labels = no_service(image);
    labels.extend(own_labels(settings, order, image));

    let endpoint = endpoint(settings, &settings.network, &placeholders)?;
    let networks = HashMap::from([(settings.network.clone(), endpoint)]);
    let command = template.command.as_ref();
    let command = command.map(|words| placeholders.fill_all(words));

    let restricted = settings.security == Security::Restricted;
    let memory = template.memory.map(saturate);
    let mut body = ContainerCreateBody {
        image: Some(settings.image.clone()),
        hostname: Some(replica.to_string()),
        user: (restricted && is_root(&image.user)).then(|| NOBODY.to_owned()),
        env: Some(env),
        cmd: command.transpose().map_err(RuntimeError)?,
        labels: Some(labels),
        host_config: Some(HostConfig {
            network_mode: Some(settings.network.clone()),
            // The fleet decides when a replica is restarted, not the engine.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            memory,
            // No swap on top, so that a leak ends in a clean kill, not in a slow machine.
            memory_swap: memory,
            nano_cpus: template.nano_cpus.map(saturate),
            pids_limit: template.pids.map(i64::from),
            cap_drop: restricted.then(|| vec!["ALL".to_owned()]),
            ..Default::default()
        }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(networks),
        }),
        ..Default::default()
    };
    let applied = run_options::apply(&settings.container, restricted, &placeholders, &mut body);
    applied.map_err(RuntimeError)?;
    Ok(body)
}

/// A replica's place in a network.
fn endpoint(
    settings: &DockerSettings,
    network: &str,
    placeholders: &Placeholders<'_>,
) -> Result<EndpointSettings, RuntimeError> {
    let given = run_options::aliases(&settings.container, network, placeholders);
    let mut aliases = vec![placeholders.name().to_owned()];
    aliases.extend(given.map_err(RuntimeError)?);
    Ok(EndpointSettings {
        // The default bridge refuses aliases.
        aliases: (network != "bridge").then_some(aliases),
        ..Default::default()
    })
}

/// The networks that a replica joins beside the first by flags.
pub(super) fn networks_by_flags(
    settings: &DockerSettings,
    order: &LaunchOrder,
    image: &ImageFacts,
) -> Result<Vec<(String, Value)>, RuntimeError> {
    let port = port(settings, image).to_string();
    let placeholders = Placeholders::new(order.id.replica.as_str(), &port);
    let names = run_options::others(&settings.container, &settings.network);
    let joined = names.into_iter();
    joined
        .map(|name| {
            let endpoint = endpoint(settings, name, &placeholders)?;
            Ok((name.to_owned(), json!(endpoint)))
        })
        .collect()
}

fn saturate(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether an image's `USER` is root. None means root.
fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    matches!(name, "" | "root" | "0")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ring::Weight;
    use crate::runtime::{InstanceId, ReplicaTemplate};

    fn describe(
        settings: &DockerSettings,
        order: &LaunchOrder,
        image: &ImageFacts,
    ) -> ContainerCreateBody {
        describe_by_flags(settings, order, image).unwrap()
    }

    pub(in super::super) fn settings() -> DockerSettings {
        DockerSettings {
            fleet: "zoo".to_owned(),
            image: "shop:1".to_owned(),
            network: "zoo-net".to_owned(),
            security: Security::Restricted,
            pull: Default::default(),
            template: ReplicaTemplate {
                command: Some(vec!["app".into(), "--port={port}".into(), "{name}".into()]),
                port: Some(8080),
                env: vec![
                    ("COLOUR".into(), "blue".into()),
                    ("PORT".into(), "1".into()),
                ],
                memory: Some(64 << 20),
                nano_cpus: Some(500_000_000),
                pids: Some(32),
            },
            container: Default::default(),
            like: None,
            service: None,
        }
    }

    pub(in super::super) fn order() -> LaunchOrder {
        LaunchOrder {
            id: InstanceId::new("S1".parse().unwrap(), 7),
            weight: Weight::new(3).unwrap(),
            ordinal: 2,
        }
    }

    fn user(name: &str) -> ImageFacts {
        ImageFacts {
            user: name.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn container_gets_its_name_and_port() {
        let body = describe(&settings(), &order(), &user(""));
        assert_eq!(body.hostname.unwrap(), "S1");
        assert_eq!(body.cmd.unwrap(), ["app", "--port=8080", "S1"]);
        assert_eq!(
            body.env.unwrap(),
            ["PORT=8080", "SERVER_ID=S1", "COLOUR=blue"]
        );
        let mut settings = settings();
        settings.template.port = None;
        let image = ImageFacts {
            exposed: vec![80],
            ..Default::default()
        };
        let body = describe(&settings, &order(), &image);
        assert_eq!(body.env.unwrap()[0], "PORT=80");
    }

    #[test]
    fn restricted_drops_privileges_and_baseline_keeps_them() {
        let body = describe(&settings(), &order(), &user("root"));
        assert_eq!(body.user.as_deref(), Some(NOBODY));
        let host = body.host_config.unwrap();
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.memory, host.memory_swap);

        let mut settings = settings();
        settings.security = Security::Baseline;
        let body = describe(&settings, &order(), &user("root"));
        assert_eq!(body.user, None);
        let host = body.host_config.unwrap();
        assert_eq!(
            (host.cap_drop, host.tmpfs, host.readonly_rootfs),
            (None, None, Some(false))
        );
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
    }

    #[test]
    fn user_of_the_image_is_kept_unless_it_is_root() {
        for (name, kept) in [
            ("", false),
            ("0", false),
            ("0:0", false),
            ("root:staff", false),
            ("1000", true),
            ("app:app", true),
        ] {
            let user_set = describe(&settings(), &order(), &user(name)).user;
            assert_eq!(user_set.is_none(), kept, "{name:?}");
        }
    }

    #[test]
    fn compose_labels_of_the_image_are_emptied() {
        let label = |key: &str| (key.to_owned(), "x".to_owned());
        let image = ImageFacts {
            labels: [label("com.docker.compose.project"), label("vendor")].into(),
            ..Default::default()
        };
        let labels = describe(&settings(), &order(), &image).labels.unwrap();
        assert_eq!(labels["com.docker.compose.project"], "");
        assert_eq!(labels.get("vendor"), None);
    }
}
