//! `ringmaster ring`: from flags to a checked question about rings.
//!
//! The ring is the one that the balancer would have: strategy, slots, virtual servers and
//! replicas come from the same flags, variables and file, judged in the same way. Members
//! with weights are what the balancer gets while it runs, so they have flags of their own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::args::help;
use super::{Invocation, UsageError, configure};
use crate::config::{self, CONFIG, Given, Layer, OPTIONS, Origin, Rule, text_rule};
use crate::ring::{Member, RingSpec, SlotTable, Weight};
use crate::ring_cli::{self, MemberChange, Question, RingCommand};

/// The subcommand's name.
pub(super) const NAME: &str = "ring";

const SHOW: &str = "show";
const EXPLAIN: &str = "explain";
const DIFF: &str = "diff";

const MEMBERS: &str = "members";
const JSON: &str = "json";
const SVG: &str = "svg";
const KEY: &str = "KEY";
const JOIN: &str = "join";
const LEAVE: &str = "leave";
const WEIGHT: &str = "weight";

/// The options of the ring, and what they are called where they are about the ring as it
/// would be.
const RING_OPTIONS: [(&str, &str); 3] = [
    ("strategy", "to-strategy"),
    ("slots", "to-slots"),
    ("virtual-servers", "to-virtual-servers"),
];

/// What help lists options under.
const THE_RING: &str = "The ring";
const THE_CHANGE: &str = "The change";
const ANSWER: &str = "The answer";

const AFTER_HELP: &str = "\
Without replicas of its own, each looks at the ring that the balancer would have, by the same \
variables and file. --json answers in JSON.

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
        .about("Show, explain and compare rings, without running one")
        .after_help(AFTER_HELP)
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .disable_help_flag(true)
        .arg(help().help("Print this"))
        .subcommand(about_ring(
            SHOW,
            "Show who owns how much of a ring",
            [Arg::new(SVG)
                .long(SVG)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help_heading(ANSWER)
                .help("Draw the ring into this file, as an SVG picture")],
        ))
        .subcommand(about_ring(
            EXPLAIN,
            "Explain which replica serves a key, who steps in for it, and why",
            [Arg::new(KEY)
                .required(true)
                .value_parser(value_parser!(OsString))
                .help("A request's key: its id, or what --key takes from it")],
        ))
        .subcommand(about_ring(
            DIFF,
            "Say what a change of the ring moves",
            change_options(),
        ))
}

/// A subcommand that looks at a ring. Help lists the options in the order in which they
/// are added here.
fn about_ring(
    name: &'static str,
    about: &'static str,
    own: impl IntoIterator<Item = Arg>,
) -> Command {
    let shared = ["replicas", "strategy", "slots", "virtual-servers", CONFIG];
    let options = OPTIONS
        .iter()
        .filter(|option| shared.contains(&option.key()));
    let options = options.map(|option| match option.key() {
        "replicas" => option
            .flag()
            .help("How many replicas, Server1 to ServerN [default: 3]")
            .conflicts_with(MEMBERS),
        _ => option.flag(),
    });
    Command::new(name)
        .about(about)
        .disable_help_flag(true)
        .args(options.map(|arg| arg.help_heading(THE_RING)))
        .arg(
            Arg::new(MEMBERS)
                .long(MEMBERS)
                .value_name("NAME[=WEIGHT],...")
                .help_heading(THE_RING)
                .help("Replicas by name and weight, instead; repeatable")
                .value_parser(members())
                .action(ArgAction::Append),
        )
        .args(own)
        .arg(
            Arg::new(JSON)
                .long(JSON)
                .help_heading(ANSWER)
                .help("Answer in JSON")
                .action(ArgAction::SetTrue),
        )
        .arg(help().help("Print this").help_heading("Help"))
}

fn change_options() -> [Arg; 6] {
    let flag = |name: &'static str, value, help| {
        let arg = Arg::new(name).long(name).value_name(value).help(help);
        arg.help_heading(THE_CHANGE)
    };
    let list = |name, value, help| flag(name, value, help).action(ArgAction::Append);
    let to = |name, value, help| {
        let arg = flag(name, value, help).allow_negative_numbers(true);
        arg.value_parser(value_parser!(OsString))
    };
    let name = |text: &str| Ok(text.to_owned());
    [
        list(JOIN, "NAME[=WEIGHT]", "A replica joins; repeatable").value_parser(members()),
        list(LEAVE, "NAME", "A replica leaves; repeatable")
            .value_parser(items("a replica's name", name)),
        list(
            WEIGHT,
            "NAME=WEIGHT",
            "A replica changes weight; repeatable",
        )
        .value_parser(items("NAME=WEIGHT, such as Server1=2", weight)),
        to("to-strategy", "STRATEGY", "Another --strategy"),
        to("to-slots", "M", "Another number of --slots"),
        to(
            "to-virtual-servers",
            "K",
            "Another number of --virtual-servers",
        ),
    ]
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
    let members = match list(matches, MEMBERS) {
        Some(members) if members.is_empty() => {
            return Err(format!("{MEMBERS}: no replica is named").into());
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
            key: matches.get_one(KEY).cloned().unwrap_or_default(),
        },
        DIFF => Question::Diff {
            after: changed(matches, &given, &settings.ring, &members)?,
            before: table,
        },
        _ => Question::Show {
            table,
            picture: matches.get_one(SVG).cloned(),
        },
    };
    let json = matches.get_flag(JSON);
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
        Some((a, b)) => {
            Err(format!("{MEMBERS}: DNS cannot tell {} from {}", a.name, b.name).into())
        }
        None => Ok(()),
    }
}

/// The ring as it would be.
fn changed(
    matches: &ArgMatches,
    given: &Layer,
    before: &RingSpec,
    members: &[Member],
) -> Result<SlotTable, UsageError> {
    let spec = to_spec(matches, given, before)?;
    let change = MemberChange {
        join: list(matches, JOIN).unwrap_or_default(),
        leave: list(matches, LEAVE).unwrap_or_default(),
        weight: list(matches, WEIGHT).unwrap_or_default(),
    };
    if change.is_empty() && RING_OPTIONS.iter().all(|(_, to)| !matches.contains_id(to)) {
        let ways = "--join, --leave, --weight, --to-strategy, --to-slots or --to-virtual-servers";
        return Err(format!("nothing changes; give {ways}").into());
    }
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

/// The recipe of the ring as it would be: what is not changed stays, but the slots and
/// virtual servers of one strategy mean nothing for another.
fn to_spec(matches: &ArgMatches, given: &Layer, before: &RingSpec) -> Result<RingSpec, UsageError> {
    let strategy = matches.get_one::<OsString>("to-strategy");
    let stays = strategy.is_none_or(|to| to == before.strategy().name());
    let mut after = Layer::default();
    for (key, to) in RING_OPTIONS {
        let changed = matches.get_one::<OsString>(to).map(|value| Given {
            values: vec![value.clone()],
            is_list: false,
            origin: Origin::Flag(to),
        });
        let kept = || given.get(key).filter(|_| stays).cloned();
        after.extend(changed.or_else(kept).map(|given| (key, given)));
    }
    Ok(config::ring_spec(&after)?)
}

/// The items of a flag that may be repeated and may hold several, if it was given.
fn list<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, flag: &str) -> Option<Vec<T>> {
    let lists = matches.try_get_many::<Vec<T>>(flag).ok()??;
    Some(lists.flatten().cloned().collect())
}
