//! What holds and who said so (`ringmaster check`), in the form of a configuration file.

use std::fmt::Write as _;

use super::layers::{Given, Layers, Raw};
use super::option::{Fallback, OptionSpec, RuntimeKind, Shape};
use super::options::{CONFIG, OPTIONS};
use super::settings::{RuntimeSettings, Settings};

/// The effective settings as TOML: what was given, and, commented out, the defaults.
/// Options that the runtime does not use are left out.
pub(crate) fn report(layers: &Layers, settings: &Settings) -> String {
    let kind = match settings.runtime {
        RuntimeSettings::Process(_) => RuntimeKind::Process,
        RuntimeSettings::Docker(_) => RuntimeKind::Docker,
        RuntimeSettings::Static(_) => RuntimeKind::Static,
    };
    let used = OPTIONS
        .iter()
        .filter(|option| option.runtimes.contains(&kind));
    let mut text = String::new();
    let mut section = "";
    for option in used {
        let (line, why) = match (layers.get(option.key), option.fallback) {
            (Some(given), _) => (given_line(option, given), given.origin.to_string()),
            (None, Fallback::Value(value)) => (
                format!("# {} = {}", option.key, literal(value)),
                "default".to_owned(),
            ),
            (None, Fallback::Derived(words)) => match derived(option.key, settings) {
                Some(value) => (
                    format!("# {} = {}", option.key, literal(&value)),
                    format!("default: {words}"),
                ),
                None => continue,
            },
            (None, Fallback::Nothing) => continue,
        };
        if section != option.section {
            section = option.section;
            let blank = if text.is_empty() { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{blank}## {section}");
        }
        let _ = writeln!(text, "{line:<39} # {why}");
    }
    text
}

/// `replicas = 5`, or a comment where the line would not do in a file.
fn given_line(option: &OptionSpec, given: &Given) -> String {
    let key = option.key;
    match (option.shape, &given.raw) {
        // Variables often hold secrets, and what a check prints ends in logs.
        (Shape::Pairs, raw) => {
            let items = match raw {
                Raw::One(item) => std::slice::from_ref(item),
                Raw::Many(items) => items,
            };
            let names: Vec<_> = items
                .iter()
                .map(|item| item.split_once('=').map_or(item.as_str(), |(name, _)| name))
                .collect();
            format!("# {key}: {} (not shown)", names.join(", "))
        }
        // A file cannot name another.
        (_, Raw::One(value)) if key == CONFIG => {
            format!("# {key} = {}", literal(value))
        }
        (_, Raw::One(value)) => format!("{key} = {}", literal(value)),
        (_, Raw::Many(items)) => {
            let items: Vec<_> = items.iter().map(|item| string(item)).collect();
            format!("{key} = [{}]", items.join(", "))
        }
    }
}

/// A text as a TOML value: a number where it is one in both forms.
fn literal(text: &str) -> String {
    match text.parse::<u32>() {
        Ok(number) if number.to_string() == text => text.to_owned(),
        _ => string(text),
    }
}

/// A TOML basic string.
fn string(text: &str) -> String {
    let mut string = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => string.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(string, "\\u{:04X}", c as u32);
            }
            c => string.push(c),
        }
    }
    string.push('"');
    string
}

/// What a derived default came to, if there is anything to show.
fn derived(key: &str, settings: &Settings) -> Option<String> {
    match (key, &settings.runtime) {
        ("runtime", runtime) => Some(runtime.name().to_owned()),
        ("workers", _) => Some(settings.workers.to_string()),
        ("max-connections", _) => Some(settings.max_connections.to_string()),
        ("slots", _) => Some(settings.ring.slots().to_string()),
        ("virtual-servers", _) => settings.ring.virtual_servers().map(|n| n.to_string()),
        ("fleet", RuntimeSettings::Docker(docker)) => Some(docker.fleet.clone()),
        ("docker-network", RuntimeSettings::Docker(docker)) => Some(docker.network.clone()),
        ("replica-port", RuntimeSettings::Docker(docker)) => {
            docker.template.port.map(|port| port.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_toml_strings() {
        for text in ["plain", "quo\"te", "back\\slash", "tab\t\u{7f}", "ä"] {
            let line = format!("x = {}", string(text));
            let table = toml::de::DeTable::parse(&line).unwrap();
            let value = table.get_ref().get("x").unwrap();
            assert_eq!(value.get_ref().as_str(), Some(text));
        }
    }
}
