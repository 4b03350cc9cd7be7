//! The options in print: the effective configuration (`ringmaster check`) in the form of a
//! configuration file, and README's table.

use std::fmt::Write as _;

use super::layers::{Given, Layer};
use super::option::{CONFIG, OPTIONS, OptionSpec};
use super::options::SWARM_HANG_TIMEOUT;
use super::settings::{RuntimeSettings, Settings};

/// The effective settings as TOML: what was given, and, commented out, the defaults.
/// Options that the runtime does not use are left out.
pub(crate) fn report(given: &Layer, settings: &Settings) -> String {
    let (mut text, mut section) = (String::new(), "");
    let kind = settings.runtime.kind();
    // With that table the fleet is one, too.
    let has_table = OPTIONS
        .iter()
        .any(|option| option.is_of_container() && given.contains_key(option.key()));
    for option in OPTIONS
        .iter()
        .filter(|option| option.runtimes().contains(&kind))
    {
        let key = option.key();
        let default = || derived(key, settings).or(option.default_value().map(str::to_owned));
        let path = match key {
            "fleet" if has_table => "fleet.name".to_owned(),
            key if option.is_of_container() => format!("fleet.container.{key}"),
            key => key.to_owned(),
        };
        let (line, origin) = match (given.get(key), default()) {
            (Some(given), _) => (given_line(option, &path, given), given.origin.to_string()),
            (None, Some(value)) => {
                let derived = option
                    .derived_default
                    .as_ref()
                    .map(|words| format!(": {words}"));
                let origin = format!("default{}", derived.unwrap_or_default());
                (format!("# {path} = {}", literal(&value)), origin)
            }
            (None, None) => continue,
        };
        if section != option.section() {
            section = option.section();
            let blank = if text.is_empty() { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{blank}## {section}");
        }
        let _ = writeln!(text, "{line:<39} # {origin}");
    }
    text
}

/// `replicas = 5`, or a comment where the line would not do in a file. `path`: where the option
/// stands in a file.
fn given_line(option: &OptionSpec, path: &str, given: &Given) -> String {
    let values: Vec<_> = given
        .values
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    match values.as_slice() {
        // Variables often hold secrets, and what a check prints ends in logs.
        values if option.is_secret() => {
            let name = |text: &str| {
                text.split_once('=')
                    .map_or(text, |(name, _)| name)
                    .to_owned()
            };
            let names: Vec<_> = values.iter().map(|value| name(value)).collect();
            format!("# {path}: {} (not shown)", names.join(", "))
        }
        // A file cannot name another.
        [value] if path == CONFIG => format!("# {path} = {}", literal(value)),
        [value] if !given.is_list => format!("{path} = {}", literal(value)),
        values => {
            let items: Vec<_> = values.iter().map(|item| string(item)).collect();
            format!("{path} = [{}]", items.join(", "))
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
        ("runtime", runtime) => Some(runtime.kind().name().to_owned()),
        ("max-connections", _) => Some(settings.max_connections.to_string()),
        ("hang-timeout", RuntimeSettings::Swarm(_)) => Some(SWARM_HANG_TIMEOUT.to_owned()),
        ("slots", _) => Some(settings.ring.slots().to_string()),
        ("virtual-servers", _) => settings.ring.virtual_servers().map(|n| n.to_string()),
        ("fleet", runtime) => Some(runtime.containers()?.fleet.clone()),
        ("docker-network", runtime) => Some(runtime.containers()?.network.clone()),
        ("replica-port", runtime) => {
            let port = runtime.containers()?.template.port?;
            Some(port.to_string())
        }
        _ => None,
    }
}

/// README's table of options: one of Markdown a section.
pub fn options_markdown() -> String {
    let (mut text, mut section) = (String::new(), "");
    for option in OPTIONS.iter() {
        if section != option.section() {
            section = option.section();
            let blank = if text.is_empty() { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{blank}**{section}**\n\n| flag | what it says | default |\n| --- | --- | --- |\n"
            );
        }
        let _ = writeln!(
            text,
            "| `--{} {}` | {}{} | {} |",
            option.key(),
            option.arg.get_value_names().map_or("", |names| &names[0]),
            option.headline,
            option.range([" (", ")"]),
            option.default_text().unwrap_or_default(),
        );
    }
    text
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
