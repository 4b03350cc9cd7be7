//! `ringmaster ring`: from flags to a checked question about rings.
//!
//! The ring is the one that the balancer would have: strategy, slots, virtual servers and
//! replicas come from the same flags, variables and file, judged in the same way. Members
//! with weights are what the balancer gets while it runs, so they have flags of their own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args, Command};

use super::args::help;
use super::{Invocation, UsageError, configure, read};
use crate::config::{self, CONFIG, Given, Layer, OPTIONS, Origin, Rule, text_rule};
use crate::ring::{Member, RingSpec, SlotTable, Weight};
use crate::ring_cli::{self, MemberChange, Question, RingCommand};

/// The subcommand's name.
pub(super) const NAME: &str = "ring";

const SHOW: &str = "show";
const EXPLAIN: &str = "explain";
const DIFF: &str = "diff";

/// What help lists options under.
const THE_RING: &str = "The ring";
const ANSWER: &str = "The answer";

const AFTER_HELP: &str = "\
Without replicas of its own, each looks at the ring that the balancer would have, by the same \
variables and file. --json answers in JSON. A ring that runs may be another one by now: ringmaster ctl \
ring and ringmaster ctl explain ask its balancer.

Examples:
  Who owns how much of a ring of four, one of them twice as strong; and draw it
    ringmaster ring show --members S1,S2,S3,S4=2 --svg ring.svg
  Which replica serves a user, and why
    ringmaster ring explain alice
  What moves when a replica joins
    ringmaster ring diff --replicas 3 --join Server4";

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Show, explain and compare rings, without running one (of one that runs: ctl)")
        .after_help(AFTER_HELP)
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .disable_help_flag(true)
        .arg(help().help("Print this"))
        .subcommand(about_ring::<ShowFlags>(SHOW))
        .subcommand(about_ring::<ExplainFlags>(EXPLAIN))
        .subcommand(about_ring::<DiffFlags>(DIFF))
}

/// A subcommand that looks at a ring, with flags of its own, whose comment is what it is about.
fn about_ring<F: Args>(name: &'static str) -> Command {
    let shared = ["replicas", "strategy", "slots", "virtual-servers", CONFIG];
    let shared = OPTIONS.iter().filter(|o| shared.contains(&o.key()));
    let shared = shared.map(|option| match option.key() {
        "replicas" => option
            .flag()
            .help("How many replicas, Server1 to ServerN [default: 3]")
            .conflicts_with("members"),
        _ => option.flag(),
    });
    let command = Command::new(name).disable_help_flag(true);
    let command = command.args(shared.map(|arg| arg.help_heading(THE_RING)));
    let command = RingFlags::augment_args(F::augment_args(command));
    command.arg(help().help("Print this").help_heading("Help"))
}

/// The items of one occurrence of a flag. (Under this name clap takes it for one value.)
type List<T> = Vec<T>;

#[derive(Args)]
struct RingFlags {
    /// Replicas by name and weight, instead; repeatable
    #[arg(
        long, value_name = "NAME[=WEIGHT],...", help_heading = THE_RING, value_parser = members()
    )]
    members: Option<Vec<List<Member>>>,
    /// Answer in JSON
    #[arg(long, help_heading = ANSWER)]
    json: bool,
}

/// Show who owns how much of a ring
#[derive(Args)]
struct ShowFlags {
    /// Draw the ring into this file, as an SVG picture
    #[arg(long, value_name = "FILE", help_heading = ANSWER)]
    svg: Option<PathBuf>,
}

/// Explain which replica serves a key, who steps in for it, and why
#[derive(Args)]
struct ExplainFlags {
    /// A request's key: its id, or what --key takes from it
    // An option has the id `key`.
    #[arg(id = "KEY", value_name = "KEY")]
    key: OsString,
}

/// Say what a change of the ring moves
#[derive(Args)]
#[command(next_help_heading = "The change")]
struct DiffFlags {
    /// A replica joins; repeatable
    #[arg(long, value_name = "NAME[=WEIGHT]", value_parser = members())]
    join: Vec<List<Member>>,
    /// A replica leaves; repeatable
    #[arg(long, value_name = "NAME", value_parser = items("a replica's name", name))]
    leave: Vec<List<String>>,
    /// A replica changes weight; repeatable
    #[arg(
        long, value_name = "NAME=WEIGHT",
        value_parser = items("NAME=WEIGHT, such as Server1=2", weight)
    )]
    weight: Vec<List<(String, Weight)>>,
    /// Another --strategy
    #[arg(long, value_name = "STRATEGY", allow_negative_numbers = true)]
    to_strategy: Option<OsString>,
    /// Another number of --slots
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    to_slots: Option<OsString>,
    /// Another number of --virtual-servers
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    to_virtual_servers: Option<OsString>,
}

fn name(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// A list with commas between its items; all that is wrong with them is told at once.
fn items<T: 'static>(
    allowed: &'static str,
    read: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
) -> Rule<Vec<T>> {
    text_rule(allowed, move |text| {
        let (mut items, mut mistakes) = (Vec::new(), Vec::new());
        for item in ring_cli::items(text) {
            match read(item) {
                Ok(item) => items.push(item),
                Err(wrong) => mistakes.push(wrong),
            }
        }
        match mistakes.is_empty() {
            true => Ok(items),
            false => Err(mistakes.join("; ")),
        }
    })
}

fn members() -> Rule<Vec<Member>> {
    items("NAME or NAME=WEIGHT, such as Server4=2", |text| {
        ring_cli::member(text).map_err(|wrong| wrong.to_string())
    })
}

fn weight(text: &str) -> Result<(String, Weight), String> {
    let (name, weight) = text.rsplit_once('=').ok_or("a weight is missing")?;
    let weight = ring_cli::weight(weight).map_err(|wrong| wrong.to_string())?;
    Ok((name.trim().to_owned(), weight))
}

/// Checks everything that was given.
pub(super) fn request(
    matches: &ArgMatches,
    env: &[(OsString, OsString)],
) -> Result<Invocation, UsageError> {
    let Some((what, matches)) = matches.subcommand() else {
        return Err("one of show, explain and diff is missing".to_owned().into());
    };
    let (given, settings, warnings) = configure(matches, env)?;
    let RingFlags { members, json } = read(matches)?;
    let members = match members.map(|lists| lists.concat()) {
        Some(members) if members.is_empty() => {
            return Err("members: no replica is named".to_owned().into());
        }
        Some(members) => {
            refuse_same_in_dns(&members)?;
            members
        }
        None => settings.replicas.into_iter().map(Member::new).collect(),
    };
    let table = build(&settings.ring, &members)?;
    let question = match what {
        EXPLAIN => Question::Explain {
            table,
            key: read::<ExplainFlags>(matches)?.key,
        },
        DIFF => Question::Diff {
            after: changed(read(matches)?, &given, &settings.ring, &members)?,
            before: table,
        },
        _ => Question::Show {
            table,
            picture: read::<ShowFlags>(matches)?.svg,
        },
    };
    Ok(Invocation::Ring {
        request: Box::new(RingCommand { question, json }),
        warnings,
    })
}

fn build(spec: &RingSpec, members: &[Member]) -> Result<SlotTable, UsageError> {
    SlotTable::build(spec, members).map_err(|wrong| wrong.to_string().into())
}

/// A fleet of such members could not be.
fn refuse_same_in_dns(members: &[Member]) -> Result<(), UsageError> {
    let places = members.iter().enumerate();
    let mut pairs = places.flat_map(|(place, a)| members[..place].iter().map(move |b| (a, b)));
    match pairs.find(|(a, b)| a.name != b.name && a.name.is_same_in_dns(&b.name)) {
        Some((a, b)) => Err(format!("members: DNS cannot tell {} from {}", a.name, b.name).into()),
        None => Ok(()),
    }
}

/// The ring as it would be: what is not changed stays, but the slots and virtual servers of one
/// strategy mean nothing for another.
fn changed(
    flags: DiffFlags,
    given: &Layer,
    before: &RingSpec,
    members: &[Member],
) -> Result<SlotTable, UsageError> {
    let change = MemberChange {
        join: flags.join.concat(),
        leave: flags.leave.concat(),
        weight: flags.weight.concat(),
    };
    let to = [
        ("strategy", "to-strategy", flags.to_strategy),
        ("slots", "to-slots", flags.to_slots),
        (
            "virtual-servers",
            "to-virtual-servers",
            flags.to_virtual_servers,
        ),
    ];
    if change.is_empty() && to.iter().all(|(_, _, value)| value.is_none()) {
        let ways = "--join, --leave, --weight, --to-strategy, --to-slots or --to-virtual-servers";
        return Err(format!("nothing changes; give {ways}").into());
    }
    let strategy = to[0].2.as_ref();
    let stays = strategy.is_none_or(|to| to == before.strategy().name());
    let mut after = Layer::new();
    for (key, flag, value) in to {
        let changed = value.map(|value| Given {
            values: vec![value],
            is_list: false,
            origin: Origin::Flag(flag),
        });
        let kept = || given.get(key).filter(|_| stays).cloned();
        after.extend(changed.or_else(kept).map(|given| (key, given)));
    }
    let spec = config::ring_spec(&after)?;
    let after = change.apply(members).map_err(|mistakes| {
        let line = |mistake: ring_cli::Mistake| {
            let ring_cli::Mistake { part, name, wrong } = mistake;
            format!("{part} = {name:?} (from --{part}): {wrong}")
        };
        mistakes.into_iter().map(line).collect::<Vec<_>>()
    })?;
    if after.is_empty() {
        return Err("leave: no replica would be left".to_owned().into());
    }
    build(&spec, &after)
}
