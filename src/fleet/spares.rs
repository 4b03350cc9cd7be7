//! Warm spares: instances that run and answer heartbeats and play no replica. Where a replica's next
//! instance is to be started, a spare that is ready plays it instead, and another spare is started.
//!
//! ```text
//!   Launching --started--> Probing --first good heartbeat--> Ready --taken--> it plays a replica
//!       | failed              | died, or late                  | died: another is started
//!       v                     v                                | answers badly: Probing
//!     another is started, after a pause that doubles
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::InstanceEvent;
use super::instance::{InstanceId, LaunchOrder};
use super::record_definition::Definition;
use super::time::Time;
use crate::human::duration;
use crate::ring::{ReplicaName, Weight};

/// The pause before the next spare is started after one has failed; it doubles with each in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What spares are called, before their number.
const PREFIX: &str = "spare-";

/// What is to be done about spares.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SpareStep {
    Launch(LaunchOrder, Arc<Definition>),
    Watch(InstanceId, SocketAddr),
    Unwatch(InstanceId),
    Stop(InstanceId, Duration),
    Warn(String),
}

/// What there is of spares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpareReport {
    /// How many there are to be.
    pub wanted: usize,
    /// How many could play a replica at once.
    pub ready: usize,
    /// How many are being started, or answer badly.
    pub starting: usize,
}

#[derive(Debug)]
struct Spare {
    id: InstanceId,
    definition: Arc<Definition>,
    phase: SparePhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SparePhase {
    Launching,
    Probing {
        endpoint: SocketAddr,
        deadline: Time,
    },
    Ready {
        endpoint: SocketAddr,
    },
}

/// The spares of a fleet.
#[derive(Debug)]
pub(crate) struct SparePool {
    wanted: usize,
    start_timeout: Duration,
    stop_grace: Duration,
    spares: Vec<Spare>,
    started: u64,
    /// Spares that failed in a row, and when the next one is started.
    failures: u32,
    retry_at: Option<Time>,
}

impl SparePool {
    /// A pool that is to have this many.
    pub fn new(wanted: usize, start_timeout: Duration, stop_grace: Duration) -> Self {
        Self {
            wanted,
            start_timeout,
            stop_grace,
            spares: Vec::new(),
            started: 0,
            failures: 0,
            retry_at: None,
        }
    }

    /// Whether the instance is a spare.
    pub fn has(&self, id: &InstanceId) -> bool {
        self.place(id).is_some()
    }

    fn place(&self, id: &InstanceId) -> Option<usize> {
        self.spares.iter().position(|spare| spare.id == *id)
    }

    /// Whether there are to be any.
    pub fn is_used(&self) -> bool {
        self.wanted > 0
    }

    /// What there is of them.
    pub fn report(&self) -> SpareReport {
        let is_ready = |spare: &&Spare| matches!(spare.phase, SparePhase::Ready { .. });
        let ready = self.spares.iter().filter(is_ready).count();
        SpareReport {
            wanted: self.wanted,
            ready,
            starting: self.spares.len() - ready,
        }
    }

    /// When [`SparePool::tick`] is due.
    pub fn wakes_at(&self) -> Option<Time> {
        let deadlines = self.spares.iter().filter_map(|spare| match spare.phase {
            SparePhase::Probing { deadline, .. } => Some(deadline),
            _ => None,
        });
        deadlines.chain(self.retry_at).min()
    }

    /// Starts those that are missing, and stops those of another definition.
    pub fn fill(
        &mut self,
        definition: &Arc<Definition>,
        is_taken: impl Fn(&ReplicaName) -> bool,
        now: Time,
    ) -> Vec<SpareStep> {
        let mut steps = self.stop_if(|spare| spare.definition != *definition);
        if self.retry_at.is_some_and(|at| now < at) {
            return steps;
        }
        self.retry_at = None;
        while self.spares.len() < self.wanted {
            self.started += 1;
            // Such a name is always good.
            let name = format!("{PREFIX}{}", self.started).parse();
            let Some(name) = name.ok().filter(|name| !is_taken(name)) else {
                continue;
            };
            let id = InstanceId::new(name, 1);
            let order = LaunchOrder {
                id: id.clone(),
                weight: Weight::default(),
                ordinal: 0,
            };
            steps.push(SpareStep::Launch(order, Arc::clone(definition)));
            self.spares.push(Spare {
                id,
                definition: Arc::clone(definition),
                phase: SparePhase::Launching,
            });
        }
        steps
    }

    /// A spare that is ready and has this definition; it is no spare any more.
    pub fn take(&mut self, definition: &Arc<Definition>) -> Option<(InstanceId, SocketAddr)> {
        let fits = |spare: &Spare| {
            spare.definition == *definition && matches!(spare.phase, SparePhase::Ready { .. })
        };
        let place = self.spares.iter().position(fits)?;
        let spare = self.spares.remove(place);
        match spare.phase {
            SparePhase::Ready { endpoint } => Some((spare.id, endpoint)),
            _ => None,
        }
    }

    /// Stops all: no replica is wanted, or the balancer ends.
    pub fn stop_all(&mut self) -> Vec<SpareStep> {
        self.retry_at = None;
        self.stop_if(|_| true)
    }

    fn stop_if(&mut self, is_meant: impl Fn(&Spare) -> bool) -> Vec<SpareStep> {
        let stopped = self.spares.extract_if(.., |spare| is_meant(spare));
        let grace = self.stop_grace;
        let steps = stopped.flat_map(|spare| {
            [
                SpareStep::Unwatch(spare.id.clone()),
                SpareStep::Stop(spare.id, grace),
            ]
        });
        steps.collect()
    }

    /// Takes in what happened to a spare.
    pub fn apply(&mut self, id: &InstanceId, event: &InstanceEvent, now: Time) -> Vec<SpareStep> {
        let Some(place) = self.place(id) else {
            return Vec::new();
        };
        let deadline = now.saturating_add(self.start_timeout);
        let spare = &mut self.spares[place];
        match (event, spare.phase) {
            (InstanceEvent::Launched(endpoint), SparePhase::Launching)
            | (InstanceEvent::Moved(Some(endpoint), _), _) => {
                let endpoint = *endpoint;
                spare.phase = SparePhase::Probing { endpoint, deadline };
                vec![
                    SpareStep::Unwatch(id.clone()),
                    SpareStep::Watch(id.clone(), endpoint),
                ]
            }
            (InstanceEvent::LaunchFailed(reason), _) => {
                self.failed(place, &format!("cannot start: {reason}"), now)
            }
            (InstanceEvent::Exited(exit), _) => self.failed(place, &exit.to_string(), now),
            (InstanceEvent::BecameHealthy, SparePhase::Probing { endpoint, .. }) => {
                spare.phase = SparePhase::Ready { endpoint };
                self.failures = 0;
                Vec::new()
            }
            (
                InstanceEvent::BecameUnready(_) | InstanceEvent::BecameUnresponsive,
                SparePhase::Ready { endpoint },
            ) => {
                spare.phase = SparePhase::Probing { endpoint, deadline };
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Gives up spares that have not answered a heartbeat in time.
    pub fn tick(&mut self, now: Time) -> Vec<SpareStep> {
        // What may be started by now need not be woken for: it may have to wait for replicas.
        self.retry_at = self.retry_at.filter(|at| *at > now);
        let is_late = |spare: &Spare| match spare.phase {
            SparePhase::Probing { deadline, .. } => deadline <= now,
            _ => false,
        };
        let mut steps = Vec::new();
        while let Some(place) = self.spares.iter().position(is_late) {
            let timeout = duration(self.start_timeout);
            let why = format!("has had no good heartbeat for {timeout}");
            steps.extend(self.failed(place, &why, now));
        }
        steps
    }

    fn failed(&mut self, place: usize, why: &str, now: Time) -> Vec<SpareStep> {
        let id = self.spares.remove(place).id;
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(factor).min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now.saturating_add(pause));
        let again = duration(pause);
        vec![
            SpareStep::Warn(format!(
                "{}: {why}; another one is started in {again}",
                id.replica
            )),
            SpareStep::Unwatch(id.clone()),
            SpareStep::Stop(id, Duration::ZERO),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::tests::POLICY;
    use crate::fleet::{DeferredStep, Desired, Event, Exit, Fleet, ImmediateStep, Policy, Step};
    use crate::ring::testing::member;

    const START: Duration = Duration::from_secs(20);

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    fn endpoint() -> SocketAddr {
        ([127, 0, 0, 1], 9).into()
    }

    fn pool(wanted: usize) -> (SparePool, Arc<Definition>) {
        let pool = SparePool::new(wanted, Duration::from_secs(60), Duration::from_secs(5));
        (pool, Arc::default())
    }

    fn id(number: u64) -> InstanceId {
        InstanceId::new(format!("spare-{number}").parse().unwrap(), 1)
    }

    fn launched(steps: &[SpareStep]) -> Vec<InstanceId> {
        let ids = steps.iter().filter_map(|step| match step {
            SpareStep::Launch(order, _) => Some(order.id.clone()),
            _ => None,
        });
        ids.collect()
    }

    #[test]
    fn spare_that_is_taken_is_followed_by_another() {
        let (mut pool, definition) = pool(2);
        let taken: ReplicaName = "spare-2".parse().unwrap();
        let fill = |pool: &mut SparePool, now| pool.fill(&definition, |name| *name == taken, now);
        assert_eq!(launched(&fill(&mut pool, at(0))), [id(1), id(3)]);
        assert_eq!(pool.take(&definition), None);
        pool.apply(&id(3), &InstanceEvent::Launched(endpoint()), at(1));
        assert_eq!(pool.take(&definition), None);
        pool.apply(&id(3), &InstanceEvent::BecameHealthy, at(20));
        assert_eq!((pool.report().ready, pool.report().starting), (1, 1));
        assert_eq!(pool.take(&definition), Some((id(3), endpoint())));
        assert!(!pool.has(&id(3)));
        assert_eq!(launched(&fill(&mut pool, at(21))), [id(4)]);
        // One of another definition goes, and none is taken for another.
        let other = Arc::new(Definition {
            image: Some("x".to_owned()),
            ..Definition::default()
        });
        pool.apply(&id(1), &InstanceEvent::Launched(endpoint()), at(22));
        pool.apply(&id(1), &InstanceEvent::BecameHealthy, at(23));
        assert_eq!(pool.take(&other), None);
        let steps = pool.fill(&other, |_| false, at(24));
        let stopped = |step: &&SpareStep| matches!(step, SpareStep::Stop(..));
        assert_eq!(steps.iter().filter(stopped).count(), 2);
        assert_eq!(launched(&steps), [id(5), id(6)]);
    }

    #[test]
    fn spare_that_fails_is_replaced_ever_more_rarely() {
        let (mut pool, definition) = pool(1);
        let mut now = at(0);
        for (number, pause) in (1..=8).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
            assert_eq!(
                launched(&pool.fill(&definition, |_| false, now)),
                [id(number)]
            );
            let steps = pool.apply(&id(number), &InstanceEvent::Exited(Exit::code(1)), now);
            assert_eq!(steps[2], SpareStep::Stop(id(number), Duration::ZERO));
            let again = now + Duration::from_secs(pause);
            assert_eq!(pool.wakes_at(), Some(again));
            let early = again - Duration::from_millis(1);
            assert_eq!(pool.fill(&definition, |_| false, early), []);
            now = again;
        }
        // One that is late, and one that hangs after it was ready.
        pool.fill(&definition, |_| false, now);
        pool.apply(&id(9), &InstanceEvent::Launched(endpoint()), now);
        pool.apply(&id(9), &InstanceEvent::BecameHealthy, now);
        pool.apply(&id(9), &InstanceEvent::BecameUnresponsive, now);
        assert_eq!(pool.take(&definition), None);
        let late = now + Duration::from_secs(60);
        assert_eq!(pool.wakes_at(), Some(late));
        assert_eq!(pool.tick(late - Duration::from_millis(1)), []);
        assert_eq!(pool.tick(late).len(), 3);
        assert!(!pool.has(&id(9)));
    }

    /// What will be reported, and when.
    type Coming = Vec<(Time, Event)>;

    /// An instance is started: it runs at once, and answers heartbeats later.
    fn start(id: &InstanceId, now: Time, takes: Duration, coming: &mut Coming) {
        let launched = InstanceEvent::Launched(endpoint());
        coming.push((now, Event::Instance(id.clone(), launched)));
        let healthy = InstanceEvent::BecameHealthy;
        coming.push((now + takes, Event::Instance(id.clone(), healthy)));
    }

    /// The seconds that a replica is off the ring after a death, with servers that take 20 s to start.
    fn outage(spares: usize) -> u64 {
        const DEATH: u64 = 200;
        let policy = Policy {
            start_timeout: Duration::from_secs(60),
            ..POLICY
        };
        let desired = Desired::of(&[member("Server1", 1)]);
        let (mut fleet, mut steps) = Fleet::new(policy, desired, Vec::new(), at(0));
        let (mut pool, _) = pool(spares);
        let mut coming = Coming::new();
        for second in 0..300 {
            let now = at(second);
            if second == DEATH {
                let id = InstanceId::new("Server1".parse().unwrap(), 1);
                let exited = InstanceEvent::Exited(Exit::code(1));
                coming.push((now, Event::Instance(id, exited)));
            }
            loop {
                for step in std::mem::take(&mut steps) {
                    match step {
                        Step::Deferred(DeferredStep::Launch(order, definition)) => {
                            let is_warm = pool.take(&definition).is_some();
                            let takes = if is_warm { Duration::ZERO } else { START };
                            start(&order.id, now, takes, &mut coming);
                        }
                        Step::Immediate(ImmediateStep::Admit(..)) if second >= DEATH => {
                            return second - DEATH;
                        }
                        _ => {}
                    }
                }
                for id in launched(&pool.fill(fleet.definition(), |_| false, now)) {
                    start(&id, now, START, &mut coming);
                }
                let Some(next) = coming.iter().position(|(due, _)| *due <= now) else {
                    break;
                };
                let (_, event) = coming.remove(next);
                match event {
                    Event::Instance(id, what) if pool.has(&id) => {
                        assert_eq!(
                            pool.apply(&id, &what, now).is_empty(),
                            what == InstanceEvent::BecameHealthy
                        );
                    }
                    event => steps = fleet.apply(event, now),
                }
            }
        }
        panic!("it did not come back");
    }

    #[test]
    fn capacity_is_back_at_once_where_a_start_takes_twenty_seconds() {
        assert_eq!(outage(0), 20);
        assert_eq!(outage(1), 0);
    }
}
