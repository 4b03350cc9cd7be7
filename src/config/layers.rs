//! Who said what: flags over environment over file.
//!
//! A layer holds texts, unread. The first layer that names a key decides it alone; a
//! list is never put together from several layers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// On the command line.
    Flag(&'static str),
    /// In an environment variable.
    Variable(String),
    /// In the file, at a line.
    File(PathBuf, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "--{key}"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
        }
    }
}

/// A value as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Raw {
    /// A single text.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// A value and where it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) raw: Raw,
    pub(crate) origin: Origin,
}

/// What was given at one place, by key.
pub(crate) type Layer = BTreeMap<&'static str, Given>;

/// What was given at all places.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) flags: Layer,
    pub(crate) environment: Layer,
    pub(crate) file: Layer,
}

impl Layers {
    /// What holds for a key, if anybody said anything about it.
    pub(crate) fn get(&self, key: &str) -> Option<&Given> {
        [&self.flags, &self.environment, &self.file]
            .into_iter()
            .find_map(|layer| layer.get(key))
    }
}

/// Splits a text that stands for a list.
pub(super) fn split_list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The known name that a text is a slip of: one letter wrong, two in a name of eight letters or
/// more. What is further off is another word, and a guess would mislead.
pub(crate) fn meant<N: AsRef<str>>(text: &str, known: impl IntoIterator<Item = N>) -> Option<N> {
    let in_one_case = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let text = in_one_case(text);
    known
        .into_iter()
        .map(|name| {
            let name_in_one_case = in_one_case(name.as_ref());
            (strsim::damerau_levenshtein(&text, &name_in_one_case), name)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= if name.as_ref().len() < 8 { 1 } else { 2 })
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_recognised() {
        let known = [
            "replicas",
            "replica-port",
            "env",
            "key",
            "body-timeout",
            "pids",
        ];
        assert_eq!(meant("replcas", known), Some("replicas"));
        assert_eq!(meant("replica_port", known), Some("replica-port"));
        assert_eq!(meant("evn", known), Some("env"));
        assert_eq!(meant("Replica_Port", known), Some("replica-port"));
        for another_word in [
            "colour",
            "port",
            "read-timeout",
            "timeout",
            "replace",
            "ids-of",
        ] {
            assert_eq!(meant(another_word, known), None, "{another_word}");
        }
    }
}
