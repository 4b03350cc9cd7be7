//! The command line as clap sees it, and the words of its help.

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Style};
use clap::{Arg, ArgAction, Args, Command};

use super::args::help;
use super::{HealthcheckFlags, ReplicaFlags, analyze, ctl, drill, ring};
use crate::config::{OPTIONS, OptionSpec};
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
  How it is; another replica, and one less
    ringmaster ctl status
    ringmaster ctl add S4
    ringmaster ctl rm S4

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
        // Ours are said in words.
        .hide_possible_values(true)
        .max_term_width(MAX_WIDTH)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        // Ours stand at the end, after what a reader came for.
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(OPTIONS.iter().map(OptionSpec::flag))
        .arg(help().help_heading("Help"))
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .help_heading("Help")
                .help("Print the version")
                .action(ArgAction::Version),
        )
        .subcommand(ctl::command())
        .subcommand(check())
        .subcommand(ring::command())
        .subcommand(subcommand::<ReplicaFlags>(REPLICA))
        .subcommand(subcommand::<HealthcheckFlags>(HEALTHCHECK))
        .subcommand(
            // Not for people: see `runtime::process::guardian`.
            Command::new(GUARD_COMMAND)
                .hide(true)
                .disable_help_flag(true),
        )
        .subcommand(
            analyze::command()
                .about("Measure a balancer: how even, how fast it heals, how much it holds"),
        )
        .subcommand(drill::alias())
}

fn check() -> Command {
    Command::new(CHECK)
        .about("Check the configuration and print it, with where each value comes from")
        .long_about(
            "Check the configuration and print it, with where each value comes from.\n\n\
             Takes the same options, variables and file as ringmaster itself. Prints the settings \
             in the form of a configuration file, or every mistake. Exits with 0 or 2.",
        )
        .override_usage("ringmaster check [OPTIONS]")
        .after_help("The options are those of ringmaster itself; see 'ringmaster --help'.")
        // Listed by the help of ringmaster itself.
        .args(OPTIONS.iter().map(|option| option.flag().hide(true)))
        .arg(help())
}

/// A subcommand whose flags are `F`, whose comment is what it is about.
fn subcommand<F: Args>(name: &'static str) -> Command {
    F::augment_args(Command::new(name)).arg(help().help("Print this"))
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

    fn help_of_those_below(command: &Command, path: &[&str], each: &mut Vec<String>) {
        for below in command.get_subcommands() {
            let path = [path, &[below.get_name()]].concat();
            each.push(help(100, &[&path[..], &["-h"]].concat()));
            help_of_those_below(below, &path, each);
        }
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
        golden("help-ctl.txt", &help(100, &["ctl", "--help"]));
        let mut each = Vec::new();
        let all = command();
        help_of_those_below(all.find_subcommand("ctl").unwrap(), &["ctl"], &mut each);
        golden("help-ctl-commands.txt", &each.join("\n"));
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
                &["ctl", "--help"],
                &["ctl", "ring", "--help"],
            ] {
                for line in help(width, args).lines() {
                    assert!(line.chars().count() <= width, "{width}: {line}");
                }
            }
        }
    }
}
