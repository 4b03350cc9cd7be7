//! Flags, definitions and recorded rollouts for tests.

use super::rollout_state::Course;
use super::{Definition, FleetFlags, RecordedRollout, Stage};
use crate::api::Timestamp;

/// Containers of this image.
pub(crate) fn definition(image: &str) -> Definition {
    Definition {
        image: Some(image.to_owned()),
        ..Definition::default()
    }
}

/// `Server1` to `Server<replicas>`, of this image.
pub(crate) fn flags(image: &str, replicas: usize) -> FleetFlags {
    let name = |number| format!("Server{number}").parse().unwrap();
    FleetFlags {
        replicas: (1..=replicas).map(name).collect(),
        definition: definition(image),
        ring: Default::default(),
        key: Default::default(),
    }
}

/// A rollout to this definition, in its trial.
pub(crate) fn recorded_rollout(id: u64, to: Definition, executor: &str) -> RecordedRollout {
    RecordedRollout {
        id,
        to,
        stage: Stage::Running(Course::Trial),
        reason: None,
        given_up_for: None,
        started_at: Timestamp::EPOCH,
        canary: None,
        executor: Some(executor.to_owned()),
        stops_first: false,
    }
}
