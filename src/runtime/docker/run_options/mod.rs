//! The flags of `docker run` for replicas: their texts are read here, with Docker's syntax and
//! units, into plain data ([`ContainerOptions`]), and that is applied to the request that creates a
//! container. A file a family of flags.
//!
//! A reader says what is wrong with a text and leaves it to its caller to say what is allowed.
//! `{name}` and `{ordinal}` in a text are filled in for each container ([`Placeholders`]).

mod devices;
mod fields;
mod identity;
mod limits;
mod logging;
mod mounts;
mod network;
mod placeholders;
mod program;
mod security;

use bollard::models::ContainerCreateBody;

pub(crate) use devices::{device, gpus};
pub(crate) use identity::{cap_add, group, user};
pub(crate) use limits::{shm_size, ulimit};
pub(crate) use logging::{log_driver, log_opt};
pub(crate) use mounts::{mount, tmpfs, volume};
pub(super) use network::aliases;
pub(crate) use network::others;
pub(crate) use network::{add_host, dns, label, network};
pub(crate) use placeholders::Placeholders;
pub(crate) use program::{entrypoint, stop_signal, workdir};
pub(super) use security::loosened;
pub(crate) use security::security_opt;

use crate::fleet::ContainerOptions;

/// Applies what was given to a container's description: what is there stays where nothing was
/// given. `restricted`: the level of `--replica-security`.
///
/// # Errors
///
/// A placeholder cannot be filled in for this replica.
pub(super) fn apply(
    options: &ContainerOptions,
    restricted: bool,
    placeholders: &Placeholders<'_>,
    body: &mut ContainerCreateBody,
) -> Result<(), String> {
    let mut host = body.host_config.take().unwrap_or_default();
    mounts::apply(options, restricted, placeholders, body, &mut host)?;
    network::apply(options, placeholders, body, &mut host)?;
    program::apply(options, placeholders, body, &mut host)?;
    identity::apply(options, placeholders, body, &mut host)?;
    logging::apply(options, placeholders, &mut host)?;
    limits::apply(options, &mut host);
    devices::apply(options, &mut host);
    security::apply(options, restricted, &mut host);
    body.host_config = Some(host);
    Ok(())
}

/// A list for the engine; an empty one is none.
fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

/// Applies one family of flags, in a test.
#[cfg(test)]
fn applied(options: &ContainerOptions, restricted: bool) -> ContainerCreateBody {
    let mut body = ContainerCreateBody::default();
    let placeholders = Placeholders::new("web-7", "5000");
    apply(options, restricted, &placeholders, &mut body).unwrap_or_else(|wrong| panic!("{wrong}"));
    body
}

/// The host's part of a description.
#[cfg(test)]
fn host(body: &ContainerCreateBody) -> &bollard::models::HostConfig {
    body.host_config
        .as_ref()
        .unwrap_or_else(|| panic!("no host's part"))
}
