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
    Definition, Event, InstanceEvent, InstanceId, LaunchOrder, SparePool, SpareStep,
};

/// How many spares that were taken are remembered, for reports that are still on their way.
const MAX_TAKEN: usize = 64;

impl Supervisor {
    /// Has this many spares kept.
    pub(crate) fn keeping(mut self, spares: SparePool) -> Self {
        self.spares = spares;
        self
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
        } else if statuses.iter().any(|status| is_starting(status.state)) {
            return;
        } else {
            let is_taken = |name: &_| statuses.iter().any(|status| status.id.replica == *name);
            let now = self.now();
            self.spares.fill(self.fleet.definition(), is_taken, now)
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
                    let launched = self.runtime.launch(order, &definition);
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
                        prober.watch(id, endpoint);
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

    /// Has a spare play the replica whose instance is to be started, if one is ready.
    pub(super) fn take_spare(
        &mut self,
        order: &LaunchOrder,
        definition: &Arc<Definition>,
        ctx: &mut Context<Self>,
    ) -> bool {
        let id = order.id.clone();
        while let Some((spare, endpoint)) = self.spares.take(definition) {
            if let Some(prober) = &self.prober {
                prober.unwatch(spare.clone());
            }
            if !self.runtime.take_spare(&spare, &id) {
                // It has ended this moment.
                continue;
            }
            let reason = format!("{} takes its place", spare.replica);
            info!(replica:% = id.replica, generation = id.generation; "{id}: {reason}");
            self.record_event(HistoryEvent::of(&id, Kind::Starting).because(reason));
            if self.taken_spares.len() == MAX_TAKEN {
                self.taken_spares.pop_front();
            }
            self.taken_spares.push_back((spare, id.clone()));
            // It has answered heartbeats, the last one a moment ago.
            for event in [
                InstanceEvent::Launched(endpoint),
                InstanceEvent::BecameHealthy,
            ] {
                let id = id.clone();
                self.report_back(ctx, async move { Event::Instance(id, event) });
            }
            return true;
        }
        false
    }
}
