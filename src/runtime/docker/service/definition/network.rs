//! The networks of a service, and a replica's places in them.

use serde_json::{Map, Value, json};

use super::values::{text, texts, unescape, whole};
use crate::api::ComposeDefinition;

/// The first network, and the endpoints by the networks' names.
pub(super) fn of(
    compose: &ComposeDefinition,
    service: &Map<String, Value>,
) -> Result<(String, Map<String, Value>), String> {
    let mode = service.get("network_mode").and_then(Value::as_str);
    if let Some(mode) = mode.filter(|mode| !mode.is_empty()) {
        if matches!(mode, "host" | "none") || mode.contains(':') {
            return Err(format!(
                "network_mode: {mode}: replicas have no address of their own there"
            ));
        }
        let endpoints = Map::from_iter([(mode.to_owned(), json!({}))]);
        return Ok((mode.to_owned(), endpoints));
    }
    let known = unescape(&compose.networks);
    let given = service.get("networks").and_then(Value::as_object);
    let mut keys: Vec<_> = match given.filter(|given| !given.is_empty()) {
        Some(given) => given.iter().map(|(key, how)| (key.as_str(), how)).collect(),
        None => vec![("default", &Value::Null)],
    };
    // The highest priority is the first; else by their names.
    keys.sort_by_key(|(key, how)| {
        let priority = whole(&how["priority"]).unwrap_or_default();
        (std::cmp::Reverse(priority), *key)
    });
    let mut first = None;
    let mut endpoints = Map::new();
    for (key, how) in keys {
        let wrong = |wrong: String| format!("networks.{key}: {wrong}");
        let name = text(&known[key]["name"]);
        let name = name.ok_or_else(|| wrong("the project has no such network".to_owned()))?;
        let endpoint = endpoint(&compose.service, how).map_err(wrong)?;
        first.get_or_insert_with(|| name.clone());
        endpoints.insert(name, endpoint);
    }
    Ok((first.unwrap_or_default(), endpoints))
}

fn endpoint(service: &str, how: &Value) -> Result<Value, String> {
    let mut aliases = vec![service.to_owned()];
    let mut endpoint = json!({});
    for (name, value) in how.as_object().into_iter().flatten() {
        match name.as_str() {
            _ if value.is_null() || name.starts_with("x-") => {}
            "aliases" => aliases.extend(texts(value)?),
            "driver_opts" => endpoint["DriverOpts"] = value.clone(),
            "gw_priority" => endpoint["GwPriority"] = value.clone(),
            "priority" => {}
            "ipv4_address" | "ipv6_address" | "link_local_ips" | "mac_address" => {
                return Err(format!("{name}: every replica would have the same"));
            }
            other => return Err(format!("{other}: rollouts do not know this field")),
        }
    }
    endpoint["Aliases"] = json!(aliases);
    Ok(endpoint)
}
