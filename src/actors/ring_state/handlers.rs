//! What each message does to the ring.

use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, MessageResult, ResponseFuture, StreamHandler};
use log::warn;

use super::outlier::TooManyFailures;
use super::rebuild_queue::{Edit, EditOutcome};
use super::{
    AdmitReplica, CloseCanary, CountInFlight, DrainInstance, EndDrain, EvictReplica, Evicted,
    FINAL_READ_GRACE, GetRing, InstanceEnded, JoinRing, LeaveRing, MarkDrained, MarkUnready,
    NoteDoubt, OpenCanary, PublishRing, ReconfigureError, ReconfigureRing, Reconfigured,
    RegisterWorker, ReleaseRequests, RingState, SetAdmission, SubscribeEjections,
};
use crate::ring::{BuildError, Member};

/// The outcome of a change that names no member that has to be there, and changes no recipe.
fn does_fit(outcome: EditOutcome) -> Result<(), BuildError> {
    match outcome {
        Err(ReconfigureError::DoesNotFit(error)) => Err(error),
        Ok(_) | Err(ReconfigureError::Unknown(_) | ReconfigureError::InvalidSpec(_)) => Ok(()),
    }
}

impl Handler<JoinRing> for RingState {
    type Result = ResponseFuture<Result<(), BuildError>>;

    fn handle(&mut self, JoinRing(joining): JoinRing, ctx: &mut Self::Context) -> Self::Result {
        let changed = self.change_table(Edit::Join(joining), ctx);
        Box::pin(async { does_fit(changed.await) })
    }
}

impl Handler<LeaveRing> for RingState {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, LeaveRing(leavers): LeaveRing, ctx: &mut Self::Context) -> Self::Result {
        let changed = self.change_table(Edit::Leave(leavers), ctx);
        Box::pin(async {
            if let Err(error) = changed.await {
                // Fewer members always fit where more did.
                warn!("cannot rebuild the ring: {error}");
            }
        })
    }
}

impl Handler<OpenCanary> for RingState {
    type Result = ResponseFuture<Result<(), BuildError>>;

    fn handle(&mut self, open: OpenCanary, ctx: &mut Self::Context) -> Self::Result {
        let OpenCanary(share, names) = open;
        let members = names.into_iter().map(Member::new).collect();
        let changed = self.change_table(Edit::OpenCanary(share, members), ctx);
        Box::pin(async { does_fit(changed.await) })
    }
}

impl Handler<CloseCanary> for RingState {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: CloseCanary, ctx: &mut Self::Context) -> Self::Result {
        let changed = self.change_table(Edit::CloseCanary, ctx);
        Box::pin(async { drop(changed.await) })
    }
}

impl Handler<AdmitReplica> for RingState {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, admit: AdmitReplica, _: &mut Self::Context) -> Self::Result {
        let known = self.view.has_member(&admit.0.replica);
        if !known && self.rebuilds.is_busy() {
            return Box::pin(self.pending.keep(admit));
        }
        self.admit(admit)
    }
}

impl Handler<MarkUnready> for RingState {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, unready: MarkUnready, _: &mut Self::Context) -> Self::Result {
        let MarkUnready(id, endpoint) = unready;
        self.pending.forget(&id);
        let Some(index) = self.view.table.index_of(&id.replica) else {
            return Box::pin(async {});
        };
        let instance = self.instance(id, endpoint);
        let next = self.view.with_unready(index.get(), instance);
        self.publish(next)
    }
}

impl Handler<MarkDrained> for RingState {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, drained: MarkDrained, _: &mut Self::Context) -> Self::Result {
        let MarkDrained(id, endpoint) = drained;
        self.pending.forget(&id);
        let Some(index) = self.view.table.index_of(&id.replica) else {
            return self.withdraw_canary(&id);
        };
        let instance = self.instance(id, endpoint);
        self.keep_succeeded(&instance);
        let next = self.view.with_drained(index.get(), instance);
        self.publish(next)
    }
}

impl Handler<EndDrain> for RingState {
    type Result = ();

    fn handle(&mut self, EndDrain(id): EndDrain, _: &mut Self::Context) {
        let drained = self.view.drained_of(&id.replica);
        if let Some(instance) = drained.filter(|instance| *instance.id() == id) {
            // Activated again, it is a fresh instance to the ring, and begins with a slow start.
            instance.mark_exited();
        }
    }
}

impl Handler<EvictReplica> for RingState {
    type Result = ResponseFuture<Evicted>;

    fn handle(&mut self, EvictReplica(id): EvictReplica, _: &mut Self::Context) -> Self::Result {
        self.pending.forget(&id);
        let present = self.view.any_of(&id.replica).filter(|i| *i.id() == id);
        let next = self.view.with_ready_of(&id.replica, None);
        let Some((instance, next)) = present.zip(next) else {
            return Box::pin(async { Evicted::default() });
        };
        let evicted = Evicted {
            // Its sockets may have shown its death before anything else did.
            in_flight: instance.in_flight() + instance.interrupted().count(),
            interrupted: Arc::clone(instance.interrupted()),
        };
        let published = self.publish(next);
        // Only now: a request that gives up connecting to it asks for another slot, and must not
        // be given the same instance again.
        instance.mark_evicted();
        // It may come back, and what it holds counts then as it did before.
        self.left.keep([instance], self.view.epoch);
        Box::pin(async move {
            published.await;
            evicted
        })
    }
}

impl Handler<DrainInstance> for RingState {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, drain: DrainInstance, _: &mut Self::Context) -> Self::Result {
        let DrainInstance(id, deadline) = drain;
        let drained = self.view.drained_of(&id.replica);
        let mut gone = drained.iter().chain(self.left.iter());
        let found = gone.find(|i| *i.id() == id).cloned();
        Box::pin(async move {
            let Some(instance) = found else { return 0 };
            // In time or not, the answer is what is left.
            let _ = tokio::time::timeout(deadline, instance.drained()).await;
            instance.in_flight()
        })
    }
}

impl Handler<InstanceEnded> for RingState {
    type Result = ();

    fn handle(&mut self, InstanceEnded(id): InstanceEnded, ctx: &mut Self::Context) {
        // Its end may be known before it is off the ring.
        let present = self.view.any_of(&id.replica);
        let left = self.left.iter().cloned();
        if let Some(instance) = left.chain(present).find(|i| *i.id() == id) {
            ctx.run_later(FINAL_READ_GRACE, move |_, _| instance.mark_exited());
        }
    }
}

impl Handler<NoteDoubt> for RingState {
    type Result = ();

    fn handle(&mut self, doubt: NoteDoubt, _: &mut Self::Context) {
        if let Some(instance) = self.find(&doubt.id) {
            instance.note_doubt(doubt.in_doubt);
        }
    }
}

impl Handler<ReleaseRequests> for RingState {
    type Result = ();

    fn handle(&mut self, ReleaseRequests(id): ReleaseRequests, _: &mut Self::Context) {
        if let Some(instance) = self.find(&id) {
            instance.mark_evicted();
        }
    }
}

impl Handler<RegisterWorker> for RingState {
    type Result = ();

    fn handle(&mut self, RegisterWorker(worker): RegisterWorker, _: &mut Self::Context) {
        worker.do_send(PublishRing(Arc::clone(&self.view)));
        self.workers.push(worker);
    }
}

impl Handler<GetRing> for RingState {
    type Result = MessageResult<GetRing>;

    fn handle(&mut self, _: GetRing, _: &mut Self::Context) -> Self::Result {
        MessageResult(Arc::clone(&self.view))
    }
}

impl Handler<SetAdmission> for RingState {
    type Result = ResponseFuture<()>;

    fn handle(
        &mut self,
        SetAdmission(admission): SetAdmission,
        _: &mut Self::Context,
    ) -> Self::Result {
        let next = self.view.with_admission(admission);
        self.publish(next)
    }
}

impl Handler<CountInFlight> for RingState {
    type Result = u32;

    fn handle(&mut self, _: CountInFlight, _: &mut Self::Context) -> Self::Result {
        let instances = self.view.instances().chain(self.left.iter());
        instances
            .map(|instance| instance.requests_in_flight())
            .sum()
    }
}

impl Handler<ReconfigureRing> for RingState {
    type Result = ResponseFuture<Result<Reconfigured, ReconfigureError>>;

    fn handle(&mut self, change: ReconfigureRing, ctx: &mut Self::Context) -> Self::Result {
        let ring = self.settings();
        let changed = self.change_table(Edit::Reconfigure(change), ctx);
        Box::pin(async move {
            // A reconfiguration always says what it has done.
            Ok(changed.await?.unwrap_or(Reconfigured {
                ring,
                moved: 0.0,
                ownership: Vec::new(),
            }))
        })
    }
}

impl StreamHandler<TooManyFailures> for RingState {
    fn handle(&mut self, failures: TooManyFailures, ctx: &mut Context<Self>) {
        if let Some(ejected) = self.outliers.eject(&failures, &self.view) {
            self.publish_ejection(ejected.id().clone(), Some(ejected.duration));
            ctx.run_later(ejected.duration, move |ring, _| {
                if ring.outliers.readmit(&ejected, &ring.view) {
                    ring.publish_ejection(ejected.id().clone(), None);
                }
            });
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // The default would stop the actor. The reporter that it owns keeps the stream open.
    }
}

impl Handler<SubscribeEjections> for RingState {
    type Result = ();

    fn handle(&mut self, subscribe: SubscribeEjections, _: &mut Context<Self>) {
        self.subscriber = Some(subscribe.0);
    }
}
