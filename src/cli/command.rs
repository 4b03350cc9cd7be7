//! The command line as clap sees it, and the words of its help.

use std::fmt;

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Style};
use clap::{Arg, ArgAction, Command, value_parser};

use crate::config::{self, Allowed, CONFIG, OPTIONS, OptionSpec, Shape};
use crate::runtime::process::GUARD_COMMAND;

/// Wider lines are hard to read, however wide the terminal is.
const MAX_WIDTH: usize = 100;

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(Style::new().dimmed());

/// The subcommands' names.
pub(super) const REPLICA: &str = "replica";
pub(super) const HEALTHCHECK: &str = "healthcheck";
pub(super) const CHECK: &str = "check";
pub(super) const RING: &str = "ring";

const ABOUT: &str =
    "A self-healing HTTP load balancer: N replicas of your server behind one address";

const LONG_ABOUT: &str = "\
A self-healing HTTP load balancer: N replicas of your server behind one address.

Each request goes to a replica by consistent hashing, and a replica that dies is replaced under its \
own name. Give it an image, a command, the addresses of servers that run already, or nothing at \
all: then it balances three demo replicas of its own.";

const AFTER_HELP: &str = "\
Without a subcommand ringmaster balances. --help says more about each option, and gives examples.";

const AFTER_LONG_HELP: &str = "\
Each option is also an environment variable (--heartbeat-path: RINGMASTER_HEARTBEAT_PATH) and, \
without its dashes, a key of the --config file. Flags win over variables, variables over the \
file. A list (--upstream, --env) is separated by commas in a variable, and comes whole from one \
place; RINGMASTER_ENV__NAME is one entry of --env, commas included. An empty variable counts as not \
set.

Examples:
  Three demo replicas, to look around: curl localhost:5000/home
    ringmaster
  Your program, as five child processes
    ringmaster --command 'python3 app.py --port {port}' --replicas 5
  Your image, as containers; one user's requests stay on one replica
    ringmaster --image shop:1.4 --replica-port 8080 --key header:X-User-Id
  Servers that run already
    ringmaster --upstream 127.0.0.1:9001 --upstream blue=127.0.0.1:9002
  Another replica while it runs, and one less
    curl localhost:5000/add -H content-type:application/json -d '{\"n\":1}'
    curl -X DELETE localhost:5000/rm \\
         -H content-type:application/json -d '{\"n\":1}'

Environment:
  RINGMASTER_LOG  Log level: error, warn, info (default), debug; or as RUST_LOG
  NO_COLOR        Set to anything: no colours

Exit codes:
  0  Stopped as asked    1  Failed    2  Wrong use";

/// The whole command line.
pub(super) fn command() -> Command {
    Command::new("ringmaster")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .override_usage("ringmaster [OPTIONS]\n       ringmaster <COMMAND>")
        .after_help(AFTER_HELP)
        .after_long_help(AFTER_LONG_HELP)
        .styles(STYLES)
        .max_term_width(MAX_WIDTH)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        // Ours stand at the end, after what a reader came for.
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(options())
        .arg(help().help_heading("Help"))
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .help_heading("Help")
                .help("Print the version")
                .action(ArgAction::Version),
        )
        .subcommand(check())
        .subcommand(super::ring::command())
        .subcommand(replica())
        .subcommand(healthcheck())
        .subcommand(
            // Not for people: see `runtime::process::guardian`.
            Command::new(GUARD_COMMAND)
                .hide(true)
                .disable_help_flag(true),
        )
        .subcommand(super::analyze::command())
        .subcommand(super::drill::command())
}

/// `--name VALUE`.
pub(super) fn flag(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// Reads a whole number from `least` to `most`.
pub(super) fn number<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: Copy + PartialOrd + TryFrom<u64> + fmt::Display,
{
    move |text| {
        let number = config::whole(text).map(T::try_from);
        match number {
            Err(wrong) => Err(format!("{wrong}; allowed is {least} to {most}")),
            Ok(Ok(number)) if number < least => {
                Err(format!("too small; allowed is {least} to {most}"))
            }
            Ok(Ok(number)) if number <= most => Ok(number),
            Ok(_) => Err(format!("too large; allowed is {least} to {most}")),
        }
    }
}

pub(super) fn help() -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .help("Print this; --help says more than -h")
        .action(ArgAction::Help)
}

fn check() -> Command {
    Command::new(CHECK)
        .about("Check the configuration and show what holds, and who said so")
        .long_about(
            "Check the configuration and show what holds, and who said so.\n\n\
             Takes the same options, variables and file as ringmaster itself. Prints the settings \
             in the form of a configuration file, or every mistake. Exits with 0 or 2.",
        )
        .override_usage("ringmaster check [OPTIONS]")
        .after_help("The options are those of ringmaster itself; see 'ringmaster --help'.")
        // Listed by the help of ringmaster itself.
        .args(options().map(|arg| arg.hide(true)))
        .arg(help())
}

fn replica() -> Command {
    Command::new(REPLICA)
        .about("Run one demo replica by itself")
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR")
                .help("Where to listen [default: 127.0.0.1 and PORT, else 5001]"),
        )
        .arg(
            Arg::new("id")
                .long("id")
                .value_name("NAME")
                .help("What it calls itself [default: SERVER_ID, else 1]"),
        )
        .arg(help().help("Print this"))
}

fn healthcheck() -> Command {
    Command::new(HEALTHCHECK)
        .about("Ask a running balancer how it is, and exit with 0 (well) or 1")
        .arg(Arg::new("url").long("url").value_name("URL").help(
            "What to ask [default: /rep where RINGMASTER_LISTEN says, else \
                     http://127.0.0.1:5000/rep]",
        ))
        .arg(help().help("Print this"))
}

/// The flags of the table.
pub(super) fn options() -> impl Iterator<Item = Arg> {
    OPTIONS.iter().map(|option| {
        let arg = Arg::new(option.key)
            .long(option.key)
            .value_name(option.value_name)
            .help_heading(option.section)
            .help(short_help(option))
            .long_help(long_help(option))
            // So that -1 is told what is allowed, not taken for a flag.
            .allow_negative_numbers(true)
            // A command may well begin with a dash, and only it.
            .allow_hyphen_values(option.shape == Shape::Words)
            .action(if option.repeatable() {
                ArgAction::Append
            } else {
                ArgAction::Set
            });
        if option.key == CONFIG {
            arg.value_parser(value_parser!(std::path::PathBuf))
        } else {
            arg
        }
    })
}

/// `How many replicas to keep alive [default: 3]`.
fn short_help(option: &OptionSpec) -> String {
    match option.fallback_text() {
        Some(fallback) => format!("{} [default: {fallback}]", option.headline()),
        None => option.headline(),
    }
}

/// The same in sentences, then what is allowed, the default and the variable.
fn long_help(option: &OptionSpec) -> String {
    /// What 80 columns leave beside the indent. A variable that does not fit gets a line of
    /// its own, or a narrow terminal would break it in two.
    const WIDTH: usize = 70;

    let mut tags = match option.allowed {
        Allowed::Whole(..) | Allowed::Duration(..) => format!("[allowed: {}] ", option.allowed),
        // In the sentences already.
        Allowed::Choice(_) | Allowed::Text(_) => String::new(),
    };
    if let Some(fallback) = option.fallback_text() {
        tags.push_str(&format!("[default: {fallback}] "));
    }
    let mut text = format!("{}. {}", option.headline(), option.more);
    text.truncate(text.trim_end().len());
    let variable = format!("[env: {}]", option.variable());
    if tags.len() + variable.len() > WIDTH {
        tags.pop();
        tags.push('\n');
    }
    format!("{text}\n{tags}{variable}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options_markdown;

    #[test]
    fn clap_agrees_with_the_table() {
        command().debug_assert();
    }

    /// Compares a text with a file in `tests/golden`. `UPDATE_GOLDEN=1 cargo test` writes
    /// the files anew; what changed is then to be seen in review.
    fn golden(name: &str, text: &str) {
        let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR")))
                .unwrap();
            std::fs::write(&path, text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, expected, "{path}: see `fn golden`");
    }

    fn help(width: usize, args: &[&str]) -> String {
        let error = command()
            .term_width(width)
            .try_get_matches_from([&["ringmaster"], args].concat())
            .unwrap_err();
        error.render().to_string()
    }

    #[test]
    fn help_reads_as_it_did() {
        golden("help.txt", &help(100, &["--help"]));
        golden("help-short.txt", &help(100, &["-h"]));
        golden("help-check.txt", &help(100, &["check", "-h"]));
        golden("help-replica.txt", &help(100, &["replica", "--help"]));
        golden(
            "help-healthcheck.txt",
            &help(100, &["healthcheck", "--help"]),
        );
        golden("help-analyze.txt", &help(100, &["analyze", "--help"]));
        golden("help-drill.txt", &help(100, &["drill", "--help"]));
        golden("options.md", &options_markdown());
    }

    #[test]
    fn no_line_of_the_help_is_too_wide() {
        for width in [80, 100] {
            for args in [
                &["-h"][..],
                &["--help"],
                &["check", "--help"],
                &["analyze", "--help"],
                &["drill", "--help"],
            ] {
                for line in help(width, args).lines() {
                    assert!(line.chars().count() <= width, "{width}: {line}");
                }
            }
        }
    }
}
