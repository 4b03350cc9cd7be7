//! Rollouts in the fleet record: the one that is under way, and the last that have ended.

use super::record::FleetRecord;
use super::record_definition::Definition;
use super::rollout_state::{PastRollout, RolloutChange};
use crate::api::{RolloutOutcome, Timestamp};

/// How many rollouts that have ended are kept.
const MAX_PAST: usize = 10;

impl FleetRecord {
    /// The number of the fleet's next rollout.
    pub(crate) fn next_rollout(&self) -> u64 {
        let past = self.past_rollouts.iter().map(|rollout| rollout.id);
        let ids = past.chain(self.rollout.as_ref().map(|rollout| rollout.id));
        ids.max().unwrap_or(0) + 1
    }

    /// Takes in what has become of a rollout. What is said of another one than that under way changes
    /// nothing.
    pub(super) fn apply_rollout(&mut self, change: &RolloutChange, at: Timestamp) {
        let present = self.rollout.as_ref().map(|rollout| rollout.id);
        match change {
            RolloutChange::Began(rollout) if present.is_none() => {
                self.rollout = Some((**rollout).clone());
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

    /// Other flags bring a definition: the rollout under way ends, and none can be undone.
    pub(super) fn supersede_rollouts(&mut self) {
        let reason = "the flags have changed the definition".to_owned();
        self.end_rollout(RolloutOutcome::Superseded, Some(reason), Timestamp::now());
        self.past_rollouts.iter_mut().for_each(|p| p.before = None);
    }

    /// Another definition than that of the flags holds from now on.
    pub(super) fn take_definition(&mut self, definition: Definition) {
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
    use crate::fleet::rollout_state::{Course, RecordedRollout, Stage};
    use crate::fleet::{FleetFlags, InstanceId, RecordChange, RingSettings};
    use crate::ring::{KeySource, ReplicaName};

    const NOW: Timestamp = Timestamp::EPOCH;

    fn flags(image: &str, replicas: usize) -> FleetFlags {
        FleetFlags {
            replicas: (1..=replicas)
                .map(|n| format!("Server{n}").parse().unwrap())
                .collect(),
            definition: definition(image),
            ring: RingSettings::default(),
            key: KeySource::default(),
        }
    }

    fn definition(image: &str) -> Definition {
        Definition {
            image: Some(image.to_owned()),
            ..Definition::default()
        }
    }

    fn began(id: u64, image: &str) -> RolloutChange {
        RolloutChange::Began(Box::new(RecordedRollout {
            id,
            to: definition(image),
            stage: Stage::Running(Course::Trial),
            reason: None,
            started_at: NOW,
        }))
    }

    fn ended(id: u64, outcome: RolloutOutcome) -> RolloutChange {
        RolloutChange::Ended {
            id,
            outcome,
            reason: None,
        }
    }

    fn with(record: FleetRecord, changes: &[RolloutChange]) -> FleetRecord {
        let changes: Vec<_> = changes
            .iter()
            .map(|c| RecordChange::Rollout(c.clone(), NOW))
            .collect();
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
        let other = RecordChange::Rollout(began(9, "shop:9"), NOW);
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
    fn start_with_the_same_flags_does_not_undo_a_rollout() {
        let record = FleetRecord::rebuild(&flags("shop:1", 3), &[]);
        let done = ended(1, RolloutOutcome::Done);
        let record = with(record, &[began(1, "shop:2"), done]);
        let (kept, difference) = record.merge(&flags("shop:1", 3), false);
        assert_eq!((&kept, difference), (&record, None));
        // Another number of replicas is no other definition.
        let (more, difference) = record.merge(&flags("shop:1", 4), false);
        assert_eq!(difference.unwrap().words, ["replicas 3 -> 4"]);
        assert_eq!(more.definition, definition("shop:2"));
        assert_eq!(more.merge(&flags("shop:1", 4), false).1, None);
        // A changed definition is one, also in the middle of a rollout.
        let record = with(more, &[began(2, "shop:3")]);
        let (other, difference) = record.merge(&flags("shop:4", 4), false);
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
