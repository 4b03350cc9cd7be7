//! `ringmaster analyze`: its flags, and what they come down to.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{ArgMatches, Command, value_parser};

use super::command::{flag, number};
use super::{Invocation, UsageError, check_url};
use crate::analysis::{Experiment, KillCommand, Options, RunningTarget, TargetOptions};

/// The subcommand's name.
pub(super) const NAME: &str = "analyze";

const AFTER_HELP: &str = "\
Examples:
  Everything, with a balancer of its own
    ringmaster analyze
  A compose stack
    ringmaster analyze --url http://127.0.0.1:5000 --admin-url http://127.0.0.1:5001
  A quick look at the failures alone
    ringmaster analyze --only a3 --out /tmp/analysis";

/// The flags.
pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Measure a balancer: how even, how fast it heals, how much it holds")
        .long_about(
            "Measure a balancer with real requests: how even it is (A-1, A-2, A-4), how fast it \
             heals (A-3), how many requests it holds at once.\n\n\
             Starts a balancer of its own with demo replicas as child processes, or takes one \
             that runs, whose replicas must be the demo server. Writes report.md, results.json \
             and charts. A running balancer gets more and fewer replicas and other strategies, \
             and is put back at the end, after an error or Ctrl-C too.",
        )
        .args([
            flag(
                "url",
                "URL",
                "Measure the balancer that runs here, not one of our own",
            ),
            flag(
                "admin-url",
                "URL",
                "Its --admin address; without it, it does not say when what happened, and A-4 is \
                 only computed",
            )
            .requires("url"),
            flag(
                "kill-command",
                "COMMAND",
                "How to kill a replica, {name}: 'docker kill ringmaster-{name}'; times count from \
                 its start. Without this or --pid-command, \
                 the process or container that --admin-url tells is killed",
            )
            .requires("url"),
            flag(
                "pid-command",
                "COMMAND",
                "Or what prints a replica's process id, which then gets SIGKILL: more exact",
            )
            .requires("url")
            .conflicts_with("kill-command"),
            flag("pid", "PID", "Its process on this machine, for its memory")
                .requires("url")
                .value_parser(number(1, u32::MAX)),
            flag(
                "requests",
                "N",
                "Requests in each measurement of A-1, A-2 and A-4",
            )
            .default_value("10000")
            .value_parser(number(1_u32, 10_000_000)),
            flag("concurrency", "N", "So many of them at once")
                .default_value("64")
                .value_parser(number(1_u32, 1_000)),
            flag(
                "path",
                "PATH",
                "What A-1 to A-4 ask for: the demo server's greeting",
            )
            .default_value("/home")
            .value_parser(crate::config::request_path),
            flag("scale", "N", "Requests to hold open at once")
                .default_value("10000")
                .value_parser(number(1_u32, 28_000)),
            flag("only", "LIST", "Of a1,a2,a3,a4,scale only these")
                .value_delimiter(',')
                .value_parser(|text: &str| text.parse::<Experiment>()),
            flag("seed", "N", "Where the random request ids begin")
                .default_value("1")
                .value_parser(number(0, u64::MAX)),
            flag("out", "DIR", "The folder for the results")
                .default_value("analysis")
                .value_parser(value_parser!(PathBuf)),
        ])
        .arg(super::command::help().help("Print this; --help says more than -h"))
        .after_long_help(AFTER_HELP)
}

/// What the flags come down to.
pub(super) fn invocation(matches: &ArgMatches) -> Result<Invocation, UsageError> {
    let number = |name| matches.get_one::<u32>(name).map_or(0, |&n| n as usize);
    let only: BTreeSet<Experiment> = matches
        .get_many::<Experiment>("only")
        .map_or_else(|| Experiment::ALL.into(), |only| only.copied().collect());
    let options = Options {
        target: target(matches)?,
        requests: number("requests"),
        concurrency: number("concurrency"),
        path: matches
            .get_one::<String>("path")
            .cloned()
            .unwrap_or_default(),
        scale: number("scale"),
        experiments: only,
        seed: matches.get_one("seed").copied().unwrap_or_default(),
        out: matches
            .get_one::<PathBuf>("out")
            .cloned()
            .unwrap_or_default(),
    };
    Ok(Invocation::Analyze(Box::new(options)))
}

fn target(matches: &ArgMatches) -> Result<TargetOptions, UsageError> {
    let mut mistakes = Vec::new();
    let mut url = |name: &str| {
        let url = matches.get_one::<String>(name)?;
        if let Err(wrong) = check_url(url) {
            let allowed = "allowed is http://HOST:PORT";
            mistakes.push(format!(
                "{name} = {url:?} (from --{name}): {wrong}; {allowed}"
            ));
        }
        Some(url.trim_end_matches('/').to_owned())
    };
    let (base, admin_url) = (url("url"), url("admin-url"));
    let mut words = |name: &str| {
        let text = matches.get_one::<String>(name)?;
        match shlex::split(text) {
            Some(words) if !words.is_empty() => Some(words),
            _ => {
                let wrong = "is no command: is a quote missing?";
                mistakes.push(format!("{name} = {text:?} (from --{name}): {wrong}"));
                None
            }
        }
    };
    let kills = words("kill-command").map(KillCommand::Kills);
    let kill = words("pid-command").map(KillCommand::PrintsPid).or(kills);
    if !mistakes.is_empty() {
        return Err(mistakes.into());
    }
    Ok(base.map_or(TargetOptions::Own, |url| {
        TargetOptions::Running(RunningTarget {
            url,
            admin_url,
            kill,
            pid: matches.get_one("pid").copied(),
        })
    }))
}
