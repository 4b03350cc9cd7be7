//! The fleet record: what a fleet should be, kept where a balancer that is killed cannot lose
//! it. Containers and processes say what is; the record says what is wanted.
//!
//! A record has a version. A balancer writes the version after the one that it read,
//! and a store lets only one do so: see `runtime::record`.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::maintenance::{MAX_PAGE, Maintenance};
use super::record_definition::{Definition, hash};
use super::rollout_state::{PastRollout, RecordedRollout};
use super::{Desired, MAX_REPLICAS};
use crate::ring::{BalanceFactor, KeySource, Member, ReplicaName, RingSpec, Weight};

/// The layout that this release writes. Parts may be added to it: an older release leaves out
/// what it does not know. A layout that it must not touch gets a higher number.
const FORMAT: u32 = 1;

/// The highest version, and the highest number of a rollout: as many again could follow it.
const MAX_NUMBER: u64 = u64::MAX / 2;

/// One fleet's desired state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetRecord {
    format: u32,
    /// Counts the changes of the record.
    pub version: u64,
    /// The desired replicas, in the order of joining.
    pub replicas: Vec<RecordedReplica>,
    /// What they run.
    pub definition: Definition,
    /// Its hash, for people and for the instances' labels.
    pub definition_hash: String,
    /// How the ring is built, and how its load is bounded.
    pub ring: RingSettings,
    /// What is hashed for a request; none, in a record of an earlier release: what the flags say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeySource>,
    /// The image's tag with the digest that `--image-watch` has seen last at its registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_digest: Option<String>,
    /// Every request is answered with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// The part of the flags that the record came from.
    pub(super) flags: FlagsKept,
    /// Hash of all flags that it came from; empty while their definition has yet to be rolled out.
    pub(super) flags_hash: String,
    /// Hash of the definition that the last flags say that have been taken up, where another one holds: a
    /// rollout has brought it, or what they say was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) flags_definition: Option<String>,
    /// The rollout that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RecordedRollout>,
    /// The last rollouts that have ended, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past_rollouts: Vec<PastRollout>,
    /// What a stack file has last said, where one says what replicas run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackSeen>,
}

/// One desired replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedReplica {
    /// Its name.
    pub name: String,
    /// Its share of the keys beside the others'.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// It gets no requests, because an operator wants it so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// It has the definition of the rollout that is under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub updated: bool,
}

fn one() -> u32 {
    1
}

fn is_one(weight: &u32) -> bool {
    *weight == 1
}

/// What a stack file has said when it was last taken up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackSeen {
    /// The hash of the definition.
    pub definition: String,
    /// How many replicas there were to be.
    pub replicas: usize,
}

/// How the ring is built, and how its load is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "RingText", into = "RingText")]
pub struct RingSettings {
    /// The recipe of the slot table.
    pub spec: RingSpec,
    /// How far above its fair share of the load a replica may be.
    pub balance_factor: Option<BalanceFactor>,
}

/// [`RingSettings`] as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RingText {
    strategy: String,
    slots: u32,
    virtual_servers: Option<u32>,
    balance_factor: Option<f64>,
}

impl From<RingSettings> for RingText {
    fn from(ring: RingSettings) -> Self {
        Self {
            strategy: ring.spec.strategy().name().to_owned(),
            slots: ring.spec.slots(),
            virtual_servers: ring.spec.virtual_servers(),
            balance_factor: ring.balance_factor.map(BalanceFactor::get),
        }
    }
}

impl TryFrom<RingText> for RingSettings {
    type Error = String;

    fn try_from(text: RingText) -> Result<Self, String> {
        let strategy = text.strategy.parse().map_err(|error| format!("{error}"))?;
        let spec = RingSpec::new(strategy, Some(text.slots), text.virtual_servers);
        let factor = text.balance_factor.map(BalanceFactor::new).transpose();
        Ok(Self {
            spec: spec.map_err(|error| error.to_string())?,
            balance_factor: factor.map_err(|error| error.to_string())?,
        })
    }
}

/// What the flags say of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetFlags {
    /// The replicas to begin with.
    pub replicas: Vec<ReplicaName>,
    /// What they run.
    pub definition: Definition,
    /// How the ring is built.
    pub ring: RingSettings,
    /// What is hashed for a request.
    pub key: KeySource,
}

/// What has to be known of the flags later to see which of them have changed. (The definition
/// is kept as such.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FlagsKept {
    pub(super) replicas: usize,
    pub(super) ring: RingSettings,
    /// Left out if it is the default, so that records of earlier releases hash as they did.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) key: KeySource,
}

fn is_default(key: &KeySource) -> bool {
    *key == KeySource::default()
}

impl FleetFlags {
    pub(super) fn kept(&self) -> FlagsKept {
        FlagsKept {
            replicas: self.replicas.len(),
            ring: self.ring,
            key: self.key.clone(),
        }
    }

    /// Equal for flags that say the same of the fleet.
    pub fn hash(&self) -> String {
        hash(&(&self.definition, self.kept()))
    }
}

impl RecordedReplica {
    pub(super) fn of(member: &Member) -> Self {
        Self {
            name: member.name.to_string(),
            weight: member.weight.get(),
            drained: false,
            updated: false,
        }
    }
}

impl FleetRecord {
    /// The first record of a fleet: these replicas, and what the flags say of the rest.
    pub(super) fn first(flags: &FleetFlags, members: &[Member]) -> Self {
        Self {
            format: FORMAT,
            version: 1,
            replicas: members.iter().map(RecordedReplica::of).collect(),
            definition: flags.definition.clone(),
            definition_hash: flags.definition.hash(),
            ring: flags.ring,
            key: Some(flags.key.clone()),
            watched_digest: None,
            maintenance: None,
            flags: flags.kept(),
            flags_hash: flags.hash(),
            flags_definition: None,
            rollout: None,
            past_rollouts: Vec::new(),
            stack: None,
        }
    }

    /// Reads what [`FleetRecord::to_json`] wrote, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if format > FORMAT {
            return Err(format!(
                "it has format {format}, which a newer release of ringmaster wrote; this one reads up to {FORMAT}"
            ));
        }
        let record: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        record.check()?;
        Ok(record)
    }

    /// Reads a record that its store has under this version: it counts, not what the text says.
    pub fn parse_version(text: &str, version: u64) -> Result<Self, String> {
        let record = Self {
            version,
            ..Self::parse(text)?
        };
        record.check_numbers()?;
        Ok(record)
    }

    /// What comes next has to have a number, too.
    fn check_numbers(&self) -> Result<(), String> {
        let rollouts = self.past_rollouts.iter().map(|rollout| rollout.id);
        let rollouts = rollouts.chain(self.rollout.as_ref().map(|rollout| rollout.id));
        let numbers = rollouts.map(|id| ("rollout", id));
        let mut numbers = numbers.chain([("version", self.version)]);
        match numbers.find(|(_, number)| *number > MAX_NUMBER) {
            Some((what, number)) => {
                Err(format!("{what} {number}: at most {MAX_NUMBER} is allowed"))
            }
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.check_numbers()?;
        let stack = self.stack.as_ref().map_or(0, |stack| stack.replicas);
        let counts = [self.replicas.len(), self.flags.replicas, stack];
        if counts.into_iter().any(|count| count > MAX_REPLICAS) {
            return Err(format!("more than {MAX_REPLICAS} replicas"));
        }
        let maintenance = self.maintenance.as_ref();
        if maintenance.is_some_and(|maintenance| maintenance.page.len() > MAX_PAGE) {
            return Err(format!("a maintenance page of more than {MAX_PAGE} bytes"));
        }
        let mut names = HashSet::new();
        for replica in &self.replicas {
            let name = replica.name.parse::<ReplicaName>();
            name.map_err(|error| error.to_string())?;
            if !names.insert(&replica.name) {
                return Err(format!("replica {} is in it twice", replica.name));
            }
            if Weight::new(replica.weight).is_none() {
                let (name, weight) = (&replica.name, replica.weight);
                return Err(format!("replica {name} has the weight {weight}"));
            }
        }
        Ok(())
    }

    /// The record as text, on one line.
    pub fn to_json(&self) -> String {
        // Its keys are text and its numbers finite: nothing that JSON lacks.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The desired replicas as the ring sees them.
    pub fn members(&self) -> Vec<Member> {
        let member = |replica: &RecordedReplica| Member {
            name: ReplicaName::from_address(&replica.name),
            // There is no other: see `check`.
            weight: Weight::new(replica.weight).unwrap_or_default(),
        };
        self.replicas.iter().map(member).collect()
    }

    /// The replicas that an operator has drained.
    pub fn drained(&self) -> Vec<ReplicaName> {
        let drained = self.replicas.iter().filter(|replica| replica.drained);
        drained
            .map(|replica| ReplicaName::from_address(&replica.name))
            .collect()
    }

    /// Whether the record came from flags that say the same.
    pub fn came_from(&self, flags: &FleetFlags) -> bool {
        self.flags_hash == flags.hash()
    }

    /// What a fleet should be that begins with this record.
    pub(crate) fn desired(&self) -> Desired {
        let updated = self.replicas.iter().filter(|replica| replica.updated);
        Desired {
            members: self.members(),
            definition: self.definition.clone(),
            rollout: self.rollout.clone(),
            updated: updated
                .map(|replica| ReplicaName::from_address(&replica.name))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{RolloutOutcome, Timestamp};
    use crate::fleet::testing::{self, definition, recorded_rollout};

    fn flags() -> FleetFlags {
        FleetFlags {
            ring: RingSettings {
                spec: RingSpec::default(),
                balance_factor: Some(BalanceFactor::new(1.25).unwrap()),
            },
            key: KeySource::Path,
            ..testing::flags("shop:1", 2)
        }
    }

    fn record() -> FleetRecord {
        let members = flags().replicas.into_iter().map(Member::new);
        let mut members: Vec<_> = members.collect();
        members[1].weight = Weight::new(3).unwrap();
        FleetRecord::first(&flags(), &members)
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let text = record().to_json();
        assert!(!text.contains('\n'));
        assert_eq!(FleetRecord::parse(&text), Ok(record()));
        assert_eq!(record().members()[1].weight.get(), 3);
        assert!(record().came_from(&flags()));
        // One of an earlier release has no key.
        let earlier = text.replacen(",\"key\":\"path\"", "", 1);
        assert_eq!(FleetRecord::parse(&earlier).unwrap().key, None);
        // Parts that a later release adds do no harm.
        let later = text.replacen('{', "{\"canary\":{\"step\":1},", 1);
        assert_eq!(FleetRecord::parse(&later), Ok(record()));
    }

    #[test]
    fn flags_keep_a_key_only_if_it_is_not_the_default() {
        let kept = |flags: FleetFlags| serde_json::to_value(flags.kept()).unwrap();
        assert_eq!(kept(flags())["key"], "path");
        let default = FleetFlags {
            key: KeySource::default(),
            ..flags()
        };
        assert_eq!(kept(default).get("key"), None);
    }

    #[test]
    fn a_broken_record_is_refused_with_what_is_wrong() {
        let text = record().to_json();
        for (from, to, wrong) in [
            ("{", "", "expected"),
            ("\"format\":1", "\"format\":2", "a newer release"),
            ("Server2", "Server1", "replica Server1 is in it twice"),
            ("Server2", "a b", "\"a b\" is not a replica name"),
            ("\"weight\":3", "\"weight\":0", "has the weight 0"),
            ("bounded", "spiral", "spiral"),
            ("1.25", "0.1", "balance factor"),
            ("\"path\"", "\"moon\"", "not a kind of key"),
            ("\"version\":1", "\"version\":-1", "-1"),
            (
                "\"version\":1",
                "\"version\":18446744073709551615",
                "version 18446744073709551615: at most 9223372036854775807 is allowed",
            ),
            (
                "\"flags\":{\"replicas\":2",
                "\"flags\":{\"replicas\":1025",
                "more than 1024 replicas",
            ),
        ] {
            let text = text.replacen(from, to, 1);
            // Whatever the default strategy is called.
            let text = match from {
                "bounded" => text.replace(RingSpec::default().strategy().name(), to),
                _ => text,
            };
            let error = FleetRecord::parse(&text).unwrap_err();
            assert!(error.contains(wrong), "{from} -> {to}: {error}");
        }
        assert!(FleetRecord::parse("").is_err());
        let of_store = |version| FleetRecord::parse_version(&text, version).map(|r| r.version);
        assert_eq!(of_store(7), Ok(7));
        assert!(of_store(u64::MAX).unwrap_err().starts_with("version 184"));
        assert_eq!(of_store(MAX_NUMBER), Ok(MAX_NUMBER));
        assert!(of_store(MAX_NUMBER + 1).is_err());
    }

    #[test]
    fn rollout_after_which_no_number_is_left_is_refused() {
        let past = |id| PastRollout {
            id,
            changes: Vec::new(),
            outcome: RolloutOutcome::Done,
            reason: None,
            started_at: Timestamp::EPOCH,
            finished_at: Timestamp::EPOCH,
            replicas: 2,
            before: None,
        };
        let parsed = |id| {
            let record = FleetRecord {
                past_rollouts: vec![past(id)],
                ..record()
            };
            FleetRecord::parse(&record.to_json()).map(|record| record.next_rollout())
        };
        assert_eq!(parsed(4), Ok(5));
        assert_eq!(parsed(MAX_NUMBER), Ok(MAX_NUMBER + 1));
        for id in [MAX_NUMBER + 1, u64::MAX] {
            let wrong = format!("rollout {id}: at most {MAX_NUMBER} is allowed");
            assert_eq!(parsed(id), Err(wrong));
        }
        // The one that is under way counts as well.
        let under_way = |id| {
            let record = FleetRecord {
                rollout: Some(recorded_rollout(id, definition("shop:2"), "here")),
                ..record()
            };
            FleetRecord::parse(&record.to_json()).map(|_| ())
        };
        assert_eq!(under_way(MAX_NUMBER), Ok(()));
        assert!(under_way(MAX_NUMBER + 1).is_err());
    }

    fn record_of(replicas: usize) -> FleetRecord {
        let names = (1..=replicas).map(|n| format!("Server{n}").parse().unwrap());
        let members: Vec<_> = names.map(Member::new).collect();
        FleetRecord::first(&flags(), &members)
    }

    #[test]
    fn a_thousand_replicas_take_little_room() {
        assert!(record_of(1024).to_json().len() < 32 * 1024);
    }

    #[test]
    fn record_of_more_than_there_may_be_is_refused() {
        let parsed = |record: &FleetRecord| FleetRecord::parse(&record.to_json()).map(|_| ());
        assert_eq!(parsed(&record_of(1_024)), Ok(()));
        let wrong = "more than 1024 replicas".to_owned();
        for replicas in [1_025, 1_026] {
            assert_eq!(parsed(&record_of(replicas)), Err(wrong.clone()));
        }
        let with_flags = |replicas| {
            let mut record = record();
            record.flags.replicas = replicas;
            parsed(&record)
        };
        assert_eq!(with_flags(1_024), Ok(()));
        assert_eq!(with_flags(1_025), Err(wrong.clone()));
        let with_stack = |replicas| {
            let (stack, record) = (
                Some(StackSeen {
                    definition: String::new(),
                    replicas,
                }),
                record(),
            );
            parsed(&FleetRecord { stack, ..record })
        };
        assert_eq!(with_stack(1_024), Ok(()));
        assert_eq!(with_stack(1_025), Err(wrong));
        let page_of = |bytes| FleetRecord {
            maintenance: Some(Maintenance {
                since: Timestamp::EPOCH,
                page: "x".repeat(bytes),
                retry_after_seconds: 1,
            }),
            ..record()
        };
        assert_eq!(parsed(&page_of(65_536)), Ok(()));
        let wrong = "a maintenance page of more than 65536 bytes".to_owned();
        assert_eq!(parsed(&page_of(65_537)), Err(wrong));
    }
}
