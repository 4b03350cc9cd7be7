//! ProxyWorker: a worker thread's copy of the ring. It grants slots.
//!
//! There is one on every HTTP worker thread, so that a handler's question never leaves
//! its thread: that costs 0.2 us, where crossing threads costs 81.

mod canary;
mod release;

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient};

use super::admission::Admission;
use super::request_queue::{QueueEntry, QueueLimit, RequestQueue, Unavailable};
use super::ring_state::{PublishRing, RegisterWorker};
use super::ring_view::RingView;
use crate::fleet::Maintenance;
use crate::ring::{Key, MemberIndex, ReplicaName};
use crate::upstream::{ConcurrencyLimit, IDLE_CONNECTION, InFlightPermit, Instance, UpstreamPools};
use canary::{grant_with_canary, session_key};
use release::Release;

/// Which replica is to serve this request?
#[derive(Debug, Clone, Message)]
#[rtype(result = "Acquired")]
pub struct AcquireSlot {
    pub key: Key,
    /// Replicas that this request has failed on, and may try again when no other is left: one
    /// that was slow to accept a connection is not dead. Not instances: where one has just
    /// died, its successor may die as well.
    pub tried: Vec<ReplicaName>,
    /// Serial numbers of instances that refused the connection.
    pub refused: Vec<u64>,
    /// What a sticky cookie has to do with it.
    pub session: Session,
}

/// Whether a request belongs to a session that a cookie keeps on a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Session {
    /// There are no such sessions.
    #[default]
    None,
    /// It begins one, which needs a key that the replica's slots are found by.
    New,
    /// It has a key. Neither the bound of loads nor a slow start sends it elsewhere.
    Known,
}

#[derive(Debug)]
pub enum Acquired {
    Granted(InFlightPermit),
    /// None is ready, or every one is busy: wait here for the first that is free. Dropping
    /// the entry leaves the queue.
    Wait(QueueEntry),
    /// The same, and as many requests wait as may.
    Full,
    /// There is a maintenance.
    Refused(Arc<Maintenance>),
}

/// A replica that was full has capacity for a request that waits.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct CapacityFreed;

/// How many waiting requests are tried when a replica that was full has capacity for one.
/// Nearly always the first can use it.
const MAX_MISSES: usize = 8;

pub struct ProxyWorker {
    view: Option<Arc<RingView>>,
    waiting: RequestQueue<AcquireSlot>,
    release: Option<Release>,
    clients: Rc<UpstreamPools>,
    ring: Recipient<RegisterWorker>,
}

impl ProxyWorker {
    /// Starts a worker that registers with `ring` and drops the `clients` of instances that
    /// have gone.
    pub fn launch(
        ring: Recipient<RegisterWorker>,
        limit: Arc<QueueLimit>,
        capacity: &Arc<ConcurrencyLimit>,
        clients: Rc<UpstreamPools>,
    ) -> Addr<Self> {
        Self::create(|ctx| {
            let address = ctx.address();
            Self {
                view: None,
                waiting: RequestQueue::new(
                    limit,
                    capacity.waker(move || address.do_send(CapacityFreed)),
                ),
                release: None,
                clients,
                ring,
            }
        })
    }

    fn grant(&self, wanted: &AcquireSlot) -> Option<InFlightPermit> {
        let view = self.view.as_deref()?;
        view.admission.is_open().then(|| grant(view, wanted))?
    }

    fn admission(&self) -> &Admission {
        let view = self.view.as_deref();
        view.map_or(&Admission::Open, |view| &view.admission)
    }

    fn unavailable(&self, wanted: &AcquireSlot) -> Unavailable {
        if !self.admission().is_open() {
            return Unavailable::Held;
        }
        let ready = self
            .view
            .iter()
            .flat_map(|view| view.candidates().iter().flatten());
        if ready.into_iter().all(|i| wanted.refused.contains(&i.uid())) {
            Unavailable::NoneReady
        } else {
            Unavailable::AllBusy
        }
    }

    fn dispatch_waiting(&mut self, max_misses: usize) {
        if let Some(view) = self.view.as_deref()
            && view.admission.is_open()
            && self.release.is_none()
        {
            self.waiting
                .dispatch(max_misses, |wanted| grant(view, wanted));
        }
    }
}

/// An instance of the ring; of the canary's, if the key is one of its.
fn grant(view: &RingView, wanted: &AcquireSlot) -> Option<InFlightPermit> {
    let mut granted = match view.canary_of(wanted.key) {
        None => grant_on(view, wanted, Choice::Any),
        Some(canary) => grant_with_canary(canary, view, wanted),
    }?;
    if wanted.session == Session::New {
        granted.session_key = session_key(view, &granted.instance().id().replica);
    }
    Some(granted)
}

/// How far down the choice of an instance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Only one that has nothing against it: another ring is there for the key.
    Willing,
    /// The least bad one.
    Any,
}

/// The first ready instance in the key's own order that the request has not failed on; the first
/// ready or unready one while too few are ready.
fn grant_on(view: &RingView, wanted: &AcquireSlot, choice: Choice) -> Option<InFlightPermit> {
    let slot = view.table.slot_of(wanted.key);
    let owner = view.table.owner(slot)?;
    let candidates = view.candidates();
    let alive = |index: MemberIndex| {
        let instance = candidates.get(index.get())?.as_ref()?;
        let is_free = !instance.is_full() && !wanted.refused.contains(&instance.uid());
        is_free.then_some(instance)
    };
    let untried = |index: MemberIndex| {
        alive(index).filter(|instance| !wanted.tried.contains(&instance.id().replica))
    };
    // A request that has failed may have one more chance: not with a replica of the same lost node.
    let has_failed = !wanted.tried.is_empty() || !wanted.refused.is_empty();
    let is_usable = |i: &Instance| !i.is_ejected() && (!has_failed || !i.is_in_doubt());
    let usable = |index: MemberIndex| untried(index).filter(|i| is_usable(i));
    let is_bound = wanted.session != Session::Known;
    let with_room = |index: MemberIndex| {
        usable(index).filter(|instance| !is_bound || view.has_room(index, instance))
    };
    // Nor does a session leave a fresh replica that it has begun on.
    let willing = |index: MemberIndex| {
        let is_willing = |i: &Instance| view.has_room(index, i) && !i.defers_slot(slot);
        usable(index).filter(|instance| !is_bound || is_willing(instance))
    };
    let bounded = view.balance_factor.is_some();
    let choose = || {
        willing(owner).or_else(|| {
            let order = || view.table.failover(wanted.key);
            let next = order().skip(1).find_map(willing);
            if choice == Choice::Willing {
                return next;
            }
            // If all are fresh, the first of them is as good as any.
            let next = next.or_else(|| order().find_map(with_room));
            // Bounds of replicas that a request has failed on do not help it: the first
            // that is usable at all is better than none, then an ejected one, and last of
            // all one that was slow.
            let next = next.or_else(|| order().find_map(usable));
            next.or_else(|| order().find_map(untried))
                .or_else(|| order().find_map(alive))
        })
    };
    loop {
        let instance = choose()?;
        // Another thread may have taken the last place: then the next one is chosen.
        if let Some(grant) = InFlightPermit::try_acquire(instance, slot, bounded) {
            return Some(grant);
        }
    }
}

impl Actor for ProxyWorker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.ring.do_send(RegisterWorker(ctx.address().recipient()));
        ctx.run_interval(IDLE_CONNECTION / 2, |worker, _| worker.clients.reap_idle());
    }
}

impl Handler<PublishRing> for ProxyWorker {
    type Result = ();

    fn handle(&mut self, PublishRing(view): PublishRing, ctx: &mut Self::Context) {
        if self.view.as_ref().is_some_and(|v| v.epoch > view.epoch) {
            return;
        }
        let canary = view.canary.iter().flat_map(|canary| &canary.view.ready);
        let present = view.ready.iter().chain(&view.unready).chain(canary);
        let present: HashSet<u64> = present.flatten().map(|instance| instance.uid()).collect();
        self.clients.retain(&present);
        let was_open = self.admission().is_open();
        self.view = Some(view);
        match *self.admission() {
            Admission::Held(until) => {
                self.end_release(ctx);
                self.waiting.note_held(until);
            }
            Admission::Refused(_) => {
                self.end_release(ctx);
                self.waiting.clear();
            }
            Admission::Open if !was_open => self.begin_release(ctx),
            Admission::Open => {}
        }
        self.dispatch_waiting(usize::MAX);
    }
}

impl Handler<CapacityFreed> for ProxyWorker {
    type Result = ();

    fn handle(&mut self, _: CapacityFreed, _: &mut Self::Context) {
        self.waiting.heard();
        self.dispatch_waiting(MAX_MISSES);
    }
}

impl Handler<AcquireSlot> for ProxyWorker {
    type Result = MessageResult<AcquireSlot>;

    fn handle(&mut self, wanted: AcquireSlot, _: &mut Self::Context) -> Self::Result {
        // Requests that wait come first.
        self.dispatch_waiting(MAX_MISSES);
        if let Some(grant) = self.grant(&wanted) {
            return MessageResult(Acquired::Granted(grant));
        }
        if let Admission::Refused(maintenance) = self.admission() {
            return MessageResult(Acquired::Refused(Arc::clone(maintenance)));
        }
        let unavailable = self.unavailable(&wanted);
        let Some(place) = self.waiting.join(wanted, unavailable) else {
            return MessageResult(Acquired::Full);
        };
        // The waker did nothing for capacity that was freed before this request was in the queue.
        self.dispatch_waiting(MAX_MISSES);
        MessageResult(Acquired::Wait(place))
    }
}

#[cfg(test)]
mod tests;
