//! Warm spares as the Supervisor starts, watches and takes them; [`SparePool`] decides.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use log::{info, warn};

use super::Supervisor;
use crate::actors::history::HistoryEvent;
use crate::api::{ReplicaEventKind as Kind, ReplicaState};
use crate::fleet::{
    Definition, Event, InstanceEvent, InstanceId, LaunchAs, LaunchOrder, ReadySpare, SparePool,
    SpareStep,
};
use crate::runtime::{Launched, TakenSpare, Task};

/// How many spares that were taken are remembered, for reports that are still on their way.
const MAX_TAKEN: usize = 64;

impl Supervisor {
    /// Has this many spares kept.
    pub(crate) fn keeping(mut self, spares: SparePool) -> Self {
        self.spares = spares;
        self
    }

    /// Adopts the spares that an earlier balancer has left running. Until that is over none is started, and
    /// replicas that do not run wait for them.
    pub(super) fn adopt_spares(&self, ctx: &mut Context<Self>) {
        let left = self.runtime.adopt_spares().into_actor(self);
        ctx.spawn(left.map(|left, supervisor, ctx| {
            let now = supervisor.now();
            let definition = Arc::clone(supervisor.fleet.definition());
            let steps = supervisor.spares.adopt(left, &definition, now);
            supervisor.execute_spare_steps(steps, ctx);
            for (order, definition) in std::mem::take(&mut supervisor.held_launches) {
                supervisor.take_spare_or_launch(order, &definition, ctx);
            }
            supervisor.fill_spares(ctx);
            supervisor.set_alarm(ctx);
        }));
    }

    /// Takes in an event about a spare; returns it if it is about something else. One about a spare that
    /// has been taken meanwhile is about the replica that it plays.
    pub(super) fn apply_to_spare(
        &mut self,
        event: Event,
        ctx: &mut Context<Self>,
    ) -> Option<Event> {
        let Event::Instance(id, what) = event else {
            return Some(event);
        };
        if !self.spares.has(&id) {
            let taken = self.taken_spares.iter().find(|(spare, _)| *spare == id);
            let id = taken.map_or(id, |(_, now)| now.clone());
            return Some(Event::Instance(id, what));
        }
        let now = self.now();
        let steps = self.spares.apply(&id, &what, now);
        self.execute_spare_steps(steps, ctx);
        self.set_alarm(ctx);
        None
    }

    /// Starts spares that are missing: not while replicas are being started, which come first.
    pub(super) fn fill_spares(&mut self, ctx: &mut Context<Self>) {
        if !self.spares.is_used() {
            return;
        }
        let statuses = self.fleet.statuses();
        let is_starting = |state: ReplicaState| state == ReplicaState::Starting;
        let steps = if self.is_ending || statuses.is_empty() {
            self.spares.stop_all()
        } else if self.fleet.is_relieving()
            || statuses.iter().any(|status| is_starting(status.state))
        {
            return;
        } else {
            let is_taken = |name: &_| statuses.iter().any(|status| status.id.replica == *name);
            let now = self.now();
            let generation = self.runtime.first_spare_generation();
            let definition = self.fleet.definition();
            self.spares.fill(definition, is_taken, generation, now)
        };
        self.execute_spare_steps(steps, ctx);
    }

    pub(super) fn tick_spares(&mut self, ctx: &mut Context<Self>) {
        let now = self.now();
        let steps = self.spares.tick(now);
        self.execute_spare_steps(steps, ctx);
    }

    fn execute_spare_steps(&mut self, steps: Vec<SpareStep>, ctx: &mut Context<Self>) {
        for step in steps {
            match step {
                SpareStep::Launch(order, definition) => {
                    let id = order.id.clone();
                    info!("starting {}", id.replica);
                    let launched = self.runtime.launch(order, &definition, LaunchAs::Spare);
                    self.report_back(ctx, async move {
                        let event = match launched.await {
                            Ok(launched) => InstanceEvent::Launched(launched.endpoint),
                            Err(error) => InstanceEvent::LaunchFailed(error.to_string()),
                        };
                        Event::Instance(id, event)
                    });
                }
                SpareStep::Watch(id, endpoint) => {
                    self.runtime.on_probing_started(&id, endpoint);
                    if let Some(prober) = &self.prober {
                        prober.watch(id, endpoint, None);
                    }
                }
                SpareStep::Unwatch(id) => {
                    self.runtime.on_probing_stopped(&id);
                    if let Some(prober) = &self.prober {
                        prober.unwatch(id);
                    }
                }
                SpareStep::Stop(id, grace) => {
                    let stopped = self.stop_spare(id, grace).into_actor(self);
                    ctx.spawn(stopped.map(|(), _, _| ()));
                }
                SpareStep::Warn(message) => warn!("{message}"),
            }
        }
    }

    fn stop_spare(&self, id: InstanceId, grace: Duration) -> LocalBoxFuture<'static, ()> {
        let runtime = Rc::clone(&self.runtime);
        async move {
            if let Err(error) = runtime.stop(id.clone(), grace).await {
                warn!("cannot stop {}: {error}", id.replica);
            }
        }
        .boxed_local()
    }

    /// Stops every spare: the balancer ends. Done when they are gone.
    pub(super) fn end_spares(&mut self) -> LocalBoxFuture<'static, ()> {
        self.is_ending = true;
        let stops = self
            .spares
            .stop_all()
            .into_iter()
            .filter_map(|step| match step {
                SpareStep::Stop(id, grace) => Some(self.stop_spare(id, grace)),
                _ => None,
            });
        let stops = join_all(stops.collect::<Vec<_>>());
        stops.map(drop).boxed_local()
    }

    /// Has a spare play the replica whose instance is to be started, if one is ready, else starts it.
    pub(super) fn take_spare_or_launch(
        &mut self,
        order: LaunchOrder,
        definition: &Arc<Definition>,
        ctx: &mut Context<Self>,
    ) {
        if self.spares.is_adopting() {
            let held = (order, Arc::clone(definition));
            return self.held_launches.push(held);
        }
        let is_fit = |spare: &InstanceId| self.runtime.is_fit_spare(spare, &order);
        let Some(spare) = self.spares.take(definition, is_fit) else {
            let id = order.id.clone();
            let launched = self.runtime.launch(order, definition, LaunchAs::Replica);
            return self.launch(id, launched, ctx);
        };
        if let Some(prober) = &self.prober {
            prober.unwatch(spare.id.clone());
        }
        let taken = self.runtime.take_spare(spare.id.clone(), order.clone());
        let definition = Arc::clone(definition);
        let taken = taken.into_actor(self);
        ctx.spawn(taken.map(move |taken, supervisor, ctx| match taken {
            TakenSpare::Plays(id) => {
                supervisor.spare_plays(spare, &order, id, &definition, None, ctx);
            }
            TakenSpare::StandsIn(id) => {
                let stands_in = Some(InstanceEvent::StandsIn);
                supervisor.spare_plays(spare, &order, id, &definition, stands_in, ctx);
            }
            TakenSpare::Gone => {
                let stopped = supervisor.stop_spare(spare.id, Duration::ZERO);
                ctx.spawn(stopped.into_actor(supervisor));
                supervisor.take_spare_or_launch(order, &definition, ctx);
            }
            TakenSpare::Stays(launched) => {
                let launched = async { launched }.boxed_local();
                supervisor.spare_stays(spare, order.id, launched, ctx);
            }
            TakenSpare::Refused => {
                let (id, runtime) = (order.id.clone(), &supervisor.runtime);
                let launched = runtime.launch(order, &definition, LaunchAs::Replica);
                supervisor.spare_stays(spare, id, launched, ctx);
            }
        }));
    }

    /// A spare plays no replica after all.
    fn spare_stays(
        &mut self,
        spare: ReadySpare,
        id: InstanceId,
        launched: Task<Launched>,
        ctx: &mut Context<Self>,
    ) {
        let now = self.now();
        let watch = self.spares.give_back(spare, now);
        self.execute_spare_steps(vec![watch], ctx);
        self.launch(id, launched, ctx);
    }

    /// A spare plays the replica as instance `id`; `report` is what else the fleet is to know of it.
    fn spare_plays(
        &mut self,
        spare: ReadySpare,
        order: &LaunchOrder,
        id: InstanceId,
        definition: &Arc<Definition>,
        report: Option<InstanceEvent>,
        ctx: &mut Context<Self>,
    ) {
        let reason = format!("{} takes its place", spare.id.replica);
        info!(replica:% = id.replica, generation = id.generation; "{id}: {reason}");
        self.record_event(HistoryEvent::of(&id, Kind::Starting).because(reason));
        if self.taken_spares.len() == MAX_TAKEN {
            self.taken_spares.pop_front();
        }
        self.taken_spares.push_back((spare.id, id.clone()));
        let is_healthy = spare.is_healthy;
        let started = match id.generation == order.id.generation {
            true => InstanceEvent::Launched(spare.endpoint),
            // A spare that keeps its generation.
            false => InstanceEvent::LaunchPreempted(
                id.generation,
                spare.endpoint,
                Some(definition.hash()),
            ),
        };
        self.apply_event(Event::Instance(order.id.clone(), started), ctx);
        // Its last heartbeat was a moment ago.
        let healthy = is_healthy.then_some(InstanceEvent::BecameHealthy);
        for report in report.into_iter().chain(healthy) {
            self.apply_event(Event::Instance(id.clone(), report), ctx);
        }
    }
}
