//! Which instance is granted: failures, bounds, sessions, canaries, pauses.

use std::num::NonZeroU32;
use std::time::Instant;

use super::*;
use crate::actors::ring_view::tests::{three_ready, with_two_canaries};
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
async fn what_is_sent_again_passes_over_those_in_doubt_unless_there_is_no_other() {
    let key = Key(123_456);
    let (worker, order) = worker(key);
    let granted = |tried: &[usize]| {
        let names = tried.iter().map(|place| order[*place].id().replica.clone());
        let wanted = AcquireSlot {
            tried: names.collect(),
            ..any_of(key)
        };
        let granted = worker.grant(&wanted).unwrap();
        let uid = granted.instance().uid();
        order.iter().position(|instance| instance.uid() == uid)
    };
    // Two replicas of a lost node: the one that is off the ring first, and the next.
    order[0].note_doubt(true);
    order[1].note_doubt(true);
    assert_eq!(granted(&[]), Some(0));
    assert_eq!(granted(&[0]), Some(2));
    assert_eq!(granted(&[0, 2]), Some(1));
    order[1].note_doubt(false);
    assert_eq!(granted(&[0]), Some(1));
}

/// Who serves each of some keys.
fn served(worker: &ProxyWorker, keys: &[Key]) -> Vec<String> {
    let each = keys.iter().map(|key| {
        let granted = worker.grant(&any_of(*key)).unwrap();
        granted.instance().id().replica.to_string()
    });
    each.collect()
}

#[actix_web::test]
async fn keys_below_the_share_go_to_the_canary_and_no_other_key_moves() {
    let (mut worker, _) = worker(Key(1));
    let keys: Vec<Key> = (100_000..101_000).map(Key).collect();
    let before = served(&worker, &keys);
    let limit = ConcurrencyLimit::new(NonZeroU32::new(2));
    let view = with_two_canaries(worker.view.as_ref().unwrap(), "20%", &limit);
    let share = view.canary.as_ref().unwrap().share;
    worker.view = Some(Arc::new(view));
    let during = served(&worker, &keys);
    for ((key, before), during) in keys.iter().zip(&before).zip(&during) {
        let is_canary = during.starts_with("canary-");
        assert_eq!(is_canary, share.takes(*key), "{key:?}: {during}");
        assert!(is_canary || during == before, "{key:?}: {before}, {during}");
    }
    let of = |name: &str| during.iter().filter(|served| *served == name).count();
    assert!(of("canary-1") > 50 && of("canary-2") > 50, "{during:?}");
    // What one of them does not serve, the other one does, and then the key's own replica.
    for left in [1, 0] {
        let view = worker.view.as_ref().unwrap();
        let gone = format!("canary-{}", 2 - left).parse().unwrap();
        worker.view = Some(Arc::new(view.with_ready_of(&gone, None).unwrap()));
        for (place, now) in served(&worker, &keys).iter().enumerate() {
            match during[place].starts_with("canary-") && left > 0 {
                true => assert_eq!(now, "canary-2"),
                false => assert_eq!(*now, before[place]),
            }
        }
    }
    worker.view = Some(Arc::new(worker.view.as_ref().unwrap().with_canary(None)));
    assert_eq!(served(&worker, &keys), before);
}

#[actix_web::test]
async fn request_that_the_canary_cannot_take_goes_to_a_replica() {
    let (mut worker, _) = worker(Key(1));
    let limit = ConcurrencyLimit::new(NonZeroU32::new(2));
    let view = with_two_canaries(worker.view.as_ref().unwrap(), "50%", &limit);
    let canary = view.canary.clone().unwrap();
    worker.view = Some(Arc::new(view));
    let key = (0..).map(Key).find(|key| canary.share.takes(*key)).unwrap();
    let first = worker.grant(&any_of(key)).unwrap();
    assert!(
        canary
            .view
            .ready
            .iter()
            .flatten()
            .any(|i| i.uid() == first.instance().uid())
    );
    // It has failed on both.
    let both: Vec<_> = canary.view.ready.iter().flatten().cloned().collect();
    let tried = both.iter().map(|i| i.id().replica.clone()).collect();
    let wanted = AcquireSlot {
        tried,
        ..any_of(key)
    };
    let next = worker.grant(&wanted).unwrap();
    assert!(next.instance().id().replica.as_str().starts_with('S'));
    drop((first, next));
    // Both are full.
    let held: Vec<_> = (0..4)
        .map(|_| worker.grant(&any_of(key)).unwrap())
        .collect();
    let on_canary =
        |permit: &InFlightPermit| both.iter().any(|i| i.uid() == permit.instance().uid());
    assert!(held.iter().all(on_canary));
    assert!(!on_canary(&worker.grant(&any_of(key)).unwrap()));
    drop(held);
    // Both are ejected, and no replica is left.
    both.iter().for_each(|instance| instance.eject());
    assert!(!on_canary(&worker.grant(&any_of(key)).unwrap()));
    let mut view = worker.view.as_ref().unwrap().with_ready(0, None);
    for index in 1..3 {
        view = view.with_ready(index, None);
    }
    worker.view = Some(Arc::new(view));
    assert!(on_canary(&worker.grant(&any_of(key)).unwrap()));
    let other = (0..)
        .map(Key)
        .find(|key| !canary.share.takes(*key))
        .unwrap();
    assert!(worker.grant(&any_of(other)).is_none());
}

#[actix_web::test]
async fn session_that_begins_on_the_canary_stays_there_and_one_that_does_not_stays_away() {
    let (mut worker, _) = worker(Key(1));
    let limit = ConcurrencyLimit::new(None);
    let view = with_two_canaries(worker.view.as_ref().unwrap(), "10%", &limit);
    worker.view = Some(Arc::new(view));
    let mut on_canary = 0;
    for key in (0..200).map(Key) {
        let session = Session::New;
        let begun = worker
            .grant(&AcquireSlot {
                session,
                ..any_of(key)
            })
            .unwrap();
        let name = begun.instance().id().replica.clone();
        on_canary += u32::from(name.as_str().starts_with("canary-"));
        let (key, session) = (begun.session_key.unwrap().key(), Session::Known);
        let next = worker
            .grant(&AcquireSlot {
                session,
                ..any_of(key)
            })
            .unwrap();
        assert_eq!(next.instance().id().replica, name);
    }
    assert!((5..50).contains(&on_canary), "{on_canary}");
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
