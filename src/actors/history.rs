//! What happened to replicas lately, for people and tools.

use std::collections::VecDeque;

use crate::api::{DEFAULT_FLEET, ReplicaEvent, ReplicaEventKind, Timestamp};
use crate::fleet::InstanceId;
use crate::ring::ReplicaName;

/// How many events are kept.
const HISTORY_LEN: usize = 1_000;

/// An event that is not dated yet.
#[derive(Debug)]
pub struct HistoryEvent {
    replica: ReplicaName,
    generation: Option<u64>,
    event: ReplicaEventKind,
    reason: Option<String>,
}

impl HistoryEvent {
    /// Something about an instance.
    pub fn of(id: &InstanceId, event: ReplicaEventKind) -> Self {
        Self {
            replica: id.replica.clone(),
            generation: Some(id.generation),
            event,
            reason: None,
        }
    }

    /// Something about a replica as such.
    pub fn of_replica(name: &ReplicaName, event: ReplicaEventKind) -> Self {
        Self {
            replica: name.clone(),
            generation: None,
            event,
            reason: None,
        }
    }

    pub fn because(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }
}

/// The last events, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    events: VecDeque<ReplicaEvent>,
    /// Events since the balancer's start.
    count: u64,
}

impl History {
    /// Records events that have happened now.
    pub fn record(&mut self, events: impl IntoIterator<Item = HistoryEvent>) {
        let at = Timestamp::now();
        for event in events {
            if self.events.len() == HISTORY_LEN {
                self.events.pop_front();
            }
            self.count += 1;
            self.events.push_back(ReplicaEvent {
                id: self.count,
                fleet: DEFAULT_FLEET.to_owned(),
                at,
                replica: event.replica.to_string(),
                generation: event.generation,
                event: event.event,
                reason: event.reason,
            });
        }
    }

    /// All that are kept.
    pub fn events(&self) -> Vec<ReplicaEvent> {
        self.events.iter().cloned().collect()
    }
}
