//! What each message has the fleet do; those of a subject of its own are with it.

use std::rc::Rc;

use actix::{AsyncContext, Context, Handler, MessageResult, ResponseFuture, StreamHandler};
use log::warn;
use tokio::sync::oneshot;

use super::config_version::is_answered;
use super::pause::ActivePause;
use super::recording::recorded;
use super::{
    Begin, ChangeOutcome, ChangeReplicas, CompareVersion, ConfigVersion, ConnectionRefused,
    FleetEvent, FleetReport, FollowEvents, GetEvents, GetFleet, ListReplicas, NoteScaling,
    RingReconfigured, SetKey, ShutDown, Supervisor,
};
use crate::actors::history::HistoryEvent;
use crate::actors::ring_state::EjectionChanged;
use crate::api::ReplicaEventKind;
use crate::fleet::{
    Change, ChangeError, ChangeId, Event, InstanceEvent, RecordChange, ReplicaStatus,
};
use crate::human::duration;
use crate::runtime::RuntimeEvent;

impl Handler<Begin> for Supervisor {
    type Result = ();

    fn handle(&mut self, Begin(prober): Begin, ctx: &mut Self::Context) {
        self.prober = Some(prober);
        let maintenance = self.record.record().maintenance;
        let followed = self.follow_maintenance(maintenance.as_ref());
        ctx.spawn(followed);
        self.log_canary_that_goes_on();
        self.log_outdated();
        let opening = std::mem::take(&mut self.opening);
        self.execute(opening, ctx);
        self.adopt_spares(ctx);
        self.watch_executor(ctx);
    }
}

impl StreamHandler<RuntimeEvent> for Supervisor {
    fn handle(&mut self, event: RuntimeEvent, ctx: &mut Self::Context) {
        match event {
            RuntimeEvent::Fleet(event) => self.apply_event(event, ctx),
            RuntimeEvent::RecordRemoved(version) => self.check_record(version, ctx),
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The default would stop the actor.
        warn!("the runtime reports no more ends of instances; heartbeats still do");
    }
}

impl Handler<FleetEvent> for Supervisor {
    type Result = ();

    fn handle(&mut self, FleetEvent(event): FleetEvent, ctx: &mut Self::Context) {
        self.apply_event(event, ctx);
    }
}

impl Handler<ConnectionRefused> for Supervisor {
    type Result = ();

    fn handle(&mut self, ConnectionRefused(id): ConnectionRefused, ctx: &mut Self::Context) {
        self.apply_event(Event::Instance(id, InstanceEvent::ConnectionRefused), ctx);
    }
}

impl Handler<ListReplicas> for Supervisor {
    type Result = MessageResult<ListReplicas>;

    fn handle(&mut self, _: ListReplicas, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.fleet.desired())
    }
}

impl Handler<EjectionChanged> for Supervisor {
    type Result = ();

    fn handle(&mut self, changed: EjectionChanged, ctx: &mut Context<Self>) {
        let EjectionChanged { id, ejected } = changed;
        if ejected.is_some() {
            self.apply_event(Event::Instance(id.clone(), InstanceEvent::Ejected), ctx);
        }
        self.record_event(match ejected {
            Some((failures, lasts)) => {
                self.stats.replica(&id.replica).life().ejected();
                let time = duration(lasts);
                let reason = format!("{failures} failed requests in a row; for {time}");
                HistoryEvent::of(&id, ReplicaEventKind::Ejected).because(reason)
            }
            None => HistoryEvent::of(&id, ReplicaEventKind::Readmitted),
        });
    }
}

impl Handler<GetFleet> for Supervisor {
    type Result = MessageResult<GetFleet>;

    fn handle(&mut self, _: GetFleet, _: &mut Self::Context) -> Self::Result {
        let replicas = self.fleet.statuses();
        let instance_handle = |replica: &ReplicaStatus| self.runtime.instance_handle(&replica.id);
        MessageResult(FleetReport {
            instance_handle: replicas.iter().map(instance_handle).collect(),
            outdated: (replicas.iter())
                .map(|replica| self.runtime.is_outdated(&replica.id, replica.outdated))
                .collect(),
            record: self.record.report(),
            rollout: self.rollout(),
            rollouts_ended: self.rollouts_ended.clone(),
            pause: self.pause.as_ref().map(ActivePause::report),
            image_watch: self.image_watch.clone(),
            spares: self.spares.report(),
            scaling: self.scaling.clone(),
            maintenance: self.maintenance.clone(),
            replicas,
            runtime: self.runtime.kind(),
            runtime_error: self.runtime.last_error(),
        })
    }
}

impl Handler<NoteScaling> for Supervisor {
    type Result = ();

    fn handle(&mut self, NoteScaling(scaling): NoteScaling, _: &mut Self::Context) {
        self.scaling = Some(scaling);
    }
}

impl Handler<GetEvents> for Supervisor {
    type Result = MessageResult<GetEvents>;

    fn handle(&mut self, _: GetEvents, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.history.events())
    }
}

impl Handler<FollowEvents> for Supervisor {
    type Result = MessageResult<FollowEvents>;

    fn handle(&mut self, FollowEvents(after): FollowEvents, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.history.follow(after))
    }
}

impl Handler<RingReconfigured> for Supervisor {
    type Result = ResponseFuture<Result<(), ChangeError>>;

    fn handle(&mut self, reshaped: RingReconfigured, ctx: &mut Self::Context) -> Self::Result {
        self.note_ring(reshaped.ring, &reshaped.weights);
        self.record_ring(reshaped, ctx);
        Box::pin(recorded(Rc::clone(&self.record)))
    }
}

impl Handler<SetKey> for Supervisor {
    type Result = ResponseFuture<Result<(), ChangeError>>;

    fn handle(&mut self, SetKey(key): SetKey, ctx: &mut Self::Context) -> Self::Result {
        self.take_key(&key);
        self.write_record(vec![RecordChange::Key(key)], ctx);
        Box::pin(recorded(Rc::clone(&self.record)))
    }
}

impl Handler<ChangeReplicas> for Supervisor {
    type Result = ResponseFuture<ChangeOutcome>;

    fn handle(
        &mut self,
        ChangeReplicas { change, expected }: ChangeReplicas,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        if let Err(outdated) = self.version.check(expected.as_ref()) {
            return Box::pin(async { Err(outdated) });
        }
        let configures = !matches!(change, Change::Restart { .. } | Change::Replace { .. });
        self.next_change_id += 1;
        let change_id = ChangeId(self.next_change_id);
        let (answer, answered) = oneshot::channel();
        self.answers.insert(change_id, answer);
        let steps = self
            .fleet
            .request(change_id, change, fastrand::u64(..), self.now());
        if configures && !is_answered(&steps) {
            self.version.raise();
        }
        self.execute(steps, ctx);
        Box::pin(async move { answered.await.unwrap_or(Err(ChangeError::ShuttingDown)) })
    }
}

impl Handler<CompareVersion> for Supervisor {
    type Result = Result<ConfigVersion, ChangeError>;

    fn handle(&mut self, compare: CompareVersion, _: &mut Self::Context) -> Self::Result {
        self.version.check(compare.expected.as_ref())?;
        if compare.raise {
            self.version.raise();
        }
        Ok(self.version)
    }
}

impl Handler<ShutDown> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, end: ShutDown, ctx: &mut Self::Context) -> Self::Result {
        let (gone_in, gone) = oneshot::channel();
        self.gone.push(gone_in);
        let spares = self.end_spares();
        let steps = match end.hand_over {
            true => self.fleet.hand_over(self.now()),
            false => self.fleet.shut_down(self.now()),
        };
        self.execute(steps, ctx);
        let left = end.hand_over.then(|| self.leave_rollout());
        Box::pin(async move {
            spares.await;
            // An error means that the actor is gone, and so are its instances.
            let _ = gone.await;
            if let Some(left) = left {
                left.await;
            }
        })
    }
}
