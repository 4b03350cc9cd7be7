//! RingState: the sole writer of the ring.
//!
//! It keeps the slot table of all members and, beside it, which of them are ready and
//! where. Every change makes a new epoch, an immutable [`RingView`], which goes to the
//! ProxyWorker of each HTTP thread; a change counts as made once all of them have it.
//! So the data path reads without a lock, and whoever took a replica off the ring knows
//! that no new request reaches it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, AsyncContext, Context, Handler, Message, MessageResult, Recipient, ResponseFuture,
};
use futures::future::join_all;
use log::{info, warn};

use super::early::EarlyAdmissions;
use super::lifeline::Lifeline;
use super::outlier_watch::OutlierWatch;
use super::reshape::ReshapeError;
use super::ring_view::RingView;
use super::table_queue::{Edit, TableQueue};
use crate::fleet::{EjectionPolicy, InstanceId};
use crate::human::duration;
use crate::ring::{
    BalanceFactor, BuildError, Member, PanicThreshold, ReplicaName, RingSpec, SlotTable,
};
use crate::upstream::{Capacity, FleetLoad, Instance, InterruptedRequests};

/// A worker thread that has not taken a new ring in for so long is not waited for.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// What an instance had sent before its end arrives within so long.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Adds members to the ring, not ready yet. Answers once every worker knows.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), BuildError>")]
pub struct JoinRing(pub Vec<Member>);

/// Takes members off the ring for good. Answers once every worker knows.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveRing(pub Vec<ReplicaName>);

/// A member is ready at this address. Answers once every worker knows.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AdmitReplica {
    /// Which instance plays it now.
    pub id: InstanceId,
    /// Where it listens.
    pub endpoint: SocketAddr,
}

/// A member is alive and not ready. Answers once every worker knows.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MarkUnready {
    /// Which instance plays it.
    pub id: InstanceId,
    /// Where it listens.
    pub endpoint: SocketAddr,
}

/// A member is not ready any more, nor unready. Answers once every worker knows.
#[derive(Debug, Message)]
#[rtype(result = "Evicted")]
pub struct EvictReplica(pub InstanceId);

/// What an instance had when it was taken off the ring.
#[derive(Debug, Clone, Default)]
pub struct Evicted {
    /// Requests that it had at that moment, or that broke off shortly before.
    pub in_flight: u32,
    /// Those that break off then or later.
    pub interrupted: Arc<InterruptedRequests>,
}

/// Answers when nothing is in flight on an instance that has left the ring, or when the
/// deadline has passed; says how many requests were still in flight then.
#[derive(Debug, Message)]
#[rtype(result = "u32")]
pub struct DrainInstance {
    /// Which.
    pub id: InstanceId,
    /// How long to wait at most.
    pub deadline: Duration,
}

/// The runtime says that an instance has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct InstanceEnded(pub InstanceId);

/// A worker thread wants to be told of every epoch, beginning with the present one.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RegisterWorker(pub Recipient<PublishRing>);

/// A new epoch, for a worker thread.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct PublishRing(pub Arc<RingView>);

/// What does the ring look like right now?
#[derive(Debug, Message)]
#[rtype(result = "Arc<RingView>")]
pub struct LookAtRing;

/// The actor.
pub struct RingState {
    pub(super) spec: RingSpec,
    pub(super) view: Arc<RingView>,
    workers: Vec<Recipient<PublishRing>>,
    /// Instances that are off the ring and may still have requests in flight.
    departed: Vec<Arc<Instance>>,
    /// Since when no member is ready, if one was before.
    empty_since: Option<Instant>,
    capacity: Arc<Capacity>,
    load: Arc<FleetLoad>,
    slow_start: Duration,
    pub(super) outliers: OutlierWatch,
    pub(super) queue: TableQueue,
    pub(super) early: EarlyAdmissions,
    _lifeline: Lifeline,
}

impl RingState {
    /// A ring without members.
    pub fn new(
        spec: RingSpec,
        balance_factor: Option<BalanceFactor>,
        ejection: EjectionPolicy,
        slow_start: Duration,
        panic_threshold: PanicThreshold,
        capacity: Arc<Capacity>,
        lifeline: Lifeline,
    ) -> Result<Self, BuildError> {
        let table = SlotTable::build(&spec, &[])?;
        Ok(Self {
            spec,
            view: Arc::new(RingView::first(table, balance_factor, panic_threshold)),
            workers: Vec::new(),
            departed: Vec::new(),
            empty_since: None,
            capacity,
            load: Arc::default(),
            slow_start,
            outliers: OutlierWatch::new(ejection),
            queue: TableQueue::default(),
            early: EarlyAdmissions::default(),
            _lifeline: lifeline,
        })
    }

    /// An instance that was off the ring for a while, or is unready, is still the same.
    fn instance(&mut self, id: InstanceId, endpoint: SocketAddr) -> Arc<Instance> {
        let same = |i: &Arc<Instance>| *i.id() == id && i.endpoint() == endpoint;
        if let Some(instance) = self.view.any_of(&id.replica).filter(same) {
            return instance;
        }
        if let Some(place) = self.departed.iter().position(same) {
            let instance = self.departed.swap_remove(place);
            instance.mark_found();
            return instance;
        }
        Instance::new(
            id,
            endpoint,
            Arc::clone(&self.capacity),
            Arc::clone(&self.load),
            self.outliers.desk(),
            self.slow_start,
        )
    }

    /// Makes a member ready, if it is one.
    pub(super) fn admit(&mut self, admit: AdmitReplica) -> ResponseFuture<()> {
        let Some(index) = self.view.table.index_of(&admit.id.replica) else {
            return Box::pin(async {});
        };
        info!("{} is on the ring at {}", admit.id, admit.endpoint);
        let instance = self.instance(admit.id, admit.endpoint);
        // What failed while it was not ready is of no account.
        instance.spare();
        let next = self.view.with_ready(index.get(), Some(instance));
        self.publish(next)
    }

    /// Makes `view` the present epoch; done when every worker has taken it in.
    pub(super) fn publish(&mut self, view: RingView) -> ResponseFuture<()> {
        let before = std::mem::replace(&mut self.view, Arc::new(view));
        self.tell_of_an_empty_ring(&before);
        if !Arc::ptr_eq(&before.table, &self.view.table) {
            let left = before.table.members().iter().map(|member| &member.name);
            let left = left.filter(|name| self.view.table.index_of(name).is_none());
            self.departed
                .extend(left.filter_map(|name| before.any_of(name)));
        }
        self.departed.retain(|instance| instance.in_flight() > 0);
        self.outliers.follow(&before, &self.view);
        self.workers.retain(Recipient::connected);
        let sent = self
            .workers
            .iter()
            .map(|worker| worker.send(PublishRing(Arc::clone(&self.view))));
        let all = join_all(sent.collect::<Vec<_>>());
        Box::pin(async move {
            if tokio::time::timeout(PUBLISH_TIMEOUT, all).await.is_err() {
                warn!(
                    "a worker thread has not taken the new ring in for {}",
                    duration(PUBLISH_TIMEOUT)
                );
            }
        })
    }
}

impl RingState {
    /// Logs when no member is ready any more, and when one is again.
    fn tell_of_an_empty_ring(&mut self, before: &RingView) {
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
        self.watch_outliers(ctx);
    }
}

impl Handler<JoinRing> for RingState {
    type Result = ResponseFuture<Result<(), BuildError>>;

    fn handle(&mut self, JoinRing(newcomers): JoinRing, ctx: &mut Self::Context) -> Self::Result {
        let changed = self.change_table(Edit::Join(newcomers), ctx);
        Box::pin(async {
            match changed.await {
                Err(ReshapeError::DoesNotFit(error)) => Err(error),
                // Whoever joins needs nobody who is there already.
                Ok(_) | Err(ReshapeError::Unknown(_)) => Ok(()),
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
        let known = self.view.table.index_of(&admit.id.replica).is_some();
        if !known && self.queue.is_busy() {
            return Box::pin(self.early.keep(admit));
        }
        self.admit(admit)
    }
}

impl Handler<MarkUnready> for RingState {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, unready: MarkUnready, _: &mut Self::Context) -> Self::Result {
        let MarkUnready { id, endpoint } = unready;
        self.early.forget(&id);
        let Some(index) = self.view.table.index_of(&id.replica) else {
            return Box::pin(async {});
        };
        let instance = self.instance(id, endpoint);
        let next = self.view.with_unready(index.get(), instance);
        self.publish(next)
    }
}

impl Handler<EvictReplica> for RingState {
    type Result = ResponseFuture<Evicted>;

    fn handle(&mut self, EvictReplica(id): EvictReplica, _: &mut Self::Context) -> Self::Result {
        self.early.forget(&id);
        let Some(instance) = self.view.any_of(&id.replica) else {
            return Box::pin(async { Evicted::default() });
        };
        let (true, Some(index)) = (*instance.id() == id, self.view.table.index_of(&id.replica))
        else {
            return Box::pin(async { Evicted::default() });
        };
        let evicted = Evicted {
            // Its sockets may have told of its death before anything else did.
            in_flight: instance.in_flight() + instance.interrupted().count(),
            interrupted: Arc::clone(instance.interrupted()),
        };
        let next = self.view.with_ready(index.get(), None);
        let published = self.publish(next);
        // Only now: whoever gives up connecting to it asks for another, and must not be
        // given the same one again.
        instance.mark_lost();
        // It may come back, and what it holds counts then as it did before.
        self.departed.push(instance);
        Box::pin(async move {
            published.await;
            evicted
        })
    }
}

impl Handler<DrainInstance> for RingState {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, drain: DrainInstance, _: &mut Self::Context) -> Self::Result {
        let found = self.departed.iter().find(|i| *i.id() == drain.id).cloned();
        Box::pin(async move {
            let Some(instance) = found else { return 0 };
            // Over its time or not, what is left is the answer.
            let _ = tokio::time::timeout(drain.deadline, instance.drained()).await;
            instance.in_flight()
        })
    }
}

impl Handler<InstanceEnded> for RingState {
    type Result = ();

    fn handle(&mut self, InstanceEnded(id): InstanceEnded, ctx: &mut Self::Context) {
        // Its end may be known before it is off the ring.
        let present = self.view.any_of(&id.replica);
        let departed = self.departed.iter().cloned();
        if let Some(instance) = departed.chain(present).find(|i| *i.id() == id) {
            ctx.run_later(LAST_BYTES, move |_, _| instance.mark_ended());
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

impl Handler<LookAtRing> for RingState {
    type Result = MessageResult<LookAtRing>;

    fn handle(&mut self, _: LookAtRing, _: &mut Self::Context) -> Self::Result {
        MessageResult(Arc::clone(&self.view))
    }
}
