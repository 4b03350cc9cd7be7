//! `ringmaster drill`: its flags, and what they come down to.

use std::time::Duration;

use clap::{ArgGroup, Args, Command};

use super::Invocation;
use super::args::{base_url, help};
use crate::config::{duration_rule, request_path, whole_rule};
use crate::drill::{Fault, Options};

/// The subcommand's name.
pub(super) const NAME: &str = "drill";

/// Every replica, one after the other.
const ALL: &str = "all";

const AFTER_HELP: &str = "\
Exit codes:
  0  Every replica is back, no request failed    1  Not so    2  Wrong use

Examples:
  Kill every replica once, one after the other
    ringmaster drill --kill all
  Hang one for longer than a heartbeat, shorter than --hang-timeout
    ringmaster drill --pause Server2 --for 4s";

#[derive(Args)]
pub(super) struct DrillFlags {
    /// End it: SIGKILL, or the engine's kill
    #[arg(long, value_name = "NAME")]
    kill: Option<String>,
    /// Hang it: SIGSTOP, then SIGCONT; the engine's pause, then unpause
    #[arg(long, value_name = "NAME")]
    pause: Option<String>,
    /// Slow it down: stop it and let it go on in turn, 50 ms each
    #[arg(long, value_name = "NAME")]
    delay: Option<String>,
    /// How long --pause and --delay last: 100ms to 1m
    #[arg(
        long = "for", value_name = "TIME", default_value = "4s",
        value_parser = duration_rule("100ms", "1m")
    )]
    time: Duration,
    /// Requests a second, 1 to 5000
    #[arg(
        long, value_name = "N", default_value = "200",
        value_parser = whole_rule::<u32>(1, 5_000)
    )]
    rate: u32,
    /// What the load asks for; an answer of 400 or more counts as failed
    #[arg(long, value_name = "PATH", default_value = "/home", value_parser = request_path)]
    path: String,
    /// Where the balancer listens
    #[arg(
        long, value_name = "URL", default_value = "http://127.0.0.1:5000",
        value_parser = base_url()
    )]
    url: String,
    /// Its --admin address
    #[arg(
        long, value_name = "URL", default_value = "http://127.0.0.1:5001",
        value_parser = base_url()
    )]
    admin_url: String,
    /// Print JSON, not a table
    #[arg(long)]
    json: bool,
}

/// The subcommand.
pub(super) fn command() -> Command {
    DrillFlags::augment_args(Command::new(NAME))
        .about("Harm replicas of a running balancer under load, and see how it heals")
        .long_about(
            "Harm replicas of a running balancer under a light load of GET requests, and see how it \
             heals: when the replica was off the ring and back (counted from the harm), how long \
             none of its answers came, what failed, and which keys of the others moved.\n\n\
             Replicas must be child processes of the balancer on this machine, or containers of \
             the engine of DOCKER_HOST (else of the usual socket). --kill, --pause \
             or --delay says what is done: to one replica, or with \"all\" to each in turn, when the one \
             before is back.",
        )
        .override_usage("ringmaster drill --kill|--pause|--delay <NAME|all> [OPTIONS]")
        .group(ArgGroup::new("fault").args(["kill", "pause", "delay"]).required(true))
        .arg(help())
        .after_long_help(AFTER_HELP)
}

/// What the flags come down to.
pub(super) fn invocation(flags: DrillFlags) -> Invocation {
    // clap has seen to it that one of the three is given.
    let (fault, name) = match (flags.kill, flags.pause, flags.delay) {
        (None, Some(name), _) => (Fault::Pause(flags.time), name),
        (None, None, Some(name)) => (Fault::Delay(flags.time), name),
        (name, ..) => (Fault::Kill, name.unwrap_or_default()),
    };
    Invocation::Drill(Box::new(Options {
        url: flags.url,
        admin_url: flags.admin_url,
        fault,
        replica: (name != ALL).then_some(name),
        path: flags.path,
        rate: flags.rate,
        json: flags.json,
    }))
}
