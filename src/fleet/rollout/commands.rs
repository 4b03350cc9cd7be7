//! What operators want of rollouts: begin, pause, resume, undo, and see how far one is.

use std::sync::Arc;

use super::canary::CanaryReport;
use super::monitor::InHand;
use super::{ActiveRollout, RolloutError, RolloutOrder};
use crate::api::Timestamp;
use crate::fleet::event::{ImmediateStep, Step, Steps};
use crate::fleet::lifecycle::Replica;
use crate::fleet::rollout_state::{Course, RecordedRollout, RolloutChange, Stage};
use crate::fleet::{Definition, Fleet, RecordChange, Time};
use crate::ring::{CanaryShare, ReplicaName};

/// A rollout that is under way, for people.
#[derive(Debug, Clone)]
pub(crate) struct RolloutReport {
    pub id: u64,
    pub stage: Stage,
    pub reason: Option<String>,
    pub started_at: Timestamp,
    /// What replicas run before and after it.
    pub from: Arc<Definition>,
    pub to: Arc<Definition>,
    /// Replicas that have the new definition, and are watched no more.
    pub done: usize,
    /// All replicas.
    pub total: usize,
    /// Replicas that are being replaced or watched.
    pub in_hand: Vec<ReplicaName>,
    /// Its canary, if it has one.
    pub canary: Option<CanaryReport>,
    /// The balancer that carries it out.
    pub executor: Option<String>,
}

impl Fleet {
    /// A rollout as it begins, for the fleet record, with a canary for this share of the keys or without
    /// one.
    pub fn rollout_to_record(
        &self,
        id: u64,
        to: Definition,
        canary: Option<CanaryShare>,
        started_at: Timestamp,
    ) -> Result<RecordedRollout, RolloutError> {
        if let Some(error) = self.refusal_of_rollout(&to) {
            return Err(error);
        }
        if canary.is_some() && self.desired().is_empty() {
            return Err(RolloutError::Invalid(
                "canary: there is no replica".to_owned(),
            ));
        }
        Ok(RecordedRollout {
            id,
            to,
            stage: Stage::Running(Course::Trial),
            reason: None,
            given_up_for: None,
            started_at,
            canary,
            executor: Some(self.policy.balancer.to_owned()),
            stops_first: self.policy.rollout.order == RolloutOrder::StopFirst,
        })
    }

    /// Begins a rollout that the fleet record has.
    pub fn start_rollout(
        &mut self,
        recorded: RecordedRollout,
        now: Time,
    ) -> Result<Vec<Step>, RolloutError> {
        if let Some(error) = self.refusal_of_rollout(&recorded.to) {
            return Err(error);
        }
        self.rollout = Some(ActiveRollout::resumed(&recorded, &self.desired()));
        let mut steps = Steps::at(now);
        self.report_rollout(RolloutChange::Began(Box::new(recorded)), &mut steps);
        self.advance_rollout(&mut steps);
        Ok(steps.list)
    }

    /// The owner of the instances has given them another definition, before a rollout begins.
    pub fn take_definition(&mut self, definition: Definition, now: Time) -> Vec<Step> {
        let mut steps = Steps::at(now);
        if self.rollout.is_some() || definition == *self.definition {
            return steps.list;
        }
        let change = RecordChange::Definition(Box::new(definition.clone()));
        steps.push(ImmediateStep::Record(change));
        self.definition = Arc::new(definition);
        for replica in &mut self.replicas {
            replica.definition = Arc::clone(&self.definition);
        }
        steps.list
    }

    /// Why none can begin, whatever it is to bring.
    pub fn refusal_of_any_rollout(&self) -> Option<RolloutError> {
        match &self.rollout {
            _ if self.shutting_down => Some(RolloutError::ShuttingDown),
            Some(rollout) => Some(RolloutError::UnderWay(rollout.id)),
            None => self
                .followed_rollout()
                .map(|r| RolloutError::UnderWay(r.id))
                .or_else(|| {
                    let moved = self.replaced_on_request().cloned();
                    moved.map(RolloutError::Moving)
                }),
        }
    }

    /// Why no rollout of this definition can begin.
    pub fn refusal_of_rollout(&self, to: &Definition) -> Option<RolloutError> {
        let is_present = *to == *self.definition;
        self.refusal_of_any_rollout()
            .or_else(|| is_present.then_some(RolloutError::Unchanged))
    }

    /// Begins no further replica until the rollout is resumed.
    pub fn pause_rollout(&mut self, id: u64, now: Time) -> Result<Vec<Step>, RolloutError> {
        let course = self.stage_of(id)?.course();
        let reason = self.rollout.as_ref().and_then(|r| r.reason.clone());
        // Why it goes back is not forgotten.
        let reason = reason.unwrap_or_else(|| "paused on request".to_owned());
        self.command(Stage::Paused(course), reason, now)
    }

    /// Goes on with a rollout that is paused.
    pub fn resume_rollout(&mut self, id: u64, now: Time) -> Result<Vec<Step>, RolloutError> {
        let Stage::Paused(course) = self.stage_of(id)? else {
            return Err(RolloutError::NotPaused(id));
        };
        self.take_in_hand_again(course);
        let mut steps = Steps::at(now);
        let reason = match course {
            Course::Back => self.rollout.as_ref().and_then(|r| r.reason.clone()),
            Course::Trial | Course::Canary | Course::Onward => None,
        };
        self.move_rollout(Stage::Running(course), reason, &mut steps);
        self.advance_rollout(&mut steps);
        Ok(steps.list)
    }

    /// Gives every replica the definition of the canary.
    pub fn promote_rollout(&mut self, id: u64, now: Time) -> Result<Vec<Step>, RolloutError> {
        let stage = self.stage_of(id)?;
        let has_canary = self.rollout.as_ref().is_some_and(|r| r.canary.is_some());
        let error = match stage.course() {
            Course::Canary => None,
            Course::Trial if has_canary => Some("its canary is not ready yet"),
            Course::Onward if has_canary => Some("it has been promoted already"),
            Course::Trial | Course::Onward => Some("it has no canary"),
            Course::Back => Some("it is being rolled back"),
        };
        if let Some(why) = error {
            return Err(RolloutError::NotPromotable(id, why));
        }
        let mut steps = Steps::at(now);
        self.move_rollout(Stage::Running(Course::Onward), None, &mut steps);
        self.advance_rollout(&mut steps);
        Ok(steps.list)
    }

    /// Gives every replica its earlier definition back.
    pub fn undo_rollout(&mut self, id: u64, now: Time) -> Result<Vec<Step>, RolloutError> {
        if let Stage::Running(Course::Back) = self.stage_of(id)? {
            return Err(RolloutError::RollingBack(id));
        }
        self.command(
            Stage::Running(Course::Back),
            "undone on request".to_owned(),
            now,
        )
    }

    /// The rollout that is under way.
    pub fn rollout_report(&self) -> Option<RolloutReport> {
        let Some(rollout) = &self.rollout else {
            return self.followed_report();
        };
        let desired = || self.replicas.iter().filter(|replica| replica.is_desired());
        let is_done = |replica: &&Replica| {
            replica.definition == rollout.to && !rollout.has_in_hand(&replica.name)
        };
        let successors = self.successors.iter().filter(|n| n.is_successor());
        let successors = successors.map(|successor| &successor.id.replica);
        let in_hand = rollout.in_hand.iter().map(InHand::replica);
        Some(RolloutReport {
            id: rollout.id,
            stage: rollout.stage,
            reason: rollout.reason.clone(),
            started_at: rollout.started_at,
            from: Arc::clone(&self.definition),
            to: Arc::clone(&rollout.to),
            done: desired().filter(is_done).count(),
            total: desired().count(),
            in_hand: successors.chain(in_hand).cloned().collect(),
            canary: self.canary_report(),
            executor: Some(self.policy.balancer.to_owned()),
        })
    }

    fn stage_of(&self, id: u64) -> Result<Stage, RolloutError> {
        if let Some(followed) = self.followed_rollout().filter(|followed| followed.id == id) {
            let executor = followed.executor.clone();
            let executor = executor.unwrap_or_else(|| "which is about to take it over".to_owned());
            return Err(RolloutError::Elsewhere(id, executor));
        }
        let rollout = self.rollout.as_ref().filter(|rollout| rollout.id == id);
        let rollout = rollout.filter(|_| !self.shutting_down);
        let stage = rollout.map(|rollout| rollout.stage);
        stage.ok_or(RolloutError::NotUnderWay(id))
    }

    /// Does what an operator wants of the rollout.
    fn command(
        &mut self,
        stage: Stage,
        reason: String,
        now: Time,
    ) -> Result<Vec<Step>, RolloutError> {
        let mut steps = Steps::at(now);
        if let Some(rollout) = &mut self.rollout
            && rollout.stage != stage
        {
            rollout.turn_to(stage.course());
            self.move_rollout(stage, Some(reason), &mut steps);
        }
        self.advance_rollout(&mut steps);
        Ok(steps.list)
    }
}
