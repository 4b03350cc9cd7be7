//! Executes the fleet's steps, in two rounds: see [`Step`].

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use log::{Level, error, info, log, warn};
use tokio::sync::oneshot;

use super::Supervisor;
use super::config_version::is_change;
use super::post_mortem::{DeathDetail, exit_report};
use super::recording::recorded;
use crate::actors::ActorReply;
use crate::actors::history::HistoryEvent;
use crate::api::ReplicaEventKind as Kind;
use crate::fleet::{
    ChangeError, DeferredStep, Event, Failures, ImmediateStep, InstanceEvent, InstanceId, LaunchAs,
    OperatorAction, Step,
};
use crate::human::duration;
use crate::ring::{BuildError, Member, ReplicaName};
use crate::runtime::{Launched, Task};

/// How long the stop of an instance that refuses connections waits for the report of its own
/// end: its sockets are closed before its parent or the engine hears of it, and a signal sent
/// meanwhile would pass for the cause.
const EXIT_REPORT_TIMEOUT: Duration = Duration::from_millis(500);

/// What the first round has begun.
#[derive(Default)]
struct FirstRound {
    /// Each is over when every worker thread has the ring that its step makes.
    ring: Vec<LocalBoxFuture<'static, ()>>,
    /// Dated to the moment in which the ring has taken effect.
    history: Vec<HistoryEvent>,
    /// Details of deaths; asked for when the ring has told what it knows.
    deaths: Vec<LocalBoxFuture<'static, ()>>,
    /// Instances that are to finish their requests.
    draining: Vec<InstanceId>,
    /// Whether what an operator can configure is another afterwards.
    changes_configuration: bool,
}

impl Supervisor {
    /// Begins the immediate steps; the deferred ones when the ring has taken effect.
    pub(super) fn execute(&mut self, steps: Vec<Step>, ctx: &mut Context<Self>) {
        let (mut round, mut deferred) = (FirstRound::default(), Vec::new());
        let drains = steps.iter().filter_map(|step| match step {
            Step::Deferred(DeferredStep::Drain(id)) => Some(id.clone()),
            _ => None,
        });
        round.draining = drains.collect();
        for step in steps {
            match step {
                Step::Immediate(step) => self.execute_immediate(step, &mut round, ctx),
                Step::Deferred(step) => deferred.push(step),
            }
        }
        let FirstRound {
            ring,
            history,
            deaths,
            changes_configuration,
            draining: _,
        } = round;
        if changes_configuration {
            self.version.raise();
        }
        let is_empty = ring.is_empty() && deaths.is_empty() && history.is_empty();
        if !is_empty || !deferred.is_empty() {
            let second_round = join_all(ring).into_actor(self).map(
                move |_, supervisor: &mut Self, ctx: &mut Context<Self>| {
                    supervisor.history.record(history);
                    if changes_configuration {
                        supervisor.version.raise();
                    }
                    for details in deaths {
                        ctx.spawn(details.into_actor(supervisor));
                    }
                    for step in deferred {
                        supervisor.execute_deferred(step, ctx);
                    }
                },
            );
            ctx.spawn(second_round);
        }
        self.fill_spares(ctx);
        self.set_alarm(ctx);
        if self.fleet.is_shut_down() {
            for gone in self.gone.drain(..) {
                // The caller may have stopped waiting.
                let _ = gone.send(());
            }
        }
    }

    fn execute_immediate(
        &mut self,
        step: ImmediateStep,
        round: &mut FirstRound,
        ctx: &mut Context<Self>,
    ) {
        if is_change(&step) {
            round.changes_configuration = true;
        }
        match step {
            ImmediateStep::Join(members) => {
                let joined = members
                    .iter()
                    .map(|m| HistoryEvent::of_replica(&m.name, Kind::Joined));
                round.history.extend(joined);
                round.ring.push(self.join(members));
            }
            ImmediateStep::Leave(names) => {
                let left = names.iter();
                let left = left.map(|name| HistoryEvent::of_replica(name, Kind::Left));
                round.history.extend(left);
                info!("left the ring: {}", list(&names));
                round.ring.push(ring_future(self.ring.leave(names)));
            }
            ImmediateStep::OpenCanary(share, names) => {
                info!("{share} of the keys go to {}", list(&names));
                self.canary_opened(&names);
                let opened = self.ring.open_canary(share, names);
                round.ring.push(joined(opened));
            }
            ImmediateStep::CloseCanary => {
                self.canary_closed();
                round.ring.push(ring_future(self.ring.close_canary()));
            }
            ImmediateStep::Admit(id, endpoint) => {
                round.history.push(HistoryEvent::of(&id, Kind::Ready));
                self.runtime.on_admitted(&id);
                self.death_log.forget_in_flight(&id);
                let stats = self.stats.replica(&id.replica);
                stats.life().ready(Instant::now());
                round.ring.push(ring_future(self.ring.admit(id, endpoint)));
            }
            ImmediateStep::Evict(id, reason) => {
                warn!(replica:% = id.replica, generation = id.generation; "{id} is evicted: {reason}");
                let evicted = HistoryEvent::of(&id, Kind::Evicted).because(reason);
                round.history.push(evicted);
                round.ring.push(self.evict(id, ctx));
            }
            ImmediateStep::MarkUnready(id, endpoint, reason) => {
                warn!(replica:% = id.replica, generation = id.generation; "{id} is unready: {reason}");
                let unready = HistoryEvent::of(&id, Kind::Unready).because(reason);
                round.history.push(unready);
                let marked = self.ring.mark_unready(id, endpoint);
                round.ring.push(ring_future(marked));
            }
            ImmediateStep::MarkDrained(id, endpoint) => {
                self.death_log.forget_in_flight(&id);
                let marked = self.ring.mark_drained(id, endpoint);
                round.ring.push(ring_future(marked));
            }
            ImmediateStep::EndDrain(id) => self.ring.end_drain(id),
            ImmediateStep::RecordAction(id, action) => {
                round.history.push(self.record_action(&id, action));
            }
            ImmediateStep::Watch(id, endpoint) => {
                self.runtime.on_probing_started(&id, endpoint);
                if let Some(prober) = &self.prober {
                    let machine = self.runtime.machine_of(&id);
                    prober.watch(id, endpoint, machine);
                }
            }
            ImmediateStep::Unwatch(id) => {
                self.runtime.on_probing_stopped(&id);
                match &self.prober {
                    Some(prober) if round.draining.contains(&id) => prober.follow_drain(id),
                    Some(prober) => prober.unwatch(id),
                    None => {}
                }
            }
            ImmediateStep::AbortRequests(id) => self.ring.abort_requests(id),
            ImmediateStep::Record(change) => self.write_record(vec![change], ctx),
            ImmediateStep::RecordDeath { id, cause } => {
                self.count_death(&id, &cause);
                round.deaths.push(self.record_death(id, cause, ctx));
            }
            ImmediateStep::RecordFailedStart { id, cause } => {
                round.deaths.push(self.record_death(id, cause, ctx));
            }
            ImmediateStep::Rollout(change) => {
                round.history.push(self.note_rollout(change, ctx));
            }
            ImmediateStep::CountRequests(id) => self.count_requests(id),
            ImmediateStep::ReportRequests(id) => self.report_requests(id, ctx),
            ImmediateStep::RecordExit(id, exit) => {
                self.death_log.set_exit(&id, &exit);
                if let Some(waiter) = self.exit_waiters.remove(&id) {
                    // A stop that waits no longer has gone on without it.
                    let _ = waiter.send(());
                }
            }
            ImmediateStep::RecordStop(id) => {
                self.record_event(HistoryEvent::of(&id, Kind::Stopped));
                self.death_log.forget_in_flight(&id);
            }
            ImmediateStep::Warn(replica, message) => warn!(replica:%; "{replica}: {message}"),
            ImmediateStep::ReportDegraded {
                replica,
                degraded,
                message,
            } => {
                warn!(replica:%; "{replica}: {message}");
                let kind = match degraded {
                    true => Kind::Degraded,
                    false => Kind::Recovered,
                };
                let event = HistoryEvent::of_replica(&replica, kind).because(message);
                round.history.push(event);
            }
        }
    }

    fn execute_deferred(&mut self, step: DeferredStep, ctx: &mut Context<Self>) {
        match step {
            DeferredStep::Launch(order, definition, LaunchAs::Replica) => {
                self.take_spare_or_launch(order, &definition, ctx);
            }
            DeferredStep::Launch(order, definition, launched_as) => {
                let id = order.id.clone();
                let launched = self.runtime.launch(order, &definition, launched_as);
                self.launch(id, launched, ctx);
            }
            DeferredStep::TakePlace(id) => {
                ctx.spawn(self.runtime.take_place(id).into_actor(self));
            }
            DeferredStep::Drain(id) => {
                let deadline = self.drain_deadline;
                let drained = self.ring.drain(id.clone(), deadline);
                let prober = self.prober.clone();
                self.report_back(ctx, async move {
                    let left = drained.await;
                    if let Some(prober) = prober {
                        prober.unfollow_drain(id.clone());
                    }
                    match left {
                        Ok(0) => info!(replica:% = id.replica, generation = id.generation; "{id} has no requests in flight any more"),
                        Ok(left) => warn!(
                            replica:% = id.replica, generation = id.generation;
                            "{id} still has {left} requests in flight, which end now: the drain deadline of {} has passed",
                            duration(deadline)
                        ),
                        Err(error) => error!(replica:% = id.replica, generation = id.generation; "cannot drain {id}: {error}"),
                    }
                    Event::Instance(id, InstanceEvent::Drained)
                });
            }
            DeferredStep::AnnounceRemoval(id) => {
                ctx.spawn(self.runtime.announce_removal(id).into_actor(self));
            }
            DeferredStep::Stop(id, grace) => {
                info!(replica:% = id.replica, generation = id.generation; "stopping {id}");
                let stopped = self.stop(id.clone(), grace, ctx);
                self.report_back(ctx, async move {
                    let event = match stopped.await {
                        Ok(()) => InstanceEvent::Stopped,
                        Err(error) => {
                            warn!(replica:% = id.replica, generation = id.generation; "cannot stop {id}: {error}");
                            InstanceEvent::StopFailed(error.to_string())
                        }
                    };
                    Event::Instance(id, event)
                });
            }
            DeferredStep::Reply(change_id, outcome) => {
                let outcome = outcome.map_err(|error| self.explain(error));
                if let Some(answer) = self.answers.remove(&change_id) {
                    let record = Rc::clone(&self.record);
                    let answered = async move {
                        let outcome = match outcome {
                            Ok(replicas) => recorded(record).await.map(|()| replicas),
                            refused => refused,
                        };
                        // The caller may have hung up; the change stays.
                        let _ = answer.send(outcome);
                    };
                    ctx.spawn(answered.into_actor(self));
                }
            }
        }
    }

    /// Logs what is done with a replica on request.
    fn record_action(&self, id: &InstanceId, action: OperatorAction) -> HistoryEvent {
        let (kind, message) = match action {
            OperatorAction::Drained => {
                (Kind::Drained, "is drained on request: it gets no requests")
            }
            OperatorAction::StaysDrained => {
                self.runtime.on_admitted(id);
                self.stats.replica(&id.replica).life().ready(Instant::now());
                (
                    Kind::Ready,
                    "is ready, and stays drained: it gets no requests",
                )
            }
            OperatorAction::Activated => (Kind::Activated, "is active again on request"),
            OperatorAction::Restarting => (Kind::Restarting, "is restarted on request"),
        };
        info!(replica:% = id.replica, generation = id.generation; "{id} {message}");
        let event = HistoryEvent::of(id, kind);
        match action {
            OperatorAction::StaysDrained => event.because("it stays drained".to_owned()),
            _ => event,
        }
    }

    /// Adds to a failed start what the replica printed.
    fn explain(&self, error: ChangeError) -> ChangeError {
        let ChangeError::StartFailed(Failures(mut failures)) = error else {
            return error;
        };
        for (name, reason) in &mut failures {
            *reason = self.death_log.explain_start_failure(name, reason);
        }
        ChangeError::StartFailed(Failures(failures))
    }

    pub(super) fn launch(
        &mut self,
        id: InstanceId,
        launched: Task<Launched>,
        ctx: &mut Context<Self>,
    ) {
        if self.runtime.spawns() {
            // A launch that fails is repeated, and logged once.
            let again = self.fleet.last_launch_failed(&id.replica);
            let level = if again { Level::Debug } else { Level::Info };
            log!(level, replica:% = id.replica, generation = id.generation; "starting {id}");
        }
        self.record_event(HistoryEvent::of(&id, Kind::Starting));
        self.report_back(ctx, async move {
            let event = match launched.await {
                Ok(ours) if ours.id == id => InstanceEvent::Launched(ours.endpoint),
                Ok(theirs) => InstanceEvent::LaunchPreempted(
                    theirs.id.generation,
                    theirs.endpoint,
                    theirs.definition,
                ),
                Err(error) => InstanceEvent::LaunchFailed(error.to_string()),
            };
            Event::Instance(id, event)
        });
    }

    /// Takes an instance off the ring; done when every worker knows.
    fn evict(&self, id: InstanceId, ctx: &mut Context<Self>) -> LocalBoxFuture<'static, ()> {
        let own = ctx.address();
        let evicted = self.ring.evict(id.clone());
        async move {
            match evicted.await {
                Ok(evicted) => own.do_send(DeathDetail::Requests(id, evicted)),
                Err(error) => error!("cannot reach the ring: {error}"),
            }
        }
        .boxed_local()
    }

    /// Stops an instance; of one that has died, keeps what it leaves behind.
    fn stop(&mut self, id: InstanceId, grace: Duration, ctx: &mut Context<Self>) -> Task<()> {
        if !self.death_log.is_unreported(&id) {
            return self.runtime.stop(id, grace);
        }
        let own = ctx.address();
        let runtime = Rc::clone(&self.runtime);
        runtime.keep_log(&id);
        if runtime.keeps_remains() && self.fleet.has_waiting_successor(&id) {
            let report = runtime.exit_report(id.clone());
            let of = id.clone();
            let reported = async move {
                own.do_send(DeathDetail::ExitReport(of.clone(), report.await));
                own.do_send(DeathDetail::Complete(of));
            };
            ctx.spawn(reported.into_actor(self));
            return runtime.stop(id, grace);
        }
        let exited = self.death_log.awaits_exit(&id).then(|| {
            let (waiter, exited) = oneshot::channel();
            self.exit_waiters.insert(id.clone(), waiter);
            exited
        });
        async move {
            if let Some(exited) = exited {
                // Known or not by then, it is stopped.
                let _ = tokio::time::timeout(EXIT_REPORT_TIMEOUT, exited).await;
            }
            let before = exit_report(&runtime, id.clone()).await;
            own.do_send(DeathDetail::ExitReport(id.clone(), before));
            let stopped = runtime.stop(id.clone(), grace).await;
            // By now a child's own end is known, and a container is gone.
            let after = exit_report(&runtime, id.clone()).await;
            own.do_send(DeathDetail::ExitReport(id.clone(), after));
            own.do_send(DeathDetail::Complete(id));
            stopped
        }
        .boxed_local()
    }

    fn join(&self, members: Vec<Member>) -> LocalBoxFuture<'static, ()> {
        joined(self.ring.join(members))
    }
}

fn joined(
    answer: impl Future<Output = ActorReply<Result<(), BuildError>>> + 'static,
) -> LocalBoxFuture<'static, ()> {
    async move {
        match answer.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!("cannot extend the ring: {error}"),
            Err(error) => error!("cannot reach the ring: {error}"),
        }
    }
    .boxed_local()
}

fn ring_future(
    answer: impl Future<Output = ActorReply<()>> + 'static,
) -> LocalBoxFuture<'static, ()> {
    async move {
        if let Err(error) = answer.await {
            error!("cannot reach the ring: {error}");
        }
    }
    .boxed_local()
}

fn list(names: &[ReplicaName]) -> String {
    let names: Vec<&str> = names.iter().map(ReplicaName::as_str).collect();
    names.join(", ")
}
