//! The fields of a service that are one field of the engine's request each.

use serde_json::{Map, Value, json};

use super::values::{duration, number, pairs, text, texts, whole};

/// Fields that say how compose works, not what a container is; what other files read; and the
/// engine's restarts, which are the balancer's.
const NOT_OF_CONTAINERS: [&str; 19] = [
    "build",
    "configs",
    "cpus",
    "depends_on",
    "deploy",
    "develop",
    "devices",
    "image",
    "network_mode",
    "networks",
    "platform",
    "profiles",
    "pull_policy",
    "restart",
    "scale",
    "secrets",
    "stop_grace_period",
    "volumes",
    "gpus",
];

/// Refuses what replicas cannot have.
pub(super) fn refuse(name: &str, value: &Value) -> Result<(), String> {
    let why = match name {
        "container_name" => "it leaves room for one container only",
        "mac_address" => "every replica would have the same",
        "links" | "external_links" => {
            "links are not supported: services find each other by their names"
        }
        "blkio_config" | "credential_spec" | "provider" | "post_start" | "pre_stop" | "models" => {
            "rollouts do not support it"
        }
        "volumes_from" => "rollouts do not support it: name the volumes",
        "pid" | "ipc" if value.as_str().is_some_and(|v| v.starts_with("service:")) => {
            "rollouts do not support another service's"
        }
        _ => return Ok(()),
    };
    Err(format!("{name}: {why}"))
}

/// Adds a field to the body of the request, or to its `HostConfig`.
pub(super) fn add(
    name: &str,
    value: &Value,
    body: &mut Map<String, Value>,
    host: &mut Map<String, Value>,
) -> Result<(), String> {
    match name {
        "command" => drop(body.insert("Cmd".to_owned(), json!(texts(value)?))),
        "entrypoint" => drop(body.insert("Entrypoint".to_owned(), json!(texts(value)?))),
        "environment" => drop(body.insert("Env".to_owned(), environment(value)?)),
        "expose" => expose(body, texts(value)?),
        "ports" => ports(value, body, host)?,
        "healthcheck" => drop(body.insert("Healthcheck".to_owned(), healthcheck(value)?)),
        "labels" => drop(body.insert("Labels".to_owned(), pairs(value)?.into())),
        "logging" => {
            let mut log = Map::new();
            log.insert(
                "Type".to_owned(),
                json!(text(&value["driver"]).unwrap_or_default()),
            );
            let options = match &value["options"] {
                Value::Null => Map::new(),
                options => pairs(options)?,
            };
            log.insert("Config".to_owned(), options.into());
            host.insert("LogConfig".to_owned(), log.into());
        }
        "tmpfs" => {
            let places = texts(value)?
                .into_iter()
                .map(|place| match place.split_once(':') {
                    Some((path, options)) => (path.to_owned(), json!(options)),
                    None => (place, json!("")),
                });
            host.insert("Tmpfs".to_owned(), Value::Object(places.collect()));
        }
        "extra_hosts" => {
            let hosts = texts(value)?.into_iter();
            let hosts: Vec<_> = hosts.map(|host| host.replacen('=', ":", 1)).collect();
            host.insert("ExtraHosts".to_owned(), json!(hosts));
        }
        "security_opt" => security(texts(value)?, host)?,
        "sysctls" | "annotations" | "storage_opt" => {
            let field = match name {
                "sysctls" => "Sysctls",
                "annotations" => "Annotations",
                _ => "StorageOpt",
            };
            host.insert(field.to_owned(), pairs(value)?.into());
        }
        "ulimits" => drop(host.insert("Ulimits".to_owned(), ulimits(value)?)),
        _ if NOT_OF_CONTAINERS.contains(&name) => {}
        _ => match plain(name) {
            Some((Place::Body, field)) => drop(body.insert(field.to_owned(), value.clone())),
            Some((Place::Host, field)) => drop(host.insert(field.to_owned(), value.clone())),
            Some((Place::List, field)) => {
                host.insert(field.to_owned(), json!(texts(value)?));
            }
            Some((Place::Number, field)) => {
                drop(host.insert(field.to_owned(), json!(whole(value)?)))
            }
            None => {
                return Err("rollouts do not know this field, and would lose it".to_owned());
            }
        },
    }
    Ok(())
}

/// Where a field goes whose value is taken as it stands.
enum Place {
    Body,
    Host,
    /// A list of texts of `HostConfig`.
    List,
    /// A whole number of `HostConfig`.
    Number,
}

fn plain(name: &str) -> Option<(Place, &'static str)> {
    Some(match name {
        "hostname" => (Place::Body, "Hostname"),
        "domainname" => (Place::Body, "Domainname"),
        "user" => (Place::Body, "User"),
        "tty" => (Place::Body, "Tty"),
        "stdin_open" => (Place::Body, "OpenStdin"),
        "working_dir" => (Place::Body, "WorkingDir"),
        "stop_signal" => (Place::Body, "StopSignal"),
        "init" => (Place::Host, "Init"),
        "ipc" => (Place::Host, "IpcMode"),
        "pid" => (Place::Host, "PidMode"),
        "uts" => (Place::Host, "UTSMode"),
        "cgroup" => (Place::Host, "CgroupnsMode"),
        "cgroup_parent" => (Place::Host, "CgroupParent"),
        "cpuset" => (Place::Host, "CpusetCpus"),
        "isolation" => (Place::Host, "Isolation"),
        "oom_kill_disable" => (Place::Host, "OomKillDisable"),
        "privileged" => (Place::Host, "Privileged"),
        "read_only" => (Place::Host, "ReadonlyRootfs"),
        "runtime" => (Place::Host, "Runtime"),
        "userns_mode" => (Place::Host, "UsernsMode"),
        "volume_driver" => (Place::Host, "VolumeDriver"),
        "cap_add" => (Place::List, "CapAdd"),
        "cap_drop" => (Place::List, "CapDrop"),
        "device_cgroup_rules" => (Place::List, "DeviceCgroupRules"),
        "dns" => (Place::List, "Dns"),
        "dns_opt" => (Place::List, "DnsOptions"),
        "dns_search" => (Place::List, "DnsSearch"),
        "group_add" => (Place::List, "GroupAdd"),
        "cpu_count" => (Place::Number, "CpuCount"),
        "cpu_percent" => (Place::Number, "CpuPercent"),
        "cpu_period" => (Place::Number, "CpuPeriod"),
        "cpu_quota" => (Place::Number, "CpuQuota"),
        "cpu_rt_period" => (Place::Number, "CpuRealtimePeriod"),
        "cpu_rt_runtime" => (Place::Number, "CpuRealtimeRuntime"),
        "cpu_shares" => (Place::Number, "CpuShares"),
        "mem_limit" => (Place::Number, "Memory"),
        "mem_reservation" => (Place::Number, "MemoryReservation"),
        "mem_swappiness" => (Place::Number, "MemorySwappiness"),
        "memswap_limit" => (Place::Number, "MemorySwap"),
        "oom_score_adj" => (Place::Number, "OomScoreAdj"),
        "pids_limit" => (Place::Number, "PidsLimit"),
        "shm_size" => (Place::Number, "ShmSize"),
        _ => return None,
    })
}

/// `NAME=value`; a name alone removes the image's variable.
fn environment(value: &Value) -> Result<Value, String> {
    let fields = value.as_object().ok_or("an object is expected")?;
    let variables = fields.iter().map(|(name, value)| match text(value) {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    });
    Ok(variables.collect::<Vec<_>>().into())
}

fn expose(body: &mut Map<String, Value>, ports: Vec<String>) {
    let exposed = body.entry("ExposedPorts").or_insert_with(|| json!({}));
    for port in ports {
        exposed[port] = json!({});
    }
}

fn ports(
    value: &Value,
    body: &mut Map<String, Value>,
    host: &mut Map<String, Value>,
) -> Result<(), String> {
    let mut bindings: Map<String, Value> = Map::new();
    for port in value.as_array().into_iter().flatten() {
        let target = whole(&port["target"])?;
        let protocol = text(&port["protocol"]).unwrap_or_else(|| "tcp".to_owned());
        let key = format!("{target}/{protocol}");
        let binding = json!({
            "HostIp": text(&port["host_ip"]).unwrap_or_default(),
            "HostPort": text(&port["published"]).unwrap_or_default(),
        });
        let list = bindings.entry(key.clone()).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(binding);
        }
        expose(body, vec![key]);
    }
    host.insert("PortBindings".to_owned(), Value::Object(bindings));
    Ok(())
}

fn healthcheck(value: &Value) -> Result<Value, String> {
    if value["disable"] == true {
        return Ok(json!({ "Test": ["NONE"] }));
    }
    let mut check = Map::new();
    for (name, value) in value.as_object().ok_or("an object is expected")? {
        let (field, value) = match name.as_str() {
            "test" => ("Test", json!(texts(value)?)),
            "interval" => ("Interval", json!(duration(value)?)),
            "timeout" => ("Timeout", json!(duration(value)?)),
            "start_period" => ("StartPeriod", json!(duration(value)?)),
            "start_interval" => ("StartInterval", json!(duration(value)?)),
            "retries" => ("Retries", json!(whole(value)?)),
            _ if name.starts_with("x-") || name == "disable" => continue,
            other => return Err(format!("{other} is not known here")),
        };
        check.insert(field.to_owned(), value);
    }
    Ok(Value::Object(check))
}

fn security(options: Vec<String>, host: &mut Map<String, Value>) -> Result<(), String> {
    let mut kept = Vec::new();
    for option in options {
        match option
            .strip_prefix("seccomp=")
            .or(option.strip_prefix("seccomp:"))
        {
            _ if option == "systempaths=unconfined" => {
                host.insert("MaskedPaths".to_owned(), json!([]));
                host.insert("ReadonlyPaths".to_owned(), json!([]));
            }
            Some(profile) if !matches!(profile, "unconfined" | "builtin") => {
                return Err(format!(
                    "{option}: the profile is a file that docker compose reads itself"
                ));
            }
            _ => kept.push(option),
        }
    }
    host.insert("SecurityOpt".to_owned(), json!(kept));
    Ok(())
}

fn ulimits(value: &Value) -> Result<Value, String> {
    let limits = value.as_object().ok_or("an object is expected")?;
    let limit = |(name, value): (&String, &Value)| {
        let (soft, hard) = match value {
            Value::Object(both) => (both.get("soft"), both.get("hard")),
            single => (Some(single), Some(single)),
        };
        let bound = |value: Option<&Value>| value.map_or(Ok(0), whole);
        let (soft, hard) = (bound(soft)?, bound(hard)?);
        Ok::<_, String>(json!({ "Name": name, "Soft": soft, "Hard": hard }))
    };
    limits.iter().map(limit).collect::<Result<_, _>>()
}

/// CPUs as the engine counts them.
pub(super) fn nano_cpus(value: &Value) -> Result<i64, String> {
    // Whole billionths; a float becomes the nearest one.
    Ok((number(value)? * 1e9).round() as i64)
}
