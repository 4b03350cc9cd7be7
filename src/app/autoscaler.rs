//! `--target-in-flight`: measures the load, and has the Supervisor add and remove replicas for it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};
use tokio::time::sleep;

use crate::actors::request_queue::QueueLimit;
use crate::actors::ring_state::RingHandle;
use crate::actors::supervisor::SupervisorHandle;
use crate::fleet::{Autoscaler, Change, FleetLoadSample, ScalingPolicy, newest, next_names};
use crate::human::thousands;
use crate::runtime::Runtime;

/// How often requests are counted; a decision goes by the mean of `SAMPLES`.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
const SAMPLES: u32 = 10;

/// How long nothing is tried after a change that failed, or because another balancer serves the fleet.
const PAUSE: Duration = Duration::from_secs(30);

/// How long after a pause the load is that of the requests that were held.
const AFTER_PAUSE: Duration = Duration::from_secs(5);

/// What the load of a fleet is read from, and who changes it.
pub struct FleetScaler {
    /// The load says how many there are to be.
    pub rule: Autoscaler,
    /// What is in flight.
    pub ring: RingHandle,
    /// What waits.
    pub queue: Arc<QueueLimit>,
    /// Changes the fleet.
    pub supervisor: SupervisorHandle,
    /// Knows of other balancers.
    pub runtime: Rc<dyn Runtime>,
    /// Until then nothing is concluded from the load.
    pub held_until: Option<Instant>,
}

impl FleetScaler {
    /// Scales the fleet until the actors end.
    pub fn start(self, policy: ScalingPolicy) {
        let ScalingPolicy { min, max, .. } = policy;
        let target = policy.target_in_flight;
        info!("scaling: {min} to {max} replicas, for {target} requests in flight in each");
        actix::spawn(async move { self.run().await.unwrap_or_default() });
    }

    /// Over when an actor has ended.
    async fn run(mut self) -> Option<()> {
        let started = Instant::now();
        loop {
            let (load, fewest_ready) = self.measure().await?;
            let desired = self.supervisor.list().await.ok()?;
            let fleet = self.supervisor.fleet().await.ok()?;
            if fleet.pause.is_some() {
                self.held_until = Some(Instant::now() + AFTER_PAUSE);
            }
            let is_paused = self.held_until.is_some_and(|until| Instant::now() < until);
            let is_degraded = fleet.replicas.iter().any(|replica| replica.degraded);
            let seen = FleetLoadSample {
                desired: desired.len(),
                load,
                // While most replicas are down, requests wait for them, not for more.
                is_held: fewest_ready * 2 < desired.len()
                    || is_degraded
                    || is_paused
                    || fleet.rollout.is_some(),
            };
            let Some(wanted) = self.rule.decide(started.elapsed(), seen) else {
                continue;
            };
            if self.runtime.is_shared().await {
                warn!(
                    "scaling: not to {wanted} replicas, because another balancer serves the fleet, and \
                     this one sees only its own share of the load"
                );
                sleep(PAUSE).await;
                continue;
            }
            let count = thousands(load.ceil() as u64);
            info!(
                "scaling: from {} to {wanted} replicas, for {count} requests in flight",
                desired.len()
            );
            let change = match wanted.checked_sub(desired.len()) {
                Some(n) => Change::Add {
                    n,
                    hostnames: next_names(&desired, n),
                    weights: Default::default(),
                },
                None => {
                    let n = desired.len() - wanted;
                    let hostnames = newest(&desired, n);
                    Change::Remove { n, hostnames }
                }
            };
            if let Err(error) = self.supervisor.change(change).await.ok()? {
                warn!("scaling: not to {wanted} replicas: {error}");
                sleep(PAUSE).await;
            }
        }
    }

    /// Requests in flight and waiting, on average over a second, and the fewest replicas that were
    /// ready in it.
    async fn measure(&self) -> Option<(f64, usize)> {
        let (mut sum, mut fewest_ready) = (0, usize::MAX);
        for _ in 0..SAMPLES {
            sleep(SAMPLE_INTERVAL).await;
            let view = self.ring.get().await.ok()?;
            let instances = [&view.ready, &view.unready, &view.drained].into_iter();
            let instances = instances.flat_map(|members| members.iter().flatten());
            let in_flight = instances.map(|instance| u64::from(instance.in_flight()));
            sum += in_flight.sum::<u64>() + self.queue.waiting() as u64;
            fewest_ready = fewest_ready.min(view.ready_count());
        }
        Some((sum as f64 / f64::from(SAMPLES), fewest_ready))
    }
}
