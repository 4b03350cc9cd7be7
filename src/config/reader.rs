//! Reads single options out of the layers and remembers every mistake.

use std::fmt;
use std::time::Duration;

use super::layers::{Given, Layers, Raw};
use super::option::{Allowed, Fallback, OptionSpec, Shape};
use super::options;
use super::units;

/// Reads options by key. A mistake is remembered and reading goes on with the default,
/// so that one run finds them all.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    mistakes: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers) -> Self {
        Self {
            layers,
            mistakes: Vec::new(),
        }
    }

    /// What went wrong.
    pub(super) fn into_mistakes(self) -> Vec<String> {
        self.mistakes
    }

    /// Whether anything has gone wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// What was given for a key, if anything was.
    pub(super) fn given(&self, key: &str) -> Option<&'a Given> {
        self.layers.get(key)
    }

    /// Remembers a mistake about an option as a whole.
    pub(super) fn mistake(&mut self, key: &str, wrong: impl fmt::Display) {
        let about = match self.given(key) {
            Some(given) => quoted(spec(key), given),
            None => key.to_owned(),
        };
        self.mistakes.push(format!("{about}: {wrong}"));
    }

    /// An option that has a default in the table.
    pub(super) fn value<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.optional(key, &parse)
            .unwrap_or_else(|| fallback(spec(key), &parse))
    }

    /// An option that may be absent. One that is wrong is absent, too.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match &self.given(key)?.raw {
            Raw::One(text) => match parse(text) {
                Ok(value) => Some(value),
                Err(wrong) => {
                    self.not_allowed(key, &wrong);
                    None
                }
            },
            Raw::Many(_) => {
                self.not_allowed(key, "a list");
                None
            }
        }
    }

    /// A whole number within the table's bounds, if one was given.
    pub(super) fn optional_whole<T: TryFrom<u64>>(&mut self, key: &str) -> Option<T> {
        self.optional(key, |text| whole_within(spec(key), text))
    }

    /// A whole number within the table's bounds.
    pub(super) fn whole<T: TryFrom<u64>>(&mut self, key: &str) -> T {
        self.value(key, |text| whole_within(spec(key), text))
    }

    /// A duration within the table's bounds, if one was given.
    pub(super) fn optional_duration(&mut self, key: &str) -> Option<Duration> {
        self.optional(key, |text| duration_within(spec(key), text))
    }

    /// A duration within the table's bounds.
    pub(super) fn duration(&mut self, key: &str) -> Duration {
        self.value(key, |text| duration_within(spec(key), text))
    }

    /// A list of which each item is read by itself, with the text that it was read from.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<(String, T)> {
        let Some(given) = self.given(key) else {
            return Vec::new();
        };
        let items = match &given.raw {
            Raw::One(text) => std::slice::from_ref(text),
            Raw::Many(items) => items,
        };
        let mut values = Vec::new();
        for item in items {
            match parse(item) {
                Ok(value) => values.push((item.clone(), value)),
                Err(wrong) => {
                    let wrong = format!("{wrong}; allowed is {}", spec(key).allowed);
                    self.item_mistake(key, item, wrong);
                }
            }
        }
        values
    }

    /// Remembers a mistake about one item of a list.
    pub(super) fn item_mistake(&mut self, key: &str, item: &str, wrong: impl fmt::Display) {
        let option = spec(key);
        let origin = match self.given(key) {
            Some(given) => format!(" (from {})", given.origin),
            None => String::new(),
        };
        let item = shown(option, item);
        self.mistakes
            .push(format!("{key} = {item:?}{origin}: {wrong}"));
    }

    /// A command line, split already or not.
    pub(super) fn words(
        &mut self,
        key: &str,
        split: impl Fn(&str) -> Result<Vec<String>, String>,
        check: impl Fn(Vec<String>) -> Result<Vec<String>, String>,
    ) -> Option<Vec<String>> {
        let words = match &self.given(key)?.raw {
            Raw::One(text) => split(text),
            Raw::Many(words) => check(words.clone()),
        };
        match words {
            Ok(words) => Some(words),
            Err(wrong) => {
                self.not_allowed(key, &wrong);
                None
            }
        }
    }

    fn not_allowed(&mut self, key: &str, wrong: &str) {
        self.mistake(key, format!("{wrong}; allowed is {}", spec(key).allowed));
    }
}

/// The row of a key. Keys are written in this folder's code alone, and the tests read
/// every one of them.
fn spec(key: &str) -> &'static OptionSpec {
    options::find(key).unwrap_or_else(|| panic!("no option is called {key}"))
}

/// The table's default, read like any other value. A row whose default is not good is
/// found by any test that reads it.
fn fallback<T>(option: &OptionSpec, parse: impl Fn(&str) -> Result<T, String>) -> T {
    let Fallback::Value(text) = option.fallback else {
        panic!("the table has no default for {}", option.key);
    };
    parse(text).unwrap_or_else(|wrong| panic!("{} = {text:?} by default: {wrong}", option.key))
}

fn whole_within<T: TryFrom<u64>>(option: &OptionSpec, text: &str) -> Result<T, String> {
    let number = units::whole(text)?;
    match option.allowed {
        Allowed::Whole(least, _) if number < least => Err("too small".to_owned()),
        Allowed::Whole(_, most) if number > most => Err("too large".to_owned()),
        _ => T::try_from(number).map_err(|_| "too large".to_owned()),
    }
}

fn duration_within(option: &OptionSpec, text: &str) -> Result<Duration, String> {
    let duration = units::duration(text)?;
    match option.allowed {
        Allowed::Duration(least, _) if duration < least => Err("too short".to_owned()),
        Allowed::Duration(_, most) if duration > most => Err("too long".to_owned()),
        _ => Ok(duration),
    }
}

/// `replicas = "many" (from RINGMASTER_REPLICAS)`.
fn quoted(option: &OptionSpec, given: &Given) -> String {
    let value = match &given.raw {
        Raw::One(text) => format!("{:?}", shown(option, text)),
        Raw::Many(items) => {
            let items: Vec<_> = items.iter().map(|item| shown(option, item)).collect();
            format!("{items:?}")
        }
    };
    format!("{} = {value} (from {})", option.key, given.origin)
}

/// As much of a value as may be shown: variables often hold secrets, and messages end in
/// logs.
fn shown(option: &OptionSpec, text: &str) -> String {
    const ENOUGH: usize = 100;
    let mut shown: String = match (option.shape, text.split_once('=')) {
        (Shape::Pairs, Some((key, _))) => format!("{key}=..."),
        _ => text.to_owned(),
    };
    if let Some((end, _)) = shown.char_indices().nth(ENOUGH) {
        shown.truncate(end);
        shown.push_str("...");
    }
    shown
}
