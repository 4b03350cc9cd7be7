//! Tasks of a fleet as a manager lists them. Pure.
//!
//! What is read is in the labels of the container, which a task keeps: those of its service may say
//! something else by now, and a task outlives its service.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::labels::{DEFINITION, PORT, ROLE};
use super::service::{ServiceRole, read_order};
use crate::runtime::docker::read_exit;
use crate::runtime::{Exit, LaunchOrder};

/// How much of a container's id people are shown.
const SHORT_ID_LENGTH: usize = 12;

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TaskState {
    /// It has no node yet.
    Pending,
    /// It has one, which fetches the image or starts the container.
    Starting,
    /// Its container runs, as far as the manager knows: a node that is lost says nothing else.
    Running,
    /// Its container has ended, or never will start.
    Ended(Exit),
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskInfo {
    pub(super) id: String,
    pub(super) service: String,
    pub(super) order: LaunchOrder,
    /// It plays no replica.
    pub(super) is_extra: bool,
    pub(super) state: TaskState,
    /// The Swarm wants it to run. One that runs and is not wanted is about to be ended.
    pub(super) is_wanted: bool,
    pub(super) node: Option<String>,
    /// The beginning of its container's id, which tells it from others.
    pub(super) container: Option<String>,
    /// Where it listens, once the network has an address for it.
    pub(super) endpoint: Option<SocketAddr>,
    /// What has gone wrong, in the Swarm's words.
    pub(super) error: Option<String>,
    /// The hash of the definition that it was started by.
    pub(super) definition: Option<String>,
}

impl TaskInfo {
    /// It runs, and is to go on.
    pub(super) fn is_live(&self) -> bool {
        self.state == TaskState::Running && self.is_wanted
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, TaskState::Ended(_))
    }
}

/// Reads a task, whose address is that in a network of this name or id; none if it is not an
/// instance's.
pub(super) fn read(task: &Value, network: &str) -> Option<TaskInfo> {
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let labels = &task["Spec"]["ContainerSpec"]["Labels"];
    let status = &task["Status"];
    let port: u16 = labels[PORT].as_str()?.parse().ok()?;
    let address = address(&task["NetworksAttachments"], network);
    Some(TaskInfo {
        id: text(&task["ID"])?,
        service: text(&task["ServiceID"])?,
        order: read_order(labels)?,
        is_extra: labels[ROLE] == ServiceRole::Extra.name(),
        state: state(status),
        is_wanted: matches!(task["DesiredState"].as_str(), Some("ready" | "running")),
        node: text(&task["NodeID"]),
        container: text(&status["ContainerStatus"]["ContainerID"])
            .map(|id| id.chars().take(SHORT_ID_LENGTH).collect()),
        endpoint: address.map(|address| SocketAddr::new(address, port)),
        error: text(&status["Err"]),
        definition: text(&labels[DEFINITION]),
    })
}

/// How a task has ended, if it has.
pub(super) fn exit_of(task: &Value) -> Option<Exit> {
    match state(task.get("Status")?) {
        TaskState::Ended(exit) => Some(exit),
        _ => None,
    }
}

fn state(status: &Value) -> TaskState {
    match status["State"].as_str().unwrap_or_default() {
        "new" | "allocated" | "pending" => TaskState::Pending,
        "assigned" | "accepted" | "preparing" | "ready" | "starting" => TaskState::Starting,
        "running" => TaskState::Running,
        // complete, shutdown, failed, rejected, remove, orphaned, and what later versions add.
        _ => TaskState::Ended(exit(&status["ContainerStatus"])),
    }
}

/// How a container ended.
fn exit(container: &Value) -> Exit {
    let has_run = container["ContainerID"]
        .as_str()
        .is_some_and(|id| !id.is_empty());
    read_exit(container["ExitCode"].as_i64().filter(|_| has_run), false)
}

/// A task's address in a network.
fn address(attachments: &Value, network: &str) -> Option<IpAddr> {
    let is_ours = |attachment: &&Value| {
        let joined = &attachment["Network"];
        joined["Spec"]["Name"] == network || joined["ID"] == network
    };
    let attachment = attachments.as_array()?.iter().find(is_ours)?;
    let addresses = attachment["Addresses"].as_array()?.iter();
    // With the length of the network's prefix: 10.0.1.3/24.
    let mut addresses = addresses.filter_map(|address| address.as_str()?.split('/').next());
    addresses.find_map(|address| address.parse().ok())
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A task as engine 20.10 lists it.
    pub(in super::super) fn task(replica: &str, generation: u64, state: &str) -> Value {
        json!({
            "ID": format!("t-{replica}-{generation}"),
            "ServiceID": format!("s-{replica}-{generation}"),
            "NodeID": "n1",
            "DesiredState": "running",
            "Spec": {"ContainerSpec": {"Labels": {
                "io.ringmaster.replica": replica,
                "io.ringmaster.generation": generation.to_string(),
                "io.ringmaster.port": "8080",
                "io.ringmaster.ordinal": "1",
                "io.ringmaster.weight": "1",
            }}},
            "Status": {"State": state},
            "NetworksAttachments": [
                {"Network": {"ID": "i1", "Spec": {"Name": "ingress"}}, "Addresses": ["10.0.0.9/24"]},
                {"Network": {"ID": "i2", "Spec": {"Name": "zoo"}}, "Addresses": ["10.0.1.3/24"]},
            ],
        })
    }

    #[test]
    fn a_running_task_has_the_address_of_our_network() {
        let info = read(&task("S1", 4, "running"), "zoo").unwrap();
        assert!(info.is_live());
        assert_eq!(info.endpoint, Some("10.0.1.3:8080".parse().unwrap()));
        assert_eq!(info.node.as_deref(), Some("n1"));
        assert_eq!(info.order.id.to_string(), "S1 (generation 4)");
        assert_eq!(
            read(&task("S1", 4, "running"), "i2").unwrap().endpoint,
            info.endpoint
        );
        assert_eq!(
            read(&task("S1", 4, "running"), "other").unwrap().endpoint,
            None
        );
    }

    #[test]
    fn task_of_a_canary_is_told_by_its_label() {
        let mut task = task("canary-1", 1, "running");
        assert!(!read(&task, "zoo").unwrap().is_extra);
        task["Spec"]["ContainerSpec"]["Labels"]["io.ringmaster.role"] = json!("extra");
        assert!(read(&task, "zoo").unwrap().is_extra);
    }

    #[test]
    fn states_are_those_of_a_swarm() {
        for (state, expected) in [
            ("pending", TaskState::Pending),
            ("preparing", TaskState::Starting),
            ("running", TaskState::Running),
            ("rejected", TaskState::Ended(Exit::default())),
            ("orphaned", TaskState::Ended(Exit::default())),
            ("of a later version", TaskState::Ended(Exit::default())),
        ] {
            assert_eq!(read(&task("S1", 1, state), "zoo").unwrap().state, expected);
        }
        for (code, expected) in [
            (3, Exit::code(3)),
            (137, Exit::signal(9)),
            (0, Exit::code(0)),
        ] {
            let mut failed = task("S1", 1, "failed");
            failed["Status"]["ContainerStatus"] = json!({"ContainerID": "c", "ExitCode": code});
            failed["Status"]["Err"] = json!("task: non-zero exit");
            let info = read(&failed, "zoo").unwrap();
            assert_eq!(info.state, TaskState::Ended(expected));
            assert_eq!(info.error.as_deref(), Some("task: non-zero exit"));
        }
    }

    #[test]
    fn a_task_that_runs_and_is_not_wanted_is_on_its_way_out() {
        let mut leaving = task("S1", 1, "running");
        leaving["DesiredState"] = json!("shutdown");
        let info = read(&leaving, "zoo").unwrap();
        assert!(!info.is_live() && !info.has_ended());
    }

    #[test]
    fn what_is_no_instances_task_is_passed_over() {
        let mut foreign = task("S1", 1, "running");
        foreign["Spec"] = Value::Null;
        for value in [foreign, Value::Null, json!([1])] {
            assert_eq!(read(&value, "zoo"), None);
        }
    }
}
