//! ProxyWorker: a worker thread's copy of the ring. It grants slots.
//!
//! There is one on every HTTP worker thread, so that a handler's question never leaves
//! its thread: that costs 0.2 us, where crossing threads costs 81.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Recipient};
use tokio::sync::oneshot;

use super::ring_state::{PublishRing, RegisterWorker};
use super::ring_view::RingView;
use crate::ring::{Key, MemberIndex};
use crate::upstream::{Clients, Grant};

/// Which replica is to serve this request?
#[derive(Debug, Clone, Message)]
#[rtype(result = "Acquired")]
pub struct AcquireSlot {
    /// The request's key.
    pub key: Key,
    /// Serial numbers of instances that this request has failed on, and may try again when
    /// no other is left: one that was slow to accept a connection is not a dead one.
    pub tried: Vec<u64>,
    /// Serial numbers of instances where nobody listens.
    pub refused: Vec<u64>,
}

/// The answer.
#[derive(Debug)]
pub enum Acquired {
    /// This one.
    Granted(Grant),
    /// None is ready: wait here for the first that is. Dropping this gives the place up.
    Wait(WaitingPlace),
    /// None is ready, and too many wait already.
    Full,
}

/// A place in the queue of requests that wait for a replica.
#[derive(Debug)]
pub struct WaitingPlace {
    grant: oneshot::Receiver<Grant>,
    _seat: Seat,
}

impl WaitingPlace {
    /// The grant, once a replica is ready; none if the balancer ends before.
    pub async fn grant(&mut self) -> Option<Grant> {
        (&mut self.grant).await.ok()
    }
}

/// How many requests may wait for a replica, over all worker threads.
#[derive(Debug)]
pub struct WaitingRoom {
    taken: AtomicUsize,
    seats: usize,
}

#[derive(Debug)]
struct Seat(Arc<WaitingRoom>);

impl WaitingRoom {
    /// A room with so many seats.
    pub fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            seats,
        })
    }

    fn take_seat(self: &Arc<Self>) -> Option<Seat> {
        if self.taken.fetch_add(1, Ordering::Relaxed) < self.seats {
            return Some(Seat(Arc::clone(self)));
        }
        self.taken.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The actor.
pub struct ProxyWorker {
    view: Option<Arc<RingView>>,
    waiting: VecDeque<(AcquireSlot, oneshot::Sender<Grant>)>,
    room: Arc<WaitingRoom>,
    clients: Rc<Clients>,
    ring: Recipient<RegisterWorker>,
}

impl ProxyWorker {
    /// A worker that registers with `ring` when it starts and drops the `clients` of
    /// instances that have gone.
    pub fn new(
        ring: Recipient<RegisterWorker>,
        room: Arc<WaitingRoom>,
        clients: Rc<Clients>,
    ) -> Self {
        Self {
            view: None,
            waiting: VecDeque::new(),
            room,
            clients,
            ring,
        }
    }

    /// The first ready instance in the key's own order that the request has not failed on.
    fn grant(&self, wanted: &AcquireSlot) -> Option<Grant> {
        let view = self.view.as_ref()?;
        let slot = view.table.slot_of(wanted.key);
        let owner = view.table.owner(slot)?;
        let alive = |index: MemberIndex| {
            let instance = view.ready.get(index.get())?.as_ref()?;
            (!wanted.refused.contains(&instance.serial())).then_some(instance)
        };
        let untried = |index: MemberIndex| {
            alive(index).filter(|instance| !wanted.tried.contains(&instance.serial()))
        };
        let usable = |index: MemberIndex| untried(index).filter(|i| !i.is_ejected());
        let with_room =
            |index: MemberIndex| usable(index).filter(|instance| view.has_room(index, instance));
        let willing = |index: MemberIndex| with_room(index).filter(|i| !i.hands_over(slot));
        let instance = willing(owner).or_else(|| {
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
        })?;
        let bounded = view.balance_factor.is_some();
        Some(Grant::new(instance, slot, view.epoch, bounded))
    }

    fn serve_waiting(&mut self) {
        for _ in 0..self.waiting.len() {
            let Some((wanted, place)) = self.waiting.pop_front() else {
                return;
            };
            if place.is_closed() {
                continue;
            }
            match self.grant(&wanted) {
                // Who has left in this moment drops the grant, which returns it.
                Some(grant) => drop(place.send(grant)),
                None => self.waiting.push_back((wanted, place)),
            }
        }
    }
}

impl Actor for ProxyWorker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.ring.do_send(RegisterWorker(ctx.address().recipient()));
    }
}

impl Handler<PublishRing> for ProxyWorker {
    type Result = ();

    fn handle(&mut self, PublishRing(view): PublishRing, _: &mut Self::Context) {
        if self.view.as_ref().is_some_and(|v| v.epoch > view.epoch) {
            return;
        }
        let present: HashSet<u64> = view.ready.iter().flatten().map(|i| i.serial()).collect();
        self.clients.keep_only(&present);
        self.view = Some(view);
        self.serve_waiting();
    }
}

impl Handler<AcquireSlot> for ProxyWorker {
    type Result = MessageResult<AcquireSlot>;

    fn handle(&mut self, wanted: AcquireSlot, _: &mut Self::Context) -> Self::Result {
        if let Some(grant) = self.grant(&wanted) {
            return MessageResult(Acquired::Granted(grant));
        }
        let Some(seat) = self.room.take_seat() else {
            return MessageResult(Acquired::Full);
        };
        if self.waiting.len() >= self.room.seats {
            // Places that were given up are still in the queue.
            self.waiting.retain(|(_, place)| !place.is_closed());
        }
        let (place, grant) = oneshot::channel();
        self.waiting.push_back((wanted, place));
        MessageResult(Acquired::Wait(WaitingPlace { grant, _seat: seat }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::fleet::InstanceId;
    use crate::ring::{Member, RingSpec, SlotTable};
    use crate::upstream::{ClientSettings, Instance};

    /// A worker over three ready replicas, and these in the order of `key`.
    fn worker(key: Key) -> (ProxyWorker, Vec<Arc<Instance>>) {
        let members = ["S1", "S2", "S3"].map(|name| Member::new(name.parse().unwrap()));
        let table = SlotTable::build(&RingSpec::default(), &members).unwrap();
        let mut view = RingView::first(table, None);
        let endpoint = SocketAddr::from(([127, 0, 0, 1], 9));
        for index in view.table.indices() {
            let id = InstanceId {
                replica: view.table.member(index).name.clone(),
                generation: 1,
            };
            let instance = Instance::new(
                id,
                endpoint,
                Arc::default(),
                Arc::default(),
                std::time::Duration::ZERO,
            );
            view = view.with_ready(index.get(), Some(instance));
        }
        let order = view.table.failover(key);
        let order = order.map(|index| view.ready[index.get()].clone().unwrap());
        let order = order.collect();
        let worker = ProxyWorker {
            view: Some(Arc::new(view)),
            waiting: VecDeque::new(),
            room: WaitingRoom::new(1),
            clients: Clients::new(ClientSettings {
                connect_timeout: std::time::Duration::from_secs(1),
            }),
            ring: Nobody.start().recipient(),
        };
        (worker, order)
    }

    struct Nobody;

    impl Actor for Nobody {
        type Context = Context<Self>;
    }

    impl Handler<RegisterWorker> for Nobody {
        type Result = ();
        fn handle(&mut self, _: RegisterWorker, _: &mut Self::Context) {}
    }

    #[actix_web::test]
    async fn who_was_only_slow_is_asked_again_after_all_others_and_who_refused_is_not() {
        let key = Key(123_456);
        let (worker, order) = worker(key);
        let serials: Vec<u64> = order.iter().map(|instance| instance.serial()).collect();
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
            let wanted = AcquireSlot {
                key,
                tried,
                refused,
            };
            let granted = worker.grant(&wanted);
            let serial = granted.map(|grant| grant.instance().serial());
            assert_eq!(serial, expected, "{story}");
        }
    }
    #[actix_web::test]
    async fn who_is_ejected_is_passed_over_unless_nobody_else_is_left() {
        let key = Key(123_456);
        let (worker, order) = worker(key);
        let granted = |refused: &[usize]| {
            let wanted = AcquireSlot {
                key,
                tried: Vec::new(),
                refused: refused.iter().map(|place| order[*place].serial()).collect(),
            };
            let granted = worker.grant(&wanted)?.instance().serial();
            order.iter().position(|i| i.serial() == granted)
        };
        order[0].eject();
        assert_eq!(granted(&[]), Some(1));
        assert_eq!(granted(&[1]), Some(2));
        assert_eq!(granted(&[1, 2]), Some(0));
        order[0].readmit();
        assert_eq!(granted(&[]), Some(0));
    }
}
