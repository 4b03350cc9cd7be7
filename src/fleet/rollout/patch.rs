//! What a rollout is asked to change about a definition.

use super::policy::RolloutError;
use crate::api::NewRollout;
use crate::fleet::Definition;

/// Variables that every replica is given by the balancer.
const RESERVED: [&str; 2] = ["PORT", "SERVER_ID"];

impl Definition {
    /// This definition with the changes that are asked for, if replicas of the runtime can have them.
    pub(crate) fn with_changes(
        &self,
        new: &NewRollout,
        runtime: &str,
    ) -> Result<Self, RolloutError> {
        if new.compose.is_some() {
            let wrong = "compose: this fleet takes over no service of docker compose (--service)";
            return Err(invalid(wrong.to_owned()));
        }
        let mut changed = self.clone();
        if let Some(image) = &new.image {
            if !matches!(runtime, "docker" | "swarm") {
                return Err(invalid("image: replicas are no containers here".to_owned()));
            }
            if image.trim().is_empty() {
                return Err(invalid("image: it is empty".to_owned()));
            }
            changed.image = Some(image.clone());
        }
        if let Some(command) = &new.command {
            if command.first().is_none_or(String::is_empty) {
                return Err(invalid("command: it names no program".to_owned()));
            }
            changed.template.command = Some(command.clone());
        }
        let env = &mut changed.template.env;
        for (name, value) in &new.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(invalid(format!("env: {name:?} is no variable's name")));
            }
            if RESERVED.contains(&name.as_str()) {
                return Err(invalid(format!("env: the balancer itself sets {name}")));
            }
            let place = env.iter().position(|(key, _)| key == name);
            match (value, place) {
                (Some(value), _) if value.contains('\0') => {
                    return Err(invalid(format!("env: {name} has a NUL in its value")));
                }
                (Some(value), Some(place)) => env[place].1.clone_from(value),
                (Some(value), None) => env.push((name.clone(), value.clone())),
                (None, Some(place)) => drop(env.remove(place)),
                (None, None) => {
                    return Err(invalid(format!(
                        "env: there is no variable {name} to remove"
                    )));
                }
            }
        }
        Ok(changed)
    }
}

fn invalid(wrong: String) -> RolloutError {
    RolloutError::Invalid(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::ReplicaTemplate;

    #[test]
    fn changes_are_made_to_what_there_is_or_refused() {
        let present = Definition::from(ReplicaTemplate {
            command: Some(vec!["serve".to_owned()]),
            env: vec![
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), "2".to_owned()),
            ],
            ..ReplicaTemplate::default()
        });
        let changed = |json: &str| {
            let new: NewRollout = serde_json::from_str(json).unwrap();
            present.with_changes(&new, "process")
        };
        let env = changed(r#"{"env": {"A": null, "B": "3", "C": "4"}}"#).unwrap();
        assert_eq!(env.template.command, present.template.command);
        let pairs = [("B", "3"), ("C", "4")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(env.template.env, pairs);
        assert_eq!(changed("{}").as_ref(), Ok(&present));
        for (json, wrong) in [
            (
                r#"{"image": "shop:2"}"#,
                "image: replicas are no containers",
            ),
            (r#"{"command": []}"#, "command: it names no program"),
            (
                r#"{"env": {"PORT": "1"}}"#,
                "env: the balancer itself sets PORT",
            ),
            (
                r#"{"env": {"A=B": "1"}}"#,
                "env: \"A=B\" is no variable's name",
            ),
            (
                r#"{"env": {"D": null}}"#,
                "env: there is no variable D to remove",
            ),
        ] {
            let error = changed(json).unwrap_err().to_string();
            assert!(error.starts_with(wrong), "{json}: {error}");
        }
    }
}
