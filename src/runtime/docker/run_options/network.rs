//! `--network`, `--add-host`, `--dns`, and `--label`.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{ContainerCreateBody, HostConfig};

use super::fields::{self, key_and_value, pair, word};
use super::placeholders::Placeholders;
use super::some;
use crate::fleet::{ContainerOptions, NetworkOption};

/// The address of the machine, as the engine writes it.
const GATEWAY: &str = "host-gateway";

/// What the labels begin with that say whose a container is.
const TAKEN: [&str; 2] = ["io.ringmaster.", "com.docker.compose."];

/// Reads `NETWORK`, or its fields.
pub(crate) fn network(text: &str) -> Result<NetworkOption, String> {
    let (mut name, mut alias) = (None, Vec::new());
    let fields = fields::split(text)?;
    if let [plain] = &fields[..]
        && !plain.contains('=')
    {
        name = Some(plain.clone());
    } else {
        for field in &fields {
            match key_and_value(field) {
                ("name", Some(value)) => name = Some(value.to_owned()),
                ("alias", Some(value)) => alias.push(word("an alias", value)?),
                ("ip" | "ip6" | "mac-address", _) => {
                    return Err("every replica would have the same address".to_owned());
                }
                (key, _) => return Err(format!("{key:?} is neither name= nor alias=")),
            }
        }
    }
    let name = name.ok_or("name= is missing")?;
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match &*name {
        "host" | "none" => Err(format!("{name} goes with no other network")),
        text if text.starts_with("container:") => Err(format!("{name} goes with no other network")),
        text if text.is_empty() || !text.chars().all(good) => {
            Err(format!("{name:?} is no network's name"))
        }
        _ => Ok(NetworkOption { name, alias }),
    }
}

/// Reads `HOST:IP` or `HOST=IP`.
pub(crate) fn add_host(text: &str) -> Result<String, String> {
    let (host, address) = (text.split_once('=').or_else(|| text.split_once(':')))
        .ok_or_else(|| "has no address".to_owned())?;
    let host = word("a host's name", host)?;
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let bare = bare.unwrap_or(address);
    if bare != GATEWAY && bare.parse::<IpAddr>().is_err() {
        return Err(format!("{address:?} is no IP address, nor {GATEWAY}"));
    }
    Ok(format!("{host}:{bare}"))
}

/// Reads a name server's address.
pub(crate) fn dns(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "no IP address".to_owned())
}

/// Reads a label.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = pair(text).or_else(|wrong| match text {
        "" => Err(wrong),
        key if key.contains('=') => Err(wrong),
        // As Docker takes it: a label without a value.
        key => Ok((key.to_owned(), String::new())),
    })?;
    match TAKEN.iter().find(|taken| key.starts_with(**taken)) {
        Some(taken) => Err(format!(
            "labels that begin with {taken} say whose a container is"
        )),
        None => Ok((word("a label", &key)?, value)),
    }
}

/// The aliases that were given for a network.
pub(in super::super) fn aliases(
    options: &ContainerOptions,
    network: &str,
    placeholders: &Placeholders<'_>,
) -> Result<Vec<String>, String> {
    let here = options
        .network
        .iter()
        .filter(|option| option.name == network);
    here.flat_map(|option| &option.alias)
        .map(|alias| placeholders.fill(alias))
        .collect()
}

/// The networks to join beside `network`, each once.
pub(crate) fn others<'a>(options: &'a ContainerOptions, network: &str) -> Vec<&'a str> {
    let mut names: Vec<_> = options.network.iter().map(|option| &*option.name).collect();
    names.retain(|name| *name != network);
    names.sort_unstable();
    names.dedup();
    names
}

/// Adds names and name servers to a description. (Networks beside the first are joined once the
/// container exists: before API 1.44 an engine takes but one.)
pub(super) fn apply(
    options: &ContainerOptions,
    placeholders: &Placeholders<'_>,
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), String> {
    host.extra_hosts = some(placeholders.fill_all(&options.add_host)?);
    host.dns = some(options.dns.iter().map(IpAddr::to_string).collect());
    let mut labels: HashMap<_, _> = placeholders.fill_values(&options.label)?;
    // Those that say whose it is hold.
    labels.extend(body.labels.take().unwrap_or_default());
    body.labels = Some(labels);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{applied, host};
    use super::*;

    #[test]
    fn networks_have_names_and_aliases_and_no_addresses() {
        assert_eq!(network("db").unwrap().to_string(), "db");
        let both = "name=db,alias=web,alias={name}.web";
        assert_eq!(network(both).unwrap().to_string(), both);
        for (bad, wrong) in [
            ("host", "host goes with no other network"),
            ("container:x", "container:x goes with no other network"),
            ("a b", "\"a b\" is no network's name"),
            ("", "\"\" is no network's name"),
            ("alias=x", "name= is missing"),
            (
                "name=db,ip=10.0.0.2",
                "every replica would have the same address",
            ),
            ("name=db,speed=2", "\"speed\" is neither name= nor alias="),
        ] {
            assert_eq!(network(bad).unwrap_err(), wrong, "{bad}");
        }
    }

    #[test]
    fn hosts_and_labels_are_read() {
        assert_eq!(add_host("db:10.0.0.2").unwrap(), "db:10.0.0.2");
        assert_eq!(add_host("db=[::1]").unwrap(), "db:::1");
        assert_eq!(add_host("h:host-gateway").unwrap(), "h:host-gateway");
        assert_eq!(add_host("db").unwrap_err(), "has no address");
        assert_eq!(
            add_host("db:x").unwrap_err(),
            "\"x\" is no IP address, nor host-gateway"
        );
        assert_eq!(
            add_host(":1.2.3.4").unwrap_err(),
            "\"\" is not a host's name"
        );
        assert_eq!(dns("1.1.1.1:53").unwrap_err(), "no IP address");
        assert_eq!(
            label("a.b=c=d").unwrap(),
            ("a.b".to_owned(), "c=d".to_owned())
        );
        assert_eq!(label("a").unwrap(), ("a".to_owned(), String::new()));
        assert!(label("").is_err() && label("=x").is_err());
        assert_eq!(
            label("com.docker.compose.project=x").unwrap_err(),
            "labels that begin with com.docker.compose. say whose a container is"
        );
    }

    #[test]
    fn networks_beside_the_first_are_joined_once() {
        let options = ContainerOptions {
            network: [
                "db",
                "name=own,alias=web-{ordinal}",
                "cache",
                "name=db,alias=x",
            ]
            .map(|text| network(text).unwrap())
            .into(),
            add_host: vec!["me{ordinal}:10.0.0.1".to_owned()],
            dns: vec![dns("1.1.1.1").unwrap()],
            label: vec![label("who={name}").unwrap()],
            ..Default::default()
        };
        assert_eq!(others(&options, "own"), ["cache", "db"]);
        let placeholders = Placeholders::new("web-7", "80");
        assert_eq!(aliases(&options, "own", &placeholders).unwrap(), ["web-7"]);
        let body = applied(&options, true);
        assert_eq!(body.labels.as_ref().unwrap()["who"], "web-7");
        assert_eq!(host(&body).extra_hosts.as_ref().unwrap(), &["me7:10.0.0.1"]);
        assert_eq!(host(&body).dns.as_ref().unwrap(), &["1.1.1.1"]);
    }
}
