//! What `docker run` says of a container as a Swarm's service says it. Pure: JSON in, JSON out.
//!
//! The request that would create the container is described once, for both
//! ([`crate::runtime::docker`]); here its parts get the places that they have in the spec of a task.
//! What a service cannot have is an error that names the flag: an option that does nothing would
//! pass for one that works.

use serde_json::{Map, Value, json};

/// The parts of a task's spec that come from a container's description.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TaskParts {
    pub(super) container: Map<String, Value>,
    /// What is beside the container: its limits, its log driver, its place.
    pub(super) task: Map<String, Value>,
}

/// Fields of the container that a service has, too, by its names for them.
const SAME: [(&str, &str); 8] = [
    ("Image", "Image"),
    ("Hostname", "Hostname"),
    ("User", "User"),
    ("Env", "Env"),
    ("Labels", "Labels"),
    ("StopSignal", "StopSignal"),
    ("WorkingDir", "Dir"),
    // An image's ENTRYPOINT is a service's command, and its CMD the arguments.
    ("Cmd", "Args"),
];

/// Fields of the host's part, likewise.
const SAME_OF_HOST: [(&str, &str); 4] = [
    ("GroupAdd", "Groups"),
    ("Init", "Init"),
    ("ReadonlyRootfs", "ReadOnly"),
    ("Ulimits", "Ulimits"),
];

/// Options of a volume that a mount of a service has, too, or that say what holds anyway.
const PROPAGATIONS: [&str; 6] = [
    "shared", "rshared", "slave", "rslave", "private", "rprivate",
];

/// Options of a directory in memory that hold for a service's anyway.
const TMPFS_DEFAULTS: [&str; 4] = ["rw", "nosuid", "nodev", "noexec"];

/// The parts of a task that are like a container.
///
/// # Errors
///
/// What a service cannot have, by the flag that asks for it.
pub(super) fn translate(body: &Value) -> Result<TaskParts, String> {
    let host = &body["HostConfig"];
    refuse(host)?;
    let mut container = Map::new();
    copy(body, &SAME, &mut container);
    copy(host, &SAME_OF_HOST, &mut container);
    if let Some(words) = body["Entrypoint"].as_array() {
        if words.is_empty() {
            return Err(
                "--entrypoint '' is not for services: an image's entrypoint cannot be \
                        taken away, only replaced"
                    .to_owned(),
            );
        }
        container.insert("Command".to_owned(), body["Entrypoint"].clone());
    }
    for (from, to) in [("CapAdd", "CapabilityAdd"), ("CapDrop", "CapabilityDrop")] {
        if let Some(names) = host[from].as_array().filter(|names| !names.is_empty()) {
            container.insert(to.to_owned(), names.iter().map(capability).collect());
        }
    }
    let mounts = mounts(body)?;
    if !mounts.is_empty() {
        container.insert("Mounts".to_owned(), mounts.into());
    }
    if let Some(hosts) = host["ExtraHosts"].as_array() {
        let hosts: Result<Vec<_>, _> = hosts
            .iter()
            .filter_map(Value::as_str)
            .map(extra_host)
            .collect();
        container.insert("Hosts".to_owned(), hosts?.into());
    }
    if let Some(servers) = host["Dns"].as_array().filter(|servers| !servers.is_empty()) {
        container.insert("DNSConfig".to_owned(), json!({ "Nameservers": servers }));
    }
    // An engine that does not know the field passes over it.
    container.insert("Privileges".to_owned(), json!({ "NoNewPrivileges": true }));

    let mut limits = Map::new();
    let of_host = [
        ("Memory", "MemoryBytes"),
        ("NanoCpus", "NanoCPUs"),
        ("PidsLimit", "Pids"),
    ];
    copy(host, &of_host, &mut limits);
    let log = &host["LogConfig"];
    let mut task = Map::new();
    task.insert("Resources".to_owned(), json!({ "Limits": limits }));
    if log.is_object() {
        let options = log["Config"].as_object().cloned().unwrap_or_default();
        let driver = json!({ "Name": log["Type"], "Options": options });
        task.insert("LogDriver".to_owned(), driver);
    }
    Ok(TaskParts { container, task })
}

/// Finds what a service cannot have.
fn refuse(host: &Value) -> Result<(), String> {
    let given = |field: &str| match &host[field] {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    for (field, flag) in [
        ("Devices", "device"),
        ("DeviceRequests", "gpus"),
        ("ShmSize", "shm-size"),
    ] {
        if given(field) {
            return Err(format!("a service has no --{flag}"));
        }
    }
    Ok(())
}

fn copy(from: &Value, fields: &[(&str, &str)], to: &mut Map<String, Value>) {
    for (field, name) in fields {
        if !from[*field].is_null() {
            to.insert((*name).to_owned(), from[*field].clone());
        }
    }
}

/// A capability as services have it: with the prefix of capabilities(7).
fn capability(name: &Value) -> Value {
    match name.as_str() {
        Some("ALL") | None => name.clone(),
        Some(name) => format!("CAP_{name}").into(),
    }
}

/// `HOST:IP` as services have it, which is as in a file of hosts.
fn extra_host(text: &str) -> Result<Value, String> {
    match text.split_once(':') {
        Some((_, "host-gateway")) => Err(format!(
            "--add-host {text} is not for services: they have no host-gateway"
        )),
        Some((host, ip)) => Ok(format!("{ip} {host}").into()),
        None => Ok(text.into()),
    }
}

fn mounts(body: &Value) -> Result<Vec<Value>, String> {
    let host = &body["HostConfig"];
    let mut mounts = host["Mounts"].as_array().cloned().unwrap_or_default();
    let binds = host["Binds"].as_array().into_iter().flatten();
    for bind in binds.filter_map(Value::as_str) {
        mounts.push(volume(bind)?);
    }
    // A set, which the API writes as an object with empty values.
    for target in body["Volumes"].as_object().into_iter().flat_map(Map::keys) {
        mounts.push(json!({ "Type": "volume", "Target": target }));
    }
    for (target, options) in host["Tmpfs"].as_object().into_iter().flatten() {
        mounts.push(tmpfs(target, options.as_str().unwrap_or_default())?);
    }
    Ok(mounts)
}

/// `SOURCE:TARGET[:OPTIONS]` as a mount.
fn volume(text: &str) -> Result<Value, String> {
    let mut parts = text.split(':');
    let (source, target) = (parts.next().unwrap_or_default(), parts.next());
    let is_path = source.starts_with('/');
    let mut mount = json!({
        "Type": if is_path { "bind" } else { "volume" },
        "Source": source,
        "Target": target,
    });
    let options = parts.next().unwrap_or_default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "rw" => {}
            "ro" => mount["ReadOnly"] = true.into(),
            "nocopy" if !is_path => mount["VolumeOptions"] = json!({ "NoCopy": true }),
            option if is_path && PROPAGATIONS.contains(&option) => {
                mount["BindOptions"] = json!({ "Propagation": option });
            }
            option => {
                return Err(format!(
                    "--volume {text} is not for services: they have no option {option} of a volume"
                ));
            }
        }
    }
    Ok(mount)
}

/// A directory in memory as a mount.
fn tmpfs(target: &str, options: &str) -> Result<Value, String> {
    let mut given = Map::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let number = match key {
            "mode" => i64::from_str_radix(value, 8)
                .ok()
                .map(|mode| ("Mode", mode)),
            "size" => bytes(value).map(|size| ("SizeBytes", size)),
            _ if TMPFS_DEFAULTS.contains(&option) => continue,
            _ => None,
        };
        let Some((name, number)) = number else {
            return Err(format!(
                "--tmpfs {target}:{options} is not for services: they take size= and mode= alone, \
                 not {option}"
            ));
        };
        given.insert(name.to_owned(), number.into());
    }
    Ok(json!({ "Type": "tmpfs", "Target": target, "TmpfsOptions": given }))
}

/// A number of bytes with k, m or g, as the kernel takes it (tmpfs(5)).
fn bytes(text: &str) -> Option<i64> {
    let text = text.to_ascii_lowercase();
    let digits = text.trim_end_matches(['k', 'm', 'g']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_host(host: Value) -> Result<TaskParts, String> {
        translate(&json!({ "Image": "shop:1", "HostConfig": host }))
    }

    #[test]
    fn the_parts_of_a_container_get_a_services_names() {
        let parts = translate(&json!({
            "Image": "shop:1", "Hostname": "S1", "User": "65534:65534", "Env": ["PORT=80"],
            "Cmd": ["serve"], "Entrypoint": ["/init"], "Labels": {"a": "b"}, "WorkingDir": "/srv",
            "StopSignal": "SIGQUIT",
            "HostConfig": {
                "NetworkMode": "zoo", "RestartPolicy": {"Name": "no"}, "MemorySwap": 1,
                "Memory": 64, "NanoCpus": 5, "PidsLimit": 7,
                "CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"], "GroupAdd": ["video"], "Init": true,
                "ReadonlyRootfs": true, "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
                "ExtraHosts": ["db:10.0.0.1", "six:::1"], "Dns": ["1.1.1.1"],
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
                "SecurityOpt": ["no-new-privileges=true"],
            },
        }));
        let parts = parts.unwrap();
        assert_eq!(
            Value::Object(parts.container),
            json!({
                "Image": "shop:1", "Hostname": "S1", "User": "65534:65534", "Env": ["PORT=80"],
                "Args": ["serve"], "Command": ["/init"], "Labels": {"a": "b"}, "Dir": "/srv",
                "StopSignal": "SIGQUIT", "CapabilityAdd": ["CAP_NET_ADMIN"],
                "CapabilityDrop": ["ALL"], "Groups": ["video"], "Init": true, "ReadOnly": true,
                "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
                "Hosts": ["10.0.0.1 db", "::1 six"], "DNSConfig": {"Nameservers": ["1.1.1.1"]},
                "Privileges": {"NoNewPrivileges": true},
            })
        );
        assert_eq!(
            Value::Object(parts.task),
            json!({
                "Resources": {"Limits": {"MemoryBytes": 64, "NanoCPUs": 5, "Pids": 7}},
                "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}},
            })
        );
    }

    #[test]
    fn volumes_and_memory_become_mounts() {
        let parts = translate(&json!({
            "Volumes": {"/cache": {}},
            "HostConfig": {
                "Binds": ["data:/data:nocopy", "/srv:/srv:ro,rslave"],
                "Mounts": [{"Type": "volume", "Target": "/m"}],
                "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,mode=1777", "/run": "size=64m"},
            },
        }));
        assert_eq!(
            parts.unwrap().container["Mounts"],
            json!([
                {"Type": "volume", "Target": "/m"},
                {"Type": "volume", "Source": "data", "Target": "/data",
                 "VolumeOptions": {"NoCopy": true}},
                {"Type": "bind", "Source": "/srv", "Target": "/srv", "ReadOnly": true,
                 "BindOptions": {"Propagation": "rslave"}},
                {"Type": "volume", "Target": "/cache"},
                {"Type": "tmpfs", "Target": "/run", "TmpfsOptions": {"SizeBytes": 64 << 20}},
                {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"Mode": 0o1777}},
            ])
        );
    }

    #[test]
    fn what_a_service_cannot_have_is_named() {
        for (host, error) in [
            (json!({"Devices": [{}]}), "a service has no --device"),
            (json!({"DeviceRequests": [{}]}), "a service has no --gpus"),
            (json!({"ShmSize": 64}), "a service has no --shm-size"),
            (
                json!({"ExtraHosts": ["a:host-gateway"]}),
                "--add-host a:host-gateway is not for services: they have no host-gateway",
            ),
            (
                json!({"Binds": ["/a:/b:z"]}),
                "--volume /a:/b:z is not for services: they have no option z of a volume",
            ),
            (
                json!({"Tmpfs": {"/t": "uid=1"}}),
                "--tmpfs /t:uid=1 is not for services: they take size= and mode= alone, not uid=1",
            ),
        ] {
            assert_eq!(of_host(host).unwrap_err(), error);
        }
        let without = translate(&json!({"Entrypoint": []})).unwrap_err();
        assert!(without.starts_with("--entrypoint '' is not for services"));
        assert!(of_host(json!({"Devices": [], "ShmSize": null})).is_ok());
    }
}
