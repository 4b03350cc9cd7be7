//! `ringmaster drill`: its flags, and what they come down to.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};

use super::command::{flag, number};
use super::{Invocation, UsageError, check_url};
use crate::drill::{Fault, Options};

/// The subcommand's name.
pub(super) const NAME: &str = "drill";

/// Every replica, one after the other.
const ALL: &str = "all";

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

const AFTER_HELP: &str = "\
Exit codes:
  0  Everybody is back, no request failed    1  Not so    2  Wrong use

Examples:
  Kill every replica once, one after the other
    ringmaster drill --kill all
  Hang one for longer than a heartbeat, shorter than --hang-timeout
    ringmaster drill --pause Server2 --for 4s";

/// The flags.
pub(super) fn command() -> Command {
    Command::new(NAME)
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
        .args([
            flag("kill", "NAME", "End it: SIGKILL, or the engine's kill"),
            flag("pause", "NAME", "Hang it: SIGSTOP, then SIGCONT; the engine's pause, then unpause"),
            flag(
                "delay",
                "NAME",
                "Slow it down: stop it and let it go on in turn, 50 ms each",
            ),
            flag(
                "for",
                "TIME",
                "How long --pause and --delay last: 100ms to 1m",
            )
            .default_value("4s")
            .value_parser(duration),
            flag("rate", "N", "Requests a second, 1 to 5000")
                .default_value("200")
                .value_parser(number(1_u32, 5_000)),
            flag(
                "path",
                "PATH",
                "What the load asks for; an answer of 400 or more counts as failed",
            )
            .default_value("/home")
            .value_parser(crate::config::request_path),
            flag("url", "URL", "Where the balancer listens").default_value("http://127.0.0.1:5000"),
            flag("admin-url", "URL", "Its --admin address").default_value("http://127.0.0.1:5001"),
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print JSON, not a table"),
        ])
        .group(
            ArgGroup::new("fault")
                .args(["kill", "pause", "delay"])
                .required(true),
        )
        .arg(super::command::help().help("Print this; --help says more than -h"))
        .after_long_help(AFTER_HELP)
}

fn duration(text: &str) -> Result<Duration, String> {
    let time = crate::config::duration(text)?;
    if (SHORTEST..=LONGEST).contains(&time) {
        Ok(time)
    } else {
        Err("100ms to 1m are allowed".to_owned())
    }
}

/// What the flags come down to.
pub(super) fn invocation(matches: &ArgMatches) -> Result<Invocation, UsageError> {
    let time = matches.get_one("for").copied().unwrap_or_default();
    let faults = [
        ("kill", Fault::Kill),
        ("pause", Fault::Pause(time)),
        ("delay", Fault::Delay(time)),
    ];
    let asked = faults
        .into_iter()
        .find_map(|(flag, fault)| Some((fault, matches.get_one::<String>(flag)?)));
    let Some((fault, name)) = asked else {
        // clap has seen to it.
        return Err("one of --kill, --pause and --delay is needed"
            .to_owned()
            .into());
    };
    let mut mistakes = Vec::new();
    let mut url = |flag: &str| {
        let url = matches.get_one::<String>(flag).cloned().unwrap_or_default();
        if let Err(wrong) = check_url(&url) {
            mistakes.push(format!(
                "{flag} = {url:?} (from --{flag}): {wrong}; allowed is http://HOST:PORT"
            ));
        }
        url.trim_end_matches('/').to_owned()
    };
    let options = Options {
        url: url("url"),
        admin_url: url("admin-url"),
        fault,
        replica: (name != ALL).then(|| name.clone()),
        path: matches
            .get_one::<String>("path")
            .cloned()
            .unwrap_or_default(),
        rate: matches.get_one("rate").copied().unwrap_or_default(),
        json: matches.get_flag("json"),
    };
    if mistakes.is_empty() {
        Ok(Invocation::Drill(Box::new(options)))
    } else {
        Err(mistakes.into())
    }
}
