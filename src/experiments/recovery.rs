//! How a replica recovers from a fault under load, by the balancer's own history and by the
//! responses that clients get.

use std::time::{Duration, Instant};

use super::client::AdminApi;
use super::error::ExperimentError;
use super::load::{Completion, LoadGenerator, Names};
use crate::api::{FleetStatus, ReplicaEvent, ReplicaEventKind, ReplicaState, Timestamp};

/// How long the replica may take to be back, from the end of the fault.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at the balancer's status.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long after the end of a fault that passes it may still be detected: the heartbeat that it
/// swallowed fails only then.
const DETECTION_DELAY: Duration = Duration::from_secs(1);

/// The recovery of a replica from one fault.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// Which replica.
    pub replica: String,
    /// When the fault began: right before the signal, or before the call to an engine.
    pub injected: Instant,
    /// When it had taken effect for sure: an engine takes its time.
    pub effective: Instant,
    /// From `injected` until it was evicted, in milliseconds.
    pub evicted_ms: Option<f64>,
    /// From `injected` until it was ready again, in milliseconds.
    pub ready_ms: Option<f64>,
    /// Why it was evicted.
    pub reason: Option<String>,
    /// Requests that were retried meanwhile.
    pub retried: Option<u64>,
}

impl Recovery {
    /// Of a fault that begins now.
    pub fn begin(replica: &str) -> Self {
        let now = Instant::now();
        Self {
            replica: replica.to_owned(),
            injected: now,
            effective: now,
            evicted_ms: None,
            ready_ms: None,
            reason: None,
            retried: None,
        }
    }

    /// Reads the balancer's history since `injected`, by its own clock.
    fn update(&mut self, events: &[ReplicaEvent], injected: Timestamp) {
        let ms = |event: &ReplicaEvent| round(event.at.millis_since(injected));
        // The two clocks agree to a fraction of a millisecond.
        let since = injected - Duration::from_millis(1);
        let mut events = events_of(events, &self.replica, since);
        if let Some(evicted) = events.find(|event| event.event == ReplicaEventKind::Evicted) {
            self.evicted_ms = Some(ms(evicted));
            self.reason.clone_from(&evicted.reason);
        }
        if let Some(ready) = events.find(|event| event.event == ReplicaEventKind::Ready) {
            self.ready_ms = Some(ms(ready));
        }
    }
}

/// What happened to a replica after `since`, the oldest first.
pub fn events_of<'s>(
    events: &'s [ReplicaEvent],
    replica: &'s str,
    since: Timestamp,
) -> impl DoubleEndedIterator<Item = &'s ReplicaEvent> {
    let events = events.iter();
    events.filter(move |event| event.replica.as_deref() == Some(replica) && event.at > since)
}

/// To the hundredth, and never before the fault itself.
fn round(ms: f64) -> f64 {
    ((ms * 100.0).round() / 100.0).max(0.0)
}

/// Watches a recovery: the balancer, the load, and their state before the fault.
pub(crate) struct RecoveryWatch<'a> {
    admin: Option<&'a AdminApi>,
    load: &'a LoadGenerator,
    epoch: Instant,
    /// The balancer's clock at `epoch`, and its count of retries.
    before: Option<(Timestamp, u64)>,
}

impl<'a> RecoveryWatch<'a> {
    /// To be called right before the fault.
    pub(crate) async fn begin(
        admin: Option<&'a AdminApi>,
        load: &'a LoadGenerator,
    ) -> Result<Self, ExperimentError> {
        let epoch = Instant::now();
        let before = match admin {
            Some(admin) => {
                let retried = admin.fleet().await?.counters.retried;
                Some((admin.clock_at(epoch).await?, retried))
            }
            None => None,
        };
        Ok(Self {
            admin,
            load,
            epoch,
            before,
        })
    }

    /// Waits until the replica is ready and responds, and fills in `recovery`. `lasts` is how long
    /// the fault lasts; none: it has ended the instance, and another one has to come.
    pub(crate) async fn until_back(
        &self,
        recovery: &mut Recovery,
        lasts: Option<Duration>,
    ) -> Result<(), ExperimentError> {
        let over = recovery.effective + lasts.unwrap_or_default();
        let called = Names::called(&recovery.replica);
        let responds =
            || !self.load.names_replicas() || self.load.has_response_since(&called, over);
        while over.elapsed() < RECOVERY_TIMEOUT {
            tokio::time::sleep(POLL_INTERVAL).await;
            let back = match (self.admin, self.before) {
                (Some(admin), Some((clock, retried))) => {
                    let fleet = admin.fleet().await?;
                    // Asked later: they say at least as much.
                    let events = admin.events().await?;
                    recovery.update(&events, clock + (recovery.injected - self.epoch));
                    recovery.retried = Some(fleet.counters.retried - retried);
                    is_back(recovery, &fleet, lasts)
                }
                // Without an admin listener a response has to do.
                _ => self.load.has_response_since(&called, over),
            };
            if back && responds() {
                return Ok(());
            }
        }
        Err(ExperimentError::TimedOut {
            what: format!("{} is back", recovery.replica),
            seconds: RECOVERY_TIMEOUT.as_secs(),
        })
    }
}

fn is_back(recovery: &Recovery, fleet: &FleetStatus, lasts: Option<Duration>) -> bool {
    let Some(time) = lasts else {
        return recovery.ready_ms.is_some();
    };
    let mut replicas = fleet.replicas.iter();
    replicas.any(|one| one.name == recovery.replica && one.state == ReplicaState::Ready)
        && recovery.effective.elapsed() >= time + DETECTION_DELAY
        && (recovery.evicted_ms.is_none() || recovery.ready_ms.is_some())
}

/// The longest time without a response of a replica, from the fault until a request that was
/// sent after it had taken effect is answered. (One that was sent before may be answered by the
/// successor, or have come just in time.)
pub(crate) fn silence(responses: &[Completion], known: &Names, recovery: &Recovery) -> Duration {
    let own = responses.iter().filter(|response| {
        let from = response.from.as_deref();
        from.is_ok_and(|called| known.name(called) == recovery.replica)
    });
    let successor = own.clone().filter(|one| one.begun >= recovery.effective);
    let Some(first) = successor.map(|response| response.ended).min() else {
        return Duration::ZERO;
    };
    let times = own.map(|response| response.ended);
    longest_gap(times.filter(|ended| *ended <= first), recovery.injected)
}

/// The longest time between two of `times` that are next to each other, of those that end after
/// `since`.
pub fn longest_gap(times: impl Iterator<Item = Instant>, since: Instant) -> Duration {
    let mut times: Vec<Instant> = times.collect();
    times.sort_unstable();
    let gaps = times.windows(2).filter(|pair| pair[1] >= since);
    gaps.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_to_a_request_before_the_fault_took_effect_does_not_end_the_silence() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let response = |(begun, ended)| Completion::test(after(begun), after(ended), Ok("1"));
        let known = Names::new(&["Server1".to_owned()]);
        // The engine is asked after 100 ms and has done it 30 ms later.
        let mut recovery = Recovery::begin("Server1");
        (recovery.injected, recovery.effective) = (after(100), after(130));
        let responses = [(80, 90), (105, 110), (120, 400), (395, 402), (500, 600)].map(response);
        let silence = silence(&responses, &known, &recovery);
        assert_eq!(silence, Duration::from_millis(290));
    }
}
