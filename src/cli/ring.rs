//! `ringmaster ring`: from flags to a checked question about rings.
//!
//! The ring is the one that the balancer would have: strategy, slots, virtual servers and
//! replicas come from the same flags, variables and file, judged in the same way. Members
//! with weights are what the balancer gets while it runs, so they have flags of their own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::command::{self, help};
use super::{Invocation, UsageError, configure};
use crate::config::{self, CONFIG, Given, Layers, Origin, Raw};
use crate::ring::{Member, RingSpec, SlotTable};
use crate::ring_cli::{self, MemberChange, Question, RingCommand};

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

/// What is allowed in the lists.
const NAME: &str = "a replica's name";
const MEMBER: &str = "NAME or NAME=WEIGHT, such as Server4=2";
const NAME_AND_WEIGHT: &str = "NAME=WEIGHT, such as Server1=2";

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
    Command::new(command::RING)
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
    let options = command::options()
        .filter(|arg| shared.contains(&arg.get_id().as_str()))
        .map(|arg| match arg.get_id().as_str() {
            "replicas" => arg
                .help("How many replicas, Server1 to ServerN [default: 3]")
                .conflicts_with(MEMBERS),
            _ => arg,
        })
        .map(|arg| arg.help_heading(THE_RING));
    Command::new(name)
        .about(about)
        .disable_help_flag(true)
        .args(options)
        .arg(
            Arg::new(MEMBERS)
                .long(MEMBERS)
                .value_name("NAME[=WEIGHT],...")
                .help_heading(THE_RING)
                .help("Replicas by name and weight, instead; repeatable")
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

fn change_options() -> impl Iterator<Item = Arg> {
    let list = |name, value, help| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .action(ArgAction::Append)
            .help_heading(THE_CHANGE)
    };
    let to = |name, value, help| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .allow_negative_numbers(true)
            .help_heading(THE_CHANGE)
    };
    [
        list(JOIN, "NAME[=WEIGHT]", "A replica joins; repeatable"),
        list(LEAVE, "NAME", "A replica leaves; repeatable"),
        list(
            WEIGHT,
            "NAME=WEIGHT",
            "A replica changes weight; repeatable",
        ),
        to("to-strategy", "STRATEGY", "Another --strategy"),
        to("to-slots", "M", "Another number of --slots"),
        to(
            "to-virtual-servers",
            "K",
            "Another number of --virtual-servers",
        ),
    ]
    .into_iter()
}

/// Checks everything that was given.
pub(super) fn request(
    matches: &ArgMatches,
    env: &[(OsString, OsString)],
) -> Result<Invocation, UsageError> {
    let Some((what, matches)) = matches.subcommand() else {
        return Err("one of show, explain and diff is missing".to_owned().into());
    };
    let mut mistakes = Vec::new();
    let configured = configure(matches, env).map_err(|error| mistakes.extend(error.mistakes));
    let given = list(matches, MEMBERS, MEMBER, read_member, &mut mistakes);
    let change = change(matches, &mut mistakes);
    let (Ok((layers, settings, warnings)), true) = (configured, mistakes.is_empty()) else {
        return Err(mistakes.into());
    };

    let members = match given {
        Some(none) if none.is_empty() => {
            return Err(format!("{MEMBERS}: nobody is named; allowed is {MEMBER}").into());
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
            after: changed(matches, &layers, &settings.ring, &members, &change)?,
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
    layers: &Layers,
    before: &RingSpec,
    members: &[Member],
    change: &MemberChange,
) -> Result<SlotTable, UsageError> {
    let spec = to_spec(matches, layers, before)?;
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
        return Err("leave: nobody would be left".to_owned().into());
    }
    build(&spec, &after)
}

/// Who joins, leaves and changes weight; nobody where the subcommand has no such flags.
fn change(matches: &ArgMatches, mistakes: &mut Vec<String>) -> MemberChange {
    let name = |text: &str| Ok(text.to_owned());
    let weight = |text: &str| {
        let (name, weight) = text.rsplit_once('=').ok_or("a weight is missing")?;
        let weight = ring_cli::weight(weight).map_err(|wrong| wrong.to_string())?;
        Ok((name.trim().to_owned(), weight))
    };
    MemberChange {
        join: list(matches, JOIN, MEMBER, read_member, mistakes).unwrap_or_default(),
        leave: list(matches, LEAVE, NAME, name, mistakes).unwrap_or_default(),
        weight: list(matches, WEIGHT, NAME_AND_WEIGHT, weight, mistakes).unwrap_or_default(),
    }
}

fn read_member(text: &str) -> Result<Member, String> {
    ring_cli::member(text).map_err(|wrong| wrong.to_string())
}

/// The recipe of the ring as it would be: what is not changed stays, but the slots and
/// virtual servers of one strategy mean nothing for another.
fn to_spec(
    matches: &ArgMatches,
    layers: &Layers,
    before: &RingSpec,
) -> Result<RingSpec, UsageError> {
    let strategy = matches.get_one::<String>("to-strategy");
    let stays = strategy.is_none_or(|to| to == before.strategy().name());
    let mut after = Layers::default();
    for (key, to) in RING_OPTIONS {
        let changed = matches.get_one::<String>(to).map(|text| Given {
            raw: Raw::One(text.clone()),
            origin: Origin::Flag(to),
        });
        let kept = || layers.get(key).filter(|_| stays).cloned();
        if let Some(given) = changed.or_else(kept) {
            after.flags.insert(key, given);
        }
    }
    Ok(config::ring_spec(&after)?)
}

/// The items of a flag that may be repeated and may hold several, each read by itself, if
/// the flag was given. Every mistake is remembered.
fn list<T>(
    matches: &ArgMatches,
    flag: &str,
    allowed: &str,
    read: impl Fn(&str) -> Result<T, String>,
    mistakes: &mut Vec<String>,
) -> Option<Vec<T>> {
    let texts = matches.try_get_many::<String>(flag).ok()??;
    let mut items = Vec::new();
    for item in texts.flat_map(|text| ring_cli::items(text)) {
        match read(item) {
            Ok(value) => items.push(value),
            Err(wrong) => mistakes.push(format!(
                "{flag} = {item:?} (from --{flag}): {wrong}; allowed is {allowed}"
            )),
        }
    }
    Some(items)
}
