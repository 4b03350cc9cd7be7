//! A replica's container as the engine's API describes it, written and read back. Pure.
//!
//! The labels hold what a balancer needs to adopt the container. The desired replicas are in the
//! fleet record: see `record_store`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum as State, EndpointSettings,
    HostConfig, NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};

use serde_json::{Value, json};

use super::labels::{
    COMPOSE, COMPOSE_CONFIG_HASH, COMPOSE_NUMBER, DEFINITION, FLEET, GENERATION, ORDINAL, PORT,
    REPLICA, SPARE, SPARE_CONFIG, WEIGHT,
};
use super::names;
use super::run_options::{self, Placeholders};
use super::{ComposeService, DockerSettings, Security};
use crate::ring::{ReplicaName, Weight};
use crate::runtime::{LaunchOrder, RuntimeError};

/// The port of replicas if neither setting nor image names one.
pub(super) const DEFAULT_PORT: u16 = 5000;

/// The uid and gid of `nobody`, as numbers because an image from scratch has no /etc/passwd.
const NOBODY: &str = "65534:65534";

/// The port that replicas are to listen on: the setting, else the one that the image exposes.
pub(super) fn port(settings: &DockerSettings, image: &ImageFacts) -> u16 {
    let exposed = match image.exposed[..] {
        [port] => Some(port),
        _ => None,
    };
    settings.template.port.or(exposed).unwrap_or(DEFAULT_PORT)
}

/// A hint for a container in which nothing listens on `port`.
pub(crate) fn port_hint(port: u16, image: &ImageFacts) -> String {
    match image.exposed[..] {
        [exposed] if exposed != port => {
            format!("the image exposes {exposed}: --replica-port {exposed}")
        }
        [_, _, ..] if !image.exposed.contains(&port) => {
            let ports: Vec<_> = image.exposed.iter().map(u16::to_string).collect();
            format!(
                "the image exposes {}: --replica-port takes one",
                ports.join(", ")
            )
        }
        _ => format!("the program has to listen on 0.0.0.0:{port}, as PORT says"),
    }
}

/// The TCP ports that an image exposes, from `80/tcp` and the like.
pub(super) fn exposed(ports: &[String]) -> Vec<u16> {
    let port = |text: &String| {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        port.parse().ok().filter(|_| protocol == "tcp")
    };
    let mut ports: Vec<u16> = ports.iter().filter_map(port).collect();
    ports.sort_unstable();
    ports
}

/// The settings of an image that concern its containers.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageFacts {
    /// Its `USER`.
    pub(super) user: String,
    pub(super) labels: HashMap<String, String>,
    /// The TCP ports of its `EXPOSE`, in order.
    pub(super) exposed: Vec<u16>,
}

impl ImageFacts {
    /// Those of an image that this engine does not have: its user is its own.
    pub(crate) fn unknown() -> Self {
        Self {
            user: "unknown".to_owned(),
            ..Self::default()
        }
    }
}

/// Labels that keep a container from counting as a service of the compose project that built its
/// image: compose would stop and remove it. An inherited label cannot be removed, only emptied.
pub(super) fn no_service(image: &ImageFacts) -> HashMap<String, String> {
    let inherited = image.labels.keys().filter(|key| key.starts_with(COMPOSE));
    inherited.map(|key| (key.clone(), String::new())).collect()
}

/// Labels that say whose a container is, and what it was started by.
pub(crate) fn own_labels(
    settings: &DockerSettings,
    order: &LaunchOrder,
    image: &ImageFacts,
) -> HashMap<String, String> {
    let own = [
        (FLEET, settings.fleet.clone()),
        (REPLICA, order.id.replica.to_string()),
        (GENERATION, order.id.generation.to_string()),
        (WEIGHT, order.weight.get().to_string()),
        (ORDINAL, order.ordinal.to_string()),
        (PORT, port(settings, image).to_string()),
        (DEFINITION, settings.definition().hash()),
    ];
    own.map(|(key, value)| (key.to_owned(), value)).into()
}

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

/// A container of this fleet, from its labels and the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerInfo {
    pub(super) container: String,
    pub(super) name: String,
    pub(super) order: LaunchOrder,
    pub(super) running: bool,
    /// It was created and has never run: a balancer is about to start it, or failed to.
    pub(super) starting: bool,
    /// It is unhealthy by its image's own HEALTHCHECK.
    pub(super) unhealthy: bool,
    /// Its address, if it runs and is attached to our network.
    pub(super) endpoint: Option<SocketAddr>,
    /// The hash of the definition that it was started by; none if no balancer started it.
    pub(super) definition: Option<String>,
    /// Compose's hash of the definition that it has, if it is of a service.
    pub(super) config_hash: Option<String>,
    /// What it is called as a spare, if it was started as one.
    pub(super) spare: Option<ReplicaName>,
}

/// What the containers of a fleet are read by.
#[derive(Debug, Clone, Copy)]
pub(super) struct FleetView<'a> {
    /// What their names begin with.
    pub(super) prefix: &'a str,
    /// The network in which they have their addresses.
    pub(super) network: &'a str,
    /// The compose service whose containers they are, if they are.
    pub(super) service: Option<&'a ComposeService>,
    /// The port of one that no balancer has made.
    pub(super) port: u16,
}

/// Reads back what [`describe`] wrote, or what compose has. `None` if it is not a replica's
/// container, or is being removed. (Engine 20.10 may list a container as `removing` long after it
/// is gone.)
pub(super) fn read(view: FleetView<'_>, summary: ContainerSummary) -> Option<ContainerInfo> {
    if summary.state == Some(State::REMOVING) {
        return None;
    }
    let running = is_running(&summary);
    let labels = summary.labels.unwrap_or_default();
    let name = summary.names.unwrap_or_default().into_iter().next();
    let name = name.unwrap_or_default().trim_start_matches('/').to_owned();
    let id = match view.service {
        Some(service) if !labels.contains_key(SPARE) => {
            service.instance(&labels, summary.created)?
        }
        _ => names::instance(view.prefix, &name, &labels)?,
    };
    // A stand-in has the place of the replica that it plays, too.
    let of_service = view.service.and_then(|service| service.number(&id.replica));
    let place = of_service.filter(|_| labels.contains_key(SPARE));
    let spare = labels.get(REPLICA).filter(|_| labels.contains_key(SPARE));
    let spare = spare.and_then(|name| name.parse().ok());
    let number = |label| labels.get(label)?.parse::<u64>().ok();
    let weight = number(WEIGHT).and_then(|weight| Weight::new(u32::try_from(weight).ok()?));
    let port = read_port(&labels, view.port);

    let networks = summary.network_settings.and_then(|s| s.networks);
    let address = networks
        .as_ref()
        .and_then(|all| address(all.get(view.network)?));
    Some(ContainerInfo {
        container: summary.id?,
        name,
        order: LaunchOrder {
            id,
            weight: weight.unwrap_or_default(),
            ordinal: place
                .or(number(ORDINAL))
                .or(number(COMPOSE_NUMBER))
                .unwrap_or(u64::MAX),
        },
        running,
        starting: summary.state == Some(State::CREATED),
        unhealthy: summary
            .status
            .is_some_and(|text| text.contains("(unhealthy)")),
        endpoint: (address.filter(|_| running)).map(|address| SocketAddr::new(address, port)),
        definition: labels.get(DEFINITION).cloned(),
        config_hash: labels
            .get(SPARE_CONFIG)
            .or(labels.get(COMPOSE_CONFIG_HASH))
            .cloned(),
        spare,
    })
}

/// Whether a container runs. One that is paused does: heartbeats find out that it hangs.
pub(super) fn is_running(summary: &ContainerSummary) -> bool {
    matches!(
        summary.state,
        Some(State::RUNNING | State::PAUSED | State::RESTARTING | State::STOPPING)
    )
}

/// The port of a container, by its labels, else `default`.
pub(super) fn read_port(labels: &HashMap<String, String>, default: u16) -> u16 {
    let port = labels.get(PORT).and_then(|port| port.parse().ok());
    port.unwrap_or(default)
}

/// A container's address in a network: IPv4 if it has one.
pub(super) fn address(endpoint: &EndpointSettings) -> Option<IpAddr> {
    [&endpoint.ip_address, &endpoint.global_ipv6_address]
        .into_iter()
        .find_map(|address| address.as_ref()?.parse().ok())
}

#[cfg(test)]
pub(super) mod tests {
    use bollard::models::ContainerSummaryNetworkSettings;

    use super::*;
    use crate::runtime::InstanceId;

    fn describe(
        settings: &DockerSettings,
        order: &LaunchOrder,
        image: &ImageFacts,
    ) -> ContainerCreateBody {
        describe_by_flags(settings, order, image).unwrap()
    }
    use crate::runtime::ReplicaTemplate;

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

    fn order() -> LaunchOrder {
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
    }

    #[test]
    fn port_of_an_image_that_exposes_one_is_used() {
        let image = |ports: &[&str]| {
            let ports: Vec<_> = ports.iter().map(|&port| port.to_owned()).collect();
            ImageFacts {
                exposed: exposed(&ports),
                ..Default::default()
            }
        };
        let mut settings = settings();
        assert_eq!(port(&settings, &image(&["80/tcp"])), 8080);
        settings.template.port = None;
        for (ports, expected) in [
            (&["80/tcp"][..], 80),
            (&["80/tcp", "53/udp"], 80),
            (&["443/tcp", "80/tcp"], 5000),
            (&["53/udp"], 5000),
            (&[], 5000),
        ] {
            assert_eq!(port(&settings, &image(ports)), expected, "{ports:?}");
        }
        let body = describe(&settings, &order(), &image(&["80/tcp"]));
        assert_eq!(body.env.unwrap()[0], "PORT=80");
        for (ports, hint) in [
            (&["80/tcp"][..], "the image exposes 80: --replica-port 80"),
            (
                &["443/tcp", "80/tcp"],
                "the image exposes 80, 443: --replica-port takes one",
            ),
            (
                &["5000/tcp"],
                "the program has to listen on 0.0.0.0:5000, as PORT says",
            ),
        ] {
            assert_eq!(port_hint(5000, &image(ports)), hint);
        }
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

    #[test]
    fn labels_are_read_back() {
        let endpoint = EndpointSettings {
            ip_address: Some("172.20.0.3".to_owned()),
            ..Default::default()
        };
        let mut summary = ContainerSummary {
            id: Some("abc".to_owned()),
            names: Some(vec!["/zoo-S1".to_owned()]),
            labels: describe(&settings(), &order(), &user("")).labels,
            state: Some(State::RUNNING),
            network_settings: Some(ContainerSummaryNetworkSettings {
                networks: Some(HashMap::from([("zoo-net".to_owned(), endpoint)])),
            }),
            ..Default::default()
        };
        let view = |network| FleetView {
            prefix: "zoo",
            network,
            service: None,
            port: 1,
        };
        let info = read(view("zoo-net"), summary.clone()).unwrap();
        assert_eq!(info.order, order());
        assert_eq!(info.name, "zoo-S1");
        assert_eq!(info.endpoint, "172.20.0.3:8080".parse().ok());
        assert_eq!(info.definition, Some(settings().definition().hash()));
        let removing = ContainerSummary {
            state: Some(State::REMOVING),
            ..summary.clone()
        };
        assert_eq!(read(view("zoo-net"), removing), None);
        // In another network than ours it cannot be reached.
        assert_eq!(read(view("other"), summary.clone()).unwrap().endpoint, None);
        summary.labels = None;
        assert_eq!(read(view("zoo-net"), summary), None);
    }
}
