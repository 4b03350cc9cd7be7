//! An option as its users see it: its names, its help, where it may be given.

use std::ffi::OsString;
use std::sync::LazyLock;

use clap::builder::{StyledStr, ValueParser};
use clap::{Arg, ArgAction, Args, Command};

use super::options::{Options, RuntimeKind};
use super::rule;

/// The option that names the file, which cannot be given in the file.
pub const CONFIG: &str = "config";

/// What the environment variables begin with.
pub const PREFIX: &str = "RINGMASTER_";

/// Every option, in the order in which help lists them.
pub static OPTIONS: LazyLock<Vec<OptionSpec>> = LazyLock::new(|| {
    command()
        .get_arguments()
        .cloned()
        .map(OptionSpec::new)
        .collect()
});

/// The option with this key.
pub fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.key() == key)
}

/// All options as clap knows them from [`Options`].
pub(super) fn command() -> Command {
    Options::augment_args(
        Command::new("options")
            .no_binary_name(true)
            .disable_help_flag(true),
    )
}

/// One option: a flag, an environment variable and a key of the TOML file.
#[derive(Debug)]
pub struct OptionSpec {
    /// As clap reads it into [`Options`].
    arg: Arg,
    /// What it is, in one line.
    headline: String,
    /// What its default is derived from, if it is not a constant.
    derived_default: Option<String>,
    /// The flag of the command line.
    flag: Arg,
}

impl OptionSpec {
    /// The option that clap has made of a field. ` [default: ` in its help begins what the default
    /// is derived from.
    fn new(arg: Arg) -> Self {
        let text = |help: Option<&StyledStr>| help.map(ToString::to_string).unwrap_or_default();
        let (help, long_help) = (text(arg.get_help()), text(arg.get_long_help()));
        let more = long_help
            .strip_prefix(&help)
            .unwrap_or_default()
            .trim_start();
        let derived_default = help.split_once(" [default: ");
        let mut option = Self {
            headline: derived_default.map_or(&*help, |(help, _)| help).to_owned(),
            derived_default: derived_default.map(|(_, default)| default.replace(']', "")),
            flag: arg.clone(),
            arg,
        };
        if option.arg.get_possible_values().len() > 1 {
            option.headline.push_str(&format!(": {}", option.allowed()));
        }
        if option.is_list() {
            option.headline.push_str("; repeatable");
        }
        let default = option
            .default_text()
            .map(|text| format!(" [default: {text}]"));
        let short_help = format!("{}{}", option.headline, default.unwrap_or_default());
        let arg = option
            .arg
            .clone()
            .help(short_help)
            .long_help(option.long_help(more));
        option.flag = arg
            .default_value(None)
            // The value stays a text, to be read with those of the other places.
            .value_parser(ValueParser::os_string())
            // So that -1 is told what is allowed, not taken for a flag.
            .allow_negative_numbers(true)
            // A command may well begin with a dash, and only it.
            .allow_hyphen_values(option.is_command());
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

    /// The name by which clap knows it.
    pub(super) fn id(&self) -> &str {
        self.arg.get_id().as_str()
    }

    /// The flag of the command line.
    pub(crate) fn flag(&self) -> Arg {
        self.flag.clone()
    }

    /// What stands for the value in help texts.
    pub(super) fn value_name(&self) -> &str {
        self.arg.get_value_names().map_or("", |names| &names[0])
    }

    /// The heading it stands under.
    pub(super) fn section(&self) -> &str {
        self.arg.get_help_heading().unwrap_or_default()
    }

    /// What it is in one line, with the words to choose from and whether it is repeatable.
    pub(super) fn headline(&self) -> &str {
        &self.headline
    }

    /// Which values are good, in words.
    pub fn allowed(&self) -> String {
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
    pub fn is_list(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// Whether it is a list of `KEY=VALUE`, which are often secrets; the file may have a table.
    pub fn is_table(&self) -> bool {
        self.key() == "env"
    }

    /// Whether it is a command line; the file may have a list of its words.
    pub fn is_command(&self) -> bool {
        self.key() == "command"
    }

    /// The runtimes that use it.
    pub fn runtimes(&self) -> &'static [RuntimeKind] {
        use RuntimeKind::{Docker, Process, Static};
        match self.key() {
            "replicas" | "command" | "replica-port" | "env" | "env-file" => &[Process, Docker],
            "state" => &[Process],
            "upstream" => &[Static],
            "image" => &[Docker],
            _ if self.section() == "Docker" => &[Docker],
            _ => &[Process, Docker, Static],
        }
    }

    /// The default as it would be given, if it is a value.
    pub(super) fn default_value(&self) -> Option<&str> {
        self.arg.get_default_values().first()?.to_str()
    }

    /// What the default is derived from, if it is not a constant.
    pub(super) fn derived_default(&self) -> Option<&str> {
        self.derived_default.as_deref()
    }

    /// The default in words, if there is one.
    pub(super) fn default_text(&self) -> Option<&str> {
        self.derived_default().or_else(|| self.default_value())
    }

    /// The help in sentences, then what is allowed, the default and the variable.
    fn long_help(&self, more: &str) -> String {
        /// What 80 columns leave beside the indent. A variable that does not fit gets a line of
        /// its own, or a narrow terminal would break it in two.
        const WIDTH: usize = 70;

        let text = format!("{}. {more}", self.headline);
        let mut tags = self.range(["[allowed: ", "] "]);
        if let Some(default) = self.default_text() {
            tags.push_str(&format!("[default: {default}] "));
        }
        let variable = format!("[env: {}]", self.variable());
        if tags.len() + variable.len() > WIDTH {
            tags.truncate(tags.trim_end().len());
            tags.push('\n');
        }
        format!("{}\n{tags}{variable}", text.trim_end())
    }

    /// The option's values as clap reads them into [`Options`].
    pub(super) fn as_args<'v>(
        &self,
        values: impl IntoIterator<Item = &'v OsString>,
    ) -> Vec<OsString> {
        let arg = |value: &OsString| {
            let mut arg = OsString::from(format!("--{}=", self.key()));
            arg.push(value);
            arg
        };
        values.into_iter().map(arg).collect()
    }
}
