//! Volumes, files and secrets of a service.

use serde_json::{Map, Value, json};

use super::SECRETS;
use super::values::{text, unescape, whole};
use crate::api::ComposeDefinition;

/// Adds them to `HostConfig`. Returns the volumes with a name that have to exist.
pub(super) fn add(
    compose: &ComposeDefinition,
    service: &Map<String, Value>,
    host: &mut Map<String, Value>,
) -> Result<Vec<String>, String> {
    let (mut binds, mut mounts, mut named) = (Vec::new(), Vec::new(), Vec::new());
    let known = unescape(&compose.volumes);
    let list = |name: &str| {
        service
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    for volume in list("volumes") {
        let target = text(&volume["target"]).unwrap_or_default();
        let added = match volume["type"].as_str() {
            Some("bind") if is_short_bind(volume) => {
                binds.push(bind_line(volume));
                Ok(())
            }
            Some("bind" | "volume" | "tmpfs" | "npipe") => mount(volume, &known).map(|mount| {
                if mount["Type"] == "volume"
                    && let Some(name) = mount["Source"].as_str()
                {
                    named.push(name.to_owned());
                }
                mounts.push(mount);
            }),
            _ => Err(format!("rollouts do not know the type {}", volume["type"])),
        };
        added.map_err(|wrong| format!("volumes, {target}: {wrong}"))?;
    }
    let kinds = [
        ("secrets", SECRETS, &compose.secrets),
        ("configs", "/", &compose.configs),
    ];
    for (kind, folder, known) in kinds {
        let known = unescape(known);
        for used in list(kind) {
            let source = text(&used["source"]).unwrap_or_default();
            let file =
                file(&known[&source]).map_err(|wrong| format!("{kind}.{source}: {wrong}"))?;
            let target = match text(&used["target"]).filter(|target| !target.is_empty()) {
                Some(target) if target.starts_with('/') => target,
                Some(target) => format!("{folder}{target}"),
                None => format!("{folder}{source}"),
            };
            let is_taken = |mount: &Value| mount["Target"] == target.as_str();
            if !mounts.iter().any(is_taken) {
                mounts.push(json!({
                    "Type": "bind", "Source": file, "Target": target, "ReadOnly": true,
                }));
            }
        }
    }
    if !binds.is_empty() {
        host.insert("Binds".to_owned(), json!(binds));
    }
    if !mounts.is_empty() {
        host.insert("Mounts".to_owned(), json!(mounts));
    }
    Ok(named)
}

/// The file of the machine that a secret or config is.
fn file(known: &Value) -> Result<String, String> {
    if known["external"] == true {
        return Err("it is external, which docker compose does not support".to_owned());
    }
    let file = text(&known["file"]).filter(|file| file.starts_with('/'));
    file.ok_or_else(|| {
        "it is no file: docker compose copies its text into containers itself".to_owned()
    })
}

/// Whether it needs no more than the older `Binds`, which make a folder that is missing.
fn is_short_bind(volume: &Value) -> bool {
    let bind = &volume["bind"];
    bind.is_null()
        || bind["create_host_path"] == true
            && bind["propagation"].is_null()
            && bind["recursive"].is_null()
}

fn bind_line(volume: &Value) -> String {
    let part = |name: &str| text(&volume[name]).unwrap_or_default();
    let access = if volume["read_only"] == true {
        "ro"
    } else {
        "rw"
    };
    let label = text(&volume["bind"]["selinux"]).map_or_else(String::new, |l| format!(",{l}"));
    format!("{}:{}:{access}{label}", part("source"), part("target"))
}

fn mount(volume: &Value, known: &Value) -> Result<Value, String> {
    let mut mount = json!({
        "Type": volume["type"],
        "Target": text(&volume["target"]).ok_or("it has no target")?,
        "ReadOnly": volume["read_only"] == true,
    });
    let source = text(&volume["source"]).filter(|source| !source.is_empty());
    if let Some(source) = source {
        let is_volume = volume["type"] == "volume";
        let name = text(&known[&source]["name"]).filter(|_| is_volume);
        mount["Source"] = json!(name.unwrap_or(source));
    }
    if let Some(consistency) = text(&volume["consistency"]) {
        mount["Consistency"] = json!(consistency);
    }
    let options = |field: &str| volume[field].as_object().into_iter().flatten();
    match volume["type"].as_str() {
        Some("bind") => {
            let mut bind = json!({});
            for (name, value) in options("bind") {
                match (name.as_str(), value.as_str()) {
                    ("create_host_path", _) => bind["CreateMountpoint"] = json!(value == true),
                    ("propagation", _) => bind["Propagation"] = value.clone(),
                    ("recursive", Some("disabled")) => bind["NonRecursive"] = json!(true),
                    ("recursive", Some("writable")) => {
                        bind["ReadOnlyNonRecursive"] = json!(true);
                    }
                    ("recursive", Some("readonly")) => {
                        bind["ReadOnlyForceRecursive"] = json!(true);
                    }
                    ("recursive", Some("enabled")) => {}
                    _ => return Err(format!("bind.{name}: rollouts do not know this option")),
                }
            }
            mount["BindOptions"] = bind;
        }
        Some("volume") => {
            let mut volume_options = json!({});
            for (name, value) in options("volume") {
                match name.as_str() {
                    "nocopy" => volume_options["NoCopy"] = value.clone(),
                    "subpath" => volume_options["Subpath"] = value.clone(),
                    "labels" => volume_options["Labels"] = value.clone(),
                    _ => return Err(format!("volume.{name}: rollouts do not know this option")),
                }
            }
            mount["VolumeOptions"] = volume_options;
        }
        Some("tmpfs") => {
            let mut tmpfs = json!({});
            for (name, value) in options("tmpfs") {
                match name.as_str() {
                    "size" => tmpfs["SizeBytes"] = json!(whole(value)?),
                    "mode" => tmpfs["Mode"] = json!(whole(value)?),
                    _ => return Err(format!("tmpfs.{name}: rollouts do not know this option")),
                }
            }
            mount["TmpfsOptions"] = tmpfs;
        }
        _ => {}
    }
    Ok(mount)
}
