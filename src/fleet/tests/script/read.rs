//! From text to [`Line`]s.

use super::{Line, POLICY, Question, endpoint_of};
use crate::fleet::{
    Change, ChangeId, Event, Existing, Exit, InstanceId, LaunchOrder, RestartLimit,
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
            "start" => Some(Self::Start(parse_names(rest)?)),
            "adopt" => {
                let found = rest.split(", ").enumerate();
                let found = found.map(|(place, text)| parse_found(place, text));
                found.collect::<Option<_>>().map(Self::Adopt)
            }
            "after" => Some(Self::After(humantime::parse_duration(rest).ok()?)),
            "wait" => Some(Self::Wait(humantime::parse_duration(rest).ok()?)),
            "add" | "remove" => parse_request(verb, rest),
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
    Some(InstanceId {
        replica: name.parse().ok()?,
        generation: generation.parse().ok()?,
    })
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
    for word in words {
        match word.split_once('=')? {
            ("weight", number) => weight = Weight::new(number.parse().ok()?)?,
            ("ordinal", number) => ordinal = number.parse().ok()?,
            _ => return None,
        }
    }
    let order = LaunchOrder {
        id,
        weight,
        ordinal,
    };
    Some(Existing { order, endpoint })
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
        _ => Change::Remove { n, hostnames },
    };
    Some(Line::Request(change_id, change, seed))
}

fn parse_report(text: &str) -> Option<Event> {
    let failed = |text: &str| {
        let (id, reason) = text.split_once(": ")?;
        Some((parse_id(id)?, reason.to_owned()))
    };
    if let Some(rest) = text.strip_prefix("launch failed ") {
        let (id, reason) = failed(rest)?;
        return Some(Event::LaunchFailed { id, reason });
    }
    if let Some(rest) = text.strip_prefix("relocated ") {
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
    if text == "recovered" {
        return Some(Event::Recovered);
    }
    if let Some(rest) = text.strip_prefix("discovered ") {
        let Existing { order, endpoint } = parse_found(0, rest)?;
        let endpoint = endpoint?;
        return Some(Event::Discovered { order, endpoint });
    }
    if let Some(rest) = text.strip_prefix("launch preempted ") {
        let (id, by) = rest.split_once(" by ")?;
        let (id, by) = (parse_id(id)?, by.parse().ok()?);
        let endpoint = endpoint_of(&InstanceId {
            generation: by,
            ..id.clone()
        });
        return Some(Event::LaunchPreempted { id, by, endpoint });
    }
    if let Some(id) = text.strip_prefix("removed elsewhere ") {
        let id = parse_id(id)?;
        return Some(Event::RemovedElsewhere { id });
    }
    if let Some(rest) = text.strip_prefix("healthcheck ") {
        let (verdict, id) = rest.split_once(' ')?;
        let (id, healthy) = (parse_id(id)?, verdict == "healthy");
        return (healthy || verdict == "unhealthy")
            .then_some(Event::HealthcheckChanged { id, healthy });
    }
    if let Some(name) = text.strip_prefix("name freed ") {
        let replica = name.parse().ok()?;
        return Some(Event::NameFreed { replica });
    }
    if let Some(rest) = text.strip_prefix("unready ") {
        let (id, reason) = failed(rest)?;
        return Some(Event::BecameUnready { id, reason });
    }
    if let Some(rest) = text.strip_prefix("probe failed ") {
        let (id, reason) = failed(rest)?;
        return Some(Event::ProbeFailed { id, reason });
    }
    if let Some(rest) = text.strip_prefix("stop failed ") {
        let (id, reason) = failed(rest)?;
        return Some(Event::StopFailed { id, reason });
    }
    let (verb, rest) = text.split_once(' ')?;
    let (id, how) = rest.split_once(' ').unwrap_or((rest, ""));
    let id = parse_id(id)?;
    Some(match (verb, how) {
        ("exited", how) => {
            let exit = parse_exit(how)?;
            Event::Exited { id, exit }
        }
        ("launched", "") => {
            let endpoint = endpoint_of(&id);
            Event::Launched { id, endpoint }
        }
        ("healthy", "") => Event::BecameHealthy { id },
        ("unresponsive", "") => Event::BecameUnresponsive { id },
        ("refused", "") => Event::ConnectionRefused { id },
        ("drained", "") => Event::Drained { id },
        ("stopped", "") => Event::Stopped { id },
        _ => return None,
    })
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
