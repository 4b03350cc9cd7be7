//! A service of a stack file that replicas are made from. Pure: JSON in, JSON out.
//!
//! The spec of its tasks is copied as it is, with fields that are not known here; what the runtime needs
//! is put over it. What an operator changes by a rollout (image, command, variables) is on top.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::container_spec::TaskParts;
use crate::fleet::ContainerTemplate;
use crate::runtime::docker::{DockerSettings, ImageFacts, own_labels};
use crate::runtime::{LaunchOrder, ReplicaTemplate};

/// Marks what belongs to a stack: `docker stack deploy --prune` removes services that have it and are
/// not in the file.
pub(super) const STACK: &str = "com.docker.stack.namespace";

/// The prefix of such marks.
const OF_STACK: &str = "com.docker.stack.";

/// The prefix of our own labels, each of which is one instance's.
const OURS: &str = "io.ringmaster.";

/// The labels of a service that make it a template, and say what else there is to be said.
const PREFIX: &str = "ringmaster.";
pub(super) const FLEET: &str = "ringmaster.fleet";
const REPLICAS: &str = "ringmaster.replicas";
const PORT: &str = "ringmaster.port";
const KNOWN: [&str; 3] = [FLEET, REPLICAS, PORT];

/// The most that a fleet takes.
const MAX_REPLICAS: u32 = 1024;

/// What a service of a stack says of the fleet whose replicas are made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackTemplate {
    /// The service's name: `shop_web`.
    pub service: String,
    /// The fleet's name, which is the value of the label that makes the service a template.
    pub fleet: String,
    /// How many replicas there are to be, if it says so.
    pub replicas: Option<u32>,
    /// The port that they listen on: its label, else the variable `PORT`.
    pub port: Option<u16>,
    /// The image that it runs.
    pub image: String,
    /// From the stop signal to SIGKILL, if it says so.
    pub stop_grace: Option<Duration>,
    /// The spec of its tasks without the image, networks by their names.
    pub(super) task: Value,
}

/// Reads a service of a stack, whose networks have these names in their order.
///
/// # Errors
///
/// What is wrong with it, after its name.
pub(super) fn read(service: &Value, networks: &[String]) -> Result<StackTemplate, String> {
    let spec = &service["Spec"];
    let name = spec["Name"].as_str().unwrap_or_default().to_owned();
    let wrong = |wrong: String| format!("service {name}: {wrong}");
    let labels = spec["Labels"].as_object().cloned().unwrap_or_default();
    let ours = labels.keys().filter(|key| key.starts_with(PREFIX));
    if let Some(key) = ours.into_iter().find(|key| !KNOWN.contains(&key.as_str())) {
        let known = KNOWN.join(", ");
        return Err(wrong(format!(
            "label {key} is not known; known are {known}"
        )));
    }
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let fleet = label(FLEET).unwrap_or_default();
    if !is_name(fleet) {
        return Err(wrong(format!(
            "label {FLEET} is {fleet:?}; allowed is a name of 1 to 63 letters, digits, '-', '_' and \
             '.', a letter or digit first"
        )));
    }
    let number = |key: &str, most: u32| match label(key) {
        None => Ok(None),
        Some(text) => match text.parse::<u32>() {
            Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(format!(
                "label {key} is {text:?}; allowed is a number from 1 to {most}"
            ))),
        },
    };
    let replicas = number(REPLICAS, MAX_REPLICAS)?;
    let port = number(PORT, u16::MAX.into())?.and_then(|port| u16::try_from(port).ok());
    if spec["Mode"]["Replicated"]["Replicas"] != 0 {
        return Err(wrong(
            "it runs tasks of its own; deploy.replicas: 0 makes it a template alone".to_owned(),
        ));
    }
    let task = &spec["TaskTemplate"];
    let container = &task["ContainerSpec"];
    let image = container["Image"].as_str().unwrap_or_default();
    if image.is_empty() {
        return Err(wrong("it has no image".to_owned()));
    }
    ContainerTemplate::check_body(task).map_err(wrong)?;
    let grace = container["StopGracePeriod"].as_u64();
    Ok(StackTemplate {
        fleet: fleet.to_owned(),
        replicas,
        port: port.or_else(|| port_variable(container)),
        image: image.to_owned(),
        stop_grace: grace.map(Duration::from_nanos),
        task: copied(task, networks),
        service: name,
    })
}

/// Whether a fleet can have it as its name.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(is_plain)
        && text
            .chars()
            .all(|c| is_plain(c) || matches!(c, '-' | '_' | '.'))
}

fn port_variable(container: &Value) -> Option<u16> {
    let variables = container["Env"].as_array().into_iter().flatten();
    let mut ports = variables.filter_map(|text| text.as_str()?.strip_prefix("PORT="));
    ports.next()?.parse().ok()
}

/// What replicas have of the spec of a task: all but what is particular to its service.
fn copied(task: &Value, networks: &[String]) -> Value {
    let mut task = task.clone();
    let container = &mut task["ContainerSpec"];
    if let Some(container) = container.as_object_mut() {
        // It is a setting of its own, which rollouts change.
        container.remove("Image");
    }
    if let Some(labels) = container["Labels"].as_object_mut() {
        labels.retain(|key, _| !key.starts_with(OURS) && !key.starts_with(OF_STACK));
    }
    if let Some(joined) = task["Networks"].as_array_mut() {
        let named = joined.iter_mut().filter(|one| one["Target"].is_string());
        for (network, name) in named.zip(networks) {
            network["Target"] = name.as_str().into();
        }
    }
    if let Some(task) = task.as_object_mut() {
        // A number that makes the Swarm start tasks again.
        task.remove("ForceUpdate");
        task.remove("RestartPolicy");
    }
    if let Some(placement) = task["Placement"].as_object_mut() {
        // Each service has one task.
        placement.remove("MaxReplicas");
    }
    if task["Placement"].as_object().is_none_or(Map::is_empty)
        && let Some(task) = task.as_object_mut()
    {
        task.remove("Placement");
    }
    task
}

/// The names of the networks that a template joins.
pub(super) fn networks_of(task: &Value) -> impl Iterator<Item = &str> {
    let networks = task["Networks"].as_array().into_iter().flatten();
    networks.filter_map(|network| network["Target"].as_str())
}

/// How long the template's tasks have after their stop signal, if it says so.
pub(super) fn stop_grace(like: &ContainerTemplate) -> Option<Duration> {
    let nanos = like.body["ContainerSpec"]["StopGracePeriod"].as_u64();
    nanos.map(Duration::from_nanos)
}

/// The parts of a replica's task.
pub(super) fn parts(
    like: &ContainerTemplate,
    settings: &DockerSettings,
    order: &LaunchOrder,
    image: &ImageFacts,
) -> TaskParts {
    let replica = order.id.replica.as_str();
    let own = own_labels(settings, order, image);
    let mut task = like.body.as_object().cloned().unwrap_or_default();
    task.remove("Networks");
    let container = task.remove("ContainerSpec").unwrap_or_default();
    let mut container = container.as_object().cloned().unwrap_or_default();
    container.insert("Image".to_owned(), json!(settings.image));
    container
        .entry("Hostname")
        .or_insert_with(|| json!(replica));
    let port = own.get(super::labels::PORT).cloned().unwrap_or_default();
    let ours = [("PORT", port.as_str()), ("SERVER_ID", replica)];
    let given = settings.template.env.iter();
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    let mut variables = strings(container.get("Env"));
    for (name, value) in given.chain(ours) {
        let prefix = format!("{name}=");
        variables.retain(|variable| !variable.starts_with(&prefix));
        variables.push(prefix + value);
    }
    container.insert("Env".to_owned(), json!(variables));
    if let Some(command) = &settings.template.command {
        container.insert("Args".to_owned(), json!(command));
    }
    let labels = container.entry("Labels").or_insert_with(|| json!({}));
    for (key, value) in own {
        labels[key] = value.into();
    }
    limit(&settings.template, &mut task);
    TaskParts { container, task }
}

/// Puts limits that were given over those of the template.
fn limit(template: &ReplicaTemplate, task: &mut Map<String, Value>) {
    let resources = task.entry("Resources").or_insert_with(|| json!({}));
    let given = [
        ("MemoryBytes", template.memory),
        ("NanoCPUs", template.nano_cpus),
        ("Pids", template.pids.map(u64::from)),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            resources["Limits"][name] = value.into();
        }
    }
}

/// The networks of a replica, the fleet's first, and its names in them: those of the template, and its
/// own.
pub(super) fn networks(
    like: &ContainerTemplate,
    settings: &DockerSettings,
    order: &LaunchOrder,
) -> Vec<(String, Vec<String>)> {
    let joined = like.body["Networks"].as_array().into_iter().flatten();
    let mut joined: Vec<_> = joined
        .filter_map(|network| {
            let mut names = strings(network.get("Aliases"));
            names.push(order.id.replica.to_string());
            Some((network["Target"].as_str()?.to_owned(), names))
        })
        .collect();
    joined.sort_by_key(|(name, _)| *name != settings.network);
    joined
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::ContainerOptions;
    use crate::ring::{ReplicaName, Weight};
    use crate::runtime::InstanceId;
    use crate::runtime::docker::Security;

    fn service() -> Value {
        json!({
            "ID": "t1",
            "Spec": {
                "Name": "shop_web",
                "Labels": {
                    STACK: "shop", "ringmaster.fleet": "shop", "ringmaster.replicas": "6",
                    "ringmaster.port": "7070", "team": "a",
                },
                "Mode": {"Replicated": {"Replicas": 0}},
                "TaskTemplate": {
                    "ContainerSpec": {
                        "Image": "shop:1", "Env": ["COLOUR=blue", "PORT=1"], "Args": ["serve"],
                        "Labels": {STACK: "shop", "team": "a", "io.ringmaster.fleet": "x"},
                        "Secrets": [{"SecretID": "s", "SecretName": "token"}],
                        "StopGracePeriod": 2_000_000_000_u64,
                        "FieldOfAnotherVersion": {"a": 1},
                    },
                    "Resources": {"Limits": {"MemoryBytes": 64}, "Reservations": {"NanoCPUs": 5}},
                    "RestartPolicy": {"Condition": "any"},
                    "Placement": {"Constraints": ["node.labels.zone==a"], "MaxReplicas": 1},
                    "Networks": [
                        {"Target": "id1", "Aliases": ["web"]}, {"Target": "id2"},
                    ],
                    "ForceUpdate": 3,
                },
            },
        })
    }

    fn names() -> Vec<String> {
        vec!["shop_back".to_owned(), "shop_default".to_owned()]
    }

    fn template() -> StackTemplate {
        read(&service(), &names()).unwrap()
    }

    fn settings() -> DockerSettings {
        let template = template();
        DockerSettings {
            fleet: template.fleet,
            image: template.image,
            network: "shop_default".to_owned(),
            security: Security::Baseline,
            pull: Default::default(),
            template: ReplicaTemplate {
                port: template.port,
                env: vec![("COLOUR".to_owned(), "green".to_owned())],
                memory: Some(128),
                ..ReplicaTemplate::default()
            },
            container: ContainerOptions::default(),
            like: Some(ContainerTemplate {
                container: template.service,
                body: template.task,
            }),
            service: None,
        }
    }

    #[test]
    fn a_service_says_what_the_fleet_is() {
        let read = template();
        assert_eq!((&*read.service, &*read.fleet), ("shop_web", "shop"));
        assert_eq!((read.replicas, read.port), (Some(6), Some(7070)));
        assert_eq!(read.stop_grace, Some(Duration::from_secs(2)));
        assert!(networks_of(&read.task).eq(["shop_back", "shop_default"]));
        let mut again = service();
        again["Spec"]["TaskTemplate"]["ForceUpdate"] = 4.into();
        assert_eq!(super::read(&again, &names()), Ok(read));
        // A network that has no name keeps the others' names at their places.
        let joined = &mut again["Spec"]["TaskTemplate"]["Networks"];
        *joined = json!(["x", {"Target": "id1"}, {"Aliases": []}, {"Target": "id2"}]);
        let read = super::read(&again, &names()).unwrap();
        assert!(networks_of(&read.task).eq(["shop_back", "shop_default"]));
    }

    #[test]
    fn what_is_wrong_with_a_template_is_told() {
        for (path, value, wrong) in [
            (
                "/Spec/Labels/ringmaster.fleet",
                json!("a b"),
                "label ringmaster.fleet is \"a b\"",
            ),
            (
                "/Spec/Labels/ringmaster.replicas",
                json!("0"),
                "label ringmaster.replicas is \"0\"; allowed is a number from 1 to 1024",
            ),
            (
                "/Spec/Labels/ringmaster.port",
                json!("http"),
                "label ringmaster.port is \"http\"",
            ),
            (
                "/Spec/Mode/Replicated/Replicas",
                json!(2),
                "it runs tasks of its own",
            ),
            (
                "/Spec/TaskTemplate/ContainerSpec/Image",
                json!(""),
                "it has no image",
            ),
            (
                "/Spec/TaskTemplate/Resources",
                json!([]),
                "Resources is a list; allowed is an object",
            ),
            (
                "/Spec/TaskTemplate/ContainerSpec/Labels",
                json!("team=a"),
                "ContainerSpec.Labels is a text; allowed is an object",
            ),
            (
                "/Spec/TaskTemplate/Placement",
                json!("x"),
                "Placement is a text; allowed is an object",
            ),
        ] {
            let mut other = service();
            *other.pointer_mut(path).unwrap() = value;
            let said = read(&other, &names()).unwrap_err();
            assert!(
                said.starts_with(&format!("service shop_web: {wrong}")),
                "{said}"
            );
        }
        let mut other = service();
        other["Spec"]["Labels"]["ringmaster.prot"] = "1".into();
        assert_eq!(
            read(&other, &names()).unwrap_err(),
            "service shop_web: label ringmaster.prot is not known; known are ringmaster.fleet, \
             ringmaster.replicas, ringmaster.port"
        );
        assert!(read(&Value::Null, &[]).is_err());
    }

    #[test]
    fn a_replica_has_all_of_the_template_and_what_the_runtime_puts_over_it() {
        let order = LaunchOrder {
            id: InstanceId::new(ReplicaName::from_address("Server2"), 4),
            weight: Weight::default(),
            ordinal: 2,
        };
        let settings = settings();
        let like = settings.like.as_ref().unwrap();
        let TaskParts {
            mut container,
            task,
        } = parts(like, &settings, &order, &ImageFacts::unknown());
        let labels = container.remove("Labels").unwrap();
        assert_eq!(
            Value::Object(container),
            json!({
                "Image": "shop:1", "Hostname": "Server2", "Args": ["serve"],
                "Env": ["COLOUR=green", "PORT=7070", "SERVER_ID=Server2"],
                "Secrets": [{"SecretID": "s", "SecretName": "token"}],
                "StopGracePeriod": 2_000_000_000_u64,
                "FieldOfAnotherVersion": {"a": 1},
            })
        );
        assert_eq!(labels["team"], "a");
        assert_eq!(labels["io.ringmaster.fleet"], "shop");
        assert_eq!(labels["io.ringmaster.port"], "7070");
        assert_eq!(labels.get(STACK), None);
        assert_eq!(
            Value::Object(task),
            json!({
                "Resources": {"Limits": {"MemoryBytes": 128}, "Reservations": {"NanoCPUs": 5}},
                "Placement": {"Constraints": ["node.labels.zone==a"]},
            })
        );
        let expected = [
            ("shop_default".to_owned(), vec!["Server2".to_owned()]),
            (
                "shop_back".to_owned(),
                vec!["web".to_owned(), "Server2".to_owned()],
            ),
        ];
        assert_eq!(networks(like, &settings, &order), expected);
    }
}
