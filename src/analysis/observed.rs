//! What becomes of a replica that was harmed under load, from the balancer's own history and
//! from the answers that clients get. A-3 and `ringmaster drill` both look through this.

use std::time::{Duration, Instant};

use super::admin::Admin;
use super::error::AnalysisError;
use super::load::{Answer, Names, SteadyLoad};
use super::stats::milliseconds;
use crate::api::{ReplicaEvent, ReplicaEventKind, ReplicaState, Status, Timestamp};

/// Until the replica is back, from the end of the harm.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So long after the end of a harm that passes it may still be noticed: the heartbeat that it
/// swallowed is missed only then.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What was done to a replica, as far as waiting for its return goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Its instance has ended; another has to come.
    Ends,
    /// It passes after so long, perhaps without having been noticed.
    Lasts(Duration),
}

/// What became of a replica that was harmed.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    /// Which.
    pub replica: String,
    /// When the harm began: right before the signal, or before the call to an engine.
    pub at: Instant,
    /// When it had landed for sure: an engine takes its time.
    pub landed: Instant,
    /// Milliseconds from then until it was off the ring.
    pub evicted_ms: Option<f64>,
    /// Until it was on the ring again.
    pub back_ms: Option<f64>,
    /// Why it was evicted.
    pub reason: Option<String>,
    /// Requests that were sent to a second replica meanwhile.
    pub retried: Option<u64>,
}

impl Observed {
    /// Nothing yet.
    pub(crate) fn new(replica: &str) -> Self {
        let now = Instant::now();
        Self {
            replica: replica.to_owned(),
            at: now,
            landed: now,
            evicted_ms: None,
            back_ms: None,
            reason: None,
            retried: None,
        }
    }

    /// Reads out of the balancer's history what became of a harm at `at`, on its clock.
    fn note(&mut self, status: &Status, at: Timestamp) {
        let after = |event: &&ReplicaEvent| event.at.millis_since(at);
        let mut events = status
            .events
            .iter()
            // The two clocks agree to a fraction of a millisecond.
            .filter(|event| event.replica == self.replica && after(event) > -1.0);
        if let Some(evicted) = events.find(|event| event.event == ReplicaEventKind::Evicted) {
            self.evicted_ms = Some(round(after(&evicted)));
            self.reason.clone_from(&evicted.reason);
        }
        if let Some(ready) = events.find(|event| event.event == ReplicaEventKind::Ready) {
            self.back_ms = Some(round(after(&ready)));
        }
    }
}

/// To the hundredth, and never before the harm itself.
fn round(ms: f64) -> f64 {
    ((ms * 100.0).round() / 100.0).max(0.0)
}

/// Where one looks, and how it was before the harm.
pub(crate) struct Watch<'a> {
    admin: Option<&'a Admin>,
    load: &'a SteadyLoad,
    epoch: Instant,
    /// The balancer's clock at `epoch`, and what it had retried.
    before: Option<(Timestamp, u64)>,
}

impl<'a> Watch<'a> {
    /// To be begun right before the harm.
    pub(crate) async fn begin(
        admin: Option<&'a Admin>,
        load: &'a SteadyLoad,
    ) -> Result<Self, AnalysisError> {
        let epoch = Instant::now();
        let before = match admin {
            Some(admin) => {
                let retried = admin.status().await?.counters.retried;
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

    /// Waits until the replica is back and answers, and keeps in `observed` what is seen.
    pub(crate) async fn until_back(
        &self,
        observed: &mut Observed,
        harm: Harm,
    ) -> Result<(), AnalysisError> {
        let over = match harm {
            Harm::Ends => observed.landed,
            Harm::Lasts(time) => observed.landed + time,
        };
        let called = Names::called(&observed.replica);
        let answers = || !self.load.tells_who() || self.load.has_answer_since(&called, over);
        while over.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK_EVERY).await;
            let back = match (self.admin, self.before) {
                (Some(admin), Some((clock, retried))) => {
                    let status = admin.status().await?;
                    observed.note(&status, clock + (observed.at - self.epoch));
                    observed.retried = Some(status.counters.retried - retried);
                    is_back(observed, &status, harm)
                }
                // Without the balancer's word for it, an answer has to do.
                _ => self.load.has_answer_since(&called, over),
            };
            if back && answers() {
                return Ok(());
            }
        }
        Err(AnalysisError::TooSlow {
            what: format!("{} is back", observed.replica),
            seconds: PATIENCE.as_secs(),
        })
    }
}

fn is_back(observed: &Observed, status: &Status, harm: Harm) -> bool {
    let Harm::Lasts(time) = harm else {
        return observed.back_ms.is_some();
    };
    let mut replicas = status.replicas.iter();
    let ready =
        replicas.any(|one| one.name == observed.replica && one.state == ReplicaState::Ready);
    ready
        && observed.landed.elapsed() >= time + AFTERMATH
        && (observed.evicted_ms.is_none() || observed.back_ms.is_some())
}

/// The longest time without an answer of a replica, from the harm until a request that was
/// sent after it had landed is answered. (One that was sent before may be answered by the
/// successor, or have come just in time.)
pub(crate) fn silence(answers: &[Answer], known: &Names, observed: &Observed) -> f64 {
    let own = answers.iter().filter(|answer| {
        let from = answer.from.as_deref();
        from.is_ok_and(|called| known.name(called) == observed.replica)
    });
    let successor = own.clone().filter(|answer| answer.begun >= observed.landed);
    let Some(first) = successor.map(|answer| answer.ended).min() else {
        return 0.0;
    };
    let mut times: Vec<Instant> = own.map(|answer| answer.ended).collect();
    times.sort_unstable();
    let gaps = times
        .windows(2)
        .filter(|pair| pair[1] >= observed.at && pair[1] <= first);
    let longest = gaps.map(|pair| pair[1] - pair[0]).max();
    longest.map_or(0.0, milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_came_before_the_harm_had_landed_does_not_end_the_silence() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let answer = |(begun, ended)| Answer {
            id: 123_456,
            begun: after(begun),
            ended: after(ended),
            lost: false,
            from: Ok("1".to_owned()),
        };
        let known = Names::new(&["Server1".to_owned()]);
        // The engine is asked after 100 ms and has done it 30 ms later.
        let mut observed = Observed::new("Server1");
        (observed.at, observed.landed) = (after(100), after(130));
        let answers = [(80, 90), (105, 110), (120, 400), (395, 402), (500, 600)].map(answer);
        assert_eq!(silence(&answers, &known, &observed), 290.0);
    }
}
