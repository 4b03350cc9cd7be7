//! Rollouts as the Supervisor is asked for them, and what it does with their steps.

use std::rc::Rc;
use std::sync::Arc;

use actix::fut::ready;
use actix::{
    ActorFutureExt, Context, Handler, Message, MessageResult, ResponseActFuture, WrapFuture,
};
use log::{info, warn};

use super::Supervisor;
use super::recording::recorded;
use crate::actors::history::HistoryEvent;
use crate::api::{
    NewRollout, ReplicaEventKind as Kind, Rollout, RolloutCanary, RolloutOutcome, Timestamp,
};
use crate::fleet::{
    Definition, Event, InstanceEvent, InstanceId, PastRollout, RecordChange, RolloutChange,
    RolloutError, RolloutOrder, RolloutReport, Stage,
};
use crate::ring::CanaryShare;
use crate::runtime::{RuntimeError, balancer_name};

/// Gives every replica another definition. Answered once it has begun.
#[derive(Debug, Message)]
#[rtype(result = "Result<Rollout, RolloutError>")]
pub struct StartRollout(pub NewRollout);

/// Gives every replica this definition, which is complete. Answered once it has begun.
#[derive(Debug, Message)]
#[rtype(result = "Result<Rollout, RolloutError>")]
pub struct RollOut {
    pub to: Definition,
    /// What the fleet record notes as it begins.
    pub noting: Option<RecordChange>,
}

/// Pauses, resumes, promotes or undoes a rollout. Answered with the one that goes on: that which undoes a
/// rollout that has ended is another one.
#[derive(Debug, Message)]
#[rtype(result = "Result<Rollout, RolloutError>")]
pub struct DirectRollout(pub u64, pub RolloutCommand);

/// What can be done about a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutCommand {
    Pause,
    Resume,
    Promote,
    Undo,
}

/// The last rollouts, the oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Rollout>")]
pub struct GetRollouts;

/// The requests of a replica, and those of them that failed, before those that are counted.
pub(super) type RequestsBefore = (u64, u64);

type RolloutAnswer = Result<Rollout, RolloutError>;

impl Supervisor {
    /// Begins with a definition that the runtime says it can start, once the fleet record says that this
    /// balancer carries the rollout out: of several that begin one at the same time one does.
    fn begin_rollout(
        &mut self,
        to: Definition,
        canary: Option<CanaryShare>,
        noting: Option<RecordChange>,
    ) -> ResponseActFuture<Self, RolloutAnswer> {
        let (id, at) = (self.record.wanted().next_rollout(), Timestamp::now());
        let began = match self.fleet.rollout_to_record(id, to, canary, at) {
            Ok(began) => Box::new(began),
            Err(error) => return self.refuse(error),
        };
        let change = said(RolloutChange::Began(began.clone()), at);
        let changes: Vec<_> = [change].into_iter().chain(noting).collect();
        let record = Rc::clone(&self.record);
        let claimed = async move { record.claim(&changes).await }.into_actor(self);
        Box::pin(claimed.then(move |claimed, supervisor: &mut Self, ctx| {
            let present = match claimed {
                Ok(record) => record.rollout,
                Err(error) => {
                    let error = format!("the fleet record cannot be written: {error}");
                    return supervisor.refuse(RolloutError::Impossible(error));
                }
            };
            if let Some(other) = present.filter(|present| *present != *began) {
                return supervisor.refuse(RolloutError::UnderWay(other.id));
            }
            let now = supervisor.now();
            match supervisor.fleet.start_rollout(*began, now) {
                Ok(steps) => {
                    supervisor.execute(steps, ctx);
                    supervisor.answer_rollout(id)
                }
                // The balancer is stopping: it leaves the rollout to others.
                Err(error) => supervisor.refuse(error),
            }
        }))
    }

    /// Says which instances of an earlier balancer no rollout will replace.
    pub(super) fn log_outdated(&self) {
        let replicas = self.fleet.statuses().into_iter();
        let outdated: Vec<_> = replicas
            .filter(|replica| self.runtime.is_outdated(&replica.id, replica.outdated))
            .map(|replica| replica.id.replica.to_string())
            .collect();
        if !outdated.is_empty() {
            warn!(
                "started by an earlier definition, and kept until they are replaced: {}",
                outdated.join(", ")
            );
        }
    }

    /// Checks with the runtime, then begins.
    fn prepare_rollout(
        &self,
        to: Definition,
        canary: Option<CanaryShare>,
        noting: Option<RecordChange>,
    ) -> ResponseActFuture<Self, RolloutAnswer> {
        let beside = self.rollout_order == RolloutOrder::StartFirst || canary.is_some();
        // What other balancers could not follow.
        let alone = match canary {
            Some(_) => Some("would send its keys elsewhere: start the rollout without a canary"),
            None if beside => None,
            None => Some("would start what is stopped: --rollout-order start-first"),
        };
        let (runtime, definition) = (Rc::clone(&self.runtime), to.clone());
        let prepared = async move {
            if let Some(reason) = alone
                && runtime.is_shared().await
            {
                let error = format!("other balancers serve this fleet, and {reason}");
                return Err(RuntimeError(error));
            }
            runtime.prepare_rollout(definition, beside).await
        };
        let prepared = prepared.into_actor(self);
        Box::pin(
            prepared.then(move |prepared, supervisor: &mut Self, _| match prepared {
                Ok(()) => supervisor.begin_rollout(to, canary, noting),
                Err(error) => Box::pin(ready(Err(RolloutError::Impossible(error.to_string())))),
            }),
        )
    }

    fn refuse(&self, error: RolloutError) -> ResponseActFuture<Self, RolloutAnswer> {
        Box::pin(ready(Err(error)))
    }

    /// Answers with a rollout once the record has it.
    fn answer_rollout(&self, id: u64) -> ResponseActFuture<Self, RolloutAnswer> {
        let recorded = recorded(Rc::clone(&self.record)).into_actor(self);
        Box::pin(recorded.map(move |_, supervisor: &mut Self, _| {
            // What could not be written is tried again, and logged.
            let mut rollouts = supervisor.rollouts().into_iter();
            let rollout = rollouts.find(|rollout| rollout.id == id);
            rollout.ok_or(RolloutError::NotUnderWay(id))
        }))
    }

    /// The rollout that is under way.
    pub(super) fn rollout(&self) -> Option<Rollout> {
        let report = self.fleet.rollout_report()?;
        let canary = report.canary.as_ref().map(|canary| self.canary(canary));
        Some(under_way(report, canary))
    }

    fn rollouts(&self) -> Vec<Rollout> {
        let record = self.record.wanted();
        let report = self.rollout();
        let is_present = |past: &&PastRollout| report.as_ref().is_none_or(|r| r.id != past.id);
        let past = record.past_rollouts.iter().filter(is_present);
        let past: Vec<_> = past.map(ended).collect();
        past.into_iter().chain(report).collect()
    }

    /// Logs what has become of a rollout, and writes it to the record.
    pub(super) fn note_rollout(
        &mut self,
        change: RolloutChange,
        ctx: &mut Context<Self>,
    ) -> HistoryEvent {
        let event = self.describe_rollout(&change);
        match change {
            RolloutChange::Began(_) | RolloutChange::HandedOver { .. } => {
                self.runtime.on_rollout(true);
            }
            RolloutChange::Ended { .. } => self.runtime.on_rollout(false),
            _ => {}
        }
        if let RolloutChange::Ended { outcome, .. } = &change {
            *self.rollouts_ended.entry(*outcome).or_default() += 1;
        }
        self.write_record(vec![said(change, Timestamp::now())], ctx);
        event
    }

    fn describe_rollout(&self, change: &RolloutChange) -> HistoryEvent {
        let fleet = HistoryEvent::of_fleet;
        match change {
            RolloutChange::Began(rollout) => {
                let id = rollout.id;
                let changes = self.record.wanted().definition.differences(&rollout.to);
                let changes = changes.join("; ");
                info!(rollout = id; "rollout {id} begins: {changes}");
                fleet(Kind::RolloutStarted).because(format!("rollout {id}: {changes}"))
            }
            RolloutChange::HandedOver { id, from, .. } => {
                let from = from.as_deref().unwrap_or("that has left it");
                let reason = format!("rollout {id}: taken over from balancer {from}");
                warn!(rollout = *id; "{reason}");
                fleet(Kind::RolloutContinued).because(reason)
            }
            RolloutChange::Moved { id, stage, reason } => {
                let reason = reason.as_deref();
                let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let (kind, state) = (kind_of(*stage), stage.state());
                match stage {
                    Stage::Paused(_) => {
                        warn!(rollout = *id; "rollout {id} is paused{because}; 'ringmaster ctl \
                               rollout resume' goes on, 'undo' goes back");
                    }
                    Stage::Running(_) if kind == Kind::RolloutRollingBack => {
                        warn!(rollout = *id; "rollout {id} is {state}{because}");
                    }
                    Stage::Running(_) => info!(rollout = *id; "rollout {id} is {state}{because}"),
                }
                fleet(kind).because(format!("rollout {id}{because}"))
            }
            RolloutChange::Replaced {
                id,
                instance,
                updated,
            } => {
                let version = if *updated { "new" } else { "earlier" };
                info!(
                    rollout = *id, replica:% = instance.replica, generation = instance.generation;
                    "rollout {id}: {instance} has the {version} definition"
                );
                let reason = format!("rollout {id}: it has the {version} definition");
                HistoryEvent::of(instance, Kind::Replaced).because(reason)
            }
            RolloutChange::Ended {
                id,
                outcome,
                reason,
            } => {
                let because = reason.as_deref();
                let because = because.map_or_else(String::new, |reason| format!(": {reason}"));
                match outcome {
                    RolloutOutcome::Done => {
                        info!(rollout = *id; "rollout {id} is done");
                        fleet(Kind::RolloutDone).because(format!("rollout {id}"))
                    }
                    _ => {
                        warn!(rollout = *id; "rollout {id} has been rolled back{because}");
                        fleet(Kind::RolloutRolledBack).because(format!("rollout {id}{because}"))
                    }
                }
            }
        }
    }

    /// Begins to count the requests of an instance.
    pub(super) fn count_requests(&mut self, id: InstanceId) {
        let before = self.requests_of(&id);
        // Of a replica the new instance alone is watched.
        self.counted_from
            .retain(|other, _| other.replica != id.replica);
        self.counted_from.insert(id, before);
    }

    /// What they have come to since.
    pub(super) fn report_requests(&mut self, id: InstanceId, ctx: &mut Context<Self>) {
        let (now, before) = (self.requests_of(&id), self.counted_from.get(&id).copied());
        let before = before.unwrap_or(now);
        let counted = InstanceEvent::RequestsCounted {
            requests: now.0.saturating_sub(before.0),
            failed: now.1.saturating_sub(before.1),
        };
        self.report_back(ctx, async move { Event::Instance(id, counted) });
    }

    fn requests_of(&self, id: &InstanceId) -> RequestsBefore {
        self.stats.replica(&id.replica).snapshot().totals()
    }
}

/// What this balancer says of a rollout, for the record.
pub(super) fn said(change: RolloutChange, at: Timestamp) -> RecordChange {
    let by = balancer_name().to_owned();
    RecordChange::Rollout { change, by, at }
}

fn kind_of(stage: Stage) -> Kind {
    use crate::api::RolloutState as State;
    match stage.state() {
        State::Paused => Kind::RolloutPaused,
        State::RollingBack => Kind::RolloutRollingBack,
        _ => Kind::RolloutContinued,
    }
}

fn under_way(report: RolloutReport, canary: Option<RolloutCanary>) -> Rollout {
    Rollout {
        id: report.id,
        state: report.stage.state(),
        reason: report.reason,
        changes: report.from.differences(&report.to),
        started_at: report.started_at,
        finished_at: None,
        done: Some(report.done),
        replicas: report.total,
        in_hand: report.in_hand.iter().map(ToString::to_string).collect(),
        canary,
        balancer: report.executor,
    }
}

fn ended(past: &PastRollout) -> Rollout {
    Rollout {
        id: past.id,
        state: past.outcome.into(),
        reason: past.reason.clone(),
        changes: past.changes.clone(),
        started_at: past.started_at,
        finished_at: Some(past.finished_at),
        done: None,
        replicas: past.replicas,
        in_hand: Vec::new(),
        canary: None,
        balancer: None,
    }
}

impl Handler<StartRollout> for Supervisor {
    type Result = ResponseActFuture<Self, RolloutAnswer>;

    fn handle(&mut self, StartRollout(new): StartRollout, _: &mut Context<Self>) -> Self::Result {
        if let Some(error) = self.fleet.refusal_of_any_rollout() {
            return self.refuse(error);
        }
        let canary: Option<CanaryShare> = match new.canary.as_deref().map(str::parse).transpose() {
            Ok(canary) => canary,
            Err(error) => return self.refuse(RolloutError::Invalid(format!("canary: {error}"))),
        };
        if let Some(why) = canary.and_then(|_| self.runtime.refusal_of_extra()) {
            return self.refuse(RolloutError::Impossible(why));
        }
        let known = self.record.wanted().definition;
        let runtime = Rc::clone(&self.runtime);
        let defined = async move {
            let owned = runtime.owned_definition(known.clone(), &new).await;
            let owned = owned.map_err(|error| RolloutError::Impossible(error.to_string()))?;
            let present = owned.clone().unwrap_or(known);
            Ok((owned, runtime.define(new, present).await?))
        };
        let defined = defined.into_actor(self);
        Box::pin(defined.then(move |defined, supervisor: &mut Self, ctx| {
            let (owned, to) = match defined {
                Ok(defined) => defined,
                Err(error) => return supervisor.refuse(error),
            };
            if let Some(definition) = owned {
                let (before, now) = (Arc::clone(supervisor.fleet.definition()), supervisor.now());
                let steps = supervisor.fleet.take_definition(definition, now);
                let present = supervisor.fleet.definition();
                supervisor.spares.take_definition(&before, present);
                supervisor.execute(steps, ctx);
            }
            // Before an image is pulled for nothing.
            match supervisor.fleet.refusal_of_rollout(&to) {
                Some(error) => supervisor.refuse(error),
                None => supervisor.prepare_rollout(to, canary, None),
            }
        }))
    }
}

impl Handler<RollOut> for Supervisor {
    type Result = ResponseActFuture<Self, RolloutAnswer>;

    fn handle(&mut self, RollOut { to, noting }: RollOut, _: &mut Context<Self>) -> Self::Result {
        match self.fleet.refusal_of_rollout(&to) {
            Some(error) => Box::pin(ready(Err(error))),
            None => self.prepare_rollout(to, None, noting),
        }
    }
}

impl Handler<DirectRollout> for Supervisor {
    type Result = ResponseActFuture<Self, RolloutAnswer>;

    fn handle(
        &mut self,
        DirectRollout(id, command): DirectRollout,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        let now = self.now();
        let is_present = self.fleet.rollout_report().is_some_and(|r| r.id == id);
        let directed = match command {
            RolloutCommand::Pause => self.fleet.pause_rollout(id, now),
            RolloutCommand::Resume => self.fleet.resume_rollout(id, now),
            RolloutCommand::Promote => self.fleet.promote_rollout(id, now),
            RolloutCommand::Undo if is_present => self.fleet.undo_rollout(id, now),
            RolloutCommand::Undo => {
                let record = self.record.wanted();
                let past = record.past_rollouts.iter().find(|past| past.id == id);
                return match past.and_then(|past| past.before.clone()) {
                    Some(before) => match self.fleet.refusal_of_rollout(&before) {
                        Some(error) => Box::pin(ready(Err(error))),
                        None => self.prepare_rollout(before, None, None),
                    },
                    None => Box::pin(ready(Err(RolloutError::NotUndoable(id)))),
                };
            }
        };
        match directed {
            Ok(steps) => {
                self.execute(steps, ctx);
                self.answer_rollout(id)
            }
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}

impl Handler<GetRollouts> for Supervisor {
    type Result = MessageResult<GetRollouts>;

    fn handle(&mut self, _: GetRollouts, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.rollouts())
    }
}
