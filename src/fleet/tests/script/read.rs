//! From text to [`Line`]s.

use super::{Line, POLICY, Question, RolloutOrder, definition_of, endpoint_of};
use crate::fleet::rollout_state::Course;
use crate::fleet::{
    self, Change, ChangeId, Event, Existing, Exit, FailureAction, InstanceEvent, InstanceId,
    LaunchOrder, RestartLimit,
};
use crate::ring::{ReplicaName, Weight};

impl Line {
    /// The line's meaning, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_known(text).ok_or_else(|| format!("not understood: {text:?}"))
    }

    fn parse_known(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_suffix('?') {
            return Some(Self::Ask(match rest {
                "desired" => Question::Desired,
                "wakes" => Question::Wakes,
                "gone" => Question::Gone,
                _ => Question::Deaths(rest.strip_prefix("deaths ")?.parse().ok()?),
            }));
        }
        if text == "shut down" {
            return Some(Self::ShutDown);
        }
        if text == "hand over" {
            return Some(Self::HandOver);
        }
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb {
            "policy" => parse_policy(rest),
            "rollout" => Some(Self::Rollout(match rest.split_once(' ') {
                Some(("start", what)) => match what.split_once(" canary ") {
                    Some((version, share)) => {
                        RolloutOrder::Start(version.to_owned(), Some(share.parse().ok()?))
                    }
                    None => RolloutOrder::Start(what.to_owned(), None),
                },
                None if rest == "promote" => RolloutOrder::Promote,
                None if rest == "pause" => RolloutOrder::Pause,
                None if rest == "resume" => RolloutOrder::Resume,
                None if rest == "undo" => RolloutOrder::Undo,
                _ => return None,
            })),
            "start" => Some(Self::Start(parse_names(rest)?)),
            "adopt" => parse_all_found(rest).map(Self::Adopt),
            "take" => {
                let (version, found) = rest.strip_prefix("over ")?.split_once(": ")?;
                parse_all_found(found).map(|found| Self::TakeOver(version.to_owned(), found))
            }
            "elsewhere" => {
                let (version, rest) = rest.split_once(' ')?;
                let (state, names) = rest.split_once(' ').unwrap_or((rest, ""));
                let course = match state {
                    "trial" => Some(Course::Trial),
                    "canary" => Some(Course::Canary),
                    "onward" => Some(Course::Onward),
                    "back" => Some(Course::Back),
                    "over" => None,
                    _ => return None,
                };
                let updated = parse_names(names)?;
                Some(Self::Elsewhere(version.to_owned(), course, updated))
            }
            "after" => Some(Self::After(humantime::parse_duration(rest).ok()?)),
            "wait" => Some(Self::Wait(humantime::parse_duration(rest).ok()?)),
            "add" | "remove" | "scale" => parse_request(verb, rest),
            "drain" | "activate" | "restart" | "replace" => parse_action(verb, rest),
            _ => parse_report(text).map(Self::Report),
        }
    }
}

fn parse_policy(text: &str) -> Option<Line> {
    let (mut policy, mut ordinals) = (POLICY, false);
    for word in text.split_whitespace() {
        match word.split_once('=') {
            Some(("start-timeout", time)) => {
                policy.start_timeout = humantime::parse_duration(time).ok()?;
            }
            Some(("grace", time)) => policy.stop_grace = humantime::parse_duration(time).ok()?,
            Some(("hang-timeout", time)) => {
                policy.hang_timeout = humantime::parse_duration(time).ok()?
            }
            Some(("unready-timeout", "off")) => policy.unready_timeout = None,
            Some(("unready-timeout", time)) => {
                policy.unready_timeout = Some(humantime::parse_duration(time).ok()?);
            }
            Some(("restart-limit", limit)) => {
                let (deaths, window) = limit.split_once('/')?;
                policy.restart_limit = RestartLimit {
                    deaths: deaths.parse().ok()?,
                    window: humantime::parse_duration(window).ok()?,
                };
            }
            Some(("parallelism", number)) => policy.rollout.parallelism = number.parse().ok()?,
            Some(("monitor", time)) => {
                policy.rollout.monitor = humantime::parse_duration(time).ok()?;
            }
            None if word == "stop-first" => {
                policy.rollout.order = fleet::RolloutOrder::StopFirst;
            }
            None if word == "pause" => policy.rollout.on_failure = FailureAction::Pause,
            None if word == "static" => policy.spawns = false,
            None if word == "ordinals" => ordinals = true,
            _ => return None,
        }
    }
    Some(Line::Policy { policy, ordinals })
}

fn parse_names(text: &str) -> Option<Vec<ReplicaName>> {
    text.split_whitespace()
        .map(|name| name.parse().ok())
        .collect()
}

fn parse_id(text: &str) -> Option<InstanceId> {
    let (name, generation) = text.split_once('/')?;
    Some(InstanceId::new(
        name.parse().ok()?,
        generation.parse().ok()?,
    ))
}

fn parse_all_found(text: &str) -> Option<Vec<Existing>> {
    let found = text.split(", ").enumerate();
    let found = found.map(|(place, text)| parse_found(place, text));
    found.collect()
}

fn parse_found(place: usize, text: &str) -> Option<Existing> {
    let mut words = text.split_whitespace();
    let id = parse_id(words.next()?)?;
    let endpoint = match words.next()? {
        "running" => Some(endpoint_of(&id)),
        "ended" => None,
        _ => return None,
    };
    let (mut weight, mut ordinal) = (Weight::default(), place as u64 + 1);
    let mut definition = None;
    for word in words {
        match word.split_once('=')? {
            ("weight", number) => weight = Weight::new(number.parse().ok()?)?,
            ("ordinal", number) => ordinal = number.parse().ok()?,
            ("version", version) => definition = Some(definition_of(version).hash()),
            _ => return None,
        }
    }
    let order = LaunchOrder {
        id,
        weight,
        ordinal,
    };
    Some(Existing {
        order,
        endpoint,
        definition,
    })
}

fn parse_request(verb: &str, text: &str) -> Option<Line> {
    let mut words = text.split_whitespace();
    let change_id = ChangeId(words.next()?.strip_prefix('#')?.parse().ok()?);
    let n = words.next()?.parse().ok()?;
    let (mut hostnames, mut seed) = (Vec::new(), 0);
    for word in words {
        match word.strip_prefix("seed=") {
            Some(number) => seed = number.parse().ok()?,
            None => hostnames.push(word.to_owned()),
        }
    }
    let change = match verb {
        "add" => Change::Add {
            n,
            hostnames,
            weights: Default::default(),
        },
        "scale" => Change::Scale { n },
        _ => Change::Remove { n, hostnames },
    };
    Some(Line::Request(change_id, change, seed))
}

fn parse_action(verb: &str, text: &str) -> Option<Line> {
    let mut words = text.split_whitespace();
    let change_id = ChangeId(words.next()?.strip_prefix('#')?.parse().ok()?);
    let replica = words.next()?.parse().ok()?;
    let change = match (verb, words.next()) {
        ("restart", None) => Change::Restart {
            replica,
            now: false,
        },
        ("restart", Some("now")) => Change::Restart { replica, now: true },
        ("replace", None) => Change::Replace { replica },
        ("drain" | "activate", None) => Change::SetDrained {
            replica,
            drained: verb == "drain",
        },
        _ => return None,
    };
    Some(Line::Request(change_id, change, 0))
}

fn parse_report(text: &str) -> Option<Event> {
    /// Those of several words.
    const VERBS: [&str; 12] = [
        "successor started",
        "drained in record",
        "launch failed",
        "launch preempted",
        "probe failed",
        "healthcheck healthy",
        "healthcheck unhealthy",
        "stop failed",
        "removed elsewhere",
        "stands in",
        "name freed",
        "recovered",
    ];
    let verb = VERBS.into_iter().find(|verb| text.starts_with(verb));
    let verb = verb.or_else(|| text.split(' ').next())?;
    let rest = text[verb.len()..].trim_start();
    match verb {
        "drained in record" => return parse_names(rest).map(Event::DrainedInRecord),
        "recovered" => return rest.is_empty().then_some(Event::Recovered),
        "name freed" => return rest.parse().ok().map(Event::NameFreed),
        "successor started" => return parse_id(rest).map(Event::SuccessorStarted),
        "discovered" | "succeeded" => {
            let Existing {
                order,
                endpoint,
                definition,
            } = parse_found(0, rest)?;
            return Some(match verb {
                "discovered" => Event::Discovered(order, endpoint?, definition),
                _ => Event::Succeeded(order, endpoint?, definition),
            });
        }
        "relocated" => {
            let (replica, rest) = rest.split_once(" to ")?;
            let (place, reason) = rest.split_once(": ")?;
            return Some(Event::Relocated {
                replica: replica.parse().ok()?,
                endpoint: match place {
                    "nowhere" => None,
                    place => Some(place.parse().ok()?),
                },
                reason: reason.to_owned(),
            });
        }
        _ => {}
    }
    let end = rest.find([':', ' ']).unwrap_or(rest.len());
    let (id, how) = (parse_id(&rest[..end])?, &rest[end..]);
    let reason = || how.strip_prefix(": ").map(str::to_owned);
    let event = match verb {
        "launch failed" => InstanceEvent::LaunchFailed(reason()?),
        "probe failed" => InstanceEvent::ProbeFailed(reason()?),
        "unready" => InstanceEvent::BecameUnready(reason()?),
        "stop failed" => InstanceEvent::StopFailed(reason()?),
        "launch preempted" => {
            let by = how.strip_prefix(" by ")?;
            let (by, version) = by.split_once(" version=").unwrap_or((by, ""));
            let by = by.parse().ok()?;
            let theirs = InstanceId::new(id.replica.clone(), by);
            let hash = (!version.is_empty()).then(|| definition_of(version).hash());
            InstanceEvent::LaunchPreempted(by, endpoint_of(&theirs), hash)
        }
        "moved" => {
            let (place, reason) = how.strip_prefix(" to ")?.split_once(": ")?;
            let to = match place {
                "nowhere" => None,
                place => Some(place.parse().ok()?),
            };
            InstanceEvent::Moved(to, reason.to_owned())
        }
        "exited" => InstanceEvent::Exited(parse_exit(how.strip_prefix(' ')?)?),
        "counted" => {
            let (requests, failed) = how.strip_prefix(' ')?.split_once(' ')?;
            InstanceEvent::RequestsCounted {
                requests: requests.parse().ok()?,
                failed: failed.parse().ok()?,
            }
        }
        _ if !how.is_empty() => return None,
        "launched" => InstanceEvent::Launched(endpoint_of(&id)),
        "healthy" => InstanceEvent::BecameHealthy,
        "unresponsive" => InstanceEvent::BecameUnresponsive,
        "healthcheck healthy" => InstanceEvent::HealthcheckChanged(true),
        "healthcheck unhealthy" => InstanceEvent::HealthcheckChanged(false),
        "refused" => InstanceEvent::ConnectionRefused,
        "ejected" => InstanceEvent::Ejected,
        "ending" => InstanceEvent::Ending,
        "drained" => InstanceEvent::Drained,
        "stopped" => InstanceEvent::Stopped,
        "removed elsewhere" => InstanceEvent::RemovedElsewhere,
        "stands in" => InstanceEvent::StandsIn,
        "destroyed" => InstanceEvent::Destroyed,
        _ => return None,
    };
    Some(Event::Instance(id, event))
}

fn parse_exit(text: &str) -> Option<Exit> {
    let mut exit = Exit::default();
    match text.split_once(' ') {
        None if text == "oom" => exit.out_of_memory = true,
        None if text == "gone" => {}
        Some(("signal", number)) => exit.signal = Some(number.parse().ok()?),
        Some(("code", number)) => exit.code = Some(number.parse().ok()?),
        _ => return None,
    }
    Some(exit)
}
