//! The layer of environment variables.

use std::ffi::OsString;

use super::layers::{Given, Layer, Origin, Raw, meant, split_list};
use super::option::{PREFIX, Shape};
use super::options::OPTIONS;

/// Variables with our prefix that are no options; the log's set-up reads them.
const OTHERS: [&str; 2] = ["RINGMASTER_LOG", "RINGMASTER_LOG_STYLE"];

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
    let known = || OPTIONS.iter().map(|option| (option.variable(), option));
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if value.is_empty() || OTHERS.contains(&name) {
            continue;
        }
        let Some((variable, option)) = known().find(|(variable, _)| variable == name) else {
            environment.warnings.push(stranger(name));
            continue;
        };
        let Some(text) = value.to_str() else {
            environment.mistakes.push(format!(
                "{} (from {name}): not UTF-8; allowed is {}",
                option.key, option.allowed
            ));
            continue;
        };
        let raw = match option.shape {
            Shape::One | Shape::Words => Raw::One(text.to_owned()),
            Shape::List | Shape::Pairs => Raw::Many(split_list(text)),
        };
        let origin = Origin::Variable(variable);
        environment.layer.insert(option.key, Given { raw, origin });
    }
    environment.warnings.sort();
    environment
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
