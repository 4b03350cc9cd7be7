//! A replica's container as the engine lists it: its labels, written and read back. Pure.
//!
//! The labels hold what a balancer needs to adopt the container. The desired replicas are in the
//! fleet record: see `record_store`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as State, EndpointSettings};

use super::image_facts::{ImageFacts, port};
use super::labels::{
    COMPOSE_CONFIG_HASH, COMPOSE_NUMBER, DEFINITION, FLEET, GENERATION, ORDINAL, PORT, REPLICA,
    SPARE, SPARE_CONFIG, WEIGHT,
};
use super::names;
use super::{ComposeService, DockerSettings};
use crate::ring::{ReplicaName, Weight};
use crate::runtime::LaunchOrder;

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

/// Reads back what [`own_labels`] wrote, or what compose has. `None` if it is not a replica's
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
mod tests {
    use bollard::models::ContainerSummaryNetworkSettings;

    use super::super::by_flags::tests::{order, settings};
    use super::*;

    #[test]
    fn labels_are_read_back() {
        let endpoint = EndpointSettings {
            ip_address: Some("172.20.0.3".to_owned()),
            ..Default::default()
        };
        let mut summary = ContainerSummary {
            id: Some("abc".to_owned()),
            names: Some(vec!["/zoo-S1".to_owned()]),
            labels: Some(own_labels(&settings(), &order(), &ImageFacts::default())),
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
