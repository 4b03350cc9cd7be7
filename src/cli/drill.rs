//! `ringmaster ctl drill`, and `ringmaster drill`, its older name: flags, and what they come down
//! to.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgGroup, Args, Command};

use super::admin_access::{self, TokenFlags};
use super::args::{base_url, help};
use super::{Invocation, UsageError};
use crate::config::{duration_rule, request_path, whole_rule};
use crate::drill::{DrillTarget, Fault, Options};
use crate::experiments::AdminAccess;

/// The subcommand's name.
pub(super) const NAME: &str = "drill";

/// Every replica, one after the other.
const ALL: &str = "all";

const LONG_ABOUT: &str = "\
Harm replicas of a running balancer under a light load of GET requests, and see how it heals: when \
the replica was off the ring and back (counted from the harm), how long none of its answers came, \
what failed, and which keys of the others moved.

Replicas must be child processes of the balancer on this machine, or containers of the engine of \
DOCKER_HOST (else of the usual socket). --kill, --pause or --delay says what is done: to one \
replica, or with \"all\" to each in turn, when the one before is back. --node drains a node of a \
Swarm, from wherever this runs: its tasks of every service are moved, and it takes tasks again when \
the fleet's replicas are ready elsewhere, or after a minute.";

const AFTER_HELP: &str = "\
Exit codes:
  0  Every replica is back, no request failed    1  Not so    2  Wrong use

Examples:
  Kill every replica once, one after the other
    ringmaster ctl drill --kill all
  Hang one for longer than a heartbeat, shorter than --hang-timeout
    ringmaster ctl drill --pause Server2 --for 4s
  Drain a node of a Swarm
    ringmaster ctl drill --node node3";

/// The fault, and the load meanwhile.
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
    /// Drain a node of the Swarm, until what ran there is ready elsewhere
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
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
}

/// What `ringmaster ctl` has for all its subcommands.
#[derive(Args)]
pub(super) struct AliasFlags {
    #[command(flatten)]
    drill: DrillFlags,
    /// Where its admin API is
    #[arg(
        long, value_name = "URL", default_value = "http://127.0.0.1:5001",
        value_parser = base_url()
    )]
    admin: String,
    #[command(flatten)]
    token: TokenFlags,
    /// Print JSON, not a table
    #[arg(long)]
    json: bool,
}

/// The older name.
pub(super) fn alias() -> Command {
    described(AliasFlags::augment_args(Command::new(NAME)))
        .about("The same as ctl drill, its older name")
        .override_usage("ringmaster drill --kill|--pause|--delay <NAME|all> [OPTIONS]\n       ringmaster drill --node <NODE> [OPTIONS]")
        .arg(help())
}

/// What both names have in common.
pub(super) fn described(command: Command) -> Command {
    let faults = ArgGroup::new("fault").args(["kill", "pause", "delay", "node"]);
    command
        .about("Harm replicas under load, and see how the balancer heals")
        .long_about(LONG_ABOUT)
        .group(faults.required(true))
        .after_long_help(AFTER_HELP)
}

/// What the older name's flags come down to.
pub(super) fn alias_invocation(
    flags: AliasFlags,
    env: &[(OsString, OsString)],
) -> Result<Invocation, UsageError> {
    let admin = admin_access::of_default_fleet(flags.admin, &flags.token, env)?;
    Ok(invocation(flags.drill, admin, flags.json))
}

/// What the flags come down to.
pub(super) fn invocation(flags: DrillFlags, admin: AdminAccess, json: bool) -> Invocation {
    let of = |fault, name: String| DrillTarget::Replica(fault, (name != ALL).then_some(name));
    // clap has seen to it that one of the four is given.
    let target = match (flags.node, flags.kill, flags.pause, flags.delay) {
        (Some(node), ..) => DrillTarget::Node(node),
        (None, None, Some(name), _) => of(Fault::Pause(flags.time), name),
        (None, None, None, Some(name)) => of(Fault::Delay(flags.time), name),
        (None, name, ..) => of(Fault::Kill, name.unwrap_or_default()),
    };
    Invocation::Drill(Box::new(Options {
        url: flags.url,
        admin,
        target,
        path: flags.path,
        rate: flags.rate,
        json,
    }))
}
