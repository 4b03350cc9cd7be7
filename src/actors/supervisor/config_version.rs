//! The version of a fleet's configuration, by which two writers cannot overwrite each other.
//!
//! It is raised when a change of what an operator can configure is accepted, and again when the change
//! has taken effect. So a client that reads a version during a change has read a state without that
//! change, and its own change is refused. The Supervisor compares and raises the version in one step: of two
//! writers that expect the same version, it refuses the second.

use std::fmt;

use crate::fleet::{ChangeError, DeferredStep, ImmediateStep, OperatorAction, RolloutChange, Step};

/// The version of a fleet's configuration: equal for two reads only if nothing has been changed
/// between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigVersion {
    /// Random, so that the versions of another start are others.
    start: u32,
    changes: u64,
}

/// The versions one of which a change expects to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedVersions(pub Vec<String>);

impl ConfigVersion {
    pub(super) fn first() -> Self {
        Self {
            start: fastrand::u32(..),
            changes: 0,
        }
    }

    pub(super) fn raise(&mut self) {
        self.changes += 1;
    }

    /// Fails if others are expected.
    pub fn check(&self, expected: Option<&ExpectedVersions>) -> Result<(), ChangeError> {
        let is_expected = |expected: &ExpectedVersions| expected.0.contains(&self.to_string());
        match expected.is_none_or(is_expected) {
            true => Ok(()),
            false => Err(ChangeError::Outdated(self.to_string())),
        }
    }
}

impl fmt::Display for ConfigVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.start, self.changes)
    }
}

/// Whether a step changes the configuration; of another balancer's changes, too.
pub(super) fn is_change(step: &ImmediateStep) -> bool {
    use OperatorAction::{Activated, Drained};
    matches!(
        step,
        ImmediateStep::Join(_)
            | ImmediateStep::Leave(_)
            | ImmediateStep::Record(_)
            | ImmediateStep::Rollout(RolloutChange::Began(_) | RolloutChange::Ended { .. })
            | ImmediateStep::RecordAction(_, Drained | Activated)
    )
}

/// Whether a request for a change is answered at once.
pub(super) fn is_answered(steps: &[Step]) -> bool {
    let is_answer = |step: &Step| matches!(step, Step::Deferred(DeferredStep::Reply(..)));
    steps.iter().any(is_answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_expected_as_it_reads_and_no_other() {
        let mut version = ConfigVersion::first();
        let read = ExpectedVersions(vec!["other".to_owned(), version.to_string()]);
        assert_eq!(version.check(None), Ok(()));
        assert_eq!(version.check(Some(&read)), Ok(()));
        version.raise();
        let now = version.to_string();
        assert_eq!(version.check(Some(&read)), Err(ChangeError::Outdated(now)));
        let none = ExpectedVersions(Vec::new());
        assert!(version.check(Some(&none)).is_err());
    }
}
