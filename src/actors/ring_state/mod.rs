//! RingState: the sole writer of the ring.
//!
//! It keeps the slot table of all members and, beside it, which of them are ready and
//! where. Every change makes a new epoch, an immutable [`RingView`], which goes to the
//! ProxyWorker of each HTTP thread; a change counts as made once all of them have it.
//! So the data path reads without a lock, and when an eviction is answered, no new request
//! reaches the replica.
//!
//! The actor is here, and its messages are in `messages`. What it is made of knows no actor: the
//! changes of the table (`rebuild_queue`, `reconfigure`), admissions that wait for one
//! (`pending_admissions`), ejections (`outlier`).

mod handle;
mod messages;
mod outlier;
mod pending_admissions;
mod rebuild_queue;
mod reconfigure;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{
    Actor, AsyncContext, Context, Handler, MessageResult, Recipient, ResponseFuture, StreamHandler,
};
use futures::future::join_all;
use log::{info, warn};
use tokio::sync::oneshot;
use tokio::task::JoinError;

use super::lifeline::Lifeline;
use super::ring_view::RingView;
use crate::fleet::{EjectionPolicy, InstanceId, RingSettings};
use crate::human::duration;
use crate::ring::{BalanceFactor, BuildError, PanicThreshold, ReplicaName, RingSpec, SlotTable};
use crate::upstream::{ConcurrencyLimit, FleetLoad, Instance, Stats};
use outlier::{Outliers, TooManyFailures};
use pending_admissions::PendingAdmissions;
use rebuild_queue::{Built, Edit, EditOutcome, Rebuild, RebuildQueue};

pub use handle::RingHandle;
pub use messages::{
    AdmitReplica, CountInFlight, DrainInstance, EjectionChanged, EndDrain, EvictReplica, Evicted,
    GetRing, InstanceEnded, JoinRing, LeaveRing, MarkDrained, MarkUnready, PublishRing,
    ReconfigureError, ReconfigureRing, Reconfigured, RegisterWorker, SetAdmission,
    SubscribeEjections,
};
pub use outlier::SUPPRESSED_EJECTIONS;

/// How long a worker thread is waited for to acknowledge a new ring.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the last bytes of an instance that has ended may take to arrive.
const FINAL_READ_GRACE: Duration = Duration::from_secs(1);

pub struct RingState {
    spec: RingSpec,
    view: Arc<RingView>,
    workers: Vec<Recipient<PublishRing>>,
    /// Instances that are off the ring and may still have requests in flight.
    evicted: Vec<Arc<Instance>>,
    /// Since when no member is ready, if one was before.
    empty_since: Option<Instant>,
    capacity: Arc<ConcurrencyLimit>,
    load: Arc<FleetLoad>,
    slow_start: Duration,
    stats: Arc<Stats>,
    outliers: Outliers,
    /// How many failures in a row eject an instance; for the subscriber.
    max_failures: u32,
    subscriber: Option<Recipient<EjectionChanged>>,
    rebuilds: RebuildQueue,
    pending: PendingAdmissions,
    _lifeline: Lifeline,
}

impl RingState {
    pub fn new(
        spec: RingSpec,
        balance_factor: Option<BalanceFactor>,
        ejection: EjectionPolicy,
        slow_start: Duration,
        panic_threshold: PanicThreshold,
        capacity: Arc<ConcurrencyLimit>,
        lifeline: Lifeline,
    ) -> Result<Self, BuildError> {
        let table = SlotTable::build(&spec, &[])?;
        Ok(Self {
            spec,
            view: Arc::new(RingView::first(table, balance_factor, panic_threshold)),
            workers: Vec::new(),
            evicted: Vec::new(),
            empty_since: None,
            capacity,
            load: Arc::default(),
            slow_start,
            stats: Arc::default(),
            outliers: Outliers::new(ejection),
            max_failures: ejection.failures,
            subscriber: None,
            rebuilds: RebuildQueue::default(),
            pending: PendingAdmissions::default(),
            _lifeline: lifeline,
        })
    }

    /// Has what happens counted there.
    pub fn counted_in(mut self, stats: &Arc<Stats>) -> Self {
        self.stats = Arc::clone(stats);
        self
    }

    fn settings(&self) -> RingSettings {
        RingSettings {
            spec: self.spec,
            balance_factor: self.view.balance_factor,
        }
    }

    /// An instance that was off the ring for a while, or is unready, is still the same.
    fn instance(&mut self, id: InstanceId, endpoint: SocketAddr) -> Arc<Instance> {
        let same = |i: &Arc<Instance>| *i.id() == id && i.endpoint() == endpoint && !i.has_exited();
        if let Some(instance) = self.view.any_of(&id.replica).filter(same) {
            return instance;
        }
        if let Some(place) = self.evicted.iter().position(same) {
            let instance = self.evicted.swap_remove(place);
            instance.mark_readmitted();
            return instance;
        }
        let stats = self.stats.replica(&id.replica);
        Instance::new(
            id,
            endpoint,
            Arc::clone(&self.capacity),
            Arc::clone(&self.load),
            self.outliers.reporter(),
            self.slow_start,
            stats,
        )
    }

    /// Makes a member ready, if it is one.
    fn admit(&mut self, AdmitReplica(id, endpoint): AdmitReplica) -> ResponseFuture<()> {
        let Some(index) = self.view.table.index_of(&id.replica) else {
            return Box::pin(async {});
        };
        info!(replica:% = id.replica, generation = id.generation; "{id} is ready at {endpoint}");
        let instance = self.instance(id, endpoint);
        // What failed while it was not ready does not count.
        instance.reset_failures();
        self.keep_succeeded(&instance);
        let next = self.view.with_ready(index.get(), Some(instance));
        self.publish(next)
    }

    /// Keeps the instance whose place another one takes: it finishes its requests.
    fn keep_succeeded(&mut self, successor: &Arc<Instance>) {
        let present = self.view.any_of(&successor.id().replica);
        self.evicted
            .extend(present.filter(|present| present.id() != successor.id()));
    }

    /// Makes `view` the present epoch; done when every worker has it.
    fn publish(&mut self, view: RingView) -> ResponseFuture<()> {
        let before = std::mem::replace(&mut self.view, Arc::new(view));
        self.log_empty_ring(&before);
        if !Arc::ptr_eq(&before.table, &self.view.table) {
            let left = before.table.members().iter().map(|member| &member.name);
            let left = left.filter(|name| self.view.table.index_of(name).is_none());
            self.evicted
                .extend(left.filter_map(|name| before.any_of(name)));
            let is_member = |name: &ReplicaName| self.view.table.index_of(name).is_some();
            self.stats.retain(is_member);
        }
        self.evicted.retain(|instance| instance.in_flight() > 0);
        self.outliers.ring_changed(&before, &self.view);
        self.workers.retain(Recipient::connected);
        let publish = || PublishRing(Arc::clone(&self.view));
        let sent = self.workers.iter().map(|worker| worker.send(publish()));
        let all = join_all(sent.collect::<Vec<_>>());
        Box::pin(async move {
            if tokio::time::timeout(PUBLISH_TIMEOUT, all).await.is_err() {
                warn!(
                    "a worker thread has not acknowledged the new ring for {}",
                    duration(PUBLISH_TIMEOUT)
                );
            }
        })
    }
}

impl RingState {
    /// Queues a change of the table. Done when every worker has the new one.
    fn change_table(
        &mut self,
        edit: Edit,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = EditOutcome> + use<> {
        let changed = self.rebuilds.push(edit);
        self.start_rebuild(ctx);
        changed
    }

    fn start_rebuild(&mut self, ctx: &mut Context<Self>) {
        if let Some(Rebuild { job, done }) = self.rebuilds.start(self.settings(), &self.view) {
            let built = wrap_future(tokio::task::spawn_blocking(job));
            ctx.spawn(built.map(|built, ring: &mut Self, ctx| {
                ring.finish_rebuild(built, done, ctx);
            }));
        }
    }

    /// Publishes the new table, if the members fit; then the next change begins.
    fn finish_rebuild(
        &mut self,
        built: Result<Result<Built, BuildError>, JoinError>,
        done: oneshot::Sender<EditOutcome>,
        ctx: &mut Context<Self>,
    ) {
        let built = match built {
            Ok(built) => built,
            // A mistake of ours ends the process, as in every control actor.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The process is about to end.
            Err(_) => return,
        };
        self.rebuilds.finish();
        let (next, outcome) = match built {
            Err(error) => (None, Err(error.into())),
            Ok(Built::DryRun(reconfigured)) => (None, Ok(Some(reconfigured))),
            Ok(Built::Reconfigured(table, reconfigured)) => {
                reconfigured.log();
                self.spec = reconfigured.ring.spec;
                let mut next = self.view.with_table(table);
                next.balance_factor = reconfigured.ring.balance_factor;
                (Some(next), Ok(Some(reconfigured)))
            }
            Ok(Built::Members(table, spec)) => {
                self.spec = spec;
                (Some(self.view.with_table(table)), Ok(None))
            }
        };
        let published = next.map(|next| self.publish(next));
        ctx.spawn(wrap_future(async {
            if let Some(published) = published {
                published.await;
            }
            // The caller may have stopped waiting.
            let _ = done.send(outcome);
        }));
        self.start_rebuild(ctx);
        let more_follow = self.rebuilds.is_busy();
        for (admit, done) in self.pending.take_possible(&self.view.table, more_follow) {
            let admitted = self.admit(admit);
            ctx.spawn(wrap_future(async move {
                admitted.await;
                let _ = done.send(());
            }));
        }
    }

    fn publish_ejection(&self, id: InstanceId, lasts: Option<Duration>) {
        if let Some(subscriber) = &self.subscriber {
            let ejected = lasts.map(|lasts| (self.max_failures, lasts));
            subscriber.do_send(EjectionChanged { id, ejected });
        }
    }

    /// Logs when no member is ready any more, and when one is again.
    fn log_empty_ring(&mut self, before: &RingView) {
        let members = self.view.table.members().len();
        let ready = self.view.ready_count();
        if ready == 0 && before.ready_count() > 0 && members > 0 {
            self.empty_since = Some(Instant::now());
            warn!("0 of {members} replicas are ready: requests wait, then get 503");
        } else if (ready > 0 || members == 0)
            && let Some(since) = self.empty_since.take()
        {
            let lasted = duration(since.elapsed());
            if ready == 0 {
                info!("no replica is wanted any more, {lasted} after the last one was ready");
                return;
            }
            info!("{ready} of {members} replicas are ready again after {lasted}");
        }
    }
}

impl Actor for RingState {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Every worker thread may ask at once.
        ctx.set_mailbox_capacity(1024);
        if let Some(reports) = self.outliers.take_reports() {
            ctx.add_stream(reports);
        }
    }
}

impl Handler<JoinRing> for RingState {
    type Result = ResponseFuture<Result<(), BuildError>>;

    fn handle(&mut self, JoinRing(joining): JoinRing, ctx: &mut Self::Context) -> Self::Result {
        let changed = self.change_table(Edit::Join(joining), ctx);
        Box::pin(async {
            match changed.await {
                Err(ReconfigureError::DoesNotFit(error)) => Err(error),
                // A join names no member that has to be there.
                Ok(_) | Err(ReconfigureError::Unknown(_)) => Ok(()),
            }
        })
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

impl Handler<AdmitReplica> for RingState {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, admit: AdmitReplica, _: &mut Self::Context) -> Self::Result {
        let known = self.view.table.index_of(&admit.0.replica).is_some();
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
            return Box::pin(async {});
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
        let index = self.view.table.index_of(&id.replica);
        let Some((instance, index)) = present.zip(index) else {
            return Box::pin(async { Evicted::default() });
        };
        let evicted = Evicted {
            // Its sockets may have shown its death before anything else did.
            in_flight: instance.in_flight() + instance.interrupted().count(),
            interrupted: Arc::clone(instance.interrupted()),
        };
        let next = self.view.with_ready(index.get(), None);
        let published = self.publish(next);
        // Only now: a request that gives up connecting to it asks for another slot, and must not
        // be given the same instance again.
        instance.mark_evicted();
        // It may come back, and what it holds counts then as it did before.
        self.evicted.push(instance);
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
        let mut gone = drained.iter().chain(&self.evicted);
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
        let evicted = self.evicted.iter().cloned();
        if let Some(instance) = evicted.chain(present).find(|i| *i.id() == id) {
            ctx.run_later(FINAL_READ_GRACE, move |_, _| instance.mark_exited());
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
        let instances = self.view.instances().chain(&self.evicted);
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
