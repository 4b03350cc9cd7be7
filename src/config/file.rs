//! The layer of the TOML file.

use std::ffi::OsString;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::layers::{Given, Layer, Origin, did_you_mean};
use super::option::{self, CONFIG, OPTIONS, OptionSpec};

/// Reads a file: its layer, and the mistakes that can be seen without knowing what values mean.
///
/// # Errors
///
/// Mistakes after which nothing is known of what the file says.
pub(crate) fn read(path: &Path, named_by: &Origin) -> Result<(Layer, Vec<String>), Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![format!(
            "config = {:?} (from {named_by}): cannot read: {error}",
            path.display().to_string()
        )]
    })?;
    let origin = |offset| Origin::File(path.to_owned(), line(&text, offset));
    let (table, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        let mistake = |error: &toml::de::Error| {
            let message = error.message().replace('\n', ", ");
            match error.span() {
                Some(span) => format!("{}: {message}", origin(span.start)),
                None => format!("{}: {message}", path.display()),
            }
        };
        let mut mistakes: Vec<_> = errors.iter().map(mistake).collect();
        // One slip can be reported by several layers of the parser.
        mistakes.dedup();
        return Err(mistakes);
    }
    let (mut layer, mut mistakes) = (Layer::new(), Vec::new());
    for FileEntry {
        path,
        key,
        table,
        offset,
        value,
    } in entries(table.get_ref())
    {
        let origin = origin(offset);
        let option = match known(key, table, value) {
            Ok(option) => option,
            Err(wrong) => {
                mistakes.push(format!("{path} (from {origin}): {wrong}"));
                continue;
            }
        };
        match values(option, value) {
            Ok(values) => {
                // Where a single value belongs, a list is refused when it is read: until then
                // it counts as given, so that nothing is called missing.
                let is_array = matches!(value, DeValue::Array(_)) && !option.is_command();
                let is_list = option.is_list() || is_array;
                layer.insert(
                    option.key(),
                    Given {
                        values,
                        is_list,
                        origin,
                    },
                );
            }
            Err(wrong) => mistakes.push(format!(
                "{path} (from {origin}): {wrong}; allowed is {}",
                option.allowed()
            )),
        }
    }
    Ok((layer, mistakes))
}

/// The table that an entry stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileTable {
    /// The file itself.
    File,
    /// `[fleet]`.
    Fleet,
    /// `[fleet.container]`.
    Container,
}

/// One entry of the file.
struct FileEntry<'a> {
    /// Its keys as they are written: `fleet.container.user`.
    path: String,
    /// The key of the option.
    key: &'a str,
    table: FileTable,
    offset: usize,
    value: &'a DeValue<'a>,
}

/// The entries of a file and of its tables that are known, in their order.
fn entries<'a>(file: &'a DeTable<'a>) -> Vec<FileEntry<'a>> {
    let mut entries = Vec::new();
    add_entries(file, FileTable::File, "", &mut entries);
    entries.sort_by_key(|entry| entry.offset);
    entries
}

fn add_entries<'a>(
    from: &'a DeTable<'a>,
    table: FileTable,
    prefix: &str,
    entries: &mut Vec<FileEntry<'a>>,
) {
    for (spanned, value) in from {
        let (key, value) = (spanned.get_ref().as_ref(), value.get_ref());
        let path = format!("{prefix}{key}");
        let inner = match (table, key) {
            (FileTable::File, "fleet") => Some(FileTable::Fleet),
            (FileTable::Fleet, "container") => Some(FileTable::Container),
            _ => None,
        };
        match (inner, value) {
            (Some(inner), DeValue::Table(of)) => {
                add_entries(of, inner, &format!("{path}."), entries);
            }
            _ => entries.push(FileEntry {
                path,
                key: match (table, key) {
                    (FileTable::Fleet, "name") => "fleet",
                    (_, key) => key,
                },
                table,
                offset: spanned.span().start,
                value,
            }),
        }
    }
}

/// The option that a key stands for in a table, or what is wrong with it there.
fn known(key: &str, table: FileTable, value: &DeValue<'_>) -> Result<&'static OptionSpec, String> {
    let option = option::find(key).filter(|option| option.key() != CONFIG);
    match (option, table) {
        (Some(option), FileTable::Container) if option.is_of_container() => Ok(option),
        (Some(_), FileTable::Container) => Err("stands by itself, before every table".to_owned()),
        (Some(option), FileTable::Fleet) if option.key() == "fleet" => Ok(option),
        (_, FileTable::Fleet) => Err("not a known key; [fleet] has name and container".to_owned()),
        (Some(option), FileTable::File) if option.is_of_container() => {
            Err("belongs into the table [fleet.container]".to_owned())
        }
        // A table may be of variables; any other is taken for a section.
        (Some(option), FileTable::File) if option.is_table() || flat_key(key, value).is_none() => {
            Ok(option)
        }
        (_, table) => Err(unknown(key, table == FileTable::Container, value)),
    }
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
    let mut keys = value.as_table()?.keys();
    keys.find_map(|key| {
        let flat = format!("{section}-{}", key.get_ref());
        option::find(&flat).is_some().then_some(flat)
    })
}

/// What to say about a key that is no option's.
fn unknown(name: &str, of_container: bool, value: &DeValue<'_>) -> String {
    if name == CONFIG {
        return "a file cannot name another file".to_owned();
    }
    if let Some(flat) = flat_key(name, value) {
        return format!("keys have no sections: write {flat} = ...");
    }
    let known = OPTIONS
        .iter()
        .filter(|option| option.is_of_container() == of_container)
        .map(OptionSpec::key)
        .filter(|key| *key != CONFIG);
    match did_you_mean(name, known) {
        Some(known) => format!("not a known key; did you mean {known}?"),
        None => "not a known key; see 'ringmaster --help'".to_owned(),
    }
}

/// A value as texts, if it has a shape that the option can have.
fn values(option: &OptionSpec, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    match value {
        DeValue::Table(table) if option.is_table() => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            let entries = entries.into_iter().map(|(key, value)| {
                let value = scalar(value.get_ref());
                let value = value.ok_or_else(|| format!("{} is not a text", key.get_ref()))?;
                Ok(format!("{}={value}", key.get_ref()).into())
            });
            entries.collect()
        }
        DeValue::Table(_) => Err("a table".to_owned()),
        DeValue::Array(array) => {
            let items = array
                .iter()
                .map(|item| scalar(item.get_ref()).ok_or("a list in a list"));
            let items = items.collect::<Result<Vec<_>, _>>()?;
            if option.is_command() {
                let line = shlex::try_join(items.iter().map(String::as_str));
                return Ok(vec![line.map_err(|_| "has a NUL character in it")?.into()]);
            }
            Ok(items.into_iter().map(OsString::from).collect())
        }
        // Neither a table nor a list is left.
        value => match scalar(value).unwrap_or_default() {
            text if option.is_list() => Ok(option.split(&text)),
            text => Ok(vec![text.into()]),
        },
    }
}

/// A value that is neither a list nor a table, as it would be written on the command line.
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
