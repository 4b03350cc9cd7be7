//! What was given where: flags over environment over file.
//!
//! A layer holds texts, unread. The first layer that names a key decides it alone; a
//! list is never put together from several layers.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use clap::ArgMatches;

use super::option::{OPTIONS, OptionSpec};

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

/// The values of an option, and where they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) values: Vec<OsString>,
    /// Whether they are a list, even of one.
    pub(crate) is_list: bool,
    pub(crate) origin: Origin,
}

impl Given {
    /// `replicas = "many" (from RINGMASTER_REPLICAS)`.
    pub(super) fn describe(&self, option: &OptionSpec) -> String {
        if let ([value], false) = (self.values.as_slice(), self.is_list) {
            return self.describe_item(option, value);
        }
        let values: Vec<_> = self.values.iter().map(|v| shown(option, v)).collect();
        format!("{} = {values:?} (from {})", option.key(), self.origin)
    }

    /// The same of one item of a list.
    pub(super) fn describe_item(&self, option: &OptionSpec, item: &OsStr) -> String {
        let item = shown(option, item);
        format!("{} = {item:?} (from {})", option.key(), self.origin)
    }
}

/// As much of a value as may be shown: variables often hold secrets, and messages end in
/// logs.
fn shown(option: &OptionSpec, text: &OsStr) -> String {
    const MAX_CHARS: usize = 100;
    let text = text.to_string_lossy();
    let mut shown = match text.split_once('=') {
        Some((key, _)) if option.is_secret() => format!("{key}=..."),
        _ => text.into_owned(),
    };
    if let Some((end, _)) = shown.char_indices().nth(MAX_CHARS) {
        shown.truncate(end);
        shown.push_str("...");
    }
    shown
}

/// What was given, by key, at one place or at several: `extend` puts one layer over another.
pub(crate) type Layer = BTreeMap<&'static str, Given>;

/// The layer of flags, as many as the subcommand takes.
pub(crate) fn flags(matches: &ArgMatches) -> Layer {
    let given = OPTIONS.iter().filter_map(|option| {
        let values = matches.try_get_raw(option.arg.get_id().as_str()).ok()??;
        let given = Given {
            values: values.map(OsStr::to_owned).collect(),
            is_list: option.is_list(),
            origin: Origin::Flag(option.key()),
        };
        Some((option.key(), given))
    });
    given.collect()
}

/// The known name of which a text is a slip: one letter wrong, two in a name of eight letters or
/// more. A guess further off would mislead.
pub(crate) fn did_you_mean<N: AsRef<str>>(
    text: &str,
    known: impl IntoIterator<Item = N>,
) -> Option<N> {
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
