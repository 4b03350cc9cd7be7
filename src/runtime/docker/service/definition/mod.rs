//! A service as compose resolves it, as the request that makes a container of it: what compose itself
//! would send to the engine. Pure: JSON in, JSON out. A field that is not known here is refused, so
//! that nothing of a definition is lost in silence.

mod fields;
mod mounts;
mod network;
mod resources;
mod values;

use serde_json::{Map, Value, json};

use crate::api::ComposeDefinition;
use fields::{add, refuse};
use values::{duration, text, unescape};

/// The prefix of secrets that have no other place.
const SECRETS: &str = "/run/secrets/";

/// A service of compose, as the engine takes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServiceContainer {
    /// The image that it runs.
    pub(super) image: String,
    /// Whether the image comes from a registry, and is not built by compose.
    pub(super) is_pulled: bool,
    /// The body of the request, without the labels by which compose knows its containers.
    pub(super) body: Value,
    /// The services that it depends on, as compose's label has them.
    pub(super) depends_on: String,
    /// The networks and volumes that have to exist.
    pub(super) networks: Vec<String>,
    pub(super) volumes: Vec<String>,
}

/// Reads a definition.
///
/// # Errors
///
/// What is wrong with it, or cannot be said to the engine here.
pub(super) fn read(compose: &ComposeDefinition) -> Result<ServiceContainer, String> {
    let service = unescape(&compose.definition);
    let fields = service
        .as_object()
        .filter(|fields| !fields.is_empty())
        .ok_or("the definition is no service of docker compose config --format json")?;
    let mut body = Map::new();
    let mut host = Map::new();
    body.insert("AttachStdout".to_owned(), json!(true));
    body.insert("AttachStderr".to_owned(), json!(true));
    for (name, value) in fields {
        if value.is_null() || name.starts_with("x-") {
            continue;
        }
        refuse(name, value)?;
        add(name, value, &mut body, &mut host).map_err(|wrong| format!("{name}: {wrong}"))?;
    }
    resources::add(fields, &mut host)?;
    let volumes = mounts::add(compose, fields, &mut host)?;
    let (mode, endpoints) = network::of(compose, fields)?;
    host.insert("NetworkMode".to_owned(), json!(mode));
    let networks = endpoints.keys().cloned().collect();
    body.insert("HostConfig".to_owned(), Value::Object(host));
    body.insert(
        "NetworkingConfig".to_owned(),
        json!({ "EndpointsConfig": endpoints }),
    );
    if let Some(grace) = fields.get("stop_grace_period") {
        let grace = duration(grace).map_err(|wrong| format!("stop_grace_period: {wrong}"))?;
        body.insert("StopTimeout".to_owned(), json!(grace / 1_000_000_000));
    }
    let is_built = fields.get("build").is_some_and(|build| !build.is_null());
    let image = match fields.get("image").and_then(Value::as_str) {
        Some(image) => image.to_owned(),
        // What compose calls an image that it builds.
        None if is_built => format!("{}-{}", compose.project, compose.service),
        None => return Err("image: there is none".to_owned()),
    };
    body.insert("Image".to_owned(), json!(image));
    Ok(ServiceContainer {
        image,
        is_pulled: !is_built,
        body: Value::Object(body),
        depends_on: depends_on(fields.get("depends_on")),
        networks,
        volumes,
    })
}

fn depends_on(services: Option<&Value>) -> String {
    let services = services.and_then(Value::as_object).into_iter().flatten();
    let services = services.map(|(name, how)| {
        let condition = text(&how["condition"]).unwrap_or_default();
        format!("{name}:{condition}:{}", how["restart"] == true)
    });
    services.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
