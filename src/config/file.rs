//! The layer of the TOML file.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{Given, Layer, Origin, Raw, meant, split_list};
use super::option::{OptionSpec, Shape};
use super::options::{self, CONFIG, OPTIONS};

/// What a file says, and the mistakes that can be seen without knowing what values mean.
pub(crate) type FileLayer = (Layer, Vec<String>);

/// Reads a file. After an error nothing is known of what it says.
pub(crate) fn read(path: &Path, named_by: &Origin) -> Result<FileLayer, Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![format!(
            "config = {:?} (from {named_by}): cannot read: {error}",
            path.display().to_string()
        )]
    })?;
    parse(path, &text)
}

/// Reads a file's text.
fn parse(path: &Path, text: &str) -> Result<FileLayer, Vec<String>> {
    let origin = |offset| Origin::File(path.to_owned(), line(text, offset));
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut mistakes: Vec<String> = errors
            .iter()
            .map(|error| {
                let message = error.message().replace('\n', ", ");
                match error.span() {
                    Some(span) => format!("{}: {message}", origin(span.start)),
                    None => format!("{}: {message}", path.display()),
                }
            })
            .collect();
        // One slip can be reported by several layers of the parser.
        mistakes.dedup();
        return Err(mistakes);
    }
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut layer = Layer::new();
    let mut mistakes = Vec::new();
    for (key, value) in entries {
        let origin = origin(key.span().start);
        let name = key.get_ref().as_ref();
        let option = options::find(name).filter(|option| option.key != CONFIG);
        // A table may be of variables; any other is taken for a section.
        let is_section = |option: &&OptionSpec| {
            option.shape != Shape::Pairs && flat_key(name, value.get_ref()).is_some()
        };
        match option.filter(|option| !is_section(option)) {
            None => mistakes.push(format!("{name} (from {origin}): {}", unknown(name, value))),
            Some(option) => match raw(option, value.get_ref()) {
                Ok(raw) => {
                    layer.insert(option.key, Given { raw, origin });
                }
                Err(wrong) => mistakes.push(format!(
                    "{name} (from {origin}): {wrong}; allowed is {}",
                    option.allowed
                )),
            },
        }
    }
    Ok((layer, mistakes))
}

/// The number of the line in which a byte stands, from 1.
fn line(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}

/// The key that is meant by one in a section: `[heartbeat]`, then `interval = "1s"`. The keys are
/// flat, as the flags are.
fn flat_key(section: &str, value: &DeValue<'_>) -> Option<String> {
    let DeValue::Table(table) = value else {
        return None;
    };
    let mut flat = table
        .keys()
        .map(|inner| format!("{section}-{}", inner.get_ref()));
    flat.find(|flat| options::find(flat).is_some())
}

/// What to say about a key that is no option's.
fn unknown(name: &str, value: &Spanned<DeValue<'_>>) -> String {
    if name == CONFIG {
        return "a file cannot name another file".to_owned();
    }
    if let Some(flat) = flat_key(name, value.get_ref()) {
        return format!("keys have no sections: write {flat} = ...");
    }
    let known = OPTIONS
        .iter()
        .map(|option| option.key)
        .filter(|key| *key != CONFIG);
    match meant(name, known) {
        Some(meant) => format!("not a known key; did you mean {meant}?"),
        None => "not a known key; see 'ringmaster --help'".to_owned(),
    }
}

/// A value as texts, if it has the shape that the option needs.
fn raw(option: &OptionSpec, value: &DeValue<'_>) -> Result<Raw, String> {
    let items = |array: &toml::de::DeArray<'_>| {
        array
            .iter()
            .map(|item| scalar(item.get_ref()).ok_or("a list in a list"))
            .collect::<Result<Vec<_>, _>>()
    };
    match (option.shape, value) {
        (Shape::Pairs, DeValue::Table(table)) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            entries
                .into_iter()
                .map(|(key, value)| match scalar(value.get_ref()) {
                    Some(value) => Ok(format!("{}={value}", key.get_ref())),
                    None => Err(format!("{} is not a text", key.get_ref())),
                })
                .collect::<Result<_, _>>()
                .map(Raw::Many)
        }
        (_, DeValue::Table(_)) => Err("a table".to_owned()),
        // Where a single value belongs, a list is refused by whoever reads it: until then it
        // counts as given, so that nothing is called missing.
        (_, DeValue::Array(array)) => Ok(Raw::Many(items(array)?)),
        (shape, value) => {
            // Neither a table nor a list is left.
            let text = scalar(value).unwrap_or_default();
            Ok(match shape {
                Shape::One | Shape::Words => Raw::One(text),
                Shape::List | Shape::Pairs => Raw::Many(split_list(&text)),
            })
        }
    }
}

/// A value that is neither a list nor a table, as an operator would write it on the
/// command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    Some(match value {
        DeValue::String(text) => text.to_string(),
        // 0x10 and 1_000 are TOML's; the command line knows digits only.
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| integer.to_string(), |number| number.to_string()),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => return None,
    })
}
