//! The calls to a manager of a Swarm. Their JSON goes through unchanged: the types of a library lose
//! what their version of the API does not have, and a spec that is read and written back would come
//! back as another.

use std::fmt;
use std::time::Duration;

use hyper::Method;
use log::debug;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::labels::{FLEET, REPLICA};
use super::service::{self, ServiceInfo};
use super::task::{self, TaskInfo};
use crate::fleet::check_objects;
use crate::ring::ReplicaName;
use crate::runtime::RuntimeError;
use crate::runtime::docker::{Engine, RegistryAuth};
use crate::runtime::engine_client::{self, EngineClient, EngineError};

/// The time for any call. A manager answers within milliseconds; without a leader it hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The time for a container to join a network: it waits for the managers and for its node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a change is made again because something else has changed the object meanwhile, and the
/// pause before: the index of a version also moves when the Swarm itself has done something.
const MAX_ATTEMPTS: u32 = 50;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(10);

/// What a manager has refused, or why it has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SwarmError {
    /// The status of its answer, if it answered.
    status: Option<u16>,
    message: String,
}

impl SwarmError {
    /// There is no such object.
    pub(super) fn is_missing(&self) -> bool {
        self.status == Some(404)
    }

    /// The name is taken.
    pub(super) fn is_taken(&self) -> bool {
        self.status == Some(409)
    }

    /// Another change came first: the version that was given is an older one.
    pub(super) fn is_out_of_sequence(&self) -> bool {
        self.status == Some(500) && self.message.contains("out of sequence")
    }
}

impl fmt::Display for SwarmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // gRPC's layer says nothing that a reader can use.
        let message = self.message.trim();
        let inner = message
            .split_once(" desc = ")
            .map_or(message, |(_, inner)| inner);
        f.write_str(inner)
    }
}

impl From<SwarmError> for RuntimeError {
    fn from(error: SwarmError) -> Self {
        Self(error.to_string())
    }
}

/// A manager.
pub(super) struct SwarmApi {
    engine: Engine,
    client: EngineClient,
}

/// An object's id, version and spec.
pub(super) struct Versioned {
    pub(super) id: String,
    pub(super) version: u64,
    pub(super) spec: Value,
}

impl Versioned {
    /// Reads an object whose spec is to be changed. Pure.
    fn read(found: &Value) -> Result<Self, String> {
        check_objects(
            found,
            &["Spec", "Spec.Labels", "Spec.Mode", "Spec.Mode.Replicated"],
        )?;
        Ok(Self {
            id: found["ID"].as_str().unwrap_or_default().to_owned(),
            version: found["Version"]["Index"].as_u64().unwrap_or_default(),
            spec: found["Spec"].clone(),
        })
    }
}

/// The kinds of objects whose specs are changed here.
#[derive(Debug, Clone, Copy)]
pub(super) enum ObjectKind {
    Service,
    Config,
    Node,
}

impl ObjectKind {
    fn path(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Config => "configs",
            Self::Node => "nodes",
        }
    }
}

impl SwarmApi {
    /// The manager of `DOCKER_HOST`, or of the usual socket.
    pub(super) fn from_env() -> Result<Self, RuntimeError> {
        let engine = Engine::from_env()?;
        let client = EngineClient::new(engine.host());
        Ok(Self { engine, client })
    }

    /// The engine, for what is not the Swarm's.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Checks that the engine manages a Swarm.
    pub(super) async fn check_manager(&self) -> Result<(), RuntimeError> {
        self.engine.handshake().await?;
        let info = self.get("/info").await?;
        let swarm = &info["Swarm"];
        let host = self.engine.host();
        let advice = "--runtime swarm needs the engine of a manager";
        match (
            swarm["LocalNodeState"].as_str(),
            swarm["ControlAvailable"].as_bool(),
        ) {
            (Some("active"), Some(true)) => Ok(()),
            (Some("active"), _) => Err(RuntimeError(format!(
                "the engine at {host} is a worker of its Swarm: {advice}; docker node promote makes \
                 it one"
            ))),
            (Some("locked"), _) => Err(RuntimeError(format!(
                "the Swarm of the engine at {host} is locked: docker swarm unlock"
            ))),
            _ => Err(RuntimeError(format!(
                "the engine at {host} is in no Swarm: {advice}; docker swarm init makes one"
            ))),
        }
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, SwarmError> {
        self.call_within(CALL_TIMEOUT, method, path, body).await
    }

    async fn call_within(
        &self,
        timeout: Duration,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, SwarmError> {
        let called = self.client.call(method, path, body, timeout).await;
        called.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: EngineError) -> SwarmError {
        SwarmError {
            status: engine_client::status(&error),
            message: self.engine.explain(error).0,
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, SwarmError> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, SwarmError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Has a container join a network. The call ends when its node has an address for it.
    pub(super) async fn connect(&self, network: &str, container: &str) -> Result<(), SwarmError> {
        let (path, body) = (
            format!("/networks/{network}/connect"),
            json!({ "Container": container }),
        );
        let connected = self.call_within(CONNECT_TIMEOUT, Method::POST, &path, Some(&body));
        connected.await.map(drop)
    }

    /// The objects of a list that have all of these labels.
    pub(super) async fn list(
        &self,
        path: &str,
        labels: &[(&str, &str)],
    ) -> Result<Vec<Value>, SwarmError> {
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| match *value {
                "" => (*key).to_owned(),
                value => format!("{key}={value}"),
            })
            .collect();
        let path = format!("/{path}?{}", filters(&json!({ "label": labels })));
        let listed = self.get(&path).await?;
        Ok(listed.as_array().cloned().unwrap_or_default())
    }

    /// The tasks of a fleet, by the label of their services; those of services that are gone as long
    /// as they run. (By a service's id the list is an error once that is gone.)
    pub(super) async fn tasks(
        &self,
        fleet: &str,
        network: &str,
    ) -> Result<Vec<TaskInfo>, SwarmError> {
        self.labelled_tasks(&[(FLEET, fleet)], network).await
    }

    /// Those of one replica. A launch asks for them many times a second: a list of a large fleet's
    /// tasks would take the manager more time than all else.
    pub(super) async fn tasks_of(
        &self,
        fleet: &str,
        replica: &ReplicaName,
        network: &str,
    ) -> Result<Vec<TaskInfo>, SwarmError> {
        let labels = [(FLEET, fleet), (REPLICA, replica.as_str())];
        self.labelled_tasks(&labels, network).await
    }

    async fn labelled_tasks(
        &self,
        labels: &[(&str, &str)],
        network: &str,
    ) -> Result<Vec<TaskInfo>, SwarmError> {
        let listed = self.list("tasks", labels).await?;
        Ok(listed
            .iter()
            .filter_map(|task| task::read(task, network))
            .collect())
    }

    /// All tasks of the Swarm that are to run, of whatever service.
    pub(super) async fn running_tasks(&self) -> Result<Vec<Value>, SwarmError> {
        let filters = filters(&json!({ "desired-state": ["running"] }));
        let listed = self.get(&format!("/tasks?{filters}")).await?;
        Ok(listed.as_array().cloned().unwrap_or_default())
    }

    /// The services of a fleet's instances; those of one replica, if it is named.
    pub(super) async fn services(
        &self,
        fleet: &str,
        replica: Option<&ReplicaName>,
    ) -> Result<Vec<ServiceInfo>, SwarmError> {
        let mut labels = vec![(FLEET, fleet)];
        labels.extend(replica.map(|name| (REPLICA, name.as_str())));
        let listed = self.list("services", &labels).await?;
        Ok(listed.iter().filter_map(service::read).collect())
    }

    /// Creates a service, and returns its id. The Swarm keeps the credentials with it, for the nodes that
    /// run it; an update without any leaves them as they are.
    pub(super) async fn create_service(
        &self,
        spec: &Value,
        auth: &RegistryAuth,
    ) -> Result<String, SwarmError> {
        let client = self.client.with_registry_auth(auth.header());
        let path = "/services/create";
        let created = client.call(Method::POST, path, Some(spec), CALL_TIMEOUT);
        let created = created.await.map_err(|error| self.explain(error))?;
        Ok(created["ID"].as_str().unwrap_or_default().to_owned())
    }

    /// Removes an object. It is no error if it is gone.
    pub(super) async fn remove(&self, kind: ObjectKind, name: &str) -> Result<(), SwarmError> {
        let path = format!("/{}/{name}", kind.path());
        match self.call(Method::DELETE, &path, None).await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// An object by its name or id.
    pub(super) async fn find(&self, kind: ObjectKind, name: &str) -> Result<Versioned, SwarmError> {
        let found = self.get(&format!("/{}/{name}", kind.path())).await?;
        Versioned::read(&found).map_err(|wrong| SwarmError {
            status: None,
            message: format!("the Swarm's answer about {name}: {wrong}"),
        })
    }

    /// Replaces an object's spec if it has not been changed since that version.
    pub(super) async fn update(
        &self,
        kind: ObjectKind,
        object: &Versioned,
    ) -> Result<(), SwarmError> {
        let Versioned { id, version, spec } = object;
        let path = format!("/{}/{id}/update?version={version}", kind.path());
        self.post(&path, spec).await.map(drop)
    }

    /// Changes the spec of a service until the change is in, or needs none: `change` says whether it
    /// has changed anything.
    pub(super) async fn change_service(
        &self,
        name: &str,
        change: impl Fn(&mut Value) -> bool,
    ) -> Result<(), SwarmError> {
        self.change(ObjectKind::Service, name, change).await
    }

    /// The same with any object.
    pub(super) async fn change(
        &self,
        kind: ObjectKind,
        name: &str,
        change: impl Fn(&mut Value) -> bool,
    ) -> Result<(), SwarmError> {
        let mut attempts = 0;
        loop {
            let mut object = self.find(kind, name).await?;
            if !change(&mut object.spec) {
                return Ok(());
            }
            attempts += 1;
            match self.update(kind, &object).await {
                Err(error) if error.is_out_of_sequence() && attempts < MAX_ATTEMPTS => {
                    debug!("swarm: {name} was changed meanwhile");
                    sleep(ATTEMPT_PAUSE).await;
                }
                updated => return updated,
            }
        }
    }

    /// The output of a task's container, at most this many of its last lines, with the frames around
    /// it taken off.
    pub(super) async fn task_output(&self, task: &str, lines: usize) -> Result<String, SwarmError> {
        let path = format!("/tasks/{task}/logs?stdout=1&stderr=1&tail={lines}");
        let read = self.client.read(&path, CALL_TIMEOUT).await;
        let bytes = read.map_err(|error| self.explain(error))?;
        Ok(unframed(&bytes))
    }

    /// Has each event of services, nodes and config objects taken in until the connection ends.
    pub(super) async fn follow_events(
        &self,
        taken_in: impl FnMut(Value),
    ) -> Result<(), SwarmError> {
        let filters = filters(&json!({ "type": ["service", "node", "config"] }));
        let path = format!("/events?{filters}");
        let followed = self
            .client
            .follow(Method::GET, &path, CALL_TIMEOUT, taken_in);
        followed.await.map_err(|error| self.explain(error))
    }
}

fn filters(filters: &Value) -> String {
    let text = filters.to_string();
    format!("filters={}", utf8_percent_encode(&text, NON_ALPHANUMERIC))
}

/// The text of a log: each piece of output has a header of eight bytes, the last four of which are
/// its length. The log of a terminal has none.
fn unframed(log: &[u8]) -> String {
    let mut text = Vec::new();
    let mut rest = log;
    while let Some((&[stream, 0, 0, 0, a, b, c, d], body)) = rest.split_first_chunk::<8>()
        && stream <= 2
    {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (piece, more) = body.split_at(length.min(body.len()));
        text.extend_from_slice(piece);
        rest = more;
    }
    text.extend_from_slice(rest);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let error = |status, message: &str| SwarmError {
            status: Some(status),
            message: message.to_owned(),
        };
        let late = error(
            500,
            "rpc error: code = Unknown desc = update out of sequence",
        );
        assert!(late.is_out_of_sequence() && !late.is_taken() && !late.is_missing());
        assert_eq!(late.to_string(), "update out of sequence");
        assert!(error(409, "name conflicts with an existing object").is_taken());
        assert!(error(404, "service x not found").is_missing());
        assert!(!error(500, "the swarm does not have a leader").is_out_of_sequence());
    }

    #[test]
    fn object_whose_spec_could_not_be_changed_is_refused() {
        let good = json!({"ID": "s1", "Version": {"Index": 7}, "Spec": {"Mode": {"Global": {}}}});
        let read = Versioned::read(&good).ok();
        let read = read.map(|object| (object.id, object.version, object.spec));
        assert_eq!(read, Some(("s1".to_owned(), 7, good["Spec"].clone())));
        for (spec, place) in [
            (json!("x"), "Spec is a text"),
            (json!({"Labels": ["a"]}), "Spec.Labels is a list"),
            (json!({"Mode": 1}), "Spec.Mode is a number"),
            (
                json!({"Mode": {"Replicated": 3}}),
                "Spec.Mode.Replicated is a number",
            ),
        ] {
            let read = Versioned::read(&json!({ "Spec": spec })).map(|object| object.spec);
            assert_eq!(read, Err(format!("{place}; allowed is an object")));
        }
    }

    #[test]
    fn the_frames_of_a_log_are_taken_off() {
        let log = b"\x01\0\0\0\0\0\0\x03hi\n\x02\0\0\0\0\0\0\x05oops\n";
        assert_eq!(unframed(log), "hi\noops\n");
        assert_eq!(unframed(b"of a terminal\n"), "of a terminal\n");
        assert_eq!(unframed(b"\x01\0\0\0\0\0\0\x09cut"), "cut");
        assert_eq!(unframed(b""), "");
    }
}
