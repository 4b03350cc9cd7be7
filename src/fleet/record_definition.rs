//! What a fleet's replicas run: the part of the fleet record that a later start heals by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::container_options::{ContainerOptions, Pairs};
use super::container_template::ContainerTemplate;
use super::image_watch::watched_tag;

/// What every replica of a fleet is started as. A runtime uses the parts that it knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// The image of a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What every runtime knows.
    #[serde(flatten)]
    pub template: ReplicaTemplate,
    /// The level of `--replica-security`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<String>,
    /// The network of the containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// What `docker run` can say of the containers.
    #[serde(skip_serializing_if = "ContainerOptions::is_empty")]
    pub container: ContainerOptions,
    /// The container that replicas are like: all of the above is on top of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<ContainerTemplate>,
}

/// What an operator can set about replicas, for every runtime.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaTemplate {
    /// The program and its arguments, `{port}` and `{name}` not yet replaced. For
    /// `docker` it overrides the image's command. None: the image's own command, or the
    /// built-in demo replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The port a replica listens on. For `process` none means a free one for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Environment variables on top of `PORT` and `SERVER_ID`, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    /// Memory limit in bytes (`docker`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPU limit in billionths of a CPU (`docker`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<u64>,
    /// Limit on processes and threads (`docker`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl From<ReplicaTemplate> for Definition {
    fn from(template: ReplicaTemplate) -> Self {
        Self {
            template,
            ..Self::default()
        }
    }
}

impl Definition {
    /// Equal for equal definitions, on every machine and in every release that knows the same
    /// parts.
    pub fn hash(&self) -> String {
        hash(self)
    }

    /// This definition, with the digest that `other` has for the same tag.
    pub(super) fn with_digest_of(&self, other: &Self) -> Self {
        let images = self.image.as_deref().zip(other.image.as_deref());
        let same = images.filter(|(image, pinned)| {
            let tag = watched_tag(image).filter(|_| !image.contains('@'));
            tag.is_some() && pinned.contains('@') && tag == watched_tag(pinned)
        });
        let pinned = same.map(|(_, pinned)| pinned.to_owned());
        Self {
            image: pinned.or_else(|| self.image.clone()),
            ..self.clone()
        }
    }

    /// Each part that differs in `other`, in words for people. Of variables, labels and the like
    /// the names alone: their values are often secrets.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (before, after) = (self.parts(), other.parts());
        let differ = before.into_iter().zip(after);
        let differ = differ.filter(|((_, was), (_, is))| was != is);
        let none = || "none".to_owned();
        let words = differ.map(|((name, was), (_, is))| {
            let (was, is) = (was.unwrap_or_else(none), is.unwrap_or_else(none));
            format!("{name} {was} -> {is}")
        });
        let pairs = self.pairs().into_iter().zip(other.pairs());
        let pairs = pairs.filter_map(|((name, was), (_, is))| pair_differences(name, was, is));
        let templates = self.like.as_ref().zip(other.like.as_ref());
        let like = templates.and_then(|(was, is)| was.differences(is));
        words.chain(pairs).chain(like).collect()
    }

    /// The lists of names and values, which `differences` shows without their values.
    fn pairs(&self) -> [Pairs<'_>; 3] {
        let [label, log_opt] = self.container.pairs();
        [("env", &self.template.env), label, log_opt]
    }

    /// Each part but those, as `differences` names and shows it.
    fn parts(&self) -> Vec<(&'static str, Option<String>)> {
        let template = &self.template;
        let command = template.command.as_ref();
        let cpus = template.nano_cpus.map(|nanos| nanos as f64 / 1e9);
        let mut parts = vec![
            ("image", self.image.clone()),
            (
                "command",
                command.map(|words| format!("`{}`", words.join(" "))),
            ),
            ("port", template.port.as_ref().map(u16::to_string)),
            ("memory", template.memory.map(bytes_text)),
            ("cpus", cpus.as_ref().map(f64::to_string)),
            ("pids", template.pids.as_ref().map(u32::to_string)),
            ("replica-security", self.security.clone()),
            ("docker-network", self.network.clone()),
            (
                "like",
                self.like.as_ref().map(|like| like.container.clone()),
            ),
        ];
        parts.extend(self.container.parts());
        parts
    }
}

/// 16 hexadecimal digits.
pub(super) fn hash<T: Serialize>(of: &T) -> String {
    // What is hashed has neither maps with other keys than text nor floats that JSON lacks.
    let text = serde_json::to_vec(of).unwrap_or_default();
    format!("{:016x}", xxh3_64(&text))
}

fn pair_differences(
    list: &str,
    before: &[(String, String)],
    after: &[(String, String)],
) -> Option<String> {
    let map = |pairs: &[(String, String)]| pairs.iter().cloned().collect::<BTreeMap<_, _>>();
    let (old, new) = (map(before), map(after));
    let mut words = Vec::new();
    for (name, value) in &new {
        match old.get(name) {
            None => words.push(format!("{name} is new")),
            Some(was) if was != value => words.push(format!("{name} has another value")),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    words.extend(gone.map(|name| format!("{name} is gone")));
    if words.is_empty() && before != after {
        words.push("another order".to_owned());
    }
    (!words.is_empty()).then(|| format!("{list}: {}", words.join(", ")))
}

fn bytes_text(bytes: u64) -> String {
    let units = [(30, "g"), (20, "m"), (10, "k")];
    let whole = units
        .iter()
        .find(|(shift, _)| bytes.trailing_zeros() >= *shift && bytes > 0);
    whole.map_or(bytes.to_string(), |(shift, unit)| {
        format!("{}{unit}", bytes >> shift)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Definition {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Definition {
            image: Some("shop:1.4".to_owned()),
            template: ReplicaTemplate {
                port: Some(5000),
                env: vec![variable("COLOUR", "blue"), variable("TOKEN", "s3cret")],
                memory: Some(128 << 20),
                nano_cpus: Some(500_000_000),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_definition_and_for_no_other() {
        let same: Definition =
            serde_json::from_str(&serde_json::to_string(&shop()).unwrap()).unwrap();
        assert_eq!(same, shop());
        assert_eq!(same.hash(), shop().hash());
        // Balancers of other builds must agree.
        assert_eq!(Definition::default().hash(), "1349cde127705c16");
        let mut other = shop();
        other.template.env.swap(0, 1);
        assert_ne!(other.hash(), shop().hash());
    }

    #[test]
    fn bytes_are_told_in_the_largest_unit_that_divides_them() {
        for (bytes, text) in [
            (0, "0"),
            (1_000, "1000"),
            (1 << 10, "1k"),
            (1_536 << 10, "1536k"),
            (128 << 20, "128m"),
            (3 << 30, "3g"),
        ] {
            assert_eq!(bytes_text(bytes), text);
        }
    }

    #[test]
    fn digest_of_a_tag_is_kept() {
        let of = |image: &str| Definition {
            image: Some(image.to_owned()),
            ..shop()
        };
        for (image, other, kept) in [
            ("shop:1", "shop:1@sha256:ab", "shop:1@sha256:ab"),
            ("shop", "shop:latest@sha256:ab", "shop:latest@sha256:ab"),
            ("shop:2", "shop:1@sha256:ab", "shop:2"),
            ("shop:1", "shop:1", "shop:1"),
            ("shop:1@sha256:cd", "shop:1@sha256:ab", "shop:1@sha256:cd"),
            ("sha256:ab", "shop@sha256:ab", "sha256:ab"),
        ] {
            assert_eq!(of(image).with_digest_of(&of(other)), of(kept), "{image}");
        }
        let none = Definition::default();
        assert_eq!(none.with_digest_of(&shop()), none);
    }

    #[test]
    fn differences_are_told_without_values_of_variables() {
        let mut after = shop();
        after.image = Some("shop:1.5".to_owned());
        after.template.command = Some(vec!["serve".to_owned(), "--fast".to_owned()]);
        after.template.env = vec![
            ("COLOUR".to_owned(), "red".to_owned()),
            ("DEBUG".to_owned(), "1".to_owned()),
        ];
        after.template.memory = None;
        after.template.nano_cpus = Some(1_500_000_000);
        let told = shop().differences(&after);
        assert_eq!(
            told,
            [
                "image shop:1.4 -> shop:1.5",
                "command none -> `serve --fast`",
                "memory 128m -> none",
                "cpus 0.5 -> 1.5",
                "env: COLOUR has another value, DEBUG is new, TOKEN is gone",
            ]
        );
        assert!(!told.concat().contains("s3cret"));
        assert_eq!(shop().differences(&shop()), [""; 0]);
        let mut swapped = shop();
        swapped.template.env.swap(0, 1);
        assert_eq!(shop().differences(&swapped), ["env: another order"]);
    }
}
