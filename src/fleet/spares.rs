//! Warm spares: instances that run and answer heartbeats and play no replica. Where a replica's next
//! instance is to be started, a spare that is ready plays it instead, and another spare is started.
//!
//! ```text
//!   Launching --started--> Probing --first good heartbeat--> Ready --taken--> it plays a replica
//!       | failed              | died, or late                  | died: another is started
//!       v                     v                                | answers badly: Probing
//!     another is started, after a pause that doubles
//! ```
//!
//! Those that an earlier balancer has left running are adopted first. They may be taken as they are: none that
//! is started could be ready before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::InstanceEvent;
use super::instance::{Existing, InstanceId, LaunchOrder};
use super::record_definition::Definition;
use super::time::Time;
use super::unready::UNHEALTHY;
use crate::human::duration;
use crate::ring::{ReplicaName, Weight};

/// The pause before the next spare is started after one has failed; it doubles with each in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The pause before the next attempt after this many failures in a row, not counting the last.
pub(super) fn pause_after(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(MAX_PAUSE)
}

/// What spares are called, before their number.
const PREFIX: &str = "spare-";

/// The number of a spare of this name.
pub(crate) fn spare_number(name: &ReplicaName) -> Option<u64> {
    let number: u32 = name.as_str().strip_prefix(PREFIX)?.parse().ok()?;
    Some(number.into())
}

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
    /// Its last heartbeat was good.
    answers_well: bool,
    /// Its image's HEALTHCHECK says so.
    unhealthy: bool,
}

impl Spare {
    fn new(id: InstanceId, definition: Arc<Definition>, phase: SparePhase) -> Self {
        Self {
            id,
            definition,
            phase,
            answers_well: false,
            unhealthy: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SparePhase {
    Launching,
    /// It was found running, and has not been asked yet.
    Adopted {
        endpoint: SocketAddr,
        deadline: Time,
    },
    Probing {
        endpoint: SocketAddr,
        deadline: Time,
    },
    Ready {
        endpoint: SocketAddr,
    },
}

/// Spares that an earlier balancer has left.
#[derive(Debug, Default)]
pub struct LeftSpares {
    /// Those that run, and are this balancer's from now on.
    pub running: Vec<Existing>,
    /// The highest number that any spare has had whose instance still runs.
    pub last_number: u64,
}

/// A spare that has left the pool to play a replica.
#[derive(Debug)]
pub(crate) struct ReadySpare {
    pub id: InstanceId,
    pub endpoint: SocketAddr,
    /// Whether its last heartbeat was good; else it has yet to answer one.
    pub is_healthy: bool,
    definition: Arc<Definition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PoolPhase {
    /// What an earlier balancer has left is not known yet: none is started.
    Adopting,
    Filling,
}

/// The spares of a fleet.
#[derive(Debug)]
pub(crate) struct SparePool {
    wanted: usize,
    phase: PoolPhase,
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
            phase: PoolPhase::Adopting,
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
            SparePhase::Adopted { deadline, .. } | SparePhase::Probing { deadline, .. } => {
                Some(deadline)
            }
            _ => None,
        });
        deadlines.chain(self.retry_at).min()
    }

    /// Keeps as many as are wanted of those that an earlier balancer has left, and stops the rest.
    pub fn adopt(
        &mut self,
        left: LeftSpares,
        definition: &Arc<Definition>,
        now: Time,
    ) -> Vec<SpareStep> {
        self.phase = PoolPhase::Filling;
        self.started = left.last_number;
        let hash = definition.hash();
        let mut steps = Vec::new();
        for existing in left.running {
            let id = existing.order.id;
            let is_same = existing.definition.as_ref() == Some(&hash);
            match existing.endpoint {
                Some(endpoint) if is_same && self.spares.len() < self.wanted => {
                    let deadline = now.saturating_add(self.start_timeout);
                    let phase = SparePhase::Adopted { endpoint, deadline };
                    let adopted = Spare::new(id.clone(), Arc::clone(definition), phase);
                    self.spares.push(adopted);
                    steps.push(SpareStep::Watch(id, endpoint));
                }
                _ => steps.push(SpareStep::Stop(id, self.stop_grace)),
            }
        }
        steps
    }

    /// The owner of the instances describes what they run, spares included, in another way: no spare is
    /// replaced for that.
    pub fn take_definition(&mut self, before: &Definition, definition: &Arc<Definition>) {
        let described = self.spares.iter_mut();
        for spare in described.filter(|spare| *spare.definition == *before) {
            spare.definition = Arc::clone(definition);
        }
    }

    /// Takes a spare back that has not played a replica after all.
    pub fn give_back(&mut self, spare: ReadySpare, now: Time) -> SpareStep {
        let ReadySpare {
            id,
            endpoint,
            definition,
            ..
        } = spare;
        let deadline = now.saturating_add(self.start_timeout);
        let phase = SparePhase::Probing { endpoint, deadline };
        self.spares.push(Spare::new(id.clone(), definition, phase));
        SpareStep::Watch(id, endpoint)
    }

    /// Whether what an earlier balancer has left is not known yet.
    pub fn is_adopting(&self) -> bool {
        self.is_used() && self.phase == PoolPhase::Adopting
    }

    /// Starts those that are missing, and stops those of another definition. The generation of each is its
    /// number, counted from `first_generation`.
    pub fn fill(
        &mut self,
        definition: &Arc<Definition>,
        is_taken: impl Fn(&ReplicaName) -> bool,
        first_generation: u64,
        now: Time,
    ) -> Vec<SpareStep> {
        if self.phase == PoolPhase::Adopting {
            return Vec::new();
        }
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
            let id = InstanceId::new(name, first_generation.saturating_add(self.started));
            let order = LaunchOrder {
                id: id.clone(),
                weight: Weight::default(),
                ordinal: 0,
            };
            steps.push(SpareStep::Launch(order, Arc::clone(definition)));
            let launching = Spare::new(id, Arc::clone(definition), SparePhase::Launching);
            self.spares.push(launching);
        }
        steps
    }

    /// A spare that is ready or adopted, has this definition and fits; it is no spare any more.
    pub fn take(
        &mut self,
        definition: &Arc<Definition>,
        fits: impl Fn(&InstanceId) -> bool,
    ) -> Option<ReadySpare> {
        let mut spares = self.spares.iter().enumerate();
        let (place, endpoint, is_healthy) = spares.find_map(|(place, spare)| {
            let fits = spare.definition == *definition && !spare.unhealthy && fits(&spare.id);
            match spare.phase {
                SparePhase::Ready { endpoint } if fits => Some((place, endpoint, true)),
                SparePhase::Adopted { endpoint, .. } if fits => Some((place, endpoint, false)),
                _ => None,
            }
        })?;
        let Spare { id, definition, .. } = self.spares.remove(place);
        Some(ReadySpare {
            id,
            endpoint,
            is_healthy,
            definition,
        })
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
                spare.answers_well = false;
                vec![
                    SpareStep::Unwatch(id.clone()),
                    SpareStep::Watch(id.clone(), endpoint),
                ]
            }
            (InstanceEvent::LaunchFailed(reason), _) => {
                self.failed(place, &format!("cannot start: {reason}"), now)
            }
            (InstanceEvent::Exited(exit), _) => self.failed(place, &exit.to_string(), now),
            // Another program may answer at the address that it has lost.
            (InstanceEvent::Moved(None, reason), _) => self.failed(place, reason, now),
            // Of a definition that is its owner's no more.
            (InstanceEvent::Destroyed, _) => {
                self.spares.remove(place);
                vec![
                    SpareStep::Unwatch(id.clone()),
                    SpareStep::Stop(id.clone(), self.stop_grace),
                ]
            }
            (InstanceEvent::BecameHealthy, _) => {
                spare.answers_well = true;
                self.judge(place, deadline)
            }
            (InstanceEvent::BecameUnready(_) | InstanceEvent::BecameUnresponsive, _) => {
                spare.answers_well = false;
                self.judge(place, deadline)
            }
            (InstanceEvent::HealthcheckChanged(healthy), _) => {
                spare.unhealthy = !healthy;
                self.judge(place, deadline)
            }
            _ => Vec::new(),
        }
    }

    /// Whether a spare is ready: it answers heartbeats well, and its image's HEALTHCHECK is not against it.
    fn judge(&mut self, place: usize, deadline: Time) -> Vec<SpareStep> {
        let spare = &mut self.spares[place];
        let is_ready = spare.answers_well && !spare.unhealthy;
        match spare.phase {
            SparePhase::Probing { endpoint, .. } | SparePhase::Adopted { endpoint, .. }
                if is_ready =>
            {
                spare.phase = SparePhase::Ready { endpoint };
                self.failures = 0;
            }
            SparePhase::Ready { endpoint } if !is_ready => {
                spare.phase = SparePhase::Probing { endpoint, deadline };
            }
            _ => {}
        }
        Vec::new()
    }

    /// Gives up spares that have not answered a heartbeat in time.
    pub fn tick(&mut self, now: Time) -> Vec<SpareStep> {
        // What may be started by now need not be woken for: it may have to wait for replicas.
        self.retry_at = self.retry_at.filter(|at| *at > now);
        let is_late = |spare: &Spare| match spare.phase {
            SparePhase::Adopted { deadline, .. } | SparePhase::Probing { deadline, .. } => {
                deadline <= now
            }
            _ => false,
        };
        let mut steps = Vec::new();
        while let Some(place) = self.spares.iter().position(is_late) {
            let timeout = duration(self.start_timeout);
            let spare = &self.spares[place];
            let why = match spare.answers_well && spare.unhealthy {
                true => format!("{UNHEALTHY} for {timeout}"),
                false => format!("has had no good heartbeat for {timeout}"),
            };
            steps.extend(self.failed(place, &why, now));
        }
        steps
    }

    fn failed(&mut self, place: usize, why: &str, now: Time) -> Vec<SpareStep> {
        let id = self.spares.remove(place).id;
        let pause = pause_after(self.failures);
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
mod tests;
