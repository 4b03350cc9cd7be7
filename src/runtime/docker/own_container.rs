//! The container in which this process runs: its id, and its description by the engine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bollard::models::ContainerInspectResponse;

use super::engine::{Engine, is_missing};
use super::labels::{COMPOSE_PROJECT, COMPOSE_SERVICE};
use crate::runtime::RuntimeError;

/// How long the engine may take to describe our container.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Files that container engines leave in every container.
const CONTAINER_MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// Files that an engine mounts into a container from a directory that is named after its id.
const MOUNTED_FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// The lengths of a container's id, and of its first digits, which are its default host name.
const ID_LENGTH: usize = 64;
const SHORT_ID_LENGTH: usize = 12;

/// Project and service of compose, if this process runs in a container of one.
pub(crate) async fn compose_service() -> Option<(String, String)> {
    let mut labels = inspect_own().await.ok()??.config?.labels?;
    let mut label = |key| {
        labels
            .remove(key)
            .filter(|value: &String| !value.is_empty())
    };
    Some((label(COMPOSE_PROJECT)?, label(COMPOSE_SERVICE)?))
}

/// The networks of the container in which this process runs; none outside of any.
pub(super) async fn own_networks() -> Vec<String> {
    let found = inspect_own().await.ok().flatten();
    let networks = found.and_then(|found| found.network_settings?.networks);
    networks.unwrap_or_default().into_keys().collect()
}

/// The engine's description of the container in which this process runs; `None` outside of any.
///
/// # Errors
///
/// There is a container, but the engine of `DOCKER_HOST` or of the usual socket does not answer,
/// or does not know it.
pub(crate) async fn inspect_own() -> Result<Option<ContainerInspectResponse>, RuntimeError> {
    let ids = own_ids();
    if ids.is_empty() {
        let is_marked = CONTAINER_MARKS.iter().any(|mark| Path::new(mark).exists());
        let unknown = RuntimeError("the id of this container cannot be found".to_owned());
        return if is_marked { Err(unknown) } else { Ok(None) };
    }
    inspect(&ids).await.map(Some)
}

/// The description of the first of these ids that the engine of `DOCKER_HOST`, or of the usual
/// socket, knows.
pub(super) async fn inspect(ids: &[String]) -> Result<ContainerInspectResponse, RuntimeError> {
    let asked = tokio::time::timeout(INSPECT_TIMEOUT, async {
        let engine = Engine::from_env()?;
        engine.handshake().await?;
        for id in ids {
            match engine.inspect(id).await {
                // Another container's name may look like the first digits of an id.
                Ok(found) if found.id.as_ref().is_some_and(|own| own.starts_with(id)) => {
                    return Ok(found);
                }
                Err(error) if !is_missing(&error) => return Err(engine.explain(error)),
                _ => {}
            }
        }
        let host = engine.host();
        let unknown = format!("the Docker engine at {host} does not know this container");
        Err(RuntimeError(unknown))
    });
    let timed_out = |_| RuntimeError("the Docker engine does not answer in time".to_owned());
    asked.await.map_err(timed_out)?
}

/// Candidates for this container's id, the most certain first.
pub(crate) fn own_ids() -> Vec<String> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    candidate_ids(
        &read("/proc/self/mountinfo"),
        &read("/proc/self/cgroup"),
        &read("/proc/sys/kernel/hostname"),
    )
}

fn candidate_ids(mounts: &str, cgroups: &str, hostname: &str) -> Vec<String> {
    // proc_pid_mountinfo(5): the fourth field is the directory, the fifth where it is mounted.
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, target) = (fields.next()?, fields.next()?);
        let is_engines = MOUNTED_FILES.contains(&target);
        is_engines.then(|| last_id(root)).flatten()
    });
    let hostname = hostname.trim();
    let is_short_id = hostname.len() == SHORT_ID_LENGTH && hostname.bytes().all(is_id_digit);
    let mut ids: Vec<String> = Vec::new();
    let found = mounted
        .chain(cgroups.lines().filter_map(last_id))
        .chain(is_short_id.then_some(hostname));
    for id in found {
        if !ids.iter().any(|known| known.starts_with(id)) {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// The last id in a path: a container in a container has both in its path.
fn last_id(path: &str) -> Option<&str> {
    let words = path.rsplit(|c: char| !c.is_ascii_alphanumeric());
    let mut ids = words.filter(|word| word.len() == ID_LENGTH && word.bytes().all(is_id_digit));
    ids.next()
}

fn is_id_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OUTER: &str = "ffff456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn own_id_is_found_in_every_place() {
        let mount = |root: &str, target: &str| {
            format!("1 2 8:1 {root} {target} rw,relatime - ext4 /dev/sda1 rw\n")
        };
        let docker = format!("/var/lib/docker/containers/{ID}/hostname");
        let podman = format!("/containers/overlay-containers/{ID}/userdata/hosts");
        let group = |path: &str| format!("9:pids:{path}\n");
        let scope = format!("0::/system.slice/docker-{ID}.scope\n");
        let nested = group(&format!("/docker/{OUTER}/docker/{ID}"));
        let (none, root) = (String::new, || "0::/\n".to_owned());
        let short = &ID[..12];
        for (mounts, cgroups, hostname, expected) in [
            (mount(&docker, "/etc/hostname"), none(), "web", vec![ID]),
            (mount(&podman, "/etc/hosts"), none(), "web", vec![ID]),
            // Another container's files, mounted by a user.
            (mount(&docker, "/data/hostname"), none(), "web", vec![]),
            (none(), group(&format!("/docker/{ID}")), "web", vec![ID]),
            (none(), scope, "web", vec![ID]),
            (none(), nested, "web", vec![ID]),
            (none(), root(), short, vec![short]),
            (mount(&docker, "/etc/hostname"), none(), short, vec![ID]),
            (none(), root(), "ringmaster12", vec![]),
            (none(), none(), "", vec![]),
        ] {
            assert_eq!(candidate_ids(&mounts, &cgroups, hostname), expected);
        }
    }
}
