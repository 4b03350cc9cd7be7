//! The layer of environment variables.

use std::ffi::{OsStr, OsString};

use super::layers::{Given, Layer, Origin, did_you_mean};
use super::option::{OPTIONS, OptionSpec, PREFIX};

/// Variables with our prefix that are no options: the log's set-up or `ringmaster ctl` reads them, or
/// they hold a secret, which must not be in a command line.
const OTHERS: [&str; 5] = [
    "RINGMASTER_LOG",
    "RINGMASTER_LOG_STYLE",
    "RINGMASTER_ADMIN_TOKEN",
    "RINGMASTER_ADMIN_URL",
    "RINGMASTER_COMPLETE",
];

/// What stands between an option's variable and the key of a single entry.
const ENTRY: &str = "__";

/// Picks our variables out of an environment, and warns of those that have our prefix and are
/// unknown. They may be a slip, but Kubernetes and Docker's links also inject such names, so that
/// they are no mistakes. An empty variable counts as not set: that is what `${NAME:-}` in a compose
/// file leaves.
pub(crate) fn read(variables: &[(OsString, OsString)]) -> (Layer, Vec<String>) {
    let (mut layer, mut warnings) = (Layer::new(), Vec::new());
    let ours = variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value)));
    let mut ours: Vec<_> = ours
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, _)| !OTHERS.contains(name))
        .collect();
    // So that single entries follow the variable of their option, in one order.
    ours.sort_by_key(|(name, _)| *name);
    for (name, value) in ours {
        let Some((option, entry)) = option_of(name) else {
            warnings.push(unknown_variable(name));
            continue;
        };
        let values = match (entry, value.to_str()) {
            (Some(key), _) => vec![entry_text(key, value)],
            (None, Some(text)) if option.is_list() => option.split(text),
            (None, _) => vec![value.clone()],
        };
        let given = Given {
            values,
            is_list: option.is_list(),
            origin: Origin::Variable(name.to_owned()),
        };
        match layer.get_mut(option.key()) {
            Some(present) if entry.is_some() => {
                present.values.extend(given.values);
                // Several variables together; the item's key says which.
                present.origin = Origin::Variable(format!("{}...", option.variable()));
            }
            // Of two variables of one name the last one holds.
            _ => drop(layer.insert(option.key(), given)),
        }
    }
    (layer, warnings)
}

/// The option that a variable gives, and the key if it is a single entry: `RINGMASTER_ENV__NAME`
/// holds the value of `NAME` whatever characters are in it, where `RINGMASTER_ENV` is split at
/// commas.
fn option_of(name: &str) -> Option<(&'static OptionSpec, Option<&str>)> {
    OPTIONS.iter().find_map(|option| {
        let rest = name.strip_prefix(&option.variable())?;
        match rest.strip_prefix(ENTRY) {
            _ if rest.is_empty() => Some((option, None)),
            Some(key) if option.is_table() && !key.is_empty() => Some((option, Some(key))),
            _ => None,
        }
    })
}

fn entry_text(key: &str, value: &OsStr) -> OsString {
    let mut text = OsString::from(format!("{key}="));
    text.push(value);
    text
}

/// What to say of a variable that is no option's.
fn unknown_variable(name: &str) -> String {
    // The prefix is right already; it must not count as likeness.
    let rest = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let known = OPTIONS.iter().map(OptionSpec::variable);
    let known = known.chain(OTHERS.map(str::to_owned));
    match did_you_mean(&rest(name), known.map(|name| rest(&name))) {
        Some(known) => format!("{name} is not a known variable; did you mean {PREFIX}{known}?"),
        None => format!("{name} is not a known variable"),
    }
}
