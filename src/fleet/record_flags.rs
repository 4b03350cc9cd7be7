//! What becomes of the flags of a start that say something else than those that the record came from.
//!
//! ```text
//!   other balancers serve the fleet    nothing: the record holds
//!   instances run                      they serve on, and a rollout brings what the flags say
//!   nothing runs                       what the flags say, at once
//! ```
//!
//! Flags are taken up once: when their rollout begins, the record notes which they are. So what has been
//! rolled back or undone is not begun again by a restart with the same flags, and what a rollout on
//! request has brought stays.

use super::image_watch::watched_tag;
use super::record::{FleetFlags, FleetRecord};
use super::record_definition::Definition;
use super::rollout_state::{Course, RecordedRollout};

/// How a balancer finds its fleet when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// Other balancers serve it.
    Shared,
    /// Instances have outlived the last balancer.
    Running,
    /// Nothing runs.
    Ended,
}

/// How the flags of a start differ from those that the record came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Each difference in words.
    pub words: Vec<String>,
    /// What the flags have changed.
    pub effect: FlagsEffect,
}

/// What becomes of flags that differ.
#[derive(Debug, Clone, PartialEq)]
pub enum FlagsEffect {
    /// Other balancers serve the fleet, so the record holds and these flags have no effect.
    Overruled,
    /// What is started from now on follows them.
    AtOnce,
    /// So does what is started, but for their definition, which a rollout is to bring.
    Rollout(Box<PendingRollout>),
}

/// A rollout that flags ask for, and that has yet to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingRollout {
    /// What replicas are to run.
    pub to: Definition,
    /// The flags, for the record.
    pub flags: FleetFlags,
}

impl FleetRecord {
    /// Whether these flags say of the definition what those say that have been taken up last.
    pub fn has_taken_up(&self, flags: &FleetFlags) -> bool {
        match &self.flags_definition {
            Some(hash) => *hash == flags.definition.hash(),
            None => self.definition == flags.definition,
        }
    }

    /// How the flags' definition differs from what replicas run, or are about to, in words. None of them
    /// if the flags have not changed in this.
    pub(super) fn definition_differences(&self, flags: &FleetFlags) -> Vec<String> {
        if self.has_taken_up(flags) {
            return Vec::new();
        }
        let to = self.definition_by(flags);
        let is_wanted = |rollout: &&RecordedRollout| rollout.to == to || self.is_by_flags(rollout);
        let coming = self.rollout.as_ref().filter(|rollout| !goes_back(rollout));
        let coming = coming.filter(is_wanted);
        let present = coming.map_or(&self.definition, |rollout| &rollout.to);
        present.differences(&to)
    }

    /// Follows the flags of a start, and says what becomes of their definition.
    pub(super) fn follow(&mut self, flags: &FleetFlags, at_start: AtStart) -> FlagsEffect {
        let to = self.definition_by(flags);
        let rollout = self.rollout.as_ref();
        let is_brought = rollout.is_some_and(|r| r.to == to && !goes_back(r));
        let is_by_flags = rollout.is_some_and(|r| self.is_by_flags(r));
        match at_start {
            _ if self.has_taken_up(flags) => {}
            AtStart::Running if is_brought => {}
            // A difference without words is not worth a rollout.
            AtStart::Running if self.definition.differences(&to).is_empty() => {
                if is_by_flags {
                    self.turn_rollout_back();
                }
                self.set_definition(to);
            }
            AtStart::Running => {
                self.turn_rollout_back();
                self.flags = flags.kept();
                self.flags_hash.clear();
                let flags = flags.clone();
                return FlagsEffect::Rollout(Box::new(PendingRollout { to, flags }));
            }
            AtStart::Shared | AtStart::Ended => {
                if is_by_flags || to != self.definition {
                    self.supersede_rollouts();
                }
                self.set_definition(to);
            }
        }
        self.take_up(flags);
        FlagsEffect::AtOnce
    }

    /// Notes that the record follows these flags, whatever replicas run.
    pub(super) fn take_up(&mut self, flags: &FleetFlags) {
        let differs = self.definition != flags.definition;
        self.flags_definition = differs.then(|| flags.definition.hash());
        self.flags = flags.kept();
        self.flags_hash = flags.hash();
    }

    /// What replicas are to run by these flags: an image that is pinned stays so while its tag is the same.
    fn definition_by(&self, flags: &FleetFlags) -> Definition {
        flags.definition.with_digest_of(&self.definition)
    }

    /// Whether a rollout brings what the last flags say that have been taken up.
    fn is_by_flags(&self, rollout: &RecordedRollout) -> bool {
        let is_said = |to: &Definition| self.flags_definition.as_ref() == Some(&to.hash());
        let mut by_tag = rollout.to.clone();
        by_tag.image = by_tag.image.as_deref().and_then(watched_tag);
        is_said(&rollout.to) || is_said(&by_tag)
    }

    fn set_definition(&mut self, definition: Definition) {
        self.definition_hash = definition.hash();
        self.definition = definition;
    }
}

fn goes_back(rollout: &RecordedRollout) -> bool {
    rollout.stage.course() == Course::Back
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::api::{RolloutOutcome, Timestamp};
    use crate::fleet::rollout_state::{RolloutChange, Stage};
    use crate::fleet::testing::{self, definition, recorded_rollout};
    use crate::fleet::tests::POLICY;
    use crate::fleet::{
        ContainerTemplate, DeferredStep, Existing, Fleet, ImmediateStep, InstanceId, LaunchOrder,
        RecordChange, RingSettings, Step,
    };
    use crate::ring::{BalanceFactor, ReplicaName};

    const NOW: Timestamp = Timestamp::EPOCH;

    fn name(number: usize) -> ReplicaName {
        format!("Server{number}").parse().unwrap()
    }

    fn flags_for(definition: Definition) -> FleetFlags {
        FleetFlags {
            definition,
            ..flags("shop:1")
        }
    }

    fn flags(image: &str) -> FleetFlags {
        testing::flags(image, 3)
    }

    fn first() -> FleetRecord {
        FleetRecord::rebuild(&flags("shop:1"), &[])
    }

    fn said(change: RolloutChange) -> RecordChange {
        RecordChange::Rollout {
            change,
            by: POLICY.balancer.to_owned(),
            at: NOW,
        }
    }

    fn began(id: u64, to: &Definition) -> RecordChange {
        let rollout = recorded_rollout(id, to.clone(), POLICY.balancer);
        said(RolloutChange::Began(Box::new(rollout)))
    }

    fn moved(id: u64, stage: Stage) -> RecordChange {
        let reason = Some("why".to_owned());
        said(RolloutChange::Moved { id, stage, reason })
    }

    fn ended(id: u64, outcome: RolloutOutcome) -> RecordChange {
        let reason = None;
        said(RolloutChange::Ended {
            id,
            outcome,
            reason,
        })
    }

    fn with(record: &FleetRecord, changes: &[RecordChange]) -> FleetRecord {
        let record = record.with(changes).expect("it changes something");
        assert_eq!(FleetRecord::parse(&record.to_json()), Ok(record.clone()));
        record
    }

    /// A start of a balancer that is alone and finds instances; the rollout that it has to begin, if any.
    fn start(record: &FleetRecord, flags: &FleetFlags) -> (FleetRecord, Option<PendingRollout>) {
        let (merged, difference) = record.merge(flags, AtStart::Running);
        assert_eq!(FleetRecord::parse(&merged.to_json()), Ok(merged.clone()));
        match difference.map(|difference| difference.effect) {
            Some(FlagsEffect::Rollout(pending)) => (merged, Some(*pending)),
            _ => (merged, None),
        }
    }

    /// A start that has to begin a rollout, and does.
    fn start_and_begin(record: &FleetRecord, flags: &FleetFlags) -> FleetRecord {
        let (merged, pending) = start(record, flags);
        let PendingRollout { to, flags } = pending.expect("a rollout");
        let id = merged.next_rollout();
        with(
            &merged,
            &[began(id, &to), RecordChange::Flags(Box::new(flags))],
        )
    }

    #[test]
    fn what_runs_is_kept_until_a_rollout_begins_which_happens_once() {
        let record = first();
        let (waiting, difference) = record.merge(&flags("shop:2"), AtStart::Running);
        let difference = difference.unwrap();
        assert_eq!(difference.words, ["image shop:1 -> shop:2"]);
        assert_eq!(waiting.definition, definition("shop:1"));
        assert_eq!(waiting.definition_hash, definition("shop:1").hash());
        assert!(!waiting.has_taken_up(&flags("shop:2")));
        // The balancer dies before it begins.
        let begun = start_and_begin(&waiting, &flags("shop:2"));
        assert!(begun.has_taken_up(&flags("shop:2")));
        assert_eq!(begun.rollout.as_ref().unwrap().to, definition("shop:2"));
        // It dies amid the rollout, which goes on, and after it.
        assert_eq!(
            begun.merge(&flags("shop:2"), AtStart::Running),
            (begun.clone(), None)
        );
        let done = with(&begun, &[ended(1, RolloutOutcome::Done)]);
        assert_eq!(done.definition, definition("shop:2"));
        assert_eq!(
            done.merge(&flags("shop:2"), AtStart::Running),
            (done.clone(), None)
        );
        // A rollout on request stays, and other flags are a rollout again.
        let ctl = with(
            &done,
            &[
                began(2, &definition("shop:3")),
                ended(2, RolloutOutcome::Done),
            ],
        );
        assert_eq!(
            ctl.merge(&flags("shop:2"), AtStart::Running),
            (ctl.clone(), None)
        );
        let again = start_and_begin(&ctl, &flags("shop:1"));
        assert_eq!(again.rollout.unwrap().to, definition("shop:1"));
        // Where nothing runs there is nothing to replace.
        let (at_once, difference) = ctl.merge(&flags("shop:1"), AtStart::Ended);
        assert_eq!(difference.unwrap().effect, FlagsEffect::AtOnce);
        assert_eq!(at_once.definition, definition("shop:1"));
    }

    #[test]
    fn what_has_been_rolled_back_is_not_begun_again_until_the_flags_change() {
        let begun = start_and_begin(&first(), &flags("shop:2"));
        let back = with(&begun, &[ended(1, RolloutOutcome::RolledBack)]);
        assert_eq!(back.definition, definition("shop:1"));
        assert_eq!(
            back.merge(&flags("shop:2"), AtStart::Running),
            (back.clone(), None)
        );
        // Another number of replicas says nothing else of the definition.
        let mut more = flags("shop:2");
        more.replicas.push(name(4));
        let (scaled, difference) = back.merge(&more, AtStart::Running);
        let difference = difference.unwrap();
        assert_eq!(difference.words, ["replicas 3 -> 4"]);
        assert_eq!(difference.effect, FlagsEffect::AtOnce);
        assert_eq!(start(&scaled, &more), (scaled.clone(), None));
        // Flags that say what runs have nothing to bring; after them the others are tried again.
        let (as_it_is, pending) = start(&scaled, &flags("shop:1"));
        assert_eq!(pending, None);
        start_and_begin(&as_it_is, &flags("shop:2"));
    }

    #[test]
    fn flags_that_have_come_to_say_what_a_rollout_has_brought_are_no_difference() {
        let begun = with(&first(), &[began(1, &definition("shop:2"))]);
        // Amid it, too: it goes on.
        let (amid, difference) = begun.merge(&flags("shop:2"), AtStart::Running);
        assert_eq!((difference, &amid.rollout), (None, &begun.rollout));
        assert_eq!(start(&amid, &flags("shop:2")), (amid.clone(), None));
        let done = with(&begun, &[ended(1, RolloutOutcome::Done)]);
        let (after, difference) = done.merge(&flags("shop:2"), AtStart::Running);
        assert_eq!(difference, None);
        assert!(after.came_from(&flags("shop:2")));
    }

    #[test]
    fn flags_that_say_what_a_rollout_takes_back_are_a_rollout_of_their_own() {
        let begun = with(&first(), &[began(1, &definition("shop:2"))]);
        let back = with(&begun, &[moved(1, Stage::Running(Course::Back))]);
        let (_, difference) = back.merge(&flags("shop:2"), AtStart::Running);
        assert_eq!(difference.unwrap().words, ["image shop:1 -> shop:2"]);
        let (_, pending) = start(&back, &flags("shop:2"));
        assert_eq!(pending.unwrap().to, definition("shop:2"));
    }

    #[test]
    fn flags_that_are_not_taken_up_yet_hold_in_all_but_the_definition() {
        let mut other = flags("shop:2");
        other.replicas.push(name(4));
        other.ring.balance_factor = Some(BalanceFactor::new(2.0).unwrap());
        let (merged, pending) = start(&first(), &other);
        assert!(pending.is_some());
        assert_eq!(merged.replicas.len(), 4);
        assert_eq!(merged.ring, other.ring);
        // The same is still to be done by the next start, and no more.
        let (_, difference) = merged.merge(&other, AtStart::Running);
        assert_eq!(difference.unwrap().words, ["image shop:1 -> shop:2"]);
        // And the earlier flags take all of it back.
        let (back, pending) = start(&merged, &flags("shop:1"));
        assert_eq!((pending, back.ring), (None, RingSettings::default()));
        assert_eq!(start(&back, &flags("shop:1")), (back.clone(), None));
    }

    #[test]
    fn rollout_under_way_that_brings_something_else_is_rolled_back_first() {
        let begun = with(&first(), &[began(1, &definition("shop:2"))]);
        for stage in [
            Stage::Running(Course::Onward),
            Stage::Paused(Course::Trial),
            Stage::Running(Course::Canary),
            Stage::Paused(Course::Back),
        ] {
            let amid = with(&begun, &[moved(1, stage)]);
            let (merged, pending) = start(&amid, &flags("shop:3"));
            assert_eq!(pending.unwrap().to, definition("shop:3"), "{stage:?}");
            let rollout = merged.rollout.as_ref().unwrap();
            assert_eq!(rollout.stage, Stage::Running(Course::Back), "{stage:?}");
            // Why it went back before is not forgotten.
            let given_up = (stage.course() != Course::Back).then_some(1);
            assert_eq!(merged.rollout_given_up(), given_up, "{stage:?}");
            // Its reason is for people; a record of an earlier release has that alone.
            let mut reworded = merged.clone();
            reworded.rollout.as_mut().unwrap().reason = None;
            let text = reworded.to_json();
            assert_eq!(FleetRecord::parse(&text), Ok(reworded.clone()));
            assert_eq!(reworded.rollout_given_up(), given_up, "{stage:?}");
            let earlier = text.replacen(r#""given_up_for":"flags","#, "", 1);
            let earlier = FleetRecord::parse(&earlier).unwrap();
            assert_eq!(earlier.rollout.as_ref().unwrap().given_up_for, None);
            let back = with(&merged, &[ended(1, RolloutOutcome::RolledBack)]);
            start_and_begin(&back, &flags("shop:3"));
        }
        // Flags of a rollout that is under way have been taken back: it goes back, and that is all.
        let begun = start_and_begin(&first(), &flags("shop:2"));
        let (merged, difference) = begun.merge(&flags("shop:1"), AtStart::Running);
        let difference = difference.unwrap();
        assert_eq!(difference.words, ["image shop:2 -> shop:1"]);
        assert_eq!(difference.effect, FlagsEffect::AtOnce);
        assert_eq!(merged.rollout_given_up(), Some(1));
        let (merged, _) = begun.merge(&flags("shop:1"), AtStart::Ended);
        assert_eq!(
            (merged.rollout, merged.definition),
            (None, definition("shop:1"))
        );
        // But flags that have not changed leave a rollout on request alone.
        let on_request = with(&first(), &[began(1, &definition("shop:2"))]);
        let mut more = flags("shop:1");
        more.replicas.push(name(4));
        let (merged, _) = on_request.merge(&more, AtStart::Running);
        assert_eq!(merged.rollout, on_request.rollout);
    }

    #[test]
    fn replicas_that_a_rollout_had_come_to_get_their_definition_back() {
        let begun = with(&first(), &[began(1, &definition("shop:2"))]);
        let replaced = said(RolloutChange::Replaced {
            id: 1,
            instance: InstanceId::new(name(2), 2),
            updated: true,
        });
        let (merged, _) = start(&with(&begun, &[replaced]), &flags("shop:3"));
        let found = |number: usize, generation, image| Existing {
            order: LaunchOrder {
                id: InstanceId::new(name(number), generation),
                weight: Default::default(),
                ordinal: number as u64,
            },
            endpoint: Some(SocketAddr::from(([127, 0, 0, 1], 9))),
            definition: Some(definition(image).hash()),
        };
        let found = vec![
            found(1, 1, "shop:1"),
            found(2, 2, "shop:2"),
            found(3, 1, "shop:1"),
        ];
        let (_, steps) = Fleet::new(POLICY, merged.desired(), found, Duration::ZERO);
        let launched: Vec<_> = (steps.iter())
            .filter_map(|step| match step {
                Step::Deferred(DeferredStep::Launch(order, definition, _)) => {
                    Some((order.id.to_string(), definition.image.as_deref()))
                }
                _ => None,
            })
            .collect();
        let expected = "Server2 (generation 3)".to_owned();
        assert_eq!(launched, [(expected, Some("shop:1"))]);

        // A canary, or a trial that has replaced nothing, is over at once.
        let canary = with(&begun, &[moved(1, Stage::Running(Course::Canary))]);
        let mut merged = start(&canary, &flags("shop:3")).0;
        merged.rollout.as_mut().unwrap().canary = Some("10%".parse().unwrap());
        let found = Vec::new();
        let (fleet, steps) = Fleet::new(POLICY, merged.desired(), found, Duration::ZERO);
        let ends = |step: &Step| {
            matches!(
                step,
                Step::Immediate(ImmediateStep::Rollout(RolloutChange::Ended {
                    outcome: RolloutOutcome::RolledBack,
                    ..
                }))
            )
        };
        assert!(steps.iter().any(ends), "{steps:?}");
        assert_eq!(fleet.refusal_of_rollout(&definition("shop:3")), None);
    }

    #[test]
    fn image_that_a_watch_has_pinned_stays_pinned() {
        let pinned = "shop:1@sha256:b";
        let seen = RecordChange::WatchedDigest(pinned.to_owned());
        let done = ended(1, RolloutOutcome::Done);
        let record = with(&first(), &[began(1, &definition(pinned)), done, seen]);
        let mut other = flags("shop:1");
        other.definition.template.port = Some(80);
        let (_, difference) = record.merge(&other, AtStart::Running);
        assert_eq!(difference.unwrap().words, ["port none -> 80"]);
        let to = start(&record, &other).1.unwrap().to;
        assert_eq!(to.image.as_deref(), Some(pinned));
        // It is the flags' rollout: the next start finds it.
        let begun = start_and_begin(&record, &other);
        assert_eq!(start(&begun, &other), (begun.clone(), None));
        let mut changed = other.clone();
        changed.definition.template.port = Some(90);
        let (_, difference) = begun.merge(&changed, AtStart::Running);
        assert_eq!(difference.unwrap().words, ["port 80 -> 90"]);
        for image in ["shop:2", "shop:1@sha256:c"] {
            other.definition.image = Some(image.to_owned());
            let to = start(&record, &other).1.unwrap().to;
            assert_eq!(to.image.as_deref(), Some(image));
        }
    }

    #[test]
    fn difference_without_words_is_no_rollout() {
        let like = |body| Definition {
            like: Some(ContainerTemplate {
                container: "shop".to_owned(),
                body,
            }),
            ..Definition::default()
        };
        let before = flags_for(like(serde_json::json!({"User": "app"})));
        let after = flags_for(like(serde_json::json!({"User": "app", "Domainname": ""})));
        let record = FleetRecord::rebuild(&before, &[]);
        let (merged, difference) = record.merge(&after, AtStart::Running);
        assert_eq!(difference, None);
        assert_eq!(merged.definition, after.definition);
        assert!(merged.came_from(&after));
    }
}
