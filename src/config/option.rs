//! What is to be said about an option, and what follows from it.

use std::fmt;
use std::time::Duration;

use super::units;

/// One option: a flag, an environment variable and a key of the TOML file.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// The flag without its dashes, which is also the key in the file.
    pub key: &'static str,
    /// What stands for the value in help texts.
    pub value_name: &'static str,
    /// One line, shown by `-h` and `--help`.
    pub help: &'static str,
    /// The rest of what is to be said, shown by `--help` alone; may be empty.
    pub more: &'static str,
    /// What holds if nobody says anything.
    pub fallback: Fallback,
    /// Which values are good.
    pub allowed: Allowed,
    /// How a value is written.
    pub shape: Shape,
    /// The heading it stands under.
    pub section: &'static str,
    /// The runtimes that use it.
    pub runtimes: &'static [RuntimeKind],
}

/// What holds if nobody says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// A value, written as an operator would write it.
    Value(&'static str),
    /// What Ringmaster works out by itself, in words.
    Derived(&'static str),
    /// Nothing.
    Nothing,
}

/// How an option's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A single value.
    One,
    /// Several: the flag may be repeated, a variable is split at commas, the file has a list.
    List,
    /// Like `List`, of `KEY=VALUE`; the file may have a table as well.
    Pairs,
    /// A command line: one text that is split as a shell would, or a list in the file.
    Words,
}

/// Which values are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Whole numbers in a range, bounds included.
    Whole(u64, u64),
    /// Durations in a range, bounds included.
    Duration(Duration, Duration),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// What these words say.
    Text(&'static str),
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Whole(least, most) => write!(f, "{least} to {most}"),
            Self::Duration(least, most) => write!(
                f,
                "{} to {}",
                units::duration_text(least),
                units::duration_text(most)
            ),
            Self::Choice(words) => match words {
                [most @ .., last] if !most.is_empty() => {
                    write!(f, "{} or {last}", most.join(", "))
                }
                words => f.write_str(&words.join(", ")),
            },
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The runtimes by name, before anything is known about their settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// Child processes.
    Process,
    /// Containers.
    Docker,
    /// Servers that somebody else runs.
    Static,
}

impl RuntimeKind {
    /// Every kind, in the order in which help texts list them.
    pub const ALL: [Self; 3] = [Self::Process, Self::Docker, Self::Static];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::Static => "static",
        }
    }
}

impl OptionSpec {
    /// The environment variable: `RINGMASTER_` and the key in upper case.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.to_uppercase().replace('-', "_"))
    }

    /// The default in words, if there is one.
    pub fn fallback_text(&self) -> Option<&'static str> {
        match self.fallback {
            Fallback::Value(text) | Fallback::Derived(text) => Some(text),
            Fallback::Nothing => None,
        }
    }

    /// Whether the option can be given several times.
    pub fn repeatable(&self) -> bool {
        matches!(self.shape, Shape::List | Shape::Pairs)
    }

    /// What it is in one line, the words to choose from and whether it is repeatable
    /// included.
    pub fn headline(&self) -> String {
        let choice = match self.allowed {
            Allowed::Choice(_) => format!(": {}", self.allowed),
            _ => String::new(),
        };
        let repeatable = if self.repeatable() {
            "; repeatable"
        } else {
            ""
        };
        format!("{}{choice}{repeatable}", self.help)
    }
}

/// What the environment variables begin with.
pub const PREFIX: &str = "RINGMASTER_";
