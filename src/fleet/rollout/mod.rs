//! Rollouts: every replica gets another definition, one after the other, without a gap.
//!
//! ```text
//!   start -> Trial --the first successor answers--> Onward --all are replaced--> done
//!              |                                     |
//!              +---- failed or undone ---------------+--> Back --all are back--> rolled back
//! ```
//!
//! With a canary (see [`canary`]) the trial is that of the canary's instances, and replicas stay as they
//! are until the rollout is promoted:
//!
//! ```text
//!   start -> Trial --all of the canary answer--> Canary --promoted--> Onward --> done
//!              |                                    |                    |
//!              +------------ failed or undone ------+--------------------+--> Back
//! ```
//!
//! Each of them can be paused. A replica's new instance starts beside the old one (see
//! [`successor`]); at its first good heartbeat it takes the old one's place on the ring, in one epoch
//! and under the same name. It is then watched for a while (see [`monitor`]), before the next replica
//! follows. The way back is the same in the other direction, without the watching. A replica that
//! dies meanwhile is healed with the definition that it had; on the way back with the earlier one.

mod canary;
mod commands;
mod followed;
mod monitor;
mod patch;
mod policy;
mod relief;
mod replacement;
mod retiring;
mod successor;
mod swap;

use std::sync::Arc;
use std::time::Duration;

use super::Fleet;
use super::event::{ImmediateStep, Steps};
use super::lifecycle::{Phase, Replica};
use super::record_definition::Definition;
use super::rollout_state::{Course, RecordedRollout, RolloutChange, Stage};
use super::time::Time;
use crate::api::{RolloutOutcome, Timestamp};
use crate::ring::ReplicaName;
use canary::Canary;
pub(crate) use canary::CanaryReport;
pub(crate) use commands::RolloutReport;
pub(crate) use followed::ExecutorWatch;
pub(super) use followed::FollowedRollout;
use monitor::InHand;
pub(crate) use policy::{FailureAction, RolloutError, RolloutOrder, RolloutPolicy};
pub(super) use retiring::Retiring;
use successor::InstanceRole;
pub(super) use successor::Successor;
pub(super) use swap::ReadyInstance;

/// The pause before an instance that failed on the way back is tried again, and how often in a row.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
const MAX_RETRIES: u32 = 3;

/// A rollout that is under way.
#[derive(Debug)]
pub(super) struct ActiveRollout {
    id: u64,
    to: Arc<Definition>,
    stage: Stage,
    /// Why it is paused or goes back.
    reason: Option<String>,
    started_at: Timestamp,
    canary: Option<Canary>,
    /// Replicas that have been begun and are not done.
    in_hand: Vec<InHand>,
    /// Instances that failed on the way back, in a row, and when the next one is started.
    retries: u32,
    retry_at: Option<Time>,
}

impl ActiveRollout {
    /// A rollout of a fleet of these replicas, from its beginning or wherever it is.
    pub(super) fn resumed(recorded: &RecordedRollout, replicas: &[ReplicaName]) -> Self {
        let canary = recorded.canary.map(|share| Canary::new(share, replicas));
        Self {
            id: recorded.id,
            to: Arc::new(recorded.to.clone()),
            stage: recorded.stage,
            reason: recorded.reason.clone(),
            started_at: recorded.started_at,
            canary,
            in_hand: Vec::new(),
            retries: 0,
            retry_at: None,
        }
    }

    /// Forgets what was begun the other way.
    fn turn_to(&mut self, course: Course) {
        if course == Course::Back && self.stage.course() != Course::Back {
            self.in_hand.clear();
        }
    }

    /// What replicas are started from once the rollout has come to them.
    pub(super) fn definition(&self) -> &Arc<Definition> {
        &self.to
    }
}

impl Fleet {
    /// Whether the rollout is just replacing or watching this replica, or may be: another balancer's.
    pub(super) fn is_in_hand(&self, name: &ReplicaName) -> bool {
        let is_successors = |n: &Successor| n.is_wanted() && n.id.replica == *name;
        let rollout = self.rollout.as_ref();
        self.followed.is_some()
            || self.successors.iter().any(is_successors)
            || rollout.is_some_and(|r| r.has_in_hand(name))
    }

    /// The definition that a replica is healed with: on the way back the earlier one.
    pub(super) fn definition_to_heal_with(&mut self, index: usize, steps: &mut Steps) {
        if self
            .followed
            .as_ref()
            .is_some_and(FollowedRollout::goes_back)
        {
            self.replicas[index].definition = Arc::clone(&self.definition);
        }
        let Some(rollout) = &self.rollout else { return };
        let back = rollout.stage.course() == Course::Back;
        let replica = &mut self.replicas[index];
        if back && replica.definition != self.definition {
            replica.definition = Arc::clone(&self.definition);
            let change = RolloutChange::Replaced {
                id: rollout.id,
                instance: replica.id(),
                updated: false,
            };
            self.report_rollout(change, steps);
        }
    }

    /// When time alone moves the rollout on.
    pub(super) fn rollout_wakes_at(&self) -> Option<Time> {
        if self.shutting_down {
            return None;
        }
        let rollout = self.rollout.as_ref();
        let running = rollout.filter(|r| matches!(r.stage, Stage::Running(_)));
        let retry_at = running.and_then(|r| r.retry_at);
        let canary = running.and_then(|r| r.canary.as_ref()?.wakes_at());
        let ends = rollout.into_iter().flat_map(|r| &r.in_hand);
        let ends = ends.filter_map(InHand::wakes_at);
        let deadlines = self.successors.iter().filter_map(Successor::deadline);
        ends.chain(deadlines).chain(retry_at).chain(canary).min()
    }

    /// Brings the rollout as far as it can get: the end of all that happens.
    pub(super) fn advance_rollout(&mut self, steps: &mut Steps) {
        if self.shutting_down {
            return;
        }
        self.give_up_late_successors(steps);
        self.judge_in_hand(steps);
        self.discard_unwanted_successors(steps);
        self.advance_canary(steps);
        self.swap_successors(steps);
        self.begin_replacements(steps);
        self.relieve_stand_ins(steps);
        self.end_rollout(steps);
    }

    /// Has the fleet record, the log and the history told.
    pub(super) fn report_rollout(&self, change: RolloutChange, steps: &mut Steps) {
        steps.push(ImmediateStep::Rollout(change));
    }

    /// Moves the rollout to another stage.
    pub(super) fn move_rollout(&mut self, stage: Stage, reason: Option<String>, steps: &mut Steps) {
        if let Some(rollout) = &mut self.rollout {
            rollout.stage = stage;
            rollout.reason.clone_from(&reason);
            let id = rollout.id;
            self.report_rollout(RolloutChange::Moved { id, stage, reason }, steps);
        }
    }

    /// A new instance has failed on the way there.
    pub(super) fn fail_rollout(&mut self, reason: String, steps: &mut Steps) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let stage = match self.policy.rollout.on_failure {
            FailureAction::Rollback => Stage::Running(Course::Back),
            FailureAction::Pause => Stage::Paused(rollout.stage.course()),
        };
        rollout.turn_to(stage.course());
        if rollout.stage != stage {
            self.move_rollout(stage, Some(reason), steps);
        }
    }

    /// A new instance has failed on the way back: after a few more attempts an operator is needed.
    fn retry_way_back(&mut self, reason: String, steps: &mut Steps) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        rollout.retries += 1;
        rollout.retry_at = Some(steps.now.saturating_add(RETRY_INTERVAL));
        if rollout.retries > MAX_RETRIES && rollout.stage == Stage::Running(Course::Back) {
            self.move_rollout(Stage::Paused(Course::Back), Some(reason), steps);
        }
    }

    /// A new instance was taken away by others, which says nothing of its definition: after a few more
    /// attempts an operator is needed.
    fn successor_taken_away(&mut self, reason: String, steps: &mut Steps) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let Stage::Running(course) = rollout.stage else {
            return;
        };
        rollout.retries += 1;
        rollout.retry_at = Some(steps.now.saturating_add(RETRY_INTERVAL));
        if rollout.retries > MAX_RETRIES {
            self.move_rollout(Stage::Paused(course), Some(reason), steps);
        }
    }

    /// Stops successors whose replica is removed, or whose definition is not wanted any more.
    fn discard_unwanted_successors(&mut self, steps: &mut Steps) {
        let target = self.target();
        let mut place = 0;
        while let Some(successor) = self.successors.get(place) {
            let replica = self.find(&successor.id.replica);
            // One that was healed with the definition needs no successor any more.
            let is_awaited = |r: &Replica| r.is_desired() && r.definition != successor.definition;
            let is_wanted = replica.is_some_and(Replica::is_desired);
            let keeps = match successor.role {
                InstanceRole::Canary => true,
                InstanceRole::Relief => is_wanted,
                InstanceRole::Successor if self.is_requested(successor) => is_wanted,
                InstanceRole::Successor => {
                    replica.is_some_and(is_awaited)
                        && target.as_ref() == Some(&successor.definition)
                }
            };
            match keeps || !successor.is_wanted() {
                true => place += 1,
                // One that is just being started stays, and is not wanted any more.
                false => self.discard_successor(place, steps),
            }
        }
    }

    /// Has successors that are ready play their replicas.
    fn swap_successors(&mut self, steps: &mut Steps) {
        let mut place = 0;
        while let Some(successor) = self.successors.get(place) {
            if successor.is_relief() && successor.is_ready() {
                if self.swap(place, steps).is_some() {
                    continue;
                }
            } else if successor.is_successor() && successor.is_ready() {
                self.trial_is_over(steps);
                if let Some(instance) = self.swap(place, steps) {
                    self.has_replaced(instance, steps);
                    continue;
                }
            }
            place += 1;
        }
    }

    /// An instance of the new definition answers heartbeats.
    fn trial_is_over(&mut self, steps: &mut Steps) {
        let stage = self.rollout.as_ref().map(|rollout| rollout.stage);
        let onward = match stage {
            Some(Stage::Running(Course::Trial)) => Stage::Running(Course::Onward),
            Some(Stage::Paused(Course::Trial)) => Stage::Paused(Course::Onward),
            _ => return,
        };
        let reason = self.rollout.as_ref().and_then(|r| r.reason.clone());
        self.move_rollout(onward, reason, steps);
    }

    /// Begins with as many replicas as may be replaced at a time.
    fn begin_replacements(&mut self, steps: &mut Steps) {
        let Some(target) = self.target() else { return };
        while let Some(rollout) = self.rollout.as_mut().filter(|r| !r.awaits_promotion()) {
            rollout.retry_at = rollout.retry_at.filter(|at| *at > steps.now);
            let width = match rollout.stage {
                Stage::Running(Course::Trial) => 1,
                Stage::Running(_) => self.policy.rollout.parallelism,
                Stage::Paused(_) => return,
            };
            let successors = self.successors.iter().filter(|n| n.is_successor()).count();
            if rollout.retry_at.is_some() || successors + rollout.in_hand.len() >= width {
                return;
            }
            let next = (0..self.replicas.len()).find(|index| self.may_begin(*index, &target));
            let Some(index) = next else { return };
            match self.policy.rollout.order {
                RolloutOrder::StartFirst => {
                    let role = InstanceRole::Successor;
                    self.launch_successor(index, Arc::clone(&target), role, steps);
                }
                RolloutOrder::StopFirst => {
                    self.replace_in_place(index, Arc::clone(&target), steps);
                }
            }
        }
    }

    /// Whether a replica can be begun with now.
    fn may_begin(&self, index: usize, target: &Arc<Definition>) -> bool {
        let replica = &self.replicas[index];
        let beside = self.policy.rollout.order == RolloutOrder::StartFirst;
        let phase_allows = match replica.phase {
            Phase::Draining | Phase::DrainingForRestart => false,
            Phase::Launching { .. } | Phase::Stopping { .. } => beside,
            _ => true,
        };
        // One that is still being started holds the replica's next place.
        let has_successor = self.successors.iter().any(|n| n.id.replica == replica.name);
        replica.is_desired()
            && replica.definition != *target
            && phase_allows
            && !has_successor
            && !self.is_in_hand(&replica.name)
    }

    /// Ends the rollout once nothing is left to be done.
    fn end_rollout(&mut self, steps: &mut Steps) {
        let Some(target) = self.target() else { return };
        // Replicas that are being added count as well.
        let replicas = self.replicas.iter().filter(|replica| !replica.leaving);
        let all = replicas.into_iter().all(|r| r.definition == target);
        let is_replacing = self.successors.iter().any(Successor::is_successor);
        let rollout = self.rollout.as_ref();
        let Some(rollout) = rollout.filter(|r| all && !is_replacing && !r.awaits_promotion())
        else {
            return;
        };
        let Stage::Running(course) = rollout.stage else {
            return;
        };
        if !rollout.in_hand.is_empty() {
            return;
        }
        self.remove_canary(steps);
        // An instance that has had its time may still be what other programs take for the replica.
        let is_extra = |one: &Successor| one.role == InstanceRole::Canary;
        let is_left = self.successors.iter().any(is_extra);
        if is_left || !self.retiring.is_empty() || !self.stopping_instances.is_empty() {
            return;
        }
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        let outcome = match course {
            Course::Back => RolloutOutcome::RolledBack,
            Course::Trial | Course::Canary | Course::Onward => RolloutOutcome::Done,
        };
        let ended = RolloutChange::Ended {
            id: rollout.id,
            outcome,
            reason: rollout.reason,
        };
        self.definition = target;
        self.report_rollout(ended, steps);
    }

    /// What replicas are to run in the end.
    fn target(&self) -> Option<Arc<Definition>> {
        let rollout = self.rollout.as_ref()?;
        Some(Arc::clone(match rollout.stage.course() {
            Course::Back => &self.definition,
            Course::Trial | Course::Canary | Course::Onward => &rollout.to,
        }))
    }
}
