//! A container whose configuration replicas are made from (`--like`, `--service`): a part of the
//! fleet record's definition.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json_shape::check_objects;

/// The configuration of a container, as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TemplateText")]
pub struct ContainerTemplate {
    /// The container's name, or what stands for it.
    pub container: String,
    /// The body of the request that makes one like it. None of it is known here: an engine of
    /// another version has other fields. See [`ContainerTemplate::check_body`].
    pub body: Value,
}

/// A [`ContainerTemplate`] as it is stored: read first, and checked before it becomes one.
#[derive(Deserialize)]
struct TemplateText {
    container: String,
    #[serde(default)]
    body: Value,
}

impl TryFrom<TemplateText> for ContainerTemplate {
    type Error = String;

    fn try_from(TemplateText { container, body }: TemplateText) -> Result<Self, String> {
        let checked = Self::check_body(&body);
        checked.map_err(|wrong| format!("the configuration of {container}: {wrong}"))?;
        Ok(Self { container, body })
    }
}

/// What runtimes change in a body, of a container and of a Swarm's task.
const CHANGED: [&str; 11] = [
    "",
    "Labels",
    "HostConfig",
    "NetworkingConfig",
    "NetworkingConfig.EndpointsConfig",
    "NetworkingConfig.EndpointsConfig.*",
    "ContainerSpec",
    "ContainerSpec.Labels",
    "Resources",
    "Resources.Limits",
    "Placement",
];

impl ContainerTemplate {
    /// Whether a body is one that runtimes can put their own on top of.
    ///
    /// # Errors
    ///
    /// The place where it is not.
    pub fn check_body(body: &Value) -> Result<(), String> {
        check_objects(body, &CHANGED)
    }

    /// The fields that differ in another configuration, without their values, which may be secrets.
    pub(super) fn differences(&self, other: &Self) -> Option<String> {
        let mut paths = Vec::new();
        add_differences("", &said(&self.body), &said(&other.body), &mut paths);
        // Of one that runs the engine says what it has chosen itself, too.
        let is_both = |body: &Value, path: &str| body.pointer(&pointer(path)).is_some();
        paths.retain(|path| {
            !CHOSEN.contains(&path.as_str())
                || is_both(&self.body, path) && is_both(&other.body, path)
        });
        (!paths.is_empty()).then(|| format!("configuration: {}", paths.join(", ")))
    }
}

/// Fields that the engine fills in if nothing is said of them.
const CHOSEN: [&str; 11] = [
    "HostConfig.CgroupnsMode",
    "HostConfig.ConsoleSize",
    "HostConfig.IpcMode",
    "HostConfig.LogConfig",
    "HostConfig.MaskedPaths",
    "HostConfig.MemorySwap",
    "HostConfig.NetworkMode",
    "HostConfig.ReadonlyPaths",
    "HostConfig.RestartPolicy",
    "HostConfig.Runtime",
    "HostConfig.ShmSize",
];

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

/// The value without fields that say nothing.
fn said(value: &Value) -> Value {
    let says = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) => true,
    };
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), said(value)));
            Value::Object(fields.filter(|(_, value)| says(value)).collect())
        }
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(said).collect();
            // The engine sorts some lists.
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// Adds the paths of fields that differ, two levels deep.
fn add_differences(prefix: &str, before: &Value, after: &Value, paths: &mut Vec<String>) {
    const DEPTH: usize = 2;
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        if before != after {
            paths.push(prefix.to_owned());
        }
        return;
    };
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let (was, is) = (old.get(key), new.get(key));
        if was == is {
            continue;
        }
        let path = match prefix {
            "" => key.clone(),
            prefix => format!("{prefix}.{key}"),
        };
        match (was, is) {
            (Some(was), Some(is)) if path.split('.').count() < DEPTH => {
                add_differences(&path, was, is, paths);
            }
            _ => paths.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn configuration_that_could_not_be_changed_is_refused() {
        let read = |body: Value| {
            let text = json!({"container": "shop", "body": body}).to_string();
            let read = serde_json::from_str::<ContainerTemplate>(&text);
            read.map(|_| ()).map_err(|error| error.to_string())
        };
        for good in [
            json!(null),
            json!({}),
            json!({"Labels": null, "HostConfig": {}, "NetworkingConfig": {"EndpointsConfig": {"n": null}}}),
        ] {
            assert_eq!(read(good), Ok(()));
        }
        for (body, place) in [
            (json!("x"), "it is a text"),
            (json!({"Labels": ["a=b"]}), "Labels is a list"),
            (json!({"HostConfig": "x"}), "HostConfig is a text"),
            (
                json!({"NetworkingConfig": {"EndpointsConfig": {"net": 1}}}),
                "NetworkingConfig.EndpointsConfig.net is a number",
            ),
            (
                json!({"ContainerSpec": {"Labels": true}}),
                "ContainerSpec.Labels is true or false",
            ),
            (
                json!({"Resources": {"Limits": 5}}),
                "Resources.Limits is a number",
            ),
            (json!({"Resources": 5}), "Resources is a number"),
            (json!({"Placement": []}), "Placement is a list"),
        ] {
            let wrong = format!("the configuration of shop: {place}; allowed is an object");
            assert_eq!(read(body), Err(wrong));
        }
    }

    #[test]
    fn differences_name_fields_and_no_values() {
        let template = |body| ContainerTemplate {
            container: "shop".to_owned(),
            body,
        };
        let before = template(json!({
            "Env": ["TOKEN=a"], "User": "app", "HostConfig": {"Memory": 1, "Binds": ["a:/a"]},
        }));
        let after = template(json!({
            "Env": ["TOKEN=b"], "Tty": true, "HostConfig": {"Memory": 2, "Binds": ["a:/a"]},
        }));
        assert_eq!(
            before.differences(&after).as_deref(),
            Some("configuration: Env, HostConfig.Memory, Tty, User")
        );
        assert_eq!(before.differences(&before), None);
        // What says nothing, or was chosen by the engine, is no difference.
        let inspected = template(json!({
            "Env": ["TOKEN=a"], "User": "app", "Domainname": "", "Tty": false,
            "HostConfig": {"Memory": 1, "Binds": ["a:/a"], "ShmSize": 64, "Dns": [], "Init": null},
        }));
        assert_eq!(before.differences(&inspected), None);
        // Names of networks and of limits are not told, and what was chosen counts if both say it.
        let [one, other] = [64, 128].map(|size| {
            template(json!({
                "HostConfig": {"ShmSize": size, "Sysctls": {"net.core.somaxconn": size.to_string()}},
            }))
        });
        assert_eq!(
            one.differences(&other).as_deref(),
            Some("configuration: HostConfig.ShmSize, HostConfig.Sysctls")
        );
        // An order that the engine has chosen is none.
        let [one, other] = [["a", "b"], ["b", "a"]].map(|list| template(json!({"Env": list})));
        assert_eq!(one.differences(&other), None);
    }
}
