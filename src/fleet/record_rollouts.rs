//! Rollouts in the fleet record: the one that is under way, and the last that have ended.

use super::record::FleetRecord;
use super::record_definition::Definition;
use super::rollout_state::{Course, GivenUpFor, PastRollout, RolloutChange, Stage};
use crate::api::{RolloutOutcome, Timestamp};

/// How many rollouts that have ended are kept.
const MAX_PAST: usize = 10;

/// Why a rollout does not reach its end, for people.
const FLAGS_HAVE_CHANGED: &str = "the flags have changed the definition";

impl FleetRecord {
    /// The number of the fleet's next rollout.
    pub(crate) fn next_rollout(&self) -> u64 {
        let past = self.past_rollouts.iter().map(|rollout| rollout.id);
        let ids = past.chain(self.rollout.as_ref().map(|rollout| rollout.id));
        ids.max().unwrap_or(0) + 1
    }

    /// The record for this balancer, which is alone and carries out what is under way.
    pub(crate) fn carried_out_by(mut self, balancer: &str, stored: u64) -> Self {
        if let Some(rollout) = &mut self.rollout
            && !rollout.is_carried_out_by(balancer)
        {
            rollout.executor = Some(balancer.to_owned());
            self.version = self.version.max(stored + 1);
        }
        self
    }

    /// Takes in what has become of a rollout. What is said of another one than that under way, or by
    /// another balancer than the one that carries it out, changes nothing.
    pub(super) fn apply_rollout(&mut self, change: &RolloutChange, by: &str, at: Timestamp) {
        let present = self.rollout.as_ref();
        let present = present.filter(|rollout| match change {
            RolloutChange::HandedOver { from, .. } => rollout.executor == *from,
            _ => rollout.is_carried_out_by(by),
        });
        let present = present.map(|rollout| rollout.id);
        match change {
            RolloutChange::Began(rollout)
                if self.rollout.is_none() && rollout.id == self.next_rollout() =>
            {
                self.rollout = Some((**rollout).clone());
            }
            RolloutChange::HandedOver { id, to, .. } if present == Some(*id) => {
                if let Some(rollout) = &mut self.rollout {
                    rollout.executor.clone_from(to);
                }
            }
            RolloutChange::Moved { id, stage, reason } if present == Some(*id) => {
                if let Some(rollout) = &mut self.rollout {
                    rollout.stage = *stage;
                    rollout.reason.clone_from(reason);
                }
            }
            RolloutChange::Replaced {
                id,
                instance,
                updated,
            } if present == Some(*id) => {
                if let Some(replica) = self.find(&instance.replica) {
                    replica.updated = *updated;
                }
            }
            RolloutChange::Ended {
                id,
                outcome,
                reason,
            } if present == Some(*id) => self.end_rollout(*outcome, reason.clone(), at),
            _ => {}
        }
    }

    /// Other flags bring a definition at once: the rollout under way ends, and none can be undone.
    pub(super) fn supersede_rollouts(&mut self) {
        let reason = Some(FLAGS_HAVE_CHANGED.to_owned());
        self.end_rollout(RolloutOutcome::Superseded, reason, Timestamp::now());
        self.past_rollouts.iter_mut().for_each(|p| p.before = None);
    }

    /// Other flags want something else than what the rollout under way brings: replicas get their earlier
    /// definition back, so that there are two at a time and no more.
    pub(super) fn turn_rollout_back(&mut self) {
        if let Some(rollout) = &mut self.rollout {
            if rollout.stage.course() != Course::Back {
                rollout.reason = Some(FLAGS_HAVE_CHANGED.to_owned());
                rollout.given_up_for = Some(GivenUpFor::Flags);
            }
            rollout.stage = Stage::Running(Course::Back);
        }
    }

    /// The rollout that goes back because flags want something else.
    pub fn rollout_given_up(&self) -> Option<u64> {
        let rollout = self.rollout.as_ref();
        let given_up = rollout.filter(|r| r.given_up_for == Some(GivenUpFor::Flags));
        given_up.map(|rollout| rollout.id)
    }

    /// Another definition than that of the flags holds from now on.
    pub(crate) fn take_definition(&mut self, definition: Definition) {
        let flags_definition = self.definition.hash();
        self.flags_definition.get_or_insert(flags_definition);
        self.definition_hash = definition.hash();
        self.definition = definition;
    }

    fn end_rollout(&mut self, outcome: RolloutOutcome, reason: Option<String>, at: Timestamp) {
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        for replica in &mut self.replicas {
            replica.updated = false;
        }
        let mut past = PastRollout {
            id: rollout.id,
            changes: self.definition.differences(&rollout.to),
            outcome,
            reason,
            started_at: rollout.started_at,
            finished_at: at,
            replicas: self.replicas.len(),
            before: None,
        };
        if outcome == RolloutOutcome::Done {
            // Only the last one can be undone.
            self.past_rollouts.iter_mut().for_each(|p| p.before = None);
            past.before = Some(self.definition.clone());
            self.take_definition(rollout.to);
        }
        self.past_rollouts.push(past);
        let too_many = self.past_rollouts.len().saturating_sub(MAX_PAST);
        self.past_rollouts.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::rollout_state::RecordedRollout;
    use crate::fleet::testing::{definition, flags, recorded_rollout};
    use crate::fleet::{AtStart, InstanceId, RecordChange};
    use crate::ring::ReplicaName;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn began(id: u64, image: &str) -> RolloutChange {
        RolloutChange::Began(Box::new(RecordedRollout {
            canary: Some("10%".parse().unwrap()),
            ..recorded_rollout(id, definition(image), "one")
        }))
    }

    fn ended(id: u64, outcome: RolloutOutcome) -> RolloutChange {
        RolloutChange::Ended {
            id,
            outcome,
            reason: None,
        }
    }

    fn said(change: RolloutChange, by: &str) -> RecordChange {
        RecordChange::Rollout {
            change,
            by: by.to_owned(),
            at: NOW,
        }
    }

    fn with(record: FleetRecord, changes: &[RolloutChange]) -> FleetRecord {
        let changes: Vec<_> = changes.iter().map(|c| said(c.clone(), "one")).collect();
        let record = record.with(&changes).expect("it changes something");
        assert_eq!(FleetRecord::parse(&record.to_json()), Ok(record.clone()));
        record
    }

    #[test]
    fn record_follows_a_rollout_from_its_beginning_to_its_end() {
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &[]);
        let name: ReplicaName = "Server2".parse().unwrap();
        let replaced = RolloutChange::Replaced {
            id: 1,
            instance: InstanceId::new(name.clone(), 2),
            updated: true,
        };
        let record = with(record, &[began(1, "shop:2"), replaced]);
        assert_eq!(record.desired().updated, [name]);
        assert_eq!(record.desired().definition, definition("shop:1"));
        assert_eq!(record.next_rollout(), 2);
        // What another balancer begins meanwhile is none.
        let other = said(began(2, "shop:9"), "other");
        assert_eq!(record.with(&[other]), None);

        let record = with(record, &[ended(1, RolloutOutcome::Done)]);
        assert_eq!(record.definition, definition("shop:2"));
        assert_eq!(record.definition_hash, definition("shop:2").hash());
        assert!(record.desired().rollout.is_none() && record.desired().updated.is_empty());
        let past = &record.past_rollouts[0];
        assert_eq!(past.changes, ["image shop:1 -> shop:2"]);
        assert_eq!(past.before, Some(definition("shop:1")));
    }

    #[test]
    fn one_balancer_at_a_time_carries_a_rollout_out() {
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &[]);
        let record = with(record, &[began(1, "shop:2")]);
        let handed = |from: Option<&str>, to: Option<&str>| RolloutChange::HandedOver {
            id: 1,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        };
        // One that waits for another dead one comes too late.
        let late = said(handed(Some("gone"), Some("other")), "other");
        assert_eq!(record.with(&[late]), None);
        let record = with(record, &[handed(Some("one"), Some("other"))]);
        assert!(record.rollout.as_ref().unwrap().is_carried_out_by("other"));
        // The first one was not dead after all: what it says counts no more.
        let done = ended(1, RolloutOutcome::Done);
        assert_eq!(record.with(&[said(done.clone(), "one")]), None);
        let replaced = RolloutChange::Replaced {
            id: 1,
            instance: InstanceId::new("Server1".parse().unwrap(), 2),
            updated: true,
        };
        let moved = |id| RolloutChange::Moved {
            id,
            stage: Stage::Running(Course::Onward),
            reason: None,
        };
        for late in [replaced, moved(1), handed(Some("one"), None)] {
            assert_eq!(record.with(&[said(late.clone(), "one")]), None, "{late:?}");
        }
        // Nor does what is said of another rollout.
        assert_eq!(record.with(&[said(moved(2), "other")]), None);
        // One that ends leaves it to the others.
        let record = with(record, &[handed(Some("other"), None)]);
        assert_eq!(record.with(&[said(done.clone(), "other")]), None);
        let record = with(record, &[handed(None, Some("third"))]);
        let record = record.with(&[said(done, "third")]).unwrap();
        assert_eq!((record.rollout, record.past_rollouts.len()), (None, 1));
    }

    #[test]
    fn a_balancer_that_is_alone_goes_on_with_what_it_finds() {
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &[]);
        let version = record.version;
        assert_eq!(record.clone().carried_out_by("other", version), record);
        let record = with(record, &[began(1, "shop:2")]);
        let version = record.version;
        assert_eq!(record.clone().carried_out_by("one", version), record);
        let taken = record.carried_out_by("other", version);
        assert_eq!(taken.version, version + 1);
        assert!(taken.rollout.unwrap().is_carried_out_by("other"));
    }

    #[test]
    fn start_with_the_same_flags_does_not_undo_a_rollout() {
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &[]);
        let done = ended(1, RolloutOutcome::Done);
        let record = with(record, &[began(1, "shop:2"), done]);
        let (kept, difference) = record.merge(&flags("shop:1", 3), AtStart::Running);
        assert_eq!((&kept, difference), (&record, None));
        // Another number of replicas is no other definition.
        let (more, difference) = record.merge(&flags("shop:1", 4), AtStart::Running);
        assert_eq!(difference.unwrap().words, ["replicas 3 -> 4"]);
        assert_eq!(more.definition, definition("shop:2"));
        assert_eq!(more.merge(&flags("shop:1", 4), AtStart::Running).1, None);
        // A changed definition is one, also in the middle of a rollout: where nothing runs, at once.
        let record = with(more, &[began(2, "shop:3")]);
        let (other, difference) = record.merge(&flags("shop:4", 4), AtStart::Ended);
        assert_eq!(difference.unwrap().words, ["image shop:2 -> shop:4"]);
        assert_eq!(other.definition, definition("shop:4"));
        assert_eq!(other.rollout, None);
        let outcomes = other.past_rollouts.iter().map(|past| past.outcome);
        let expected = [RolloutOutcome::Done, RolloutOutcome::Superseded];
        assert!(outcomes.eq(expected));
    }

    #[test]
    fn last_ten_are_kept_and_the_last_one_done_can_be_undone() {
        let mut record = FleetRecord::rebuild(&flags("shop:0", 1), &[]);
        for id in 1..=12 {
            let outcome = match id {
                12 => RolloutOutcome::RolledBack,
                _ => RolloutOutcome::Done,
            };
            let image = format!("shop:{id}");
            record = with(record, &[began(id, &image), ended(id, outcome)]);
        }
        let past = &record.past_rollouts;
        assert_eq!((past.len(), past[0].id), (10, 3));
        let undoable = past.iter().filter(|p| p.before.is_some());
        assert!(undoable.map(|p| p.id).eq([11]));
        assert_eq!(record.definition, definition("shop:11"));
    }
}
