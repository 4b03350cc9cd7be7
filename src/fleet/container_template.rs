//! A container whose configuration replicas are made from (`--like`, `--service`): a part of the
//! fleet record's definition.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The configuration of a container, as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerTemplate {
    /// The container's name, or what stands for it.
    pub container: String,
    /// The body of the request that makes one like it. None of it is known here: an engine of
    /// another version has other fields.
    #[serde(default)]
    pub body: Value,
}

impl ContainerTemplate {
    /// The fields that differ in another configuration, without their values, which may be secrets.
    pub(super) fn differences(&self, other: &Self) -> Option<String> {
        let mut paths = Vec::new();
        add_differences("", &self.body, &other.body, &mut paths);
        (!paths.is_empty()).then(|| format!("configuration: {}", paths.join(", ")))
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
    }
}
