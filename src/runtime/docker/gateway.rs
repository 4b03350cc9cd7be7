//! Decides whether connections from the default gateway of our own container come from its host.
//!
//! A published port reaches a container through its host. Where docker-proxy or a rootless port
//! driver does that, every client has the gateway's address. So the gateway counts as local if
//! the port is published on loopback addresses only.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{ContainerInspectResponse, PortMap};

use super::own_container::{inspect, inspect_own};
use crate::runtime::RuntimeError;

/// The address from which clients on the host, and only they, reach `port` of this container.
/// `None` outside of any container, or without a default route.
///
/// # Errors
///
/// The reason why other clients may have the gateway's address, too.
pub(crate) async fn loopback_gateway(port: u16) -> Result<Option<IpAddr>, RuntimeError> {
    let Some(mut container) = inspect_own().await? else {
        return Ok(None);
    };
    // With another container's network, that container publishes the ports.
    if let NetworkMode::Container(id) = network_mode(&container) {
        container = inspect(&[id.to_owned()]).await?;
    }
    match network_mode(&container) {
        // The gateway is a router, and clients on the host come by loopback.
        NetworkMode::Host => return Ok(None),
        NetworkMode::Container(_) => {
            let unknown = "its network is another container's";
            return Err(RuntimeError(unknown.to_owned()));
        }
        NetworkMode::Own => {}
    }
    let open = published_on(&container, port).into_iter();
    let open: Vec<String> = open.filter(|address| !is_loopback(address)).collect();
    if !open.is_empty() {
        let open = open.join(" and ");
        return Err(RuntimeError(format!(
            "port {port} is published on {open}, not on loopback alone"
        )));
    }
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    Ok(default_gateway(&routes))
}

enum NetworkMode<'c> {
    Own,
    Host,
    Container(&'c str),
}

fn network_mode(container: &ContainerInspectResponse) -> NetworkMode<'_> {
    let host = container.host_config.as_ref();
    let mode = host.and_then(|host| host.network_mode.as_deref());
    match mode.unwrap_or_default() {
        "host" => NetworkMode::Host,
        mode => match mode.strip_prefix("container:") {
            Some(id) => NetworkMode::Container(id),
            None => NetworkMode::Own,
        },
    }
}

/// The addresses of the host on which a TCP port of a container is published, without duplicates.
fn published_on(container: &ContainerInspectResponse, port: u16) -> Vec<String> {
    let settings = container.network_settings.as_ref();
    let effective = settings.and_then(|settings| settings.ports.as_ref());
    let host = container.host_config.as_ref();
    let wanted = host.and_then(|host| host.port_bindings.as_ref());
    let key = format!("{port}/tcp");
    let of_port = |ports: &PortMap| ports.get(&key).cloned().flatten().unwrap_or_default();
    let bindings = effective.into_iter().chain(wanted).flat_map(of_port);
    let mut addresses: Vec<String> = bindings
        .map(|binding| match binding.host_ip {
            Some(address) if !address.is_empty() => address,
            // All addresses of the host.
            _ => Ipv4Addr::UNSPECIFIED.to_string(),
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

fn is_loopback(address: &str) -> bool {
    let address = address.parse::<IpAddr>();
    address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The gateway of the default route in `/proc/net/route`, whose numbers are hexadecimal and in the
/// byte order of the machine.
fn default_gateway(routes: &str) -> Option<IpAddr> {
    const GATEWAY_FLAG: u32 = 2;
    let gateways = routes.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
        let (destination, gateway, flags) = (number()?, number()?, number()?);
        let mask = u32::from_str_radix(line.split_ascii_whitespace().nth(7)?, 16).ok()?;
        let metric: u32 = line.split_ascii_whitespace().nth(6)?.parse().ok()?;
        let is_default = destination == 0 && mask == 0 && flags & GATEWAY_FLAG != 0;
        is_default.then_some((metric, gateway))
    });
    let (_, gateway) = gateways.min_by_key(|(metric, _)| *metric)?;
    Some(Ipv4Addr::from(gateway.to_ne_bytes()).into())
}

#[cfg(test)]
mod tests {
    use bollard::models::{HostConfig, NetworkSettings, PortBinding};

    use super::*;

    #[test]
    fn gateway_is_that_of_the_default_route() {
        let head =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let number = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let gateway = number([172, 17, 0, 1]);
        let other = number([10, 0, 0, 1]);
        let net = number([172, 17, 0, 0]);
        let mask = number([255, 255, 0, 0]);
        let direct = format!("eth0\t{net}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n");
        let default = format!("eth0\t00000000\t{gateway}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
        let costly = format!("eth1\t00000000\t{other}\t0003\t0\t0\t100\t00000000\t0\t0\t0\n");
        let half = format!("tun0\t00000000\t{other}\t0003\t0\t0\t0\t00000080\t0\t0\t0\n");
        let found = Some(IpAddr::from([172, 17, 0, 1]));
        for (routes, expected) in [
            (vec![head, &direct, &default], found),
            (vec![head, &costly, &default], found),
            (vec![head, &half, &default], found),
            (vec![head, &direct], None),
            (vec![head], None),
            (vec![], None),
        ] {
            assert_eq!(default_gateway(&routes.concat()), expected, "{routes:?}");
        }
    }

    #[test]
    fn port_is_published_on_every_address_named() {
        let ports = |port: &str, addresses: &[&str]| {
            let binding = |address: &&str| PortBinding {
                host_ip: Some((*address).to_owned()),
                host_port: Some("5000".to_owned()),
            };
            PortMap::from([(
                port.to_owned(),
                Some(addresses.iter().map(binding).collect()),
            )])
        };
        let of = |effective: PortMap, wanted: PortMap| ContainerInspectResponse {
            network_settings: Some(NetworkSettings {
                ports: Some(effective),
                ..Default::default()
            }),
            host_config: Some(HostConfig {
                port_bindings: Some(wanted),
                ..Default::default()
            }),
            ..Default::default()
        };
        let none = PortMap::new;
        for (container, expected) in [
            (of(none(), none()), vec![]),
            (
                of(ports("5000/tcp", &["127.0.0.1"]), none()),
                vec!["127.0.0.1"],
            ),
            (
                of(ports("5000/tcp", &["127.0.0.1", "0.0.0.0"]), none()),
                vec!["0.0.0.0", "127.0.0.1"],
            ),
            (of(none(), ports("5000/tcp", &[""])), vec!["0.0.0.0"]),
            (of(ports("80/tcp", &["0.0.0.0"]), none()), vec![]),
            (
                of(PortMap::from([("5000/tcp".to_owned(), None)]), none()),
                vec![],
            ),
        ] {
            assert_eq!(published_on(&container, 5000), expected);
        }
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("::1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("192.168.1.5", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(address), expected, "{address:?}");
        }
    }
}
