//! The connection to the engine, and its errors as messages.

use std::collections::HashMap;
use std::env;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, HostConfig,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use bollard::{ClientVersion, Docker};
use hyper::Method;
use log::info;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::PullPolicy;
use super::container::{self, ContainerInfo, FleetView};
use super::image_facts::{ImageFacts, exposed};
use super::registry::RegistryAuth;
use crate::runtime::RuntimeError;
use crate::runtime::engine_client::EngineClient;

/// The API of Docker 20.10, the oldest that is supported.
const MIN_VERSION: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};

/// The engine's address without `DOCKER_HOST`.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The time for creating, starting or removing a container.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The time for a query. Beyond that the engine counts as failed.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// What an image's name in a path is escaped by: the engine takes slashes and colons as they are.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'@');

/// The error for an image that the engine does not have.
pub(super) fn no_such_image(image: &str) -> RuntimeError {
    RuntimeError(format!("no such image: {image}"))
}

/// One engine.
pub(crate) struct Engine {
    /// For calls that this type does not wrap.
    pub(crate) docker: Docker,
    client: EngineClient,
    host: String,
}

impl Engine {
    /// The engine of `DOCKER_HOST`, or of the usual socket.
    pub(crate) fn from_env() -> Result<Self, RuntimeError> {
        let host = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        Self::connect(host.unwrap_or_else(|| DEFAULT_HOST.to_owned()))
    }

    /// The engine at an address.
    pub(crate) fn connect(host: String) -> Result<Self, RuntimeError> {
        match Docker::connect_with_host(&host) {
            Ok(docker) => Ok(Self {
                docker: docker.with_timeout(CHANGE_TIMEOUT),
                client: EngineClient::new(&host),
                host,
            }),
            Err(Error::UnsupportedURISchemeError { .. }) => Err(RuntimeError(format!(
                "cannot use DOCKER_HOST={host}: unix:// and tcp:// addresses are supported"
            ))),
            Err(error) => Err(unreachable(&host, &error)),
        }
    }

    /// Its address.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A client for queries.
    pub(super) fn quick(&self) -> Docker {
        self.docker.clone().with_timeout(QUERY_TIMEOUT)
    }

    /// Checks that it answers.
    pub(super) async fn ping(&self) -> Result<(), RuntimeError> {
        let answered = self.quick().ping().await;
        answered.map(drop).map_err(|e| self.explain(e))
    }

    /// Negotiates the API version for all later calls.
    pub(crate) async fn handshake(&self) -> Result<(), RuntimeError> {
        // A clone shares the version with the original.
        let negotiated = self.quick().negotiate_version().await;
        let version = negotiated.map_err(|e| self.explain(e))?.client_version();
        if (version.major_version, version.minor_version)
            < (MIN_VERSION.major_version, MIN_VERSION.minor_version)
        {
            return Err(RuntimeError(format!(
                "the Docker engine at {} is too old: it speaks API {version}, and {MIN_VERSION} \
                 (Docker 20.10) or later is needed",
                self.host
            )));
        }
        Ok(())
    }

    /// The id of the engine.
    pub(super) async fn id(&self) -> Result<String, RuntimeError> {
        let info = self.quick().info().await.map_err(|e| self.explain(e))?;
        Ok(info.id.unwrap_or_default())
    }

    /// Inspects an image, after pulling it if `pull` says so.
    pub(crate) async fn ensure_image(
        &self,
        image: &str,
        pull: PullPolicy,
    ) -> Result<ImageFacts, RuntimeError> {
        let mut found = self.image_facts(image).await?;
        if found.is_none() && pull == PullPolicy::Never {
            return Err(RuntimeError(format!(
                "no image {image}: the engine does not have it, and --pull never forbids pulling it"
            )));
        }
        if found.is_none() || pull == PullPolicy::Always {
            info!("pulling image {image}");
            self.pull(image).await?;
            found = self.image_facts(image).await?;
        }
        found.ok_or_else(|| no_such_image(image))
    }

    /// Inspects an image; none if the engine does not have it.
    pub(super) async fn image_facts(
        &self,
        image: &str,
    ) -> Result<Option<ImageFacts>, RuntimeError> {
        let config = match self.docker.inspect_image(image).await {
            Ok(found) => found.config.unwrap_or_default(),
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(self.explain(error)),
        };
        Ok(Some(ImageFacts {
            user: config.user.unwrap_or_default(),
            labels: config.labels.unwrap_or_default(),
            exposed: exposed(&config.exposed_ports.unwrap_or_default()),
        }))
    }

    async fn pull(&self, image: &str) -> Result<(), RuntimeError> {
        let failed = |reason: String| RuntimeError(format!("no image {image}: {reason}"));
        let auth = RegistryAuth::of(image).await.map_err(failed)?;
        let client = self.client.with_registry_auth(auth.header());
        let (repository, tag) = split_tag(image);
        let [repository, tag] =
            [repository, tag].map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC));
        let path = format!("/images/create?fromImage={repository}&tag={tag}");
        let mut refused = None;
        let progress = client.follow(Method::POST, &path, CHANGE_TIMEOUT, |step| {
            let told = step["errorDetail"]["message"].as_str();
            let told = told.or_else(|| step["error"].as_str());
            refused = told.map(in_short).or(refused.take());
        });
        let pulled = progress.await;
        let refused = pulled.err().map(|error| self.explain(error).0).or(refused);
        match refused {
            Some(reason) => Err(failed(auth.explain(reason))),
            None => Ok(()),
        }
    }

    /// The digest that the registry of an image has for its tag, or the reason why there is none. The
    /// engine asks: it knows which registries are reached without TLS, and through which proxy.
    pub(crate) async fn registry_digest(&self, image: &str) -> Result<String, String> {
        let auth = RegistryAuth::of(image).await?;
        let client = self.client.with_registry_auth(auth.header());
        let path = format!("/distribution/{}/json", utf8_percent_encode(image, IN_PATH));
        let asked = client.call(Method::GET, &path, None, QUERY_TIMEOUT).await;
        let answer = asked.map_err(|error| match error {
            Error::RequestTimeoutError => "the registry does not answer".to_owned(),
            error => auth.explain(self.explain(error).0),
        })?;
        let digest = answer["Descriptor"]["digest"].as_str();
        let digest = digest.ok_or("the registry says none")?;
        Ok(digest.to_owned())
    }

    /// The containers that one of the engine's filters selects, running or not.
    pub(super) async fn summaries(
        &self,
        filter: &str,
        values: Vec<String>,
    ) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([(filter, values)]))
            .build();
        let listed = self.quick().list_containers(Some(options)).await;
        listed.map_err(|e| self.explain(e))
    }

    /// The replicas' containers of those.
    pub(super) async fn list(
        &self,
        view: FleetView<'_>,
        filter: &str,
        values: Vec<String>,
    ) -> Result<Vec<ContainerInfo>, RuntimeError> {
        let listed = self.summaries(filter, values).await?.into_iter();
        Ok(listed.filter_map(|s| container::read(view, s)).collect())
    }

    /// Creates a container that is never started, for its labels. A container needs a command even
    /// if its image has none.
    pub(super) async fn create_label(
        &self,
        name: &str,
        image: &str,
        command: &str,
        labels: HashMap<String, String>,
    ) -> Result<String, Error> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(Vec::new()),
            cmd: Some(vec![command.to_owned()]),
            labels: Some(labels),
            host_config: Some(HostConfig {
                // Keeps no network in use.
                network_mode: Some("none".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let created = self.docker.create_container(Some(options), body).await?;
        Ok(created.id)
    }

    /// The JSON of a query's answer, as the engine wrote it.
    pub(super) async fn get_json(&self, path: &str) -> Result<Value, Error> {
        let call = self.client.call(Method::GET, path, None, QUERY_TIMEOUT);
        call.await
    }

    /// What the engine says of a container, all of it.
    pub(super) async fn inspect_json(&self, name: &str) -> Result<Value, Error> {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        self.get_json(&format!("/containers/{name}/json")).await
    }

    /// What the engine says of an image, all of it.
    pub(super) async fn image_json(&self, name: &str) -> Result<Value, Error> {
        // Names have slashes, and the engine takes them as they are.
        self.get_json(&format!("/images/{name}/json")).await
    }

    /// The image that a container was made of: by its name, unless that is another's by now.
    pub(super) async fn image_of(&self, container: &Value) -> String {
        let id = container["Image"].as_str().unwrap_or_default();
        let name = container["Config"]["Image"].as_str().unwrap_or(id);
        let named = self.image_json(name).await;
        let is_same = named.is_ok_and(|named| named["Id"] == id);
        if is_same { name } else { id }.to_owned()
    }

    /// Makes a change with a body of JSON.
    pub(super) async fn post_json(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let call = self
            .client
            .call(Method::POST, path, Some(body), CHANGE_TIMEOUT);
        call.await
    }

    /// Creates a container from JSON, and returns its id.
    pub(super) async fn create(&self, name: &str, body: &Value) -> Result<String, Error> {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let created = self
            .post_json(&format!("/containers/create?name={name}"), body)
            .await?;
        Ok(created["Id"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn inspect(&self, name: &str) -> Result<ContainerInspectResponse, Error> {
        let options = None::<InspectContainerOptions>;
        self.quick().inspect_container(name, options).await
    }

    /// Removes a container, killing it if it runs, and its volumes without a name. It is no error
    /// if it is gone or being removed.
    pub(super) async fn remove(&self, container: &str) -> Result<(), RuntimeError> {
        self.remove_with(container, true).await
    }

    /// The same; its volumes stay unless they go with it.
    pub(super) async fn remove_with(
        &self,
        container: &str,
        volumes: bool,
    ) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(volumes)
            .build();
        match self.docker.remove_container(container, Some(options)).await {
            Err(error) if !is_missing(&error) && !is_conflict(&error) => Err(self.explain(error)),
            _ => Ok(()),
        }
    }

    /// The message for an error: the engine's own where it gave one.
    pub(crate) fn explain(&self, error: Error) -> RuntimeError {
        match error {
            Error::DockerResponseServerError { message, .. }
            | Error::DockerStreamError { error: message } => RuntimeError(in_short(&message)),
            Error::RequestTimeoutError => RuntimeError(format!(
                "the Docker engine at {} does not answer",
                self.host
            )),
            error => unreachable(&self.host, &error),
        }
    }
}

fn unreachable(host: &str, error: &Error) -> RuntimeError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let kind = cause.downcast_ref().map(std::io::Error::kind);
    let advice = match kind {
        Some(std::io::ErrorKind::PermissionDenied) => {
            "its socket belongs to root and to group docker: run as a member of that group \
             (usermod -aG docker USER; in a container --group-add with the group's id, or user 0)"
        }
        _ => "is it running, and is its socket mounted?",
    };
    let cause = match error {
        Error::SocketNotFoundError(_) => "no such socket".to_owned(),
        _ => lower_first(&cause.to_string()),
    };
    RuntimeError(format!(
        "cannot reach the Docker engine at {host}: {cause}; {advice}"
    ))
}

/// The engine has no such object.
pub(crate) fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

/// The name is taken, or the object is not in the required state.
pub(super) fn is_conflict(error: &Error) -> bool {
    status(error) == Some(409)
}

/// The name of a network, or that of its interface, is taken. (The engine answers 403 to the
/// latter, and in other cases, too.)
pub(super) fn is_taken(error: &Error) -> bool {
    is_conflict(error)
        || matches!(
            error,
            Error::DockerResponseServerError { status_code: 403, message }
                if message.contains("same bridge name")
        )
}

/// The status of the engine's response, if it responded.
fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Cuts from an engine's message the layers that it came through: the rest is what the user can
/// fix.
fn in_short(message: &str) -> String {
    const LAYERS: [&str; 2] = ["starting container process caused: ", "container process: "];
    let message = message.trim();
    let cut = LAYERS
        .iter()
        .find_map(|layer| message.rfind(layer).map(|at| at + layer.len()));
    let message = &message[cut.unwrap_or(0)..];
    let message = message.strip_suffix(": unknown").unwrap_or(message);
    lower_first(&without_ids(message.trim_end_matches('.')))
}

/// Replaces the ids of containers and layers, which differ from attempt to attempt.
fn without_ids(message: &str) -> String {
    const MIN_ID_LEN: usize = 12;
    let mut short = String::new();
    let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut rest = message;
    while let Some(at) = rest.find(digit) {
        let (before, from) = rest.split_at(at);
        let length = from.find(|c| !digit(c)).unwrap_or(from.len());
        short.push_str(before);
        short.push_str(if length < MIN_ID_LEN {
            &from[..length]
        } else {
            "*"
        });
        rest = &from[length..];
    }
    short + rest
}

/// Lowers the first letter of a sentence, but not of an acronym.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            let rest = &text[first.len_utf8()..];
            first.to_lowercase().chain(rest.chars()).collect()
        }
        _ => text.to_owned(),
    }
}

/// Splits an image's name into repository and tag. The engine pulls *all* tags if it gets none.
pub(super) fn split_tag(image: &str) -> (&str, &str) {
    if let Some((repository, digest)) = image.split_once('@') {
        return (repository, digest);
    }
    match image.rsplit_once(':') {
        // A colon before the last slash is a registry's port.
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_engine_is_named() {
        let refused = |host: &str| Engine::connect(host.to_owned()).err().unwrap().0;
        assert_eq!(
            refused("unix:///nowhere/docker.sock"),
            "cannot reach the Docker engine at unix:///nowhere/docker.sock: no such socket; \
             is it running, and is its socket mounted?"
        );
        assert_eq!(
            refused("ssh://me@there"),
            "cannot use DOCKER_HOST=ssh://me@there: unix:// and tcp:// addresses are supported"
        );
    }

    #[test]
    fn message_of_an_engine_is_cut_to_its_cause() {
        for (said, short) in [
            ("No such image: nosuch:1", "no such image: nosuch:1"),
            ("OCI runtime create failed", "OCI runtime create failed"),
            (
                "write /var/lib/docker/overlay2/06f5625ea96f10c48824df68-init/link: no space left on device",
                "write /var/lib/docker/overlay2/*-init/link: no space left on device",
            ),
            (
                "failed to create shim: OCI runtime create failed: container_linux.go:380: starting \
                 container process caused: exec: \"nope\": executable file not found in $PATH: unknown",
                "exec: \"nope\": executable file not found in $PATH",
            ),
            (
                "failed to create task for container: failed to create shim task: OCI runtime create \
                 failed: runc create failed: unable to start container process: exec: \"nope\": \
                 executable file not found in $PATH: unknown",
                "exec: \"nope\": executable file not found in $PATH",
            ),
        ] {
            assert_eq!(in_short(said), short);
        }
    }

    #[test]
    fn only_one_tag_is_pulled() {
        for (image, parts) in [
            ("shop", ("shop", "latest")),
            ("shop:1.4", ("shop", "1.4")),
            ("host:5000/shop", ("host:5000/shop", "latest")),
            ("host:5000/shop:1.4", ("host:5000/shop", "1.4")),
            ("shop@sha256:12", ("shop", "sha256:12")),
        ] {
            assert_eq!(split_tag(image), parts);
        }
    }
}
