//! `ringmaster analyze`: its flags, and what they come down to.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Command, FromArgMatches as _};

use super::admin_access::{self, TokenFlags};
use super::args::{ANALYZE, base_url, help};

use super::{Invocation, UsageError};
use crate::analysis::{BalancerOptions, Experiment, KillCommand, Options, RunningBalancer};
use crate::config::{Rule, request_path, text_rule, whole_rule};

const AFTER_HELP: &str = "\
Examples:
  Everything, with a balancer of its own
    ringmaster analyze
  A compose stack
    ringmaster analyze --url http://127.0.0.1:5000 --admin http://127.0.0.1:5001
  A quick look at the failures alone
    ringmaster analyze --only a3 --out /tmp/analysis";

#[derive(Args)]
struct AnalyzeFlags {
    /// Measure the balancer that runs here, not one of our own
    #[arg(long, value_name = "URL", value_parser = base_url())]
    url: Option<String>,
    /// Where its admin API is; without it, it does not say when what happened, and A-4 is only
    /// computed
    #[arg(long, value_name = "URL", requires = "url", value_parser = base_url())]
    admin: Option<String>,
    #[command(flatten)]
    token: TokenFlags,
    /// How to kill a replica, {name}: 'docker kill ringmaster-{name}'; times count from its start.
    /// Without this or --pid-command, the process or container that --admin names is killed
    #[arg(long, value_name = "COMMAND", requires = "url", value_parser = words(KillCommand::Kills))]
    kill_command: Option<KillCommand>,
    /// Or what prints a replica's process id, which then gets SIGKILL: more exact
    #[arg(
        long, value_name = "COMMAND", requires = "url", conflicts_with = "kill_command",
        value_parser = words(KillCommand::PrintsPid)
    )]
    pid_command: Option<KillCommand>,
    /// Its process on this machine, for its memory
    #[arg(
        long, value_name = "PID", requires = "url",
        value_parser = whole_rule::<u32>(1, u32::MAX.into())
    )]
    pid: Option<u32>,
    /// Requests in each measurement of
    #[arg(
        long, value_name = "N", default_value = "10000",
        value_parser = whole_rule::<usize>(1, 10_000_000)
    )]
    requests: usize,
    /// How many of them at once
    #[arg(
        long, value_name = "N", default_value = "64",
        value_parser = whole_rule::<usize>(1, 1_000)
    )]
    concurrency: usize,
    /// What ask for: the demo server's greeting
    #[arg(long, value_name = "PATH", default_value = "/home", value_parser = request_path)]
    path: String,
    /// Requests to hold open at once
    #[arg(
        long, value_name = "N", default_value = "10000",
        value_parser = whole_rule::<usize>(1, 28_000)
    )]
    scale: usize,
    /// Of a1,a2,a3,a4,scale only these
    #[arg(
        long, value_name = "LIST", value_delimiter = ',',
        value_parser = |text: &str| text.parse::<Experiment>()
    )]
    only: Vec<Experiment>,
    /// Where the random request ids begin
    #[arg(
        long, value_name = "N", default_value = "1",
        value_parser = whole_rule::<u64>(0, u64::MAX)
    )]
    seed: u64,
    /// The folder for the results
    #[arg(long, value_name = "DIR", default_value = "analysis")]
    out: PathBuf,
}

fn words(kind: fn(Vec<String>) -> KillCommand) -> Rule<KillCommand> {
    text_rule("a command and its arguments", move |text| {
        let words = shlex::split(text).filter(|words| !words.is_empty());
        words
            .map(kind)
            .ok_or_else(|| "is no command: is a quote missing?".to_owned())
    })
}

/// The subcommand.
pub(super) fn command() -> Command {
    AnalyzeFlags::augment_args(Command::new(ANALYZE))
        .long_about(
            "Measure a balancer with real requests: how even it is (A-1, A-2, A-4), how fast it \
             heals (A-3), how many requests it holds at once.\n\n\
             Starts a balancer of its own with demo replicas as child processes, or takes one \
             that runs, whose replicas must be the demo server. Writes report.md, results.json \
             and charts. A running balancer gets more and fewer replicas and other strategies, \
             and is put back at the end, after an error or Ctrl-C too.",
        )
        .arg(help())
        .after_long_help(AFTER_HELP)
}

/// What the flags come down to.
pub(super) fn invocation(
    matches: &clap::ArgMatches,
    env: &[(OsString, OsString)],
) -> Result<Invocation, UsageError> {
    let flags = AnalyzeFlags::from_arg_matches(matches)?;
    let admin = flags.admin;
    let admin = admin.map(|url| admin_access::of_default_fleet(url, &flags.token, env));
    let admin = admin.transpose()?;
    let target = flags.url.map_or(BalancerOptions::Child, |url| {
        BalancerOptions::Running(RunningBalancer {
            url,
            admin,
            kill: flags.pid_command.or(flags.kill_command),
            pid: flags.pid,
        })
    });
    Ok(Invocation::Analyze(Box::new(Options {
        target,
        requests: flags.requests,
        concurrency: flags.concurrency,
        path: flags.path,
        scale: flags.scale,
        experiments: match flags.only.is_empty() {
            true => Experiment::ALL.into(),
            false => flags.only.into_iter().collect(),
        },
        seed: flags.seed,
        out: flags.out,
    })))
}
