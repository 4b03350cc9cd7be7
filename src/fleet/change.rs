//! Changes on request: what may be asked, and what may not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::random_names::SeededRng;
use crate::ring::{BuildError, ReplicaName, Weight};

/// No fleet is larger.
pub const MAX_REPLICAS: usize = 1024;

/// Identifies a request for a change, so that its answer finds the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeId(pub u64);

/// A change of the desired membership, or of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Add `n` replicas; those that `hostnames` does not name get random unused names.
    Add {
        n: usize,
        /// Names for the first of them.
        hostnames: Vec<String>,
        /// Weights of those that have a name here; 1 for all others.
        weights: BTreeMap<String, u32>,
    },
    /// Remove `n` replicas; those that `hostnames` does not name are chosen at random.
    Remove {
        n: usize,
        /// The ones to remove for certain.
        hostnames: Vec<String>,
    },
    /// Have this many replicas: add some of random names, or remove some at random.
    Scale { n: usize },
    /// Drain a replica, so that it gets no requests, or activate it again.
    SetDrained { replica: ReplicaName, drained: bool },
    /// Replace a replica's instance by the next generation.
    Restart {
        replica: ReplicaName,
        /// Without draining it first.
        now: bool,
    },
    /// Replace a replica's instance by the next generation, which starts beside it: it may run elsewhere.
    Replace { replica: ReplicaName },
}

/// What a change has done to the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The replicas that were added or removed.
    pub names: Vec<ReplicaName>,
    /// The desired replicas after it.
    pub desired: Vec<ReplicaName>,
}

/// Why a change was refused or failed. Nothing has changed then, but for
/// [`ChangeError::StopFailed`] and [`ChangeError::NotRecorded`], and for a replica that did not start
/// again: that is still tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// More names than replicas to add.
    #[error("Length of hostname list is more than newly added instances")]
    TooManyNamesToAdd,
    /// More names than replicas to remove.
    #[error("Length of hostname list is more than removable instances")]
    TooManyNamesToRemove,
    /// `n` is out of range.
    #[error("n is {n}: {allowed}")]
    CountOutOfRange { n: usize, allowed: String },
    /// A name that cannot be one.
    #[error("{0}")]
    InvalidName(#[from] crate::ring::InvalidName),
    /// A name given twice in one request.
    #[error("{0} is named twice")]
    NamedTwice(ReplicaName),
    /// The name of a replica that exists.
    #[error("{0} exists already")]
    NameTaken(ReplicaName),
    /// A weight that cannot be one.
    #[error("the weight of {name} is {weight}: 1 to {most} are allowed", most = Weight::MAX)]
    InvalidWeight { name: String, weight: u32 },
    /// A weight for a replica that the request does not name.
    #[error("weights names {0}, which hostnames does not")]
    WeightWithoutHostname(String),
    /// The ring has no room for them.
    #[error("{0}")]
    NoRoom(#[from] BuildError),
    /// A name that DNS cannot tell from that of a replica which exists, or is named as well.
    #[error("DNS cannot tell {name} from {other}: names differ in more than case")]
    SameInDns {
        name: ReplicaName,
        other: ReplicaName,
    },
    /// No such replica.
    #[error("there is no replica {0}")]
    Unknown(ReplicaName),
    /// Nothing would serve requests without this replica.
    #[error(
        "{0} cannot be drained: no other active replica is ready, and every request would fail; \
         add or activate one first"
    )]
    LastActive(ReplicaName),
    /// A rollout is just replacing the replica, or watching its new instance.
    #[error(
        "the rollout is just replacing {0}: wait until it has gone on, or pause or undo it first"
    )]
    RolledOut(ReplicaName),
    /// No replica is moved while a rollout replaces all of them.
    #[error("rollout {0} is under way: wait for its end, or undo it first")]
    RolloutUnderWay(u64),
    /// The runtime, which has no nodes.
    #[error("the runtime {0} has no nodes: those of a Swarm are meant")]
    NoNodes(&'static str),
    /// Where replicas run is not known.
    #[error("cannot find out where replicas run: {0}")]
    SpreadUnknown(String),
    /// A node that is to be drained for a drill, and cannot.
    #[error("{0}")]
    NodeNotDrained(String),
    /// The runtime cannot start or stop anything.
    #[error("with the runtime static, replicas cannot be added, removed or restarted")]
    FixedFleet,
    /// Too many changes are waiting for their turn.
    #[error("{0} changes are waiting already: try again later")]
    Busy(usize),
    /// The configuration has not the version that the change expects, but this one.
    #[error("the fleet's configuration has been changed meanwhile: its ETag is \"{0}\" now")]
    Outdated(String),
    /// Another balancer serves the fleet; why that is in the way.
    #[error("another balancer serves the fleet, and {0}")]
    SharedFleet(&'static str),
    /// The pause is to be longer than pauses may be.
    #[error("for is {asked}: a pause may last for {most} (--max-pause)")]
    PauseTooLong { asked: String, most: String },
    /// A page that is larger than pages may be.
    #[error("the page has {0} bytes: up to {max} are allowed", max = super::MAX_PAGE)]
    PageTooLarge(usize),
    /// The fleet is not paused.
    #[error("the fleet is not paused, or not any more")]
    NotPaused,
    /// The balancer is stopping.
    #[error("the balancer is stopping")]
    ShuttingDown,
    /// A replica could not be started.
    #[error("cannot start {0}")]
    StartFailed(Failures),
    /// It has been done, but the fleet record does not say so.
    #[error(
        "done, but it would not outlive a restart of the balancer: cannot write the fleet record: {0}"
    )]
    NotRecorded(String),
    /// The replicas are off the ring and no longer desired, but an instance could not be
    /// stopped and is left behind.
    #[error("cannot stop {0}")]
    StopFailed(Failures),
}

/// Which replicas failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures(pub Vec<(ReplicaName, String)>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, reason)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{name}: {reason}")?;
        }
        Ok(())
    }
}

/// The names of the replicas to add, if the request is sound.
///
/// `present` are all replicas there are, also those on their way out: their names are
/// still in use. `fresh` makes a name that is not taken.
pub fn choose_names_to_add(
    n: usize,
    hostnames: &[String],
    present: &HashSet<ReplicaName>,
    mut fresh: impl FnMut(&HashSet<ReplicaName>) -> ReplicaName,
) -> Result<Vec<ReplicaName>, ChangeError> {
    if hostnames.len() > n {
        return Err(ChangeError::TooManyNamesToAdd);
    }
    let room = MAX_REPLICAS.saturating_sub(present.len());
    if n == 0 || n > room {
        let allowed = format!("from 1 to {room} replicas can be added");
        return Err(ChangeError::CountOutOfRange { n, allowed });
    }
    let mut names = parse_names(hostnames)?;
    if let Some(taken) = names.iter().find(|name| present.contains(name)) {
        return Err(ChangeError::NameTaken(taken.clone()));
    }
    refuse_same_in_dns(&names, present)?;
    let mut taken = present.clone();
    taken.extend(names.iter().cloned());
    while names.len() < n {
        let name = fresh(&taken);
        taken.insert(name.clone());
        names.push(name);
    }
    Ok(names)
}

/// Every two names, of newcomers or of what is present, must be two to DNS as well.
fn refuse_same_in_dns(
    names: &[ReplicaName],
    present: &HashSet<ReplicaName>,
) -> Result<(), ChangeError> {
    for (place, name) in names.iter().enumerate() {
        let others = names[..place].iter().chain(present);
        if let Some(other) = others.into_iter().find(|other| other.is_same_in_dns(name)) {
            return Err(ChangeError::SameInDns {
                name: name.clone(),
                other: other.clone(),
            });
        }
    }
    Ok(())
}

/// The names of the replicas to remove, if the request is sound. `desired` are the
/// desired replicas; of those that are not named, the drained ones go first.
pub fn choose_names_to_remove(
    n: usize,
    hostnames: &[String],
    desired: &[ReplicaName],
    drained: &[ReplicaName],
    rng: &mut SeededRng,
) -> Result<Vec<ReplicaName>, ChangeError> {
    if hostnames.len() > n {
        return Err(ChangeError::TooManyNamesToRemove);
    }
    if n == 0 || n > desired.len() {
        let allowed = match desired.len() {
            0 => "there is no replica to remove".to_owned(),
            size => format!("from 1 to {size} replicas can be removed"),
        };
        return Err(ChangeError::CountOutOfRange { n, allowed });
    }
    let mut names = parse_names(hostnames)?;
    if let Some(unknown) = names.iter().find(|name| !desired.contains(name)) {
        return Err(ChangeError::Unknown(unknown.clone()));
    }
    let others = desired.iter().filter(|r| !names.contains(r));
    let (mut first, mut last): (Vec<_>, Vec<_>) = others.partition(|r| drained.contains(r));
    while names.len() < n {
        let others = if first.is_empty() {
            &mut last
        } else {
            &mut first
        };
        let chosen = rng.below(others.len() as u64) as usize;
        names.push(others.swap_remove(chosen).clone());
    }
    Ok(names)
}

/// The weights of newcomers, if they are sound.
pub fn read_weights(
    weights: &BTreeMap<String, u32>,
    hostnames: &[String],
) -> Result<HashMap<String, Weight>, ChangeError> {
    let read = weights.iter().map(|(name, &weight)| {
        if !hostnames.contains(name) {
            return Err(ChangeError::WeightWithoutHostname(name.clone()));
        }
        let valid = Weight::new(weight).ok_or_else(|| ChangeError::InvalidWeight {
            name: name.clone(),
            weight,
        })?;
        Ok((name.clone(), valid))
    });
    read.collect()
}

fn parse_names(hostnames: &[String]) -> Result<Vec<ReplicaName>, ChangeError> {
    let mut seen = HashSet::new();
    hostnames
        .iter()
        .map(|text| {
            let name: ReplicaName = text.parse()?;
            if seen.insert(name.clone()) {
                Ok(name)
            } else {
                Err(ChangeError::NamedTwice(name))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn desired(list: &[&str]) -> Vec<ReplicaName> {
        list.iter().map(|s| s.parse().unwrap()).collect()
    }

    #[test]
    fn unsound_requests_are_refused_with_what_is_allowed() {
        let three = desired(&["Server1", "Server2", "Server3"]);
        let present: HashSet<_> = three.iter().cloned().collect();
        let add = |n, list: &[&str]| {
            choose_names_to_add(n, &names(list), &present, |taken| {
                SeededRng::new(1).fresh_name(taken)
            })
            .map_err(|e| e.to_string())
        };
        let remove = |n, list: &[&str]| {
            choose_names_to_remove(n, &names(list), &three, &[], &mut SeededRng::new(1))
                .map_err(|e| e.to_string())
        };
        for (result, expected) in [
            (
                add(1, &["a", "b"]),
                "Length of hostname list is more than newly added instances",
            ),
            (add(0, &[]), "n is 0: from 1 to 1021 replicas can be added"),
            (
                add(2000, &[]),
                "n is 2000: from 1 to 1021 replicas can be added",
            ),
            (add(2, &["a", "a"]), "a is named twice"),
            (add(2, &["a", "Server2"]), "Server2 exists already"),
            (
                add(1, &["server2"]),
                "DNS cannot tell server2 from Server2: names differ in more than case",
            ),
            (
                add(2, &["a", "A"]),
                "DNS cannot tell A from a: names differ in more than case",
            ),
            (
                add(1, &["localhost"]),
                "\"localhost\" is not a replica name: DNS takes it for the machine that asks",
            ),
            (
                add(1, &["a b"]),
                "\"a b\" is not a replica name: 1 to 63 letters, digits, '-', '_' and '.' are allowed, a letter or digit first",
            ),
            (
                remove(1, &["Server1", "Server2"]),
                "Length of hostname list is more than removable instances",
            ),
            (
                remove(4, &[]),
                "n is 4: from 1 to 3 replicas can be removed",
            ),
            (remove(2, &["Server9"]), "there is no replica Server9"),
            (remove(2, &["Server1", "Server1"]), "Server1 is named twice"),
        ] {
            assert_eq!(result.unwrap_err(), expected);
        }
    }

    #[test]
    fn weights_belong_to_names_of_the_request_and_are_within_bounds() {
        let read = |name: &str, weight| {
            let weights = BTreeMap::from([(name.to_owned(), weight)]);
            let read = read_weights(&weights, &names(&["a", "b"]));
            read.map(|read| read[name].get()).map_err(|e| e.to_string())
        };
        assert_eq!(read("b", 1_000), Ok(1_000));
        let wrong = "weights names c, which hostnames does not".to_owned();
        assert_eq!(read("c", 1), Err(wrong));
        let wrong = "the weight of a is 0: 1 to 1000 are allowed".to_owned();
        assert_eq!(read("a", 0), Err(wrong));
    }

    #[test]
    fn what_is_not_named_is_chosen() {
        let three = desired(&["Server1", "Server2", "Server3"]);
        let present: HashSet<_> = three.iter().cloned().collect();
        let added = choose_names_to_add(3, &names(&["S4"]), &present, |taken| {
            SeededRng::new(1).fresh_name(taken)
        })
        .unwrap();
        assert_eq!(added[0].as_str(), "S4");
        assert_eq!(added.iter().collect::<HashSet<_>>().len(), 3);
        assert!(added.iter().all(|name| !present.contains(name)));

        let removed =
            choose_names_to_remove(2, &names(&["Server2"]), &three, &[], &mut SeededRng::new(1))
                .unwrap();
        assert_eq!(removed[0].as_str(), "Server2");
        assert!(removed[1].as_str() == "Server1" || removed[1].as_str() == "Server3");

        for seed in 0..10 {
            let (drained, mut rng) = (&three[1..2], SeededRng::new(seed));
            let removed = choose_names_to_remove(1, &[], &three, drained, &mut rng).unwrap();
            assert_eq!(removed, drained);
        }
    }
}
