//! What an instance is made of: by flags, or like a container. The only place that says so.

use serde_json::Value;

use super::by_flags::{describe_by_flags, networks_by_flags};
use super::image_facts::ImageFacts;
use super::{DockerSettings, template};
use crate::runtime::{LaunchOrder, RuntimeError};

/// The request that creates a container.
///
/// # Errors
///
/// A placeholder cannot be filled in for this replica.
pub(super) fn describe(
    settings: &DockerSettings,
    order: &LaunchOrder,
    image: &ImageFacts,
) -> Result<Value, RuntimeError> {
    match &settings.like {
        Some(like) => Ok(template::describe(like, settings, order, image)),
        None => {
            let body = describe_by_flags(settings, order, image)?;
            serde_json::to_value(body).map_err(|error| RuntimeError(error.to_string()))
        }
    }
}

/// The networks that a replica joins beside the first, before it starts, and its places in them.
pub(super) fn other_networks(
    settings: &DockerSettings,
    order: &LaunchOrder,
    image: &ImageFacts,
) -> Result<Vec<(String, Value)>, RuntimeError> {
    match &settings.like {
        Some(like) => Ok(template::other_networks(like, settings, order)),
        None => networks_by_flags(settings, order, image),
    }
}

/// The request that would create a replica's container by flags, for runtimes that say the same in
/// another form.
///
/// # Errors
///
/// A placeholder cannot be filled in for this replica.
pub(crate) fn described(
    settings: &DockerSettings,
    order: &LaunchOrder,
    image: &ImageFacts,
) -> Result<Value, RuntimeError> {
    let body = describe_by_flags(settings, order, image)?;
    serde_json::to_value(body).map_err(|error| RuntimeError(error.to_string()))
}

/// The networks that a replica joins by flags, the fleet's first, and its names in them.
pub(crate) fn networks_of(
    settings: &DockerSettings,
    order: &LaunchOrder,
    image: &ImageFacts,
) -> Result<Vec<(String, Vec<String>)>, RuntimeError> {
    let body = described(settings, order, image)?;
    let first = &settings.network;
    let endpoint = body["NetworkingConfig"]["EndpointsConfig"][first].clone();
    let joined = [(first.clone(), endpoint)].into_iter();
    let joined = joined.chain(networks_by_flags(settings, order, image)?);
    let aliases = |endpoint: Value| {
        let aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
        let texts = aliases.iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    Ok(joined
        .map(|(name, endpoint)| (name, aliases(endpoint)))
        .collect())
}
