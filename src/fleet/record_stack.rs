//! What a stack file has last said of a fleet, in its record: it is taken up once. A version that a
//! rollout has brought back, or that an operator has changed since, is not tried again until the file
//! changes.

use super::record::{FleetFlags, FleetRecord};
use crate::ring::ReplicaName;

impl FleetRecord {
    /// The flags of a start that finds this record, where a stack file says what replicas run: that and
    /// their number stay as they are until what the file says is taken up, by a rollout.
    pub fn flags_with_stack(&self, flags: FleetFlags) -> FleetFlags {
        let count = self.flags.replicas;
        let name = |number| ReplicaName::from_address(&format!("Server{number}"));
        FleetFlags {
            definition: self.definition.clone(),
            replicas: (1..=count).map(name).collect(),
            ..flags
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{RolloutOutcome, Timestamp};
    use crate::fleet::rollout_state::Course;
    use crate::fleet::testing::{definition, flags, recorded_rollout};
    use crate::fleet::{AtStart, RecordChange, RecordedRollout, RolloutChange, StackSeen, Stage};
    use crate::ring::KeySource;

    #[test]
    fn a_start_leaves_what_the_file_says_now_to_a_rollout() {
        let record = FleetRecord::rebuild(&flags("shop:1", 2), &[]);
        let changed = record.flags_with_stack(flags("shop:2", 5));
        assert_eq!(
            record.merge(&changed, AtStart::Running),
            (record.clone(), None)
        );
        // Other flags hold.
        let mut other = flags("shop:2", 5);
        other.key = KeySource::Path;
        let (merged, _) = record.merge(&record.flags_with_stack(other), AtStart::Running);
        assert_eq!(merged.key, Some(KeySource::Path));
        assert_eq!(merged.definition, record.definition);
    }

    #[test]
    fn a_start_leaves_a_rollout_of_what_the_file_says_alone() {
        let began = |id, image: &str| {
            RolloutChange::Began(Box::new(RecordedRollout {
                stage: Stage::Running(Course::Onward),
                ..recorded_rollout(id, definition(image), "one")
            }))
        };
        let done = RolloutChange::Ended {
            id: 1,
            outcome: RolloutOutcome::Done,
            reason: None,
        };
        let changes = [began(1, "shop:2"), done, began(2, "shop:3")];
        let changes = changes.map(|change| RecordChange::Rollout {
            change,
            by: "one".to_owned(),
            at: Timestamp::EPOCH,
        });
        let record = FleetRecord::rebuild(&flags("shop:1", 2), &[]);
        let record = record.with(&changes).unwrap();
        let changed = record.flags_with_stack(flags("shop:3", 2));
        let (merged, difference) = record.merge(&changed, AtStart::Running);
        assert_eq!((&merged.rollout, difference), (&record.rollout, None));
        assert_eq!(merged.definition, record.definition);
    }

    #[test]
    fn what_has_been_taken_up_is_in_the_record() {
        let record = FleetRecord::rebuild(&flags("shop:1", 2), &[]);
        assert_eq!(record.stack, None);
        let seen = StackSeen {
            definition: "0123".to_owned(),
            replicas: 2,
        };
        let change = [RecordChange::Stack(seen.clone())];
        let record = record.with(&change).unwrap();
        assert_eq!(
            FleetRecord::parse(&record.to_json()).unwrap().stack,
            Some(seen)
        );
        assert_eq!(record.with(&change), None);
    }
}
