//! Finds the balancer's own container. The engine of `DOCKER_HOST` describes it if it runs the container itself. It
//! does not if it is a manager on another node, or if a filtering proxy denies `/containers`: then the
//! balancer looks for its container's id among the Swarm's tasks.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::api::SwarmApi;
use crate::runtime::RuntimeError;
use crate::runtime::docker::{inspect_own, own_ids};

/// A task's container is listed a moment after it has started.
const LISTED_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// The container's label that says that a Swarm made it for a task.
const OF_TASK: &str = "com.docker.swarm.task.id";

/// Where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// At the engine that is asked, by this id.
    AtEngine(String),
    /// Among the tasks: on the node with this id.
    AmongTasks(String),
}

/// The container in which this process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnContainer {
    found: Found,
    pub(super) labels: HashMap<String, String>,
    /// The names of the networks that it is on.
    pub(super) networks: Vec<String>,
}

impl OwnContainer {
    /// Finds it; none if this process runs in no container.
    ///
    /// # Errors
    ///
    /// Neither the engine nor the Swarm knows it.
    pub(super) async fn find(api: &SwarmApi) -> Result<Option<Self>, RuntimeError> {
        let unknown = match inspect_own().await {
            Ok(None) => return Ok(None),
            Ok(Some(found)) => {
                let labels = found.config.and_then(|config| config.labels);
                let networks = found.network_settings.and_then(|found| found.networks);
                return Ok(Some(Self {
                    found: Found::AtEngine(found.id.unwrap_or_default()),
                    labels: labels.unwrap_or_default(),
                    networks: networks.unwrap_or_default().into_keys().collect(),
                }));
            }
            Err(error) => error,
        };
        let own_ids = own_ids();
        let deadline = Instant::now() + LISTED_WITHIN;
        loop {
            let listed = api.running_tasks().await?;
            let own = listed.iter().find_map(|task| among(task, &own_ids));
            if own.is_some() {
                return Ok(own);
            }
            if Instant::now() > deadline {
                return Err(RuntimeError(format!(
                    "{unknown}, and no task of the Swarm has it: a balancer whose DOCKER_HOST is the \
                     engine of another node has to be a task of a service"
                )));
            }
            sleep(PAUSE).await;
        }
    }

    /// Its id, if the engine that is asked runs it: only that one can have it join a network.
    pub(super) fn id_at_engine(&self) -> Option<&str> {
        match &self.found {
            Found::AtEngine(id) => Some(id),
            Found::AmongTasks(_) => None,
        }
    }

    /// Whether a Swarm ends it when its node is drained. `engine`: the id of the node whose engine is asked.
    pub(super) fn is_task_on(&self, node: &str, engine: &str) -> bool {
        match &self.found {
            Found::AtEngine(_) => engine == node && self.labels.contains_key(OF_TASK),
            Found::AmongTasks(own) => own == node,
        }
    }
}

/// The container of a task if it has one of these ids. Pure.
fn among(task: &Value, own_ids: &[String]) -> Option<OwnContainer> {
    let container = task["Status"]["ContainerStatus"]["ContainerID"].as_str()?;
    own_ids
        .iter()
        .find(|id| container.starts_with(id.as_str()))?;
    let labels = task["Spec"]["ContainerSpec"]["Labels"].as_object();
    let labels = labels.into_iter().flatten();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    let joined = task["NetworksAttachments"].as_array();
    let name = |joined: &Value| Some(joined["Network"]["Spec"]["Name"].as_str()?.to_owned());
    Some(OwnContainer {
        found: Found::AmongTasks(task["NodeID"].as_str()?.to_owned()),
        labels: labels.filter_map(text).collect(),
        networks: joined.into_iter().flatten().filter_map(name).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn own_container_is_found_among_the_tasks_by_its_id() {
        let task = json!({
            "ID": "t1",
            "NodeID": "n3",
            "Spec": {"ContainerSpec": {"Labels": {"com.docker.stack.namespace": "shop", "odd": 1}}},
            "Status": {"State": "running", "ContainerStatus": {"ContainerID": ID, "PID": 7}},
            "NetworksAttachments": [
                {"Network": {"ID": "x", "Spec": {"Name": "shop_default"}}, "Addresses": ["10.0.1.3/24"]},
                {"Network": {"ID": "y"}},
            ],
        });
        // What the host name has of it is its beginning.
        let ids = ["ffff456789ab".to_owned(), ID[..12].to_owned()];
        let own = among(&task, &ids).unwrap();
        assert_eq!(own.networks, ["shop_default"]);
        let stack = [("com.docker.stack.namespace".to_owned(), "shop".to_owned())];
        assert_eq!(own.labels, HashMap::from(stack));
        assert_eq!(own.id_at_engine(), None);
        assert!(own.is_task_on("n3", "n1") && !own.is_task_on("n1", "n1"));
        assert_eq!(among(&task, &ids[..1]), None);
        for other in [
            json!({}),
            json!([]),
            json!({"Status": {"ContainerStatus": null}}),
        ] {
            assert_eq!(among(&other, &ids), None);
        }
    }

    #[test]
    fn container_at_the_engine_is_a_task_if_its_label_says_so() {
        let own = |label: &str| OwnContainer {
            found: Found::AtEngine(ID.to_owned()),
            labels: HashMap::from([(label.to_owned(), "t1".to_owned())]),
            networks: Vec::new(),
        };
        assert!(own(OF_TASK).is_task_on("n1", "n1"));
        assert!(!own(OF_TASK).is_task_on("n2", "n1"));
        assert!(!own("other").is_task_on("n1", "n1"));
        assert_eq!(own(OF_TASK).id_at_engine(), Some(ID));
    }
}
