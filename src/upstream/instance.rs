//! An instance as the data path sees it, and the grant to send one request to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use awc::http::uri::Authority;
use tokio::sync::Notify;

use super::capacity::Capacity;
use super::interrupted::InterruptedRequests;
use super::outlier::{OutlierDesk, Strikes};
use super::sign::Sign;
use super::warmth::Warmth;
use crate::fleet::InstanceId;
use crate::ring::{SessionKey, Slot};

/// Requests in flight over all instances and threads, for bounding each one's share. Only
/// kept while the ring bounds loads.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct FleetLoad(AtomicU64);

impl FleetLoad {
    /// How many there are.
    pub fn in_flight(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One admitted instance, shared by every worker thread.
///
/// On cache lines of its own: every request writes to it from its worker's thread.
#[derive(Debug)]
#[repr(align(128))]
pub struct Instance {
    /// Requests in flight, in the lower half; how many of them are tunnels, in the upper.
    load: AtomicU64,
    draining: AtomicBool,
    lost: Sign,
    ended: Sign,
    strikes: Strikes,
    warmth: Warmth,
    drained: Notify,
    serial: u64,
    id: InstanceId,
    endpoint: SocketAddr,
    authority: Authority,
    /// The capacity's, on a cache line that each request needs anyway.
    most: u32,
    capacity: Arc<Capacity>,
    fleet: Arc<FleetLoad>,
    interrupted: Arc<InterruptedRequests>,
}

impl Instance {
    /// An instance with nothing in flight.
    pub fn new(
        id: InstanceId,
        endpoint: SocketAddr,
        capacity: Arc<Capacity>,
        fleet: Arc<FleetLoad>,
        outliers: Arc<OutlierDesk>,
        slow_start: Duration,
    ) -> Arc<Self> {
        static NEXT_SERIAL: AtomicU64 = AtomicU64::new(0);
        let authority = endpoint
            .to_string()
            .parse()
            .unwrap_or_else(|_| Authority::from_static("invalid"));
        Arc::new(Self {
            load: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            lost: Sign::default(),
            ended: Sign::default(),
            strikes: Strikes::new(outliers),
            warmth: Warmth::new(slow_start),
            drained: Notify::new(),
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            id,
            endpoint,
            authority,
            most: capacity.most(),
            capacity,
            fleet,
            interrupted: Arc::default(),
        })
    }

    /// Which instance it is.
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// A number that no other instance of this process has or had.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Where it listens.
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// Where it listens, as the authority part of a URI.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Requests in flight, over all worker threads; tunnels are among them.
    pub fn in_flight(&self) -> u32 {
        in_flight(self.load.load(Ordering::SeqCst))
    }

    /// Whether it has as many requests in flight as it may. Tunnels do not count: they may
    /// last for hours.
    pub fn is_full(&self) -> bool {
        limited(self.load.load(Ordering::SeqCst)) >= self.most
    }

    /// Whether a request waits for room here, or has begun to since then.
    pub fn was_awaited_since(&self, time: Instant) -> bool {
        self.capacity.was_short_since(time) || (self.is_full() && self.capacity.has_waiting())
    }

    /// Requests in flight over all instances.
    pub fn fleet_load(&self) -> &FleetLoad {
        &self.fleet
    }

    /// A request has been answered well to its end.
    pub fn note_success(&self) {
        self.strikes.success();
    }

    /// A request has failed by the instance's fault.
    pub fn note_failure(&self) {
        self.strikes.failure(&self.id);
    }

    /// Whether it is passed over for its failures.
    pub fn is_ejected(&self) -> bool {
        self.strikes.is_ejected()
    }

    /// From now on it is passed over; what it holds goes on.
    pub fn eject(&self) {
        self.strikes.eject();
    }

    /// It gets its requests again.
    pub fn readmit(&self) {
        self.strikes.readmit();
    }

    /// It stays in spite of its failures, and counts afresh.
    pub fn spare(&self) {
        self.strikes.spare();
    }

    /// Whether it leaves a slot to the next in order, because it is fresh.
    pub fn hands_over(&self, slot: Slot) -> bool {
        self.warmth.hands_over(slot)
    }

    /// The share of its own slots that it serves: less than 1 while it is fresh.
    pub fn warmth(&self) -> f64 {
        self.warmth.share()
    }

    /// The requests that broke off while it had them.
    pub fn interrupted(&self) -> &Arc<InterruptedRequests> {
        &self.interrupted
    }

    /// Tells whoever is still trying to connect that it is of no use any more.
    pub fn mark_lost(&self) {
        self.lost.put_up();
    }

    /// It is of use again.
    pub fn mark_found(&self) {
        self.lost.take_down();
    }

    /// Waits until the instance is known to be lost.
    pub async fn lost(&self) {
        self.lost.seen().await;
    }

    /// Tells whoever waits for what it holds that nothing more will come: it has ended, and
    /// what it had sent by then has arrived.
    pub fn mark_ended(&self) {
        self.ended.put_up();
    }

    /// Waits until nothing more can come of the instance.
    pub async fn ended(&self) {
        self.ended.seen().await;
    }

    /// Waits until nothing is in flight. To be called once no new grants are given.
    pub async fn drained(&self) {
        self.draining.store(true, Ordering::SeqCst);
        loop {
            let notice = self.drained.notified();
            if self.in_flight() == 0 {
                return;
            }
            notice.await;
        }
    }

    /// Counts one request or one tunnel out.
    fn release(&self, one: u64) {
        let before = self.load.fetch_sub(one, Ordering::SeqCst);
        if one == REQUEST && limited(before) >= self.most {
            self.capacity.freed();
        }
        if in_flight(before) == 1 && self.draining.load(Ordering::SeqCst) {
            self.drained.notify_waiters();
        }
    }
}

/// One request in an instance's load.
const REQUEST: u64 = 1;
/// One tunnel in an instance's load: a request, and a tunnel among those.
const TUNNEL: u64 = (1 << 32) + REQUEST;

/// All requests of a load.
fn in_flight(load: u64) -> u32 {
    let [.., a, b, c, d] = load.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The requests of a load that `--max-in-flight` limits.
fn limited(load: u64) -> u32 {
    let [a, b, c, d, ..] = load.to_be_bytes();
    in_flight(load) - u32::from_be_bytes([a, b, c, d])
}

/// The right to send one request to one instance. It counts as in flight until this
/// is dropped.
#[derive(Debug)]
pub struct Grant {
    /// The slot that the request's key hashed to.
    pub slot: Slot,
    /// The epoch of the ring that gave the grant.
    pub epoch: u64,
    /// For a session that begins with this request: a key that is this replica's.
    pub session_key: Option<SessionKey>,
    /// Whether it counts in the load of the whole fleet too.
    bounded: bool,
    is_tunnel: bool,
    instance: Arc<Instance>,
}

impl Grant {
    /// Counts one request in, if the instance may have one more; in the load of the whole
    /// fleet too if that is `bounded`.
    pub fn claim(instance: &Arc<Instance>, slot: Slot, epoch: u64, bounded: bool) -> Option<Self> {
        let before = instance.load.fetch_add(REQUEST, Ordering::SeqCst);
        if limited(before) >= instance.most {
            instance.release(REQUEST);
            return None;
        }
        if bounded {
            instance.fleet.0.fetch_add(1, Ordering::Relaxed);
        }
        Some(Self {
            slot,
            epoch,
            session_key: None,
            bounded,
            is_tunnel: false,
            instance: Arc::clone(instance),
        })
    }

    /// The request has become a tunnel, which `--max-in-flight` does not limit.
    pub fn into_tunnel(mut self) -> Self {
        if !std::mem::replace(&mut self.is_tunnel, true) {
            let instance = &self.instance;
            let before = instance.load.fetch_add(TUNNEL - REQUEST, Ordering::SeqCst);
            if limited(before) >= instance.most {
                instance.capacity.freed();
            }
        }
        self
    }

    /// Where to send the request.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.bounded {
            self.instance.fleet.0.fetch_sub(1, Ordering::Relaxed);
        }
        let one = if self.is_tunnel { TUNNEL } else { REQUEST };
        self.instance.release(one);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use futures::FutureExt;

    use super::*;
    use crate::ring::{Key, RingSpec, SlotTable};

    fn instance() -> Arc<Instance> {
        fresh(Duration::ZERO)
    }

    fn fresh(slow_start: Duration) -> Arc<Instance> {
        let id = InstanceId {
            replica: "Server1".parse().unwrap(),
            generation: 1,
        };
        Instance::new(
            id,
            "127.0.0.1:1".parse().unwrap(),
            Capacity::new(NonZeroU32::new(2)),
            Arc::default(),
            Arc::default(),
            slow_start,
        )
    }

    fn some_slot() -> Slot {
        let table = SlotTable::build(&RingSpec::default(), &[]).unwrap();
        table.slot_of(Key(0))
    }

    #[actix_web::test]
    async fn draining_ends_with_the_last_grant() {
        let instance = instance();
        let first = Grant::claim(&instance, some_slot(), 1, false).unwrap();
        let second = Grant::claim(&instance, some_slot(), 1, true).unwrap();
        assert_eq!(instance.in_flight(), 2);
        let waiting = Arc::clone(&instance);
        let drained = actix::spawn(async move { waiting.drained().await });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!drained.is_finished());
        std::thread::spawn(move || drop(second)).join().unwrap();
        tokio::time::timeout(Duration::from_secs(5), drained)
            .await
            .unwrap()
            .unwrap();
        // Nothing in flight: over at once.
        assert!(instance.drained().now_or_never().is_some());
    }

    #[test]
    fn a_full_instance_takes_no_more_until_it_has_room() {
        let instance = instance();
        let claim = || Grant::claim(&instance, some_slot(), 1, true);
        let (first, _second) = (claim().unwrap(), claim().unwrap());
        assert!(instance.is_full() && claim().is_none());
        assert_eq!(instance.in_flight(), 2);
        assert_eq!(instance.fleet_load().in_flight(), 2);
        drop(first);
        assert!(!instance.is_full() && claim().is_some());
    }

    #[actix_web::test]
    async fn tunnels_take_no_place_of_requests_and_are_waited_for_when_draining() {
        let instance = instance();
        let claim = || Grant::claim(&instance, some_slot(), 1, true);
        let tunnels: Vec<Grant> = (0..5).map(|_| claim().unwrap().into_tunnel()).collect();
        let (first, second) = (claim().unwrap(), claim().unwrap());
        assert!(instance.is_full() && claim().is_none());
        let sixth = first.into_tunnel();
        assert!(!instance.is_full());
        assert_eq!(instance.in_flight(), 7);
        assert_eq!(instance.fleet_load().in_flight(), 7);
        drop(second);
        drop(tunnels);
        assert!(instance.drained().now_or_never().is_none());
        drop(sixth);
        assert!(instance.drained().now_or_never().is_some());
    }

    #[actix_web::test]
    async fn a_loss_reaches_those_who_wait_and_those_who_come_later() {
        let instance = instance();
        let waiting = Arc::clone(&instance);
        let early = actix::spawn(async move { waiting.lost().await });
        tokio::task::yield_now().await;
        assert!(!early.is_finished());
        instance.mark_lost();
        early.await.unwrap();
        assert!(instance.lost().now_or_never().is_some());
        instance.mark_found();
        assert!(instance.lost().now_or_never().is_none());
    }

    #[test]
    fn a_fresh_instance_serves_a_tenth_of_its_slots_and_others_all() {
        let table = SlotTable::build(&RingSpec::default(), &[]).unwrap();
        let slots: Vec<Slot> = (0..1_000u64)
            .map(|n| table.slot_of(Key(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
            .collect();
        let served = |instance: &Instance| {
            let served = slots.iter().filter(|slot| !instance.hands_over(**slot));
            served.count()
        };
        assert_eq!(served(&instance()), 1_000);
        let fresh = served(&fresh(Duration::from_secs(3600)));
        assert!((50..200).contains(&fresh), "{fresh}");
    }
}
