//! An instance of a replica as the data path sees it: where it listens, what it has in flight and
//! may have, whether it is of any use still, and what its requests say about its health.

mod concurrency_limit;
mod consecutive_failures;
mod interrupted;
mod latch;
mod permit;
mod slow_start;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use awc::http::uri::Authority;
use tokio::sync::Notify;

pub use concurrency_limit::{CapacityWaker, ConcurrencyLimit};
pub use consecutive_failures::FailureReporter;
pub use interrupted::InterruptedRequests;
pub use permit::InFlightPermit;

use crate::fleet::InstanceId;
use crate::ring::Slot;
use crate::upstream::stats::ReplicaStats;
use consecutive_failures::ConsecutiveFailures;
use latch::Latch;
use permit::{REQUEST, in_flight, limited};
use slow_start::SlowStart;

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
    in_doubt: AtomicBool,
    evicted: Latch,
    exited: Latch,
    failures: ConsecutiveFailures,
    slow_start: SlowStart,
    drained: Notify,
    uid: u64,
    id: InstanceId,
    endpoint: SocketAddr,
    authority: Authority,
    /// The limit's, on a cache line that each request needs anyway.
    max_in_flight: u32,
    limit: Arc<ConcurrencyLimit>,
    fleet: Arc<FleetLoad>,
    interrupted: Arc<InterruptedRequests>,
    stats: Arc<ReplicaStats>,
}

impl Instance {
    /// An instance with nothing in flight.
    pub fn new(
        id: InstanceId,
        endpoint: SocketAddr,
        limit: Arc<ConcurrencyLimit>,
        fleet: Arc<FleetLoad>,
        failures: Arc<FailureReporter>,
        slow_start: Duration,
        stats: Arc<ReplicaStats>,
    ) -> Arc<Self> {
        static NEXT_UID: AtomicU64 = AtomicU64::new(0);
        let authority = endpoint
            .to_string()
            .parse()
            .unwrap_or_else(|_| Authority::from_static("invalid"));
        Arc::new(Self {
            load: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
            evicted: Latch::default(),
            exited: Latch::default(),
            failures: ConsecutiveFailures::new(failures),
            slow_start: SlowStart::new(slow_start),
            drained: Notify::new(),
            uid: NEXT_UID.fetch_add(1, Ordering::Relaxed),
            id,
            endpoint,
            authority,
            max_in_flight: limit.max_in_flight(),
            limit,
            fleet,
            interrupted: Arc::default(),
            stats,
        })
    }

    /// Which instance it is.
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// A number that no other instance of this process has or had.
    pub fn uid(&self) -> u64 {
        self.uid
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

    /// How many requests it has in flight, without those that have become tunnels.
    pub fn requests_in_flight(&self) -> u32 {
        limited(self.load.load(Ordering::SeqCst))
    }

    /// Whether it has as many requests in flight as it may. Tunnels do not count: they may
    /// last for hours.
    pub fn is_full(&self) -> bool {
        limited(self.load.load(Ordering::SeqCst)) >= self.max_in_flight
    }

    /// Whether a request waits for capacity here, or has begun to since `time`.
    pub fn was_awaited_since(&self, time: Instant) -> bool {
        self.limit.was_short_since(time) || (self.is_full() && self.limit.has_waiting())
    }

    /// How many of them are tunnels.
    pub fn tunnels(&self) -> u32 {
        let load = self.load.load(Ordering::Relaxed);
        in_flight(load) - limited(load)
    }

    /// What is counted of its replica.
    pub fn stats(&self) -> &ReplicaStats {
        &self.stats
    }

    /// Requests in flight over all instances.
    pub fn fleet_load(&self) -> &FleetLoad {
        &self.fleet
    }

    /// A request has been answered well to its end.
    pub fn note_success(&self) {
        self.failures.record_success();
    }

    /// A request has failed by the instance's fault.
    pub fn note_failure(&self) {
        self.failures.record_failure(&self.id);
    }

    /// Whether it is passed over for its failures.
    pub fn is_ejected(&self) -> bool {
        self.failures.is_ejected()
    }

    /// From now on it is passed over; what it holds goes on.
    pub fn eject(&self) {
        self.failures.eject();
    }

    /// It gets its requests again.
    pub fn readmit(&self) {
        self.failures.readmit();
    }

    /// It stays in spite of its failures, and counts afresh.
    pub fn reset_failures(&self) {
        self.failures.reset();
    }

    /// Whether it leaves a slot to the next replica in order, because it is in slow start.
    pub fn defers_slot(&self, slot: Slot) -> bool {
        self.slow_start.defers_slot(slot)
    }

    /// The share of its own slots that it serves: less than 1 during its slow start.
    pub fn slow_start_share(&self) -> f64 {
        self.slow_start.share()
    }

    /// The requests that broke off while it had them.
    pub fn interrupted(&self) -> &Arc<InterruptedRequests> {
        &self.interrupted
    }

    /// Whether it has missed heartbeats, and may be about to be taken off the ring.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed)
    }

    /// It has missed heartbeats, or answers them again.
    pub fn note_doubt(&self, in_doubt: bool) {
        self.in_doubt.store(in_doubt, Ordering::Relaxed);
    }

    /// It is off the ring: connection attempts end, and requests that may go elsewhere do.
    pub fn mark_evicted(&self) {
        self.evicted.set();
    }

    /// It is on the ring again.
    pub fn mark_readmitted(&self) {
        self.evicted.reset();
    }

    /// Completes while the instance is off the ring.
    pub async fn evicted(&self) {
        self.evicted.wait().await;
    }

    /// It has exited, and what it had sent by then has arrived: what waits for it ends.
    pub fn mark_exited(&self) {
        self.exited.set();
    }

    /// Whether nothing more can come from the instance.
    pub fn has_exited(&self) -> bool {
        self.exited.is_set()
    }

    /// Completes when nothing more can come from the instance.
    pub async fn exited(&self) {
        self.exited.wait().await;
    }

    /// Completes when nothing is in flight. To be called once no new permits are given.
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
        if one == REQUEST && limited(before) >= self.max_in_flight {
            self.limit.freed();
        }
        if in_flight(before) == 1 && self.draining.load(Ordering::SeqCst) {
            self.drained.notify_waiters();
        }
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
        let id = InstanceId::new("Server1".parse().unwrap(), 1);
        Instance::new(
            id,
            "127.0.0.1:1".parse().unwrap(),
            ConcurrencyLimit::new(NonZeroU32::new(2)),
            Arc::default(),
            Arc::default(),
            slow_start,
            Arc::default(),
        )
    }

    fn some_slot() -> Slot {
        let table = SlotTable::build(&RingSpec::default(), &[]).unwrap();
        table.slot_of(Key(0))
    }

    #[actix_web::test]
    async fn draining_ends_with_the_last_permit() {
        let instance = instance();
        let first = InFlightPermit::try_acquire(&instance, some_slot(), false).unwrap();
        let second = InFlightPermit::try_acquire(&instance, some_slot(), true).unwrap();
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
    fn full_instance_gives_no_permit_until_one_is_released() {
        let instance = instance();
        let acquire = || InFlightPermit::try_acquire(&instance, some_slot(), true);
        let (first, _second) = (acquire().unwrap(), acquire().unwrap());
        assert!(instance.is_full() && acquire().is_none());
        assert_eq!(instance.in_flight(), 2);
        assert_eq!(instance.fleet_load().in_flight(), 2);
        drop(first);
        assert!(!instance.is_full() && acquire().is_some());
    }

    #[actix_web::test]
    async fn tunnels_do_not_count_in_the_limit_but_draining_waits_for_them() {
        let instance = instance();
        let acquire = || InFlightPermit::try_acquire(&instance, some_slot(), true);
        let tunnels: Vec<InFlightPermit> =
            (0..5).map(|_| acquire().unwrap().into_tunnel()).collect();
        let (first, second) = (acquire().unwrap(), acquire().unwrap());
        assert!(instance.is_full() && acquire().is_none());
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
    async fn eviction_wakes_waiters_and_completes_later_waits() {
        let instance = instance();
        let waiting = Arc::clone(&instance);
        let early = actix::spawn(async move { waiting.evicted().await });
        tokio::task::yield_now().await;
        assert!(!early.is_finished());
        instance.mark_evicted();
        early.await.unwrap();
        assert!(instance.evicted().now_or_never().is_some());
        instance.mark_readmitted();
        assert!(instance.evicted().now_or_never().is_none());
    }

    #[test]
    fn fresh_instance_serves_a_tenth_of_its_slots_and_others_all() {
        let table = SlotTable::build(&RingSpec::default(), &[]).unwrap();
        let slots: Vec<Slot> = (0..1_000u64)
            .map(|n| table.slot_of(Key(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
            .collect();
        let served = |instance: &Instance| {
            let served = slots.iter().filter(|slot| !instance.defers_slot(**slot));
            served.count()
        };
        assert_eq!(served(&instance()), 1_000);
        let fresh = served(&fresh(Duration::from_secs(3600)));
        assert!((50..200).contains(&fresh), "{fresh}");
    }
}
