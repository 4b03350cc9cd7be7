//! The configuration of an existing container, as the body of the request that makes one like it,
//! and the description of a replica by such a body. Pure: JSON in, JSON out. Fields that are not
//! known here go through as they are.

use serde_json::{Map, Value, json};

use super::DockerSettings;
use super::container::own_labels;
use super::image_facts::{ImageFacts, exposed, no_service};
use super::labels::{COMPOSE, COMPOSE_NUMBER, COMPOSE_REPLACED};
use super::names::container_name;
use crate::fleet::ContainerTemplate;
use crate::runtime::{LaunchOrder, RuntimeError};

/// The digits of a container's id that are its default host name, and one of its aliases.
const SHORT_ID_LENGTH: usize = 12;

/// The prefix of our own labels, each of which is one container's.
const OURS: &str = "io.ringmaster.";

/// What the engine gives a container in a network. All else was asked for.
const ASSIGNED: [&str; 11] = [
    "IPAMConfig",
    "NetworkID",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "MacAddress",
    "DNSNames",
];

/// The body of the request that makes a container like the one that the engine describes. What its
/// image says already is left to the image, so that another image may say something else.
///
/// # Errors
///
/// Replicas cannot be like it: it has no address of its own.
pub(super) fn body(inspected: &Value, image: &Value) -> Result<Value, RuntimeError> {
    let id = inspected["Id"].as_str().unwrap_or_default();
    let short_id = id.get(..SHORT_ID_LENGTH).unwrap_or(id);
    let mut body = inspected["Config"].as_object().cloned().unwrap_or_default();
    if body.get("Hostname").and_then(Value::as_str) == Some(short_id) {
        body.remove("Hostname");
    }
    body.remove("MacAddress");
    if let Some(labels) = body.get_mut("Labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| !key.starts_with(OURS));
    }
    leave_to_image(&mut body, &image["Config"]);

    let mut host = inspected["HostConfig"].clone();
    let mode = host["NetworkMode"].as_str().unwrap_or("default").to_owned();
    if matches!(&*mode, "host" | "none") || mode.starts_with("container:") {
        return Err(RuntimeError(format!(
            "its network is {mode}, in which replicas have no address of their own"
        )));
    }
    if let Some(host) = host.as_object_mut() {
        host.remove("ContainerIDFile");
    }
    body.insert("HostConfig".to_owned(), host);

    let networks = inspected["NetworkSettings"]["Networks"].as_object();
    let endpoints: Map<_, _> = networks
        .into_iter()
        .flatten()
        .map(|(name, endpoint)| (name.clone(), asked_for(endpoint, short_id)))
        .collect();
    if endpoints.is_empty() {
        return Err(RuntimeError("it is in no network".to_owned()));
    }
    body.insert(
        "NetworkingConfig".to_owned(),
        json!({ "EndpointsConfig": endpoints }),
    );
    let body = Value::Object(body);
    let checked = ContainerTemplate::check_body(&body);
    checked.map_err(|wrong| RuntimeError(format!("the engine's answer about it: {wrong}")))?;
    Ok(body)
}

/// What of a place in a network was asked for.
fn asked_for(endpoint: &Value, short_id: &str) -> Value {
    let mut endpoint = endpoint.as_object().cloned().unwrap_or_default();
    endpoint.retain(|key, _| !ASSIGNED.contains(&key.as_str()));
    if let Some(aliases) = endpoint.get_mut("Aliases").and_then(Value::as_array_mut) {
        aliases.retain(|alias| alias.as_str() != Some(short_id));
    }
    Value::Object(endpoint)
}

/// Removes what the image says, too.
fn leave_to_image(body: &mut Map<String, Value>, image: &Value) {
    let Some(image) = image.as_object() else {
        return;
    };
    // The engine takes the image's command only if nothing was said of the entrypoint.
    let own_entrypoint = body.get("Entrypoint") != image.get("Entrypoint");
    for (key, of_image) in image {
        let Some(value) = body.get_mut(key) else {
            continue;
        };
        match (value, of_image) {
            _ if key == "Image" || (key == "Cmd" && own_entrypoint) => {}
            (Value::Object(entries), Value::Object(of_image)) => {
                entries.retain(|name, value| of_image.get(name) != Some(value));
            }
            (Value::Array(variables), Value::Array(of_image)) if key == "Env" => {
                variables.retain(|variable| !of_image.contains(variable));
            }
            (value, of_image) if value == of_image => drop(body.remove(key)),
            _ => {}
        }
    }
}

/// The port that a container's program listens on, as far as its configuration says so: PORT, or
/// the one that is exposed.
pub(super) fn port_of(inspected: &Value) -> Option<u16> {
    let config = &inspected["Config"];
    let variables = config["Env"].as_array().into_iter().flatten();
    let mut said = variables.filter_map(|text| text.as_str()?.strip_prefix("PORT=")?.parse().ok());
    let ports = config["ExposedPorts"].as_object();
    let ports: Vec<_> = ports.into_iter().flat_map(Map::keys).cloned().collect();
    match exposed(&ports)[..] {
        _ if let Some(port) = said.next() => Some(port),
        [port] => Some(port),
        _ => None,
    }
}

/// The request that creates a replica like the template's container.
pub(super) fn describe(
    like: &ContainerTemplate,
    settings: &DockerSettings,
    order: &LaunchOrder,
    image: &ImageFacts,
) -> Value {
    let (template, replica) = (&settings.template, order.id.replica.as_str());
    let mut body = like.body.clone();
    let service = settings.service.as_ref();
    body["Image"] = json!(settings.image);
    if service.is_none() && body.get("Hostname").is_none() {
        body["Hostname"] = json!(replica);
    }
    let mut variables = strings(&body["Env"]);
    if service.is_none() {
        set_variable(&mut variables, "SERVER_ID", replica);
    }
    for (name, value) in &template.env {
        set_variable(&mut variables, name, value);
    }
    body["Env"] = json!(variables);
    if let Some(command) = &template.command {
        body["Cmd"] = json!(command);
    }
    let mut labels = body["Labels"].as_object().cloned().unwrap_or_default();
    let mut own = own_labels(settings, order, image);
    let number = service.and_then(|service| service.number(&order.id.replica));
    match number {
        // Compose takes it for one that it has made itself.
        Some(number) => {
            labels.remove(COMPOSE_REPLACED);
            own.insert(COMPOSE_NUMBER.to_owned(), number.to_string());
        }
        // It would count as a container of that project.
        None => {
            labels.retain(|key, _| !key.starts_with(COMPOSE));
            own.extend(no_service(image));
        }
    }
    labels.extend(own.into_iter().map(|(key, value)| (key, value.into())));
    body["Labels"] = Value::Object(labels);

    let host = &mut body["HostConfig"];
    host["NetworkMode"] = json!(settings.network);
    // The fleet decides when a replica is restarted, not the engine, and removes it.
    host["RestartPolicy"] = json!({ "Name": "no" });
    host["AutoRemove"] = json!(false);
    if number.is_none() {
        // A port of the machine can be that of one container only: clients come by the balancer.
        host["PortBindings"] = json!({});
        host["PublishAllPorts"] = json!(false);
    }
    if let Some(memory) = template.memory {
        host["Memory"] = json!(memory);
        host["MemorySwap"] = json!(memory);
    }
    if let Some(cpus) = template.nano_cpus {
        host["NanoCpus"] = json!(cpus);
        // The engine takes but one of them.
        host["CpuQuota"] = json!(0);
        host["CpuPeriod"] = json!(0);
    }
    if let Some(pids) = template.pids {
        host["PidsLimit"] = json!(pids);
    }
    let first = endpoint(like, &settings.network, settings, order);
    body["NetworkingConfig"] = json!({ "EndpointsConfig": { &settings.network: first } });
    body
}

/// The networks beside the first, and a replica's places in them.
pub(super) fn other_networks(
    like: &ContainerTemplate,
    settings: &DockerSettings,
    order: &LaunchOrder,
) -> Vec<(String, Value)> {
    let endpoints = like.body["NetworkingConfig"]["EndpointsConfig"].as_object();
    let names = endpoints.into_iter().flat_map(Map::keys);
    let others = names.filter(|name| **name != settings.network);
    others
        .map(|name| (name.clone(), endpoint(like, name, settings, order)))
        .collect()
}

/// A replica's place in a network: the template's, under its own name.
fn endpoint(
    like: &ContainerTemplate,
    network: &str,
    settings: &DockerSettings,
    order: &LaunchOrder,
) -> Value {
    let mut endpoint = like.body["NetworkingConfig"]["EndpointsConfig"][network].clone();
    // The default bridge refuses aliases.
    if network != "bridge" {
        let replica = &order.id.replica;
        let mut aliases = strings(&endpoint["Aliases"]);
        let own = match &settings.service {
            // Compose has the container's own name among them.
            Some(service) => {
                match service.number(replica) {
                    Some(_) => aliases.retain(|alias| *alias != like.container),
                    // Who asks for the service does not mean a spare.
                    None => aliases.clear(),
                }
                container_name(&service.project, replica)
            }
            None => replica.to_string(),
        };
        aliases.push(own);
        endpoint["Aliases"] = json!(aliases);
    }
    endpoint
}

/// Forgets an alias that is one container's alone.
pub(super) fn forget_alias(body: &mut Value, alias: &str) {
    let endpoints = body["NetworkingConfig"]["EndpointsConfig"].as_object_mut();
    for (_, endpoint) in endpoints.into_iter().flatten() {
        if let Some(aliases) = endpoint["Aliases"].as_array_mut() {
            aliases.retain(|known| known != alias);
        }
    }
}

pub(super) fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn set_variable(variables: &mut Vec<String>, name: &str, value: &str) {
    let prefix = format!("{name}=");
    variables.retain(|variable| !variable.starts_with(&prefix));
    variables.push(prefix + value);
}

/// The network in which a container is reached: `preferred` if it is there, else the first.
pub(super) fn network_of<'a>(body: &'a Value, preferred: &[String]) -> Option<&'a str> {
    let endpoints = body["NetworkingConfig"]["EndpointsConfig"].as_object()?;
    let shared = preferred
        .iter()
        .find_map(|name| endpoints.get_key_value(name));
    let first = || endpoints.iter().next();
    shared.or_else(first).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::{ComposeService, anonymous_volumes};
    use super::*;
    use crate::runtime::InstanceId;

    const ID: &str = "600434a7054effffffffffffffffffffffffffffffffffffffffffffffffffff";

    fn inspected() -> Value {
        json!({
            "Id": ID,
            "Config": {
                "Hostname": "600434a7054e",
                "Env": ["PATH=/bin", "PORT=8080", "TOKEN=x"],
                "Cmd": ["serve"],
                "Entrypoint": null,
                "Image": "shop:1",
                "User": "app",
                "WorkingDir": "/srv",
                "Labels": {"vendor": "acme", "team": "zoo", "com.docker.compose.service": "web"},
                "ExposedPorts": {"9000/tcp": {}},
                "FieldOfAnotherVersion": {"a": 1},
                "MacAddress": "02:42:ac:11:00:02"
            },
            "HostConfig": {
                "Binds": ["data:/data"],
                "NetworkMode": "shop_default",
                "PortBindings": {"9000/tcp": [{"HostPort": "80"}]},
                "RestartPolicy": {"Name": "always"},
                "AutoRemove": true,
                "Memory": 1,
                "ContainerIDFile": "/x",
                "AnotherNewField": [1]
            },
            "NetworkSettings": {"Networks": {
                "db": {"Aliases": null, "IPAddress": "10.0.0.2"},
                "shop_default": {
                    "IPAMConfig": {"IPv4Address": "172.20.0.9"},
                    "Aliases": ["shop", "600434a7054e"],
                    "IPAddress": "172.20.0.9",
                    "MacAddress": "02:42:ac:11:00:02",
                    "DriverOpts": null,
                    "FieldToCome": 7
                }
            }}
        })
    }

    fn image() -> Value {
        json!({"Config": {
            "Env": ["PATH=/bin"], "Cmd": ["serve"], "Entrypoint": null, "WorkingDir": "/",
            "Labels": {"vendor": "acme"}
        }})
    }

    fn template() -> ContainerTemplate {
        ContainerTemplate {
            container: "shop".to_owned(),
            body: body(&inspected(), &image()).unwrap(),
        }
    }

    #[test]
    fn what_was_asked_for_is_kept_and_what_was_assigned_is_not() {
        let body = template().body;
        assert_eq!(body["Env"], json!(["PORT=8080", "TOKEN=x"]));
        assert_eq!(body["User"], "app");
        assert_eq!(body["WorkingDir"], "/srv");
        assert_eq!(body["FieldOfAnotherVersion"], json!({"a": 1}));
        assert_eq!(body["HostConfig"]["AnotherNewField"], json!([1]));
        for gone in ["Hostname", "MacAddress", "Cmd", "Entrypoint"] {
            assert_eq!(body.get(gone), None, "{gone}");
        }
        let endpoints = &body["NetworkingConfig"]["EndpointsConfig"];
        assert_eq!(
            endpoints["shop_default"],
            json!({"Aliases": ["shop"], "DriverOpts": null, "FieldToCome": 7})
        );
        assert_eq!(port_of(&inspected()), Some(8080));
        assert_eq!(
            network_of(&body, &["shop_default".to_owned()]),
            Some("shop_default")
        );
        assert_eq!(network_of(&body, &["other".to_owned()]), Some("db"));
    }

    #[test]
    fn a_command_beside_an_own_entrypoint_is_kept() {
        let mut other = inspected();
        other["Config"]["Entrypoint"] = json!(["run"]);
        let body = body(&other, &image()).unwrap();
        assert_eq!(
            (&body["Cmd"], &body["Entrypoint"]),
            (&json!(["serve"]), &json!(["run"]))
        );
    }

    #[test]
    fn a_container_without_an_address_is_refused() {
        for mode in ["host", "none", "container:abc"] {
            let mut other = inspected();
            other["HostConfig"]["NetworkMode"] = json!(mode);
            let error = body(&other, &image()).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("its network is {mode}")),
                "{error}"
            );
        }
    }

    #[test]
    fn answer_that_no_container_can_be_made_from_is_refused() {
        for (field, value, wrong) in [
            ("HostConfig", json!("x"), "HostConfig is a text"),
            ("Config", json!({"Labels": "x"}), "Labels is a text"),
        ] {
            let mut other = inspected();
            other[field] = value;
            let wrong = format!("the engine's answer about it: {wrong}; allowed is an object");
            assert_eq!(body(&other, &Value::Null), Err(RuntimeError(wrong)));
        }
        let mut other = inspected();
        // Its twelfth byte is amid a letter.
        other["Id"] = json!(format!("a{}", "\u{e9}".repeat(12)));
        other["Config"]["Hostname"] = json!("shop");
        let body = body(&other, &Value::Null).unwrap();
        assert_eq!(body["Hostname"], "shop");
    }

    #[test]
    fn replicas_are_like_it_under_names_of_their_own() {
        let mut settings = super::super::by_flags::tests::settings();
        settings.image = "shop:2".to_owned();
        settings.network = "shop_default".to_owned();
        settings.template.command = None;
        settings.template.env = vec![("TOKEN".to_owned(), "y".to_owned())];
        settings.template.memory = Some(64 << 20);
        let order = LaunchOrder {
            id: InstanceId::new("S2".parse().unwrap(), 3),
            weight: Default::default(),
            ordinal: 2,
        };
        let body = describe(&template(), &settings, &order, &ImageFacts::default());
        assert_eq!(body["Image"], "shop:2");
        assert_eq!(body["Hostname"], "S2");
        assert_eq!(body["Env"], json!(["PORT=8080", "SERVER_ID=S2", "TOKEN=y"]));
        let labels = &body["Labels"];
        assert_eq!(
            (&labels["team"], &labels["io.ringmaster.replica"]),
            (&json!("zoo"), &json!("S2"))
        );
        assert_eq!(labels.get("com.docker.compose.service"), None);
        let host = &body["HostConfig"];
        assert_eq!(host["Binds"], json!(["data:/data"]));
        assert_eq!(host["PortBindings"], json!({}));
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        assert_eq!(host["Memory"], 64 << 20);
        let endpoints = body["NetworkingConfig"]["EndpointsConfig"]
            .as_object()
            .unwrap();
        assert_eq!(endpoints.len(), 1);
        assert_eq!(endpoints["shop_default"]["Aliases"], json!(["shop", "S2"]));
        let others = other_networks(&template(), &settings, &order);
        assert_eq!(others.len(), 1);
        assert_eq!(
            (&*others[0].0, &others[0].1["Aliases"]),
            ("db", &json!(["S2"]))
        );
    }

    #[test]
    fn the_next_container_of_a_service_is_composes_own_with_its_volumes() {
        let mut source = inspected();
        source["Config"]["Labels"] = json!({
            "com.docker.compose.service": "web",
            "com.docker.compose.container-number": "1",
            "com.docker.compose.config-hash": "abc",
            "com.docker.compose.replace": "shop-web-1",
        });
        source["HostConfig"]["Mounts"] = json!([{"Type": "volume", "Target": "/cache"}]);
        source["NetworkSettings"]["Networks"]["shop_default"]["Aliases"] =
            json!(["shop-web-1", "web", "600434a7054e"]);
        let mut body = body(&source, &image()).unwrap();
        anonymous_volumes::keep(
            &mut body,
            &json!([
                {"Type": "volume", "Name": "aa11", "Destination": "/cache"},
                {"Type": "volume", "Name": "bb22", "Destination": "/of-image"},
                {"Type": "volume", "Name": "data", "Destination": "/data"},
                {"Type": "bind", "Source": "/x", "Destination": "/y"},
            ]),
        );
        let like = ContainerTemplate {
            container: "shop-web-1".to_owned(),
            body,
        };
        let mut settings = super::super::by_flags::tests::settings();
        settings.network = "shop_default".to_owned();
        settings.template = Default::default();
        settings.service = Some(ComposeService {
            project: "shop".to_owned(),
            name: "web".to_owned(),
        });
        let order = LaunchOrder {
            id: InstanceId::new("web-2".parse().unwrap(), 3),
            weight: Default::default(),
            ordinal: 2,
        };
        let body = describe(&like, &settings, &order, &ImageFacts::default());
        let labels = &body["Labels"];
        assert_eq!(labels["com.docker.compose.container-number"], "2");
        assert_eq!(labels["com.docker.compose.config-hash"], "abc");
        assert_eq!(labels.get("com.docker.compose.replace"), None);
        assert_eq!(labels["io.ringmaster.generation"], "3");
        assert_eq!(body["Env"], json!(["PORT=8080", "TOKEN=x"]));
        assert_eq!(body.get("Hostname"), None);
        let host = &body["HostConfig"];
        assert_eq!(host["Mounts"][0]["Source"], "aa11");
        assert_eq!(host["Binds"], json!(["data:/data", "bb22:/of-image"]));
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        let aliases = &body["NetworkingConfig"]["EndpointsConfig"]["shop_default"]["Aliases"];
        assert_eq!(*aliases, json!(["web", "shop-web-2"]));
    }
}
