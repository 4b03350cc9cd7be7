//! What a start makes of the record that it finds, and what changes make of it.

use std::collections::HashSet;

use super::Existing;
use super::Maintenance;
use super::record::{FleetFlags, FleetRecord, RecordedReplica, RingSettings, StackSeen};
use super::record_flags::{AtStart, Difference, FlagsEffect};
use super::{Definition, RolloutChange};
use crate::api::Timestamp;
use crate::ring::{KeySource, Member, ReplicaName, Weight};

/// Something that has become different about a fleet, for its record.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordChange {
    /// These replicas are wanted from now on.
    Add(Vec<Member>),
    /// These replicas are not wanted any more.
    Remove(Vec<ReplicaName>),
    /// Replicas have other weights.
    SetWeights(Vec<(ReplicaName, Weight)>),
    /// A replica is drained from now on, or is not any more.
    SetDrained(ReplicaName, bool),
    /// The ring is built in another way.
    Ring(RingSettings),
    /// Something else is hashed for a request.
    Key(KeySource),
    /// Replicas have another definition by the owner of their instances.
    Definition(Box<Definition>),
    /// `--image-watch` has seen this digest.
    WatchedDigest(String),
    /// Every request is answered with a page from now on, or none is any more.
    Maintenance(Option<Maintenance>),
    /// A rollout has begun, gone on or ended.
    Rollout {
        /// What has become of it.
        change: RolloutChange,
        /// The balancer that says so.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// What a stack file says has been taken up.
    Stack(StackSeen),
    /// What the flags say of the definition has been taken up.
    Flags(Box<FleetFlags>),
}

impl FleetRecord {
    /// A record where there is none: of the instances that run, and of as many replicas as the
    /// flags ask for.
    pub fn rebuild(flags: &FleetFlags, found: &[Existing]) -> Self {
        let mut names = HashSet::new();
        let mut found: Vec<_> = found.iter().map(|found| &found.order).collect();
        // Of two instances of a name the newer says its weight.
        found.sort_by_key(|order| std::cmp::Reverse(order.id.generation));
        found.retain(|order| names.insert(order.id.replica.clone()));
        found.sort_by_key(|order| order.ordinal);
        let members: Vec<_> = found
            .into_iter()
            .map(|order| Member {
                name: order.id.replica.clone(),
                weight: order.weight,
            })
            .collect();
        let mut record = Self::first(flags, &members);
        record.fill_up(flags);
        record
    }

    /// The record after a start with these flags, and how they differ from those that it came
    /// from, if they do.
    ///
    /// * The same flags: the record holds.
    /// * Other flags, and other balancers serve the fleet: the record holds, too.
    /// * Other flags otherwise: replicas that are missing are added, none is removed; the
    ///   ring and the key are those of the flags if these have changed in what they say of them; and the
    ///   definition is that of the flags, by a rollout if instances of the earlier one run.
    pub fn merge(&self, flags: &FleetFlags, at_start: AtStart) -> (Self, Option<Difference>) {
        if self.came_from(flags) {
            return (self.clone(), None);
        }
        let (before, after) = (&self.flags, flags.kept());
        let mut words = self.definition_differences(flags);
        let (was, is) = (before.replicas, after.replicas);
        if was != is {
            words.push(format!("replicas {was} -> {is}"));
        }
        words.extend(ring_differences(&before.ring, &after.ring));
        if before.key != after.key {
            words.push(format!("key {} -> {}", before.key, after.key));
        }
        let mut merged = self.clone();
        let mut effect = FlagsEffect::Overruled;
        if at_start != AtStart::Shared {
            if before.ring != after.ring {
                merged.ring = after.ring;
            }
            if before.key != after.key {
                merged.key = Some(after.key);
            }
            if was != is {
                merged.fill_up(flags);
            }
            effect = merged.follow(flags, at_start);
            merged.version += 1;
        }
        // Flags that have come to say what a rollout has brought are none that differ.
        let differs = !words.is_empty();
        (merged, differs.then_some(Difference { words, effect }))
    }

    /// The record after some changes, one version on; none if they change nothing.
    pub fn with(&self, changes: &[RecordChange]) -> Option<Self> {
        let mut changed = self.clone();
        for change in changes {
            changed.apply(change);
        }
        if changed == *self {
            return None;
        }
        changed.version += 1;
        Some(changed)
    }

    fn apply(&mut self, change: &RecordChange) {
        match change {
            RecordChange::Add(members) => {
                for member in members {
                    match self.find(&member.name) {
                        Some(replica) => replica.weight = member.weight.get(),
                        None => self.replicas.push(RecordedReplica::of(member)),
                    }
                }
            }
            RecordChange::Remove(names) => {
                let leaves = |name: &str| names.iter().any(|leaver| leaver.as_str() == name);
                self.replicas.retain(|replica| !leaves(&replica.name));
            }
            RecordChange::SetWeights(weights) => {
                for (name, weight) in weights {
                    if let Some(replica) = self.find(name) {
                        replica.weight = weight.get();
                    }
                }
            }
            RecordChange::SetDrained(name, drained) => {
                if let Some(replica) = self.find(name) {
                    replica.drained = *drained;
                }
            }
            RecordChange::Ring(ring) => self.ring = *ring,
            RecordChange::Key(key) => self.key = Some(key.clone()),
            RecordChange::Definition(definition) => self.take_definition((**definition).clone()),
            RecordChange::WatchedDigest(digest) => self.watched_digest = Some(digest.clone()),
            RecordChange::Maintenance(maintenance) => self.maintenance.clone_from(maintenance),
            RecordChange::Rollout { change, by, at } => self.apply_rollout(change, by, *at),
            RecordChange::Stack(seen) => self.stack = Some(seen.clone()),
            RecordChange::Flags(flags) => self.take_up(flags),
        }
    }

    pub(super) fn find(&mut self, name: &ReplicaName) -> Option<&mut RecordedReplica> {
        let mut replicas = self.replicas.iter_mut();
        replicas.find(|replica| replica.name == name.as_str())
    }

    /// Adds replicas until there are as many as the flags ask for.
    fn fill_up(&mut self, flags: &FleetFlags) {
        for name in &flags.replicas {
            if self.replicas.len() >= flags.replicas.len() {
                return;
            }
            if self.find(name).is_none() {
                let member = Member::new(name.clone());
                self.replicas.push(RecordedReplica::of(&member));
            }
        }
    }
}

fn ring_differences(before: &RingSettings, after: &RingSettings) -> Vec<String> {
    let none = || "none".to_owned();
    let shown = |ring: &RingSettings| {
        let servers = ring.spec.virtual_servers();
        [
            ring.spec.strategy().to_string(),
            ring.spec.slots().to_string(),
            servers.map_or_else(none, |k| k.to_string()),
            ring.balance_factor.map_or_else(none, |f| f.to_string()),
        ]
    };
    let names = ["strategy", "slots", "virtual-servers", "balance-factor"];
    let pairs = shown(before).into_iter().zip(shown(after)).zip(names);
    let differ = pairs.filter(|((was, is), _)| was != is);
    differ
        .map(|((was, is), name)| format!("{name} {was} -> {is}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::flags;
    use crate::fleet::{InstanceId, LaunchOrder};
    use crate::ring::testing::member;
    use crate::ring::{BalanceFactor, RingSpec, Strategy};

    fn name(text: &str) -> ReplicaName {
        text.parse().unwrap()
    }

    fn weight(number: u32) -> Weight {
        Weight::new(number).unwrap()
    }

    fn maintenance() -> Maintenance {
        Maintenance {
            since: Timestamp::EPOCH,
            page: "<h1>\"Back\" soon</h1>\n".to_owned(),
            retry_after_seconds: 60,
        }
    }

    fn other_ring() -> RingSettings {
        RingSettings {
            spec: RingSpec::new(Strategy::Maglev, None, None).unwrap(),
            balance_factor: Some(BalanceFactor::new(1.5).unwrap()),
        }
    }

    fn names(record: &FleetRecord) -> Vec<&str> {
        record.replicas.iter().map(|r| r.name.as_str()).collect()
    }

    fn running(replica: &str, generation: u64, weight: u32, ordinal: u64) -> Existing {
        Existing {
            order: LaunchOrder {
                id: InstanceId::new(name(replica), generation),
                weight: Weight::new(weight).unwrap(),
                ordinal,
            },
            endpoint: None,
            definition: None,
        }
    }

    #[test]
    fn a_fleet_that_never_was_is_as_the_flags_say() {
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &[]);
        assert_eq!(names(&record), ["Server1", "Server2", "Server3"]);
        assert_eq!(record.version, 1);
        let merged = record.merge(&flags("shop:1", 3), AtStart::Running);
        assert_eq!(merged, (record.clone(), None));
    }

    #[test]
    fn a_lost_record_is_rebuilt_from_what_runs_and_filled_up() {
        let found = [
            running("heavy", 1, 3, 7),
            running("Server2", 4, 2, 2),
            running("Server2", 3, 9, 2),
        ];
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &found);
        assert_eq!(names(&record), ["Server2", "heavy", "Server1"]);
        let weights: Vec<_> = record.replicas.iter().map(|r| r.weight).collect();
        assert_eq!(weights, [2, 3, 1]);
        // More than the flags ask for: they may be wanted.
        let record = FleetRecord::rebuild(&flags("shop:1", 1), &found);
        assert_eq!(names(&record), ["Server2", "heavy"]);
    }

    #[test]
    fn the_same_flags_leave_what_was_changed_on_request() {
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &[]);
        let heavy = member("heavy", 3);
        let changed = record
            .with(&[
                RecordChange::Add(vec![heavy]),
                RecordChange::Remove(vec![name("Server1")]),
                RecordChange::SetWeights(vec![(name("Server2"), weight(5))]),
                RecordChange::SetDrained(name("Server3"), true),
                RecordChange::Ring(other_ring()),
                RecordChange::Maintenance(Some(maintenance())),
            ])
            .unwrap();
        assert_eq!(changed.version, 2);
        let (kept, difference) = changed.merge(&flags("shop:1", 3), AtStart::Running);
        assert_eq!(difference, None);
        assert_eq!(names(&kept), ["Server2", "Server3", "heavy"]);
        assert_eq!(kept.members()[0].weight, weight(5));
        assert_eq!(kept.members()[2].weight, weight(3));
        assert_eq!(kept.ring, other_ring());
        assert_eq!(kept.drained(), [name("Server3")]);
        assert_eq!(kept.maintenance, Some(maintenance()));
        assert_eq!(FleetRecord::parse(&kept.to_json()), Ok(kept.clone()));
        let over = kept.with(&[RecordChange::Maintenance(None)]).unwrap();
        assert_eq!(over.maintenance, None);
        // Another balancer adds it as well, or a heavier one.
        let again = RecordChange::Add(vec![member("Server3", 2)]);
        assert_eq!(kept.with(&[again]).unwrap().drained(), kept.drained());
    }

    #[test]
    fn other_flags_change_what_they_are_about_and_nothing_else() {
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &[]);
        let record = record
            .with(&[
                RecordChange::Remove(vec![name("Server2")]),
                RecordChange::Ring(other_ring()),
            ])
            .unwrap();

        let (merged, difference) = record.merge(&flags("shop:2", 3), AtStart::Ended);
        let difference = difference.unwrap();
        assert_eq!(difference.words, ["image shop:1 -> shop:2"]);
        assert_eq!(difference.effect, FlagsEffect::AtOnce);
        assert_eq!(merged.definition.image.as_deref(), Some("shop:2"));
        assert_eq!(merged.definition_hash, flags("shop:2", 0).definition.hash());
        assert_eq!(names(&merged), ["Server1", "Server3"]);
        assert_eq!(merged.ring, other_ring());
        assert_eq!(merged.version, record.version + 1);
        // The next start with them finds them in the record.
        assert_eq!(merged.merge(&flags("shop:2", 3), AtStart::Running).1, None);

        let (merged, difference) = record.merge(&flags("shop:1", 4), AtStart::Running);
        assert_eq!(difference.unwrap().words, ["replicas 3 -> 4"]);
        assert_eq!(names(&merged), ["Server1", "Server3", "Server2", "Server4"]);
        // None is removed.
        let fewer = record.merge(&flags("shop:1", 1), AtStart::Running).0;
        assert_eq!(names(&fewer), names(&record));

        let mut other = flags("shop:1", 3);
        other.ring.balance_factor = Some(BalanceFactor::new(2.0).unwrap());
        let (merged, difference) = record.merge(&other, AtStart::Running);
        assert_eq!(difference.unwrap().words, ["balance-factor none -> 2"]);
        assert_eq!(merged.ring, other.ring);
    }

    #[test]
    fn flags_of_the_same_image_keep_its_digest() {
        let first = flags("shop:1", 3);
        let pinned = flags("shop:1@sha256:ab", 3).definition;
        let mut record = FleetRecord::rebuild(&first, &[]);
        record.take_definition(pinned.clone());
        assert_eq!(record.merge(&first, AtStart::Ended), (record.clone(), None));
        // More replicas, and then a variable.
        let (merged, _) = record.merge(&flags("shop:1", 4), AtStart::Ended);
        assert_eq!(merged.definition, pinned);
        let mut green = flags("shop:1", 3);
        green.definition.template.env = vec![("COLOUR".to_owned(), "green".to_owned())];
        let (merged, difference) = record.merge(&green, AtStart::Ended);
        let words = ["env: COLOUR is new"];
        assert_eq!(difference.unwrap().words, words);
        assert_eq!(merged.definition.image, pinned.image);
        assert_eq!(merged.definition_hash, merged.definition.hash());
        let mut more = green.clone();
        more.replicas.push(name("Server4"));
        let (again, difference) = merged.merge(&more, AtStart::Ended);
        assert_eq!(difference.unwrap().words, ["replicas 3 -> 4"]);
        assert_eq!(again.definition, merged.definition);
        // Another tag.
        let (other, _) = record.merge(&flags("shop:2", 3), AtStart::Ended);
        assert_eq!(other.definition.image.as_deref(), Some("shop:2"));
    }

    #[test]
    fn balancer_that_joins_others_takes_the_record_as_it_is() {
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &[]);
        let (merged, difference) = record.merge(&flags("shop:2", 5), AtStart::Shared);
        assert_eq!(merged, record);
        let difference = difference.unwrap();
        let words = ["image shop:1 -> shop:2", "replicas 3 -> 5"];
        assert_eq!(difference.words, words);
        assert_eq!(difference.effect, FlagsEffect::Overruled);
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let record = FleetRecord::rebuild(&flags("shop:1", 2), &[]);
        let there = Member::new(name("Server1"));
        for change in [
            RecordChange::Add(vec![there]),
            RecordChange::Remove(vec![name("unknown")]),
            RecordChange::SetWeights(vec![(name("unknown"), weight(2))]),
            RecordChange::SetWeights(vec![(name("Server2"), weight(1))]),
            RecordChange::SetDrained(name("unknown"), true),
            RecordChange::SetDrained(name("Server2"), false),
            RecordChange::Maintenance(None),
            RecordChange::Ring(record.ring),
        ] {
            let changed = record.with(std::slice::from_ref(&change));
            assert_eq!(changed, None, "{change:?}");
        }
    }
}
