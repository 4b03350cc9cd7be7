//! `--target-in-flight`: measures the load, and has the Supervisor add and remove replicas for it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};
use tokio::time::sleep;

use crate::actors::request_queue::QueueLimit;
use crate::actors::ring_state::RingHandle;
use crate::actors::supervisor::SupervisorHandle;
use crate::api::{FleetScaling, ScalingDecision, Timestamp};
use crate::fleet::{
    Autoscaler, BalancerLoad, Change, FleetLoadSample, ScalingPolicy, ScalingRole, newest,
    next_names,
};
use crate::human::{duration, thousands};
use crate::ring::ReplicaName;
use crate::runtime::Runtime;
use crate::upstream::Stats;

/// How often requests are counted; a decision goes by the mean of `SAMPLES`.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
const SAMPLES: u32 = 10;

/// How long nothing is tried after a change that failed, or because another balancer serves the fleet.
const PAUSE: Duration = Duration::from_secs(30);

/// How long after a pause the load is that of the requests that were held.
const AFTER_PAUSE: Duration = Duration::from_secs(5);

/// How often requests are looked for while there is no replica.
const WAKE_INTERVAL: Duration = Duration::from_millis(20);

/// How long nothing is tried after the first replica could not be started.
const PAUSE_AT_ZERO: Duration = Duration::from_secs(2);

/// What the load of a fleet is read from, and who changes it.
pub struct FleetScaler {
    /// What an operator wants.
    pub policy: ScalingPolicy,
    /// What is in flight.
    pub ring: RingHandle,
    /// What waits.
    pub queue: Arc<QueueLimit>,
    /// What has come.
    pub stats: Arc<Stats>,
    /// Changes the fleet.
    pub supervisor: SupervisorHandle,
    /// Knows of other balancers.
    pub runtime: Rc<dyn Runtime>,
}

/// What is seen, and what has been done.
struct Scaling {
    rule: Autoscaler,
    started: Instant,
    /// How many requests have come, and when the last one was seen.
    requests: u64,
    last_request: Instant,
    /// Until then the load is that of requests that were held.
    held_until: Instant,
    last_decision: Option<ScalingDecision>,
}

/// The load of all balancers of a fleet.
struct SharedLoad {
    load: BalancerLoad,
    /// There may be more.
    is_least: bool,
    /// Why it is not for this one to act.
    held: Option<&'static str>,
    /// The runtime tells of other balancers.
    knows_others: bool,
}

impl FleetScaler {
    /// Scales the fleet until the actors end.
    pub fn start(self) {
        let ScalingPolicy { min, max, .. } = self.policy;
        let target = self.policy.target_in_flight;
        info!("scaling: {min} to {max} replicas, for {target} requests in flight in each");
        actix::spawn(async move { self.run().await.unwrap_or_default() });
    }

    /// Over when an actor has ended.
    async fn run(self) -> Option<()> {
        let now = Instant::now();
        let mut scaling = Scaling {
            rule: Autoscaler::new(self.policy),
            started: now,
            requests: 0,
            last_request: now,
            held_until: now,
            last_decision: None,
        };
        self.show(&scaling, 0.0, None);
        loop {
            self.step(&mut scaling).await?;
        }
    }

    async fn step(&self, scaling: &mut Scaling) -> Option<()> {
        let desired = self.supervisor.list().await.ok()?;
        let (load, fewest_ready) = match desired.is_empty() {
            true => self.watch_empty(scaling).await?,
            false => self.measure().await?,
        };
        let now = Instant::now();
        let requests = self.stats.snapshot().requests;
        if std::mem::replace(&mut scaling.requests, requests) != requests || load > 0.0 {
            scaling.last_request = now;
        }
        let desired = self.supervisor.list().await.ok()?;
        let fleet = self.supervisor.fleet().await.ok()?;
        let own = BalancerLoad {
            load,
            idle_for: now - scaling.last_request,
        };
        let shared = self.share(own, desired.len()).await;
        if fleet.pause.is_some() {
            scaling.held_until = now + AFTER_PAUSE;
        }
        let held = if now < scaling.held_until {
            Some("the fleet is paused, or has just been")
        } else if fleet.rollout.is_some() {
            Some("a rollout is under way")
        } else if fleet.replicas.iter().any(|replica| replica.degraded) {
            Some("a replica is degraded")
        } else if fewest_ready * 2 < desired.len() {
            // Requests wait for those that are down, not for more.
            Some("most replicas are not ready")
        } else {
            shared.held
        };
        let seen = FleetLoadSample {
            desired: desired.len(),
            load: shared.load.load,
            idle_for: shared.load.idle_for,
            is_held: held.is_some(),
            is_least: shared.is_least,
        };
        let wanted = scaling.rule.decide(scaling.started.elapsed(), seen);
        let unknown = "another balancer does not say its load: no replica is removed";
        self.show(
            scaling,
            seen.load,
            held.or(seen.is_least.then_some(unknown)),
        );
        match wanted {
            Some(wanted) => {
                let knows_others = shared.knows_others;
                self.change(scaling, &desired, wanted, seen, knows_others)
                    .await
            }
            None => Some(()),
        }
    }

    /// The load of all balancers, and whether this one is to go by it.
    async fn share(&self, own: BalancerLoad, desired: usize) -> SharedLoad {
        let role = match self.runtime.share_load(own) {
            Some(role) => Some(role.await),
            None => None,
        };
        let mut shared = SharedLoad {
            load: own,
            is_least: false,
            held: None,
            knows_others: role.is_some(),
        };
        // Without a replica there is no load to share: a balancer that gets a request starts one.
        match role.filter(|_| desired > 0) {
            None => {}
            Some(ScalingRole::Leads {
                others,
                is_complete,
            }) => {
                shared.load = others.map_or(own, |others| own.plus(others));
                shared.is_least = !is_complete;
            }
            Some(ScalingRole::Follows) => shared.held = Some("another balancer scales the fleet"),
            Some(ScalingRole::Unknown) => {
                shared.held = Some("which other balancers serve the fleet is not known");
            }
        }
        shared
    }

    fn show(&self, scaling: &Scaling, load: f64, held: Option<&str>) {
        self.supervisor.note_scaling(FleetScaling {
            min_replicas: self.policy.min,
            max_replicas: self.policy.max,
            target_in_flight: self.policy.target_in_flight.get(),
            load,
            held: held.map(str::to_owned),
            last_decision: scaling.last_decision.clone(),
        });
    }

    /// Has as many replicas as are wanted.
    async fn change(
        &self,
        scaling: &mut Scaling,
        desired: &[ReplicaName],
        wanted: usize,
        seen: FleetLoadSample,
        knows_others: bool,
    ) -> Option<()> {
        let from = desired.len();
        let mut note = |reason: String| {
            scaling.last_decision = Some(ScalingDecision {
                at: Timestamp::now(),
                from,
                to: wanted,
                reason,
            });
            self.show(scaling, seen.load, None);
        };
        // Without a replica there is no load to share: a balancer that gets a request starts one.
        if from > 0 && !knows_others && self.runtime.is_shared().await {
            let reason = "another balancer serves the fleet, and this one sees only its own share of the load";
            warn!("scaling: not to {wanted} replicas, because {reason}");
            note(format!("not done: {reason}"));
            sleep(PAUSE).await;
            return Some(());
        }
        let reason = match wanted {
            0 => format!("no request for {}", duration(seen.idle_for)),
            _ => format!("{} requests in flight", thousands(seen.load.ceil() as u64)),
        };
        let for_what = match wanted {
            0 => format!("after {reason}"),
            _ => format!("for {reason}"),
        };
        info!("scaling: from {from} to {wanted} replicas, {for_what}");
        note(reason.clone());
        let change = match wanted.checked_sub(from) {
            Some(n) => Change::Add {
                n,
                hostnames: next_names(desired, n),
                weights: Default::default(),
            },
            None => {
                let n = from - wanted;
                let hostnames = newest(desired, n);
                Change::Remove { n, hostnames }
            }
        };
        if let Err(error) = self.supervisor.change(change).await.ok()? {
            warn!("scaling: not to {wanted} replicas: {error}");
            note(format!("{reason}; not done: {error}"));
            sleep(if from == 0 { PAUSE_AT_ZERO } else { PAUSE }).await;
        }
        Some(())
    }

    /// Requests in flight and waiting, on average over a second, and the fewest replicas that were
    /// ready in it.
    async fn measure(&self) -> Option<(f64, usize)> {
        let (mut sum, mut fewest_ready) = (0, usize::MAX);
        for _ in 0..SAMPLES {
            sleep(SAMPLE_INTERVAL).await;
            let view = self.ring.get().await.ok()?;
            let in_flight = view.instances().map(|i| u64::from(i.in_flight()));
            sum += in_flight.sum::<u64>() + self.queue.waiting() as u64;
            fewest_ready = fewest_ready.min(view.ready_count());
        }
        Some((sum as f64 / f64::from(SAMPLES), fewest_ready))
    }

    /// The same while there is no replica: what waits, as soon as something does.
    async fn watch_empty(&self, scaling: &Scaling) -> Option<(f64, usize)> {
        let until = Instant::now() + SAMPLE_INTERVAL * SAMPLES;
        // A pause holds requests that no replica is needed for yet.
        while self.queue.waiting() == 0 || Instant::now() < scaling.held_until {
            if Instant::now() >= until {
                break;
            }
            sleep(WAKE_INTERVAL).await;
        }
        Some((self.queue.waiting() as f64, 0))
    }
}
