//! An option as its users see it: its names, its help, where it may be given.

use std::ffi::{OsStr, OsString};
use std::sync::LazyLock;

use clap::builder::{StyledStr, ValueParser};
use clap::{Arg, ArgAction, Args as _, Command};

use super::options::{CONTAINER_SECTION, Options, RuntimeKind};
use super::rule;

/// The option that names the file, which cannot be given in the file.
pub const CONFIG: &str = "config";

/// What the environment variables begin with.
pub const PREFIX: &str = "RINGMASTER_";

/// Every option, in the order in which help lists them.
pub static OPTIONS: LazyLock<Vec<OptionSpec>> = LazyLock::new(|| {
    let options = command();
    let args = options.get_arguments().cloned();
    args.map(OptionSpec::new).collect()
});

/// The option with this key.
pub fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.key() == key)
}

/// What reads [`Options`].
pub(super) fn command() -> Command {
    let command = Command::new("options").no_binary_name(true);
    Options::augment_args(command.disable_help_flag(true))
}

/// One option: a flag, an environment variable and a key of the TOML file.
#[derive(Debug)]
pub struct OptionSpec {
    /// As clap reads it into [`Options`].
    pub(super) arg: Arg,
    /// What it is in one line, with the words to choose from and whether it is repeatable.
    pub(super) headline: String,
    /// What its default is derived from, if it is not a constant.
    pub(super) derived_default: Option<String>,
    /// The rest of its help.
    more: String,
}

impl OptionSpec {
    /// The option that clap has made of a field. ` [default: ` in its help begins what the default
    /// is derived from.
    fn new(arg: Arg) -> Self {
        let text = |help: Option<&StyledStr>| help.map(ToString::to_string).unwrap_or_default();
        let (help, long_help) = (text(arg.get_help()), text(arg.get_long_help()));
        let (headline, derived_default) = match help.split_once(" [default: ") {
            Some((headline, default)) => (headline, Some(default.replace(']', ""))),
            None => (&*help, None),
        };
        let mut option = Self {
            headline: headline.to_owned(),
            derived_default,
            more: long_help.replacen(&help, "", 1).trim().to_owned(),
            arg,
        };
        if option.arg.get_possible_values().len() > 1 {
            option.headline.push_str(&format!(": {}", option.allowed()));
        }
        if option.is_list() {
            option.headline.push_str("; repeatable");
        }
        option
    }

    /// The flag without its dashes, which is also the key in the file.
    pub fn key(&self) -> &str {
        self.arg.get_long().unwrap_or_default()
    }

    /// The environment variable: `RINGMASTER_` and the key in upper case.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key().to_uppercase().replace('-', "_"))
    }

    /// The flag of the command line.
    pub(crate) fn flag(&self) -> Arg {
        let default = self.default_text();
        let default = default.map_or(String::new(), |text| format!(" [default: {text}]"));
        let arg = self.arg.clone();
        arg.help(format!("{}{default}", self.headline))
            .long_help(self.long_help())
            .default_value(None)
            // The value stays a text, to be read with those of the other places.
            .value_parser(ValueParser::os_string())
            // So that -1 is told what is allowed, not taken for a flag.
            .allow_negative_numbers(true)
            // A command may well begin with a dash, and only it.
            .allow_hyphen_values(self.is_command())
    }

    /// Its value as clap reads it into [`Options`].
    pub(super) fn as_arg(&self, value: &OsStr) -> OsString {
        let mut arg = OsString::from(format!("--{}=", self.key()));
        arg.push(value);
        arg
    }

    /// The heading it stands under.
    pub(super) fn section(&self) -> &str {
        self.arg.get_help_heading().unwrap_or_default()
    }

    /// Which values are good, in words.
    pub(super) fn allowed(&self) -> String {
        rule::allowed(&self.arg.get_possible_values())
    }

    /// The range of good values in brackets, if there is one to be told besides the help.
    pub(super) fn range(&self, brackets: [&str; 2]) -> String {
        match self.arg.get_possible_values().as_slice() {
            [range] if !range.is_hide_set() => brackets.join(range.get_name()),
            _ => String::new(),
        }
    }

    /// Whether the flag may be repeated; a variable is then split at commas, and the file may
    /// have a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// Splits a text that stands for a list: at commas, or, where values have commas in them, at
    /// the ends of lines.
    pub(super) fn split(&self, text: &str) -> Vec<OsString> {
        let has_commas = matches!(
            self.key(),
            "volume" | "mount" | "tmpfs" | "label" | "network" | "log-opt" | "security-opt"
        );
        let items = text.split(if has_commas { '\n' } else { ',' });
        let items = items.map(str::trim).filter(|item| !item.is_empty());
        items.map(OsString::from).collect()
    }

    /// Whether it is a list of `KEY=VALUE`; the file may have a table.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.key(), "env" | "label" | "log-opt")
    }

    /// Whether the values of its `KEY=VALUE` are often secrets.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.key(), "env" | "log-opt")
    }

    /// Whether it is a command line; the file may have a list of its words.
    pub(super) fn is_command(&self) -> bool {
        matches!(self.key(), "command" | "entrypoint")
    }

    /// Whether it stands in the file's table `[fleet.container]`, not by itself.
    pub fn is_of_container(&self) -> bool {
        self.section() == CONTAINER_SECTION
    }

    /// The runtimes that use it.
    pub(super) fn runtimes(&self) -> &'static [RuntimeKind] {
        use RuntimeKind::{Docker, Process, Static, Swarm};
        match self.key() {
            _ if self.section() == "Scaling" => &[Process, Docker, Swarm],
            "replicas" | "command" | "replica-port" | "env" | "env-file" => {
                &[Process, Docker, Swarm]
            }
            "state" => &[Process],
            "upstream" => &[Static],
            "like" | "service" => &[Docker],
            "placement-pref" => &[Swarm],
            // A Swarm's service cannot have them.
            "device" | "gpus" | "security-opt" | "shm-size" => &[Docker],
            "image" => &[Docker, Swarm],
            _ if self.is_of_container() || self.section() == "Docker" => &[Docker, Swarm],
            _ => &[Process, Docker, Swarm, Static],
        }
    }

    /// The default as it would be given, if it is a value.
    pub(super) fn default_value(&self) -> Option<&str> {
        self.arg.get_default_values().first()?.to_str()
    }

    /// The default in words, if there is one.
    pub(super) fn default_text(&self) -> Option<&str> {
        self.derived_default.as_deref().or(self.default_value())
    }

    /// The help in sentences, then what is allowed, the default and the variable.
    fn long_help(&self) -> String {
        /// What 80 columns leave beside the indent. A variable that does not fit gets a line of
        /// its own, or a narrow terminal would break it in two.
        const WIDTH: usize = 70;

        let text = format!("{}. {}", self.headline, self.more);
        let default = self.default_text();
        let default = default.map_or(String::new(), |text| format!("[default: {text}] "));
        let tags = self.range(["[allowed: ", "] "]) + &default;
        let variable = format!("[env: {}]", self.variable());
        match tags.len() + variable.len() > WIDTH {
            true => format!("{}\n{}\n{variable}", text.trim_end(), tags.trim_end()),
            false => format!("{}\n{tags}{variable}", text.trim_end()),
        }
    }
}
