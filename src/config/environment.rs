//! The layer of environment variables.

use std::ffi::OsString;

use super::layers::{Given, Layer, Origin, Raw, meant, split_list};
use super::option::{OptionSpec, PREFIX, Shape};
use super::options::OPTIONS;

/// Variables with our prefix that are no options; the log's set-up reads them.
const OTHERS: [&str; 2] = ["RINGMASTER_LOG", "RINGMASTER_LOG_STYLE"];

/// What stands between an option's variable and the key of a single entry.
const ENTRY: &str = "__";

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    pub(crate) layer: Layer,
    pub(crate) mistakes: Vec<String>,
    /// Variables that have our prefix and mean nothing to us. They may be a slip, but
    /// Kubernetes and Docker's links also inject such names, so that they are no mistakes.
    pub(crate) warnings: Vec<String>,
}

/// Picks our variables out of an environment. An empty one counts as not set: that is
/// what `${NAME:-}` in a compose file leaves.
pub(crate) fn read(variables: &[(OsString, OsString)]) -> Environment {
    let mut environment = Environment::default();
    let mut entries = Vec::new();
    let known = || OPTIONS.iter().map(|option| (option.variable(), option));
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if value.is_empty() || OTHERS.contains(&name) {
            continue;
        }
        if let Some((option, key)) = entry(name) {
            match value.to_str() {
                Some(value) => entries.push((option, name, format!("{key}={value}"))),
                None => environment.mistakes.push(not_utf8(option, name)),
            }
            continue;
        }
        let Some((variable, option)) = known().find(|(variable, _)| variable == name) else {
            environment.warnings.push(stranger(name));
            continue;
        };
        let Some(text) = value.to_str() else {
            environment.mistakes.push(not_utf8(option, name));
            continue;
        };
        let raw = match option.shape {
            Shape::One | Shape::Words => Raw::One(text.to_owned()),
            Shape::List | Shape::Pairs => Raw::Many(split_list(text)),
        };
        let origin = Origin::Variable(variable);
        environment.layer.insert(option.key, Given { raw, origin });
    }
    entries.sort_by_key(|(_, name, _)| *name);
    for (option, name, item) in entries {
        add_entry(&mut environment.layer, option, name, item);
    }
    environment.warnings.sort();
    environment
}

/// The option of which a variable is one entry, and the entry's key: `RINGMASTER_ENV__NAME`
/// holds the value of `NAME` whatever characters are in it, where `RINGMASTER_ENV` is split at
/// commas.
fn entry(name: &str) -> Option<(&'static OptionSpec, &str)> {
    let pairs = OPTIONS.iter().filter(|option| option.shape == Shape::Pairs);
    pairs.into_iter().find_map(|option| {
        let key = name.strip_prefix(&option.variable())?.strip_prefix(ENTRY)?;
        (!key.is_empty()).then_some((option, key))
    })
}

/// Adds an entry to those that the environment has of its option already.
fn add_entry(layer: &mut Layer, option: &'static OptionSpec, name: &str, item: String) {
    match layer.get_mut(option.key) {
        Some(Given { raw, origin }) => {
            if let Raw::Many(items) = raw {
                items.push(item);
            }
            // Several variables together; the item's key says which.
            *origin = Origin::Variable(format!("{}...", option.variable()));
        }
        None => {
            let (raw, origin) = (Raw::Many(vec![item]), Origin::Variable(name.to_owned()));
            layer.insert(option.key, Given { raw, origin });
        }
    }
}

fn not_utf8(option: &OptionSpec, name: &str) -> String {
    format!(
        "{} (from {name}): not UTF-8; allowed is {}",
        option.key, option.allowed
    )
}

/// What to say about a variable that nobody reads.
fn stranger(name: &str) -> String {
    // The prefix is right already; it must not count as likeness.
    let rest = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let known = OPTIONS.iter().map(|option| option.variable());
    let known = known.chain(OTHERS.map(str::to_owned));
    match meant(&rest(name), known.map(|name| rest(&name))) {
        Some(meant) => format!("{name} is set but means nothing; did you mean {PREFIX}{meant}?"),
        None => format!("{name} is set but means nothing"),
    }
}
