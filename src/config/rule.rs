//! Rules: how the text of an option's value is read, and which values are allowed.

use std::ffi::OsStr;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};

use super::units;

/// What reads a text as a value, or says what is wrong with it.
type ReadValue<T> = dyn Fn(&str) -> Result<T, String> + Send + Sync;

/// The rule of an option whose values are `T`. As clap's parser it reads a value; as clap's
/// possible values it gives [`allowed`].
#[derive(Clone)]
pub(crate) struct Rule<T> {
    allowed: Vec<PossibleValue>,
    read: Arc<ReadValue<T>>,
}

/// What is allowed, in words: `1 to 1024`, `never, unsent or idempotent`.
pub(super) fn allowed(values: &[PossibleValue]) -> String {
    let names: Vec<_> = values.iter().map(PossibleValue::get_name).collect();
    match names.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        names => names.concat(),
    }
}

/// Any text that `read` accepts; help says of it what the option's own text says.
pub(crate) fn text<T: 'static>(
    allowed: impl Into<String>,
    read: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
) -> Rule<T> {
    Rule {
        allowed: vec![PossibleValue::new(allowed.into()).hide(true)],
        read: Arc::new(read),
    }
}

/// A whole number from `min` to `max`.
pub(crate) fn whole<T: TryFrom<u64> + 'static>(min: u64, max: u64) -> Rule<T> {
    Rule {
        allowed: vec![PossibleValue::new(format!("{min} to {max}"))],
        read: Arc::new(move |text| match units::whole(text)? {
            number if number < min => Err("too small".to_owned()),
            number if number > max => Err("too large".to_owned()),
            number => T::try_from(number).map_err(|_| "too large".to_owned()),
        }),
    }
}

/// A duration from `min` to `max`, which are good durations.
pub(crate) fn duration(min: &'static str, max: &'static str) -> Rule<Duration> {
    let bound = |text| units::duration(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    let (least, most) = (bound(min), bound(max));
    Rule {
        allowed: vec![PossibleValue::new(format!("{min} to {max}"))],
        read: Arc::new(move |text| match units::duration(text)? {
            duration if duration < least => Err("too short".to_owned()),
            duration if duration > most => Err("too long".to_owned()),
            duration => Ok(duration),
        }),
    }
}

/// One of several words.
pub(crate) fn choice<T, const N: usize>(values: [(&'static str, T); N]) -> Rule<T>
where
    T: Clone + Send + Sync + 'static,
{
    Rule {
        allowed: values.iter().map(|(name, _)| (*name).into()).collect(),
        read: Arc::new(move |text| {
            let found = values.iter().find(|(name, _)| *name == text);
            found.map_or_else(|| Err("unknown value".to_owned()), |(_, v)| Ok(v.clone()))
        }),
    }
}

/// A value that reads itself, or `none` (or `null`) for no limit.
pub(crate) fn limit<T: FromStr + 'static>(
    allowed: &'static str,
    wrong: &'static str,
) -> Rule<Option<T>> {
    text(allowed, move |text| match units::is_none(text) {
        true => Ok(None),
        false => text.parse().map(Some).map_err(|_| wrong.to_owned()),
    })
}

/// How many there may be: a whole number from 1, or no limit.
pub(crate) fn count_limit<T: FromStr + 'static>() -> Rule<Option<T>> {
    limit("a whole number from 1, or none", "not a whole number")
}

/// Reads a text by the type's own rule.
pub(crate) fn from_str<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|wrong: T::Err| wrong.to_string())
}

impl<T: 'static> Rule<T> {
    /// The same values, as another type.
    pub(crate) fn map<U>(self, convert: impl Fn(T) -> U + Send + Sync + 'static) -> Rule<U> {
        let Self { allowed, read } = self;
        let read = Arc::new(move |text: &str| read(text).map(&convert));
        Rule { allowed, read }
    }

    /// The same values, or `off` (or `none`).
    pub(crate) fn or_off(self) -> Rule<Option<T>> {
        let Self { allowed, read } = self;
        Rule {
            allowed: vec![PossibleValue::new(format!(
                "{}, or off",
                self::allowed(&allowed)
            ))],
            read: Arc::new(move |text| match is_off(text) {
                true => Ok(None),
                false => read(text).map(Some),
            }),
        }
    }
}

/// Whether a text turns something off.
pub(super) fn is_off(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("off") || units::is_none(text)
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Rule<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let Self { allowed, read } = self.clone();
        let read = move |text: &str| {
            read(text).map_err(|wrong| format!("{wrong}; allowed is {}", self::allowed(&allowed)))
        };
        TypedValueParser::parse_ref(&read, command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.allowed.iter().cloned()))
    }
}
