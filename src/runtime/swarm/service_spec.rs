//! The spec of the service that is an instance. Pure.
//!
//! One task, which the Swarm does not restart: there is one healer, the balancer. The image's own
//! health check is off, because a task that has one stays `starting` until it has passed.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::container_spec::TaskParts;
use super::labels::{DEFINITION, FLEET, GENERATION, ORDINAL, PORT, REPLICA, ROLE, WEIGHT};
use super::service::ServiceRole;
use crate::runtime::docker::RegistryAuth;

/// The labels that a service has of its container's.
const SHARED_LABELS: [&str; 7] = [
    FLEET, REPLICA, GENERATION, WEIGHT, ORDINAL, PORT, DEFINITION,
];

/// What a service is made of.
#[derive(Debug, Clone)]
pub(super) struct ServicePlan {
    /// Its name.
    pub(super) name: String,
    pub(super) role: ServiceRole,
    /// The task's: a container by flags, or what a stack file's service has.
    pub(super) parts: TaskParts,
    /// The networks that its task joins, with its names in them: the first is the fleet's.
    pub(super) networks: Vec<(String, Vec<String>)>,
    pub(super) stop_grace: Duration,
    /// With which its node fetches the image.
    pub(super) auth: RegistryAuth,
}

/// The request that creates it. It does not start on these nodes.
pub(super) fn spec(plan: &ServicePlan, excluded_nodes: &[String]) -> Value {
    let ServicePlan { parts, .. } = plan;
    let mut container = parts.container.clone();
    container.insert("Healthcheck".to_owned(), json!({ "Test": ["NONE"] }));
    container.insert("StopGracePeriod".to_owned(), nanoseconds(plan.stop_grace));
    let mut labels: Map<_, _> = SHARED_LABELS
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), container.get("Labels")?.get(key)?.clone())))
        .collect();
    labels.insert(ROLE.to_owned(), plan.role.name().into());
    if plan.role == ServiceRole::Extra
        && let Some(own) = container.get_mut("Labels")
    {
        // Tasks are listed far more often than services.
        own[ROLE] = plan.role.name().into();
    }
    let networks = plan.networks.iter();
    let networks: Vec<_> = networks
        .map(|(network, aliases)| json!({ "Target": network, "Aliases": aliases }))
        .collect();
    let mut task = Value::Object(parts.task.clone());
    task["ContainerSpec"] = container.into();
    task["RestartPolicy"] = json!({ "Condition": "none" });
    task["Networks"] = networks.into();
    if !excluded_nodes.is_empty() {
        let own = task["Placement"]["Constraints"].as_array().cloned();
        let excluded = excluded_nodes.iter();
        let excluded = excluded.map(|node| Value::from(format!("node.id!={node}")));
        let constraints: Vec<_> = own.into_iter().flatten().chain(excluded).collect();
        task["Placement"]["Constraints"] = constraints.into();
    }
    json!({
        "Name": plan.name,
        "Labels": labels,
        "TaskTemplate": task,
        "Mode": { "Replicated": { "Replicas": 1 } },
        // Its address is its task's: no virtual one, which kernels without IPVS lack.
        "EndpointSpec": { "Mode": "dnsrr" },
    })
}

fn nanoseconds(time: Duration) -> Value {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX).into()
}

/// Sets a service's role in its spec; whether that changes it.
pub(super) fn set_role(spec: &mut Value, role: ServiceRole) -> bool {
    set_label(spec, ROLE, role.name())
}

fn set_label(spec: &mut Value, key: &str, value: &str) -> bool {
    if spec["Labels"][key] == value {
        return false;
    }
    spec["Labels"][key] = value.into();
    true
}

/// Ends a service's task and keeps the service; whether that changes it.
pub(super) fn scale_down(spec: &mut Value) -> bool {
    let replicas = &mut spec["Mode"]["Replicated"]["Replicas"];
    if *replicas == 0 {
        return false;
    }
    *replicas = 0.into();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::swarm::container_spec::translate;

    fn plan() -> ServicePlan {
        let body = json!({
            "Image": "shop:1",
            "Labels": {
                "io.ringmaster.fleet": "zoo", "io.ringmaster.replica": "S1",
                "io.ringmaster.generation": "3", "io.ringmaster.port": "80", "team": "a",
            },
            "HostConfig": {
                "Memory": 64,
                "LogConfig": {"Type": "none"},
            },
        });
        ServicePlan {
            name: "zoo-S1-3".to_owned(),
            role: ServiceRole::Current,
            parts: translate(&body).unwrap(),
            networks: vec![("zoo".to_owned(), vec!["S1".to_owned()])],
            stop_grace: Duration::from_secs(10),
            auth: RegistryAuth::default(),
        }
    }

    #[test]
    fn a_service_has_one_task_that_the_swarm_does_not_restart() {
        let spec = spec(&plan(), &[]);
        assert_eq!(
            spec,
            json!({
                "Name": "zoo-S1-3",
                "Labels": {
                    "io.ringmaster.fleet": "zoo", "io.ringmaster.replica": "S1",
                    "io.ringmaster.generation": "3", "io.ringmaster.port": "80",
                    "io.ringmaster.role": "current",
                },
                "TaskTemplate": {
                    "ContainerSpec": {
                        "Image": "shop:1",
                        "Labels": {
                            "io.ringmaster.fleet": "zoo", "io.ringmaster.replica": "S1",
                            "io.ringmaster.generation": "3", "io.ringmaster.port": "80",
                            "team": "a",
                        },
                        "Privileges": {"NoNewPrivileges": true},
                        "Healthcheck": {"Test": ["NONE"]},
                        "StopGracePeriod": 10_000_000_000_u64,
                    },
                    "Resources": {"Limits": {"MemoryBytes": 64}},
                    "RestartPolicy": {"Condition": "none"},
                    "Networks": [{"Target": "zoo", "Aliases": ["S1"]}],
                    "LogDriver": {"Name": "none", "Options": {}},
                },
                "Mode": {"Replicated": {"Replicas": 1}},
                "EndpointSpec": {"Mode": "dnsrr"},
            })
        );
    }

    #[test]
    fn full_nodes_are_constraints() {
        let spec = spec(&plan(), &["n1".to_owned(), "n2".to_owned()]);
        assert_eq!(
            spec["TaskTemplate"]["Placement"]["Constraints"],
            json!(["node.id!=n1", "node.id!=n2"])
        );
    }

    #[test]
    fn task_that_plays_no_replica_says_so() {
        let role = |role| {
            let spec = spec(&ServicePlan { role, ..plan() }, &[]);
            let of = |labels: &Value| labels[ROLE].as_str().map(str::to_owned);
            let task = &spec["TaskTemplate"]["ContainerSpec"];
            (of(&spec["Labels"]), of(&task["Labels"]))
        };
        let extra = || Some("extra".to_owned());
        assert_eq!(role(ServiceRole::Extra), (extra(), extra()));
        assert_eq!(role(ServiceRole::Next), (Some("next".to_owned()), None));
    }

    #[test]
    fn changes_are_made_once() {
        let mut spec = spec(&plan(), &[]);
        assert!(set_role(&mut spec, ServiceRole::Leaving));
        assert!(!set_role(&mut spec, ServiceRole::Leaving));
        assert_eq!(spec["Labels"]["io.ringmaster.role"], "leaving");
        assert!(scale_down(&mut spec));
        assert!(!scale_down(&mut spec));
        assert_eq!(spec["Mode"]["Replicated"]["Replicas"], 0);
    }
}
