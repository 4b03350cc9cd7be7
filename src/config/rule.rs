//! Rules: how the text of an option's value is read, and which values are allowed.

use std::ffi::OsStr;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::units;

/// What reads a text as a value, or says what is wrong with it.
type ReadValue<T> = dyn Fn(&str) -> Result<T, String> + Send + Sync;

/// The rule of an option whose values are `T`. As clap's parser it reads a value; as clap's only
/// possible value it gives what is allowed in words, hidden where the option's help says it.
#[derive(Clone)]
pub(crate) struct Rule<T> {
    allowed: PossibleValue,
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
        allowed: PossibleValue::new(allowed.into()).hide(true),
        read: Arc::new(read),
    }
}

/// A text that reads itself.
pub(crate) fn parsed<T: FromStr<Err: Display> + 'static>(allowed: &str) -> Rule<T> {
    text(allowed, |text| {
        text.parse().map_err(|wrong: T::Err| wrong.to_string())
    })
}

/// A whole number from `min` to `max`.
pub(crate) fn whole<T: FromStr + 'static>(min: u64, max: u64) -> Rule<T> {
    range(format!("{min} to {max}"), move |text| {
        let number = between(units::whole(text)?, [min, max], ["too small", "too large"])?;
        number.to_string().parse().map_err(|_| "too large".into())
    })
}

/// A duration from `min` to `max`, which are good durations.
pub(crate) fn duration(min: &'static str, max: &'static str) -> Rule<Duration> {
    let bounds = [min, max]
        .map(|text| units::duration(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}")));
    range(format!("{min} to {max}"), move |text| {
        between(units::duration(text)?, bounds, ["too short", "too long"])
    })
}

/// A rule that help states.
fn range<T: 'static>(
    allowed: String,
    read: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
) -> Rule<T> {
    let Rule { allowed, read } = text(allowed, read);
    let allowed = allowed.hide(false);
    Rule { allowed, read }
}

/// A value within bounds, or the word for one below or above them.
fn between<V: PartialOrd>(value: V, [min, max]: [V; 2], wrong: [&str; 2]) -> Result<V, String> {
    match value {
        value if value < min => Err(wrong[0].to_owned()),
        value if value > max => Err(wrong[1].to_owned()),
        value => Ok(value),
    }
}

/// How many there may be, or no limit.
pub(crate) fn count<T: FromStr + 'static>() -> Rule<Option<T>> {
    let Rule { read, .. } = whole(1, u32::MAX.into());
    text("a whole number from 1", move |text| read(text)).or("none")
}

/// One of several words. (clap reads an enum of ours itself.)
pub(crate) fn choice<T: Clone + Send + Sync + 'static, const N: usize>(
    values: [(&'static str, T); N],
) -> impl TypedValueParser<Value = T> {
    let names = values.each_ref().map(|(name, _)| *name);
    PossibleValuesParser::new(names).try_map(move |text| {
        let found = values.iter().find(|(name, _)| *name == text);
        found.map_or(Err("unknown value"), |(_, value)| Ok(value.clone()))
    })
}

impl<T: 'static> Rule<T> {
    /// The same values, or a word for none of them; help calls it `off` or `none`.
    pub(crate) fn or(self, word: &str) -> Rule<Option<T>> {
        let Self { allowed, read } = self;
        let words = format!("{}, or {word}", allowed.get_name());
        Rule {
            allowed: PossibleValue::new(words).hide(allowed.is_hide_set()),
            read: Arc::new(move |text| match units::is_none(text) {
                true => Ok(None),
                false => read(text).map(Some),
            }),
        }
    }
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
            let because = |wrong| format!("{wrong}; allowed is {}", allowed.get_name());
            read(text).map_err(because)
        };
        TypedValueParser::parse_ref(&read, command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(std::iter::once(self.allowed.clone())))
    }
}
