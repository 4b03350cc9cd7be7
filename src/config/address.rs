//! Addresses: where the balancer listens, and where servers are that somebody else runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::ring::ReplicaName;
use crate::runtime::static_servers::Upstream;

/// Reads an address to listen on. `localhost` is 127.0.0.1 without asking a resolver:
/// where a server listens must not depend on one.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "not an address to listen on".to_owned();
    let text = text.trim();
    if text.parse::<u16>().is_ok() {
        return Err(format!(
            "an address is missing before the port: write 127.0.0.1:{text}"
        ));
    }
    if text.starts_with(':') {
        return Err(format!(
            "an address is missing before the port: write 0.0.0.0{text}"
        ));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| wrong())?;
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| wrong())
}

/// Reads a network: `10.0.0.0/8`, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = match text.parse() {
        Ok(address) => Some(IpNet::from(IpAddr::to_canonical(&address))),
        Err(_) => text.parse::<IpNet>().ok(),
    };
    let network = network.ok_or_else(|| "not a network".to_owned())?;
    // One network has one spelling.
    Ok(network.trunc())
}

/// Reads a host's name or address, without a port.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let host = host_in_one_form(text.strip_suffix('.').unwrap_or(text));
    host.ok_or_else(|| "not a host's name".to_owned())
}

/// Reads `[NAME=]HOST:PORT`.
pub(super) fn upstream(text: &str) -> Result<Upstream, String> {
    let text = text.trim();
    let (name, address) = match text.split_once('=') {
        Some((name, address)) => (Some(name), address),
        None => (None, text),
    };
    let address = host_and_port(address)?;
    let name = match name {
        Some(name) => name.parse().map_err(|e| format!("{e}"))?,
        None => ReplicaName::from_address(&address),
    };
    Ok(Upstream { name, address })
}

/// Checks `HOST:PORT` and writes it in one form, so that one address has one spelling.
pub(crate) fn host_and_port(text: &str) -> Result<String, String> {
    if text.contains("://") {
        return Err("write HOST:PORT alone, without a scheme".to_owned());
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("a port is missing".to_owned());
    };
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 && port_is_plain(port, text) => port,
        _ => return Err(format!("{port:?} is not a port")),
    };
    let host = host_in_one_form(host).ok_or_else(|| match host.contains(':') {
        true => format!("{host:?} is not a host; an IPv6 address stands in brackets"),
        false => format!("{host:?} is not a host"),
    })?;
    Ok(format!("{host}:{port}"))
}

/// No sign, no leading zero: `+80` and `080` parse as numbers but are typing errors.
fn port_is_plain(port: u16, text: &str) -> bool {
    text.ends_with(&format!(":{port}"))
}

fn host_in_one_form(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let host = host.to_ascii_lowercase();
    let labels = || host.strip_suffix('.').unwrap_or(&host).split('.');
    let last_is_number = labels()
        .next_back()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if last_is_number {
        // No top-level domain is a number, so that this is an IPv4 address or a slip.
        return host.parse::<Ipv4Addr>().ok().map(|a| a.to_string());
    }
    let is_label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (host.len() <= 253 && labels().all(is_label)).then_some(host)
}
