//! What of the machine a service may use: `deploy.resources`, and devices.

use serde_json::{Map, Value, json};

use super::fields::nano_cpus;
use super::values::{pairs, text, texts, whole};

/// Adds it to `HostConfig`. What `deploy` says is on top of the older fields, as with compose.
pub(super) fn add(
    service: &Map<String, Value>,
    host: &mut Map<String, Value>,
) -> Result<(), String> {
    let resources = &service.get("deploy").unwrap_or(&Value::Null)["resources"];
    let (limits, reservations) = (&resources["limits"], &resources["reservations"]);
    let cpus = service.get("cpus").unwrap_or(&Value::Null);
    for (name, value, field) in [
        ("cpus", cpus, "NanoCpus"),
        ("deploy.resources.limits.cpus", &limits["cpus"], "NanoCpus"),
        (
            "deploy.resources.limits.memory",
            &limits["memory"],
            "Memory",
        ),
        ("deploy.resources.limits.pids", &limits["pids"], "PidsLimit"),
        (
            "deploy.resources.reservations.memory",
            &reservations["memory"],
            "MemoryReservation",
        ),
    ] {
        if value.is_null() {
            continue;
        }
        let read = match field {
            "NanoCpus" => nano_cpus(value),
            _ => whole(value),
        };
        let read = read.map_err(|wrong| format!("{name}: {wrong}"))?;
        host.insert(field.to_owned(), json!(read));
    }
    let mut requests = Vec::new();
    let lists = [
        (
            "deploy.resources.reservations.devices",
            Some(&reservations["devices"]),
        ),
        ("gpus", service.get("gpus")),
    ];
    for (name, list) in lists {
        for device in list.and_then(Value::as_array).into_iter().flatten() {
            let request = device_request(device, name == "gpus");
            requests.push(request.map_err(|wrong| format!("{name}: {wrong}"))?);
        }
    }
    if !requests.is_empty() {
        host.insert("DeviceRequests".to_owned(), json!(requests));
    }
    if let Some(list) = service.get("devices").and_then(Value::as_array) {
        let devices = list.iter().map(device).collect::<Result<Vec<_>, _>>();
        let devices = devices.map_err(|wrong| format!("devices: {wrong}"))?;
        host.insert("Devices".to_owned(), json!(devices));
    }
    Ok(())
}

fn device_request(device: &Value, is_gpu: bool) -> Result<Value, String> {
    let mut capabilities = texts(&device["capabilities"])?;
    if is_gpu {
        capabilities.push("gpu".to_owned());
    }
    let ids = texts(&device["device_ids"])?;
    let count = match &device["count"] {
        Value::Null if ids.is_empty() => -1,
        Value::Null => 0,
        Value::String(all) if all == "all" => -1,
        count => whole(count)?,
    };
    let options = match &device["options"] {
        Value::Null => Map::new(),
        options => pairs(options)?,
    };
    Ok(json!({
        "Driver": text(&device["driver"]).unwrap_or_default(),
        "Count": count,
        "DeviceIDs": ids,
        "Capabilities": [capabilities],
        "Options": options,
    }))
}

/// `/dev/a:/dev/b:rw`, or its parts.
fn device(value: &Value) -> Result<Value, String> {
    let [source, target, permissions] = match value {
        Value::String(line) => {
            let mut parts = line.split(':').map(str::to_owned);
            [(); 3].map(|()| parts.next())
        }
        other => ["source", "target", "permissions"].map(|part| text(&other[part])),
    };
    let source = source.filter(|source| source.starts_with('/'));
    let source = source.ok_or_else(|| format!("{value} is no device of the machine"))?;
    Ok(json!({
        "PathOnHost": source,
        "PathInContainer": target.unwrap_or(source),
        "CgroupPermissions": permissions.unwrap_or_else(|| "rwm".to_owned()),
    }))
}
