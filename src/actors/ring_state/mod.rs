//! RingState: the sole writer of the ring.
//!
//! It keeps the slot table of all members and, beside it, which of them are ready and
//! where. Every change makes a new epoch, an immutable [`RingView`], which goes to the
//! ProxyWorker of each HTTP thread; a change counts as made once all of them have it.
//! So the data path reads without a lock, and when an eviction is answered, no new request
//! reaches the replica.
//!
//! The actor is here, its messages are in `messages`, and what each does is in `handlers`. What it is made of knows no actor: the
//! changes of the table (`rebuild_queue`, `reconfigure`), admissions that wait for one
//! (`pending_admissions`), ejections (`outlier`).

mod handle;
mod handlers;
mod left_instances;
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
use actix::{Actor, AsyncContext, Context, Recipient, ResponseFuture};
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
use left_instances::LeftInstances;
use outlier::Outliers;
use pending_admissions::PendingAdmissions;
use rebuild_queue::{Built, Edit, EditOutcome, Rebuild, RebuildQueue};

pub use handle::RingHandle;
pub use messages::{
    AdmitReplica, CloseCanary, CountInFlight, DrainInstance, EjectionChanged, EndDrain,
    EvictReplica, Evicted, GetRing, InstanceEnded, JoinRing, LeaveRing, MarkDrained, MarkUnready,
    NoteDoubt, OpenCanary, PublishRing, ReconfigureError, ReconfigureRing, Reconfigured,
    RegisterWorker, ReleaseRequests, SetAdmission, SubscribeEjections,
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
    left: LeftInstances,
    /// Since when no member is ready, if one was before.
    empty_since: Option<Instant>,
    capacity: Arc<ConcurrencyLimit>,
    load: Arc<FleetLoad>,
    /// That of the canary, whose instances share no load with the others.
    canary_load: Arc<FleetLoad>,
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
            left: LeftInstances::default(),
            empty_since: None,
            capacity,
            load: Arc::default(),
            canary_load: Arc::default(),
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
        if let Some(instance) = self.left.take(same) {
            instance.mark_readmitted();
            return instance;
        }
        let stats = self.stats.replica(&id.replica);
        let load = match self.view.is_canary(&id.replica) {
            true => &self.canary_load,
            false => &self.load,
        };
        Instance::new(
            id,
            endpoint,
            Arc::clone(&self.capacity),
            Arc::clone(load),
            self.outliers.reporter(),
            self.slow_start,
            stats,
        )
    }

    /// An instance that is on the ring or has left it.
    fn find(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        let mut known = self.view.instances().chain(self.left.iter());
        known.find(|instance| instance.id() == id)
    }

    /// Makes a member ready, if it is one.
    fn admit(&mut self, AdmitReplica(id, endpoint): AdmitReplica) -> ResponseFuture<()> {
        if !self.view.has_member(&id.replica) {
            return Box::pin(async {});
        }
        info!(replica:% = id.replica, generation = id.generation; "{id} is ready at {endpoint}");
        let name = id.replica.clone();
        let instance = self.instance(id, endpoint);
        // What failed while it was not ready does not count.
        instance.reset_failures();
        self.keep_succeeded(&instance);
        match self.view.with_ready_of(&name, Some(instance)) {
            Some(next) => self.publish(next),
            None => Box::pin(async {}),
        }
    }

    /// Keeps the instance whose place another one takes: it finishes its requests.
    fn keep_succeeded(&mut self, successor: &Arc<Instance>) {
        let present = self.view.any_of(&successor.id().replica);
        let succeeded = present.filter(|present| present.id() != successor.id());
        self.left.keep(succeeded, self.view.epoch + 1);
    }

    /// An instance of the canary gets no more requests, and finishes those that it has.
    fn withdraw_canary(&mut self, id: &InstanceId) -> ResponseFuture<()> {
        let present = self.view.any_of(&id.replica).filter(|i| i.id() == id);
        let next = self.view.with_ready_of(&id.replica, None);
        let Some((instance, next)) = present.zip(next) else {
            return Box::pin(async {});
        };
        self.left.keep([instance], self.view.epoch + 1);
        self.publish(next)
    }

    /// Makes `view` the present epoch; done when every worker has it.
    fn publish(&mut self, view: RingView) -> ResponseFuture<()> {
        let before = std::mem::replace(&mut self.view, Arc::new(view));
        self.log_empty_ring(&before);
        let is_canary_closed = before.canary.is_some() && self.view.canary.is_none();
        if !Arc::ptr_eq(&before.table, &self.view.table) || is_canary_closed {
            let is_member = |name: &ReplicaName| self.view.has_member(name);
            let left = before.instances().filter(|i| !is_member(&i.id().replica));
            self.left.keep(left.cloned(), self.view.epoch);
            self.stats.retain(is_member);
        }
        self.left.prune();
        self.outliers.ring_changed(&before, &self.view);
        self.workers.retain(Recipient::connected);
        let publish = || PublishRing(Arc::clone(&self.view));
        let sent = self.workers.iter().map(|worker| worker.send(publish()));
        let all = join_all(sent.collect::<Vec<_>>());
        let acknowledge = self.left.acknowledgement(self.view.epoch);
        Box::pin(async move {
            if tokio::time::timeout(PUBLISH_TIMEOUT, all).await.is_err() {
                warn!(
                    "a worker thread has not acknowledged the new ring for {}",
                    duration(PUBLISH_TIMEOUT)
                );
            }
            acknowledge();
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
            Ok(Built::Canary(canary)) => (Some(self.view.with_canary(canary)), Ok(None)),
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
        for (admit, done) in self.pending.take_possible(&self.view, more_follow) {
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
