//! ProxyWorker: a worker thread's copy of the ring. It grants slots.
//!
//! There is one on every HTTP worker thread, so that a handler's question never leaves
//! its thread: that costs 0.2 us, where crossing threads costs 81.

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

/// The first ready instance in the key's own order that the request has not failed on; the first
/// ready or unready one while too few are ready.
fn grant(view: &RingView, wanted: &AcquireSlot) -> Option<InFlightPermit> {
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
    let usable = |index: MemberIndex| untried(index).filter(|i| !i.is_ejected());
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
        if let Some(mut grant) = InFlightPermit::try_acquire(instance, slot, bounded) {
            if wanted.session == Session::New {
                let served_by = view.table.index_of(&instance.id().replica);
                grant.session_key = served_by
                    .and_then(|owner| view.table.session_key_of(owner, || fastrand::u64(..)));
            }
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
        let present = view.ready.iter().chain(&view.unready).flatten();
        let present: HashSet<u64> = present.map(|instance| instance.uid()).collect();
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
mod tests {
    use std::num::NonZeroU32;
    use std::time::Instant;

    use super::*;
    use crate::actors::ring_view::tests::three_ready;
    use crate::ring::{BalanceFactor, PanicThreshold};

    /// A worker over three ready replicas, and these in the order of `key`.
    fn worker(key: Key) -> (ProxyWorker, Vec<Arc<Instance>>) {
        worker_with(key, None, 2)
    }

    fn worker_with(
        key: Key,
        factor: Option<BalanceFactor>,
        max_in_flight: u32,
    ) -> (ProxyWorker, Vec<Arc<Instance>>) {
        let limit = ConcurrencyLimit::new(NonZeroU32::new(max_in_flight));
        let view = three_ready(factor, PanicThreshold::new(50).unwrap(), limit);
        let order = view.table.failover(key);
        let order = order.map(|index| view.ready[index.get()].clone().unwrap());
        let order = order.collect();
        let waker = ConcurrencyLimit::new(None).waker(|| ());
        let worker = ProxyWorker {
            view: Some(Arc::new(view)),
            waiting: RequestQueue::new(QueueLimit::new(1), waker),
            release: None,
            clients: UpstreamPools::new(std::time::Duration::from_secs(1)),
            ring: NoRing.start().recipient(),
        };
        (worker, order)
    }

    fn any_of(key: Key) -> AcquireSlot {
        AcquireSlot {
            key,
            tried: Vec::new(),
            refused: Vec::new(),
            session: Session::None,
        }
    }

    struct NoRing;

    impl Actor for NoRing {
        type Context = Context<Self>;
    }

    impl Handler<RegisterWorker> for NoRing {
        type Result = ();
        fn handle(&mut self, _: RegisterWorker, _: &mut Self::Context) {}
    }

    #[actix_web::test]
    async fn slow_replica_is_tried_again_last_and_one_that_refused_is_not() {
        let key = Key(123_456);
        let (worker, order) = worker(key);
        let serials: Vec<u64> = order.iter().map(|instance| instance.uid()).collect();
        let [first, second, third] = serials[..] else {
            panic!("{serials:?}")
        };
        for (tried, refused, expected) in [
            (vec![], vec![], Some(first)),
            (vec![first], vec![], Some(second)),
            (vec![first, second], vec![], Some(third)),
            (vec![first, second, third], vec![], Some(first)),
            (vec![second, third], vec![first], Some(second)),
            (vec![], vec![first, second, third], None),
        ] {
            let story = format!("tried {tried:?}, refused {refused:?}");
            let named = |serial: &u64| order.iter().find(|i| i.uid() == *serial);
            let tried = tried.iter().filter_map(named);
            let tried = tried
                .map(|instance| instance.id().replica.clone())
                .collect();
            let wanted = AcquireSlot {
                tried,
                refused,
                ..any_of(key)
            };
            let granted = worker.grant(&wanted);
            let serial = granted.map(|grant| grant.instance().uid());
            assert_eq!(serial, expected, "{story}");
        }
    }

    #[actix_web::test]
    async fn paused_fleet_grants_nothing_until_it_is_open_again() {
        let (mut worker, _) = worker(Key(1));
        let set = |worker: &mut ProxyWorker, admission| {
            let view = worker.view.as_ref().unwrap().with_admission(admission);
            worker.view = Some(Arc::new(view));
        };
        set(&mut worker, Admission::Held(Instant::now()));
        assert!(worker.grant(&any_of(Key(1))).is_none());
        assert_eq!(worker.unavailable(&any_of(Key(1))), Unavailable::Held);
        // What changes on the ring meanwhile does not end it.
        let next = worker.view.as_ref().unwrap().with_ready(0, None);
        assert!(!next.admission.is_open());
        set(&mut worker, Admission::Open);
        assert!(worker.grant(&any_of(Key(1))).is_some());
    }

    #[actix_web::test]
    async fn ejected_instance_is_passed_over_unless_no_other_is_left() {
        let key = Key(123_456);
        let (worker, order) = worker(key);
        let granted = |refused: &[usize]| {
            let mut wanted = any_of(key);
            wanted.refused = refused.iter().map(|place| order[*place].uid()).collect();
            let granted = worker.grant(&wanted)?.instance().uid();
            order.iter().position(|i| i.uid() == granted)
        };
        order[0].eject();
        assert_eq!(granted(&[]), Some(1));
        assert_eq!(granted(&[1]), Some(2));
        assert_eq!(granted(&[1, 2]), Some(0));
        order[0].readmit();
        assert_eq!(granted(&[]), Some(0));
    }

    #[actix_web::test]
    async fn while_too_few_are_ready_the_unready_serve_their_keys_too() {
        let key = Key(123_456);
        let (mut worker, order) = worker(key);
        let granted = |worker: &ProxyWorker| {
            let granted = worker.grant(&any_of(key))?.instance().uid();
            order.iter().position(|i| i.uid() == granted)
        };
        let set = |worker: &mut ProxyWorker, place: usize, ready: bool| {
            let view = worker.view.as_ref().unwrap();
            let index = view.table.index_of(&order[place].id().replica).unwrap();
            let instance = Arc::clone(&order[place]);
            worker.view = Some(Arc::new(match ready {
                true => view.with_ready(index.get(), Some(instance)),
                false => view.with_unready(index.get(), instance),
            }));
        };
        // Two of three are ready: they serve.
        set(&mut worker, 0, false);
        assert_eq!(granted(&worker), Some(1));
        // One of three: the first in order, which is unready.
        set(&mut worker, 1, false);
        assert_eq!(granted(&worker), Some(0));
        set(&mut worker, 1, true);
        assert_eq!(granted(&worker), Some(1));
        // An ejected instance is not ready: one of two is left, which is not below one half.
        order[1].eject();
        worker.view.as_ref().unwrap().recompute_weight();
        assert_eq!(granted(&worker), Some(2));
        order[2].eject();
        worker.view.as_ref().unwrap().recompute_weight();
        assert_eq!(granted(&worker), Some(0));
        order[1].readmit();
        order[2].readmit();
        worker.view.as_ref().unwrap().recompute_weight();
        assert_eq!(granted(&worker), Some(1));
        // All are unready.
        set(&mut worker, 1, false);
        set(&mut worker, 2, false);
        assert_eq!(granted(&worker), Some(0));
    }

    #[actix_web::test]
    async fn full_instance_is_passed_over_and_none_is_chosen_when_all_are() {
        let key = Key(123_456);
        let (worker, order) = worker(key);
        let tried = vec![order[0].id().replica.clone()];
        let wanted = AcquireSlot {
            tried,
            ..any_of(key)
        };
        let granted = || worker.grant(&wanted);
        let place = |grant: &InFlightPermit| {
            let serial = grant.instance().uid();
            order.iter().position(|instance| instance.uid() == serial)
        };
        // Two each, and the one that was tried comes last.
        let mut grants = Vec::new();
        for expected in [1, 1, 2, 2, 0, 0] {
            let grant = granted().unwrap();
            assert_eq!(place(&grant), Some(expected));
            grants.push(grant);
        }
        assert!(granted().is_none());
        assert_eq!(worker.unavailable(&wanted), Unavailable::AllBusy);
        drop(grants.remove(2));
        assert_eq!(granted().as_ref().and_then(place), Some(2));
    }

    #[actix_web::test]
    async fn session_stays_beyond_its_replica_s_share_of_the_load_and_begins_with_a_key_of_it() {
        let key = Key(123_456);
        let factor = BalanceFactor::new(1.1).unwrap();
        let (worker, order) = worker_with(key, Some(factor), 100);
        let wanted = |session| AcquireSlot {
            session,
            ..any_of(key)
        };
        let view = worker.view.clone().unwrap();
        let begun = worker.grant(&wanted(Session::New)).unwrap();
        let made = begun.session_key.unwrap();
        let owner = view.table.owner(view.table.slot_of(made.key())).unwrap();
        assert_eq!(view.table.member(owner).name, begun.instance().id().replica);
        let without = worker.grant(&wanted(Session::None)).unwrap();
        assert_eq!(without.session_key, None);
        drop(without);
        // The owner's share of a load that is its alone is soon used up.
        let held_by_owner = |session| {
            let granted = (0..30).map(|_| worker.grant(&wanted(session)).unwrap());
            let granted: Vec<InFlightPermit> = granted.collect();
            let serials = granted.iter().map(|grant| grant.instance().uid());
            serials.filter(|serial| *serial == order[0].uid()).count()
        };
        assert!(held_by_owner(Session::None) < 30);
        assert_eq!(held_by_owner(Session::Known), 30);
    }
}
