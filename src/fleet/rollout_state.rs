//! Where a rollout is, and what is kept of it in the fleet record.

use serde::{Deserialize, Serialize};

use super::instance::InstanceId;
use super::record_definition::Definition;
use crate::api::{RolloutOutcome, RolloutState, Timestamp};
use crate::ring::CanaryShare;

/// Which way a rollout goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// One replica alone: nothing is known of the new definition yet.
    Trial,
    /// A part of the keys goes to extra instances of it, until the rollout is promoted or undone.
    Canary,
    /// An instance of it has answered heartbeats: the others follow.
    Onward,
    /// Every replica gets its earlier definition back.
    Back,
}

/// Whether a rollout goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It does.
    Running(Course),
    /// It waits for an operator, and then goes on that way.
    Paused(Course),
}

impl Stage {
    /// The way it goes, or will go.
    pub fn course(self) -> Course {
        match self {
            Self::Running(course) | Self::Paused(course) => course,
        }
    }

    /// The stage for people.
    pub fn state(self) -> RolloutState {
        match self {
            Self::Running(Course::Trial) => RolloutState::Trial,
            Self::Running(Course::Canary) => RolloutState::Canary,
            Self::Running(Course::Onward) => RolloutState::Rolling,
            Self::Running(Course::Back) => RolloutState::RollingBack,
            Self::Paused(_) => RolloutState::Paused,
        }
    }
}

/// A rollout that is under way, in the fleet record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRollout {
    /// Counts the fleet's rollouts.
    pub id: u64,
    /// What replicas are to run.
    pub to: Definition,
    /// Where it is.
    pub stage: Stage,
    /// Why it is paused or goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What wants something else than it brings, if that is why it goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up_for: Option<GivenUpFor>,
    /// When it began.
    pub started_at: Timestamp,
    /// Which part of the keys goes to a canary before replicas are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryShare>,
    /// The balancer that carries it out; none: the next one that sees this does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// Old instances are stopped first, which other balancers cannot follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stops_first: bool,
}

/// What a rollout is given up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenUpFor {
    /// The flags of a start.
    Flags,
}

impl RecordedRollout {
    /// Whether this balancer carries it out.
    pub fn is_carried_out_by(&self, balancer: &str) -> bool {
        self.executor.as_deref() == Some(balancer)
    }
}

/// A rollout that has ended, in the fleet record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRollout {
    /// Counts the fleet's rollouts.
    pub id: u64,
    /// What was to change, in words.
    pub changes: Vec<String>,
    /// How it ended.
    pub outcome: RolloutOutcome,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How many replicas there were.
    pub replicas: usize,
    /// What the replicas ran before, of the last one that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Definition>,
}

/// What has become different about a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutChange {
    /// It begins.
    Began(Box<RecordedRollout>),
    /// It has come to another stage, for this reason.
    Moved {
        /// Its number.
        id: u64,
        /// The stage.
        stage: Stage,
        /// The reason, if it has one.
        reason: Option<String>,
    },
    /// This instance plays its replica from now on, with the definition of the rollout, or with
    /// the one before it.
    Replaced {
        /// Its number.
        id: u64,
        /// The instance.
        instance: InstanceId,
        /// Whether it has the definition of the rollout.
        updated: bool,
    },
    /// Another balancer carries it out from now on; none: it waits for one.
    HandedOver {
        /// Its number.
        id: u64,
        /// Who has carried it out.
        from: Option<String>,
        /// Who does.
        to: Option<String>,
    },
    /// It has ended.
    Ended {
        /// Its number.
        id: u64,
        /// How.
        outcome: RolloutOutcome,
        /// Why it was not done.
        reason: Option<String>,
    },
}
