//! What happened to replicas lately, for people and tools.

use std::collections::VecDeque;

use serde::Serialize;

use crate::fleet::{InstanceId, Time};
use crate::ring::ReplicaName;

/// So many events are remembered.
const HISTORY_LEN: usize = 1_000;

/// Something that happened to a replica.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryEntry {
    /// When, in milliseconds since the balancer's start.
    pub at_ms: f64,
    /// Which replica.
    pub replica: String,
    /// Which of its instances; none where the replica as such is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// `launched`, `admitted`, `unready`, `evicted`, `joined`, `left` or `stopped`; and on the ring
    /// `ejected`, which ends when it is `readmitted` or off the ring. A change of the ring is
    /// dated to when every worker thread had it.
    pub event: &'static str,
    /// Why, where there is a reason to give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An event that is not dated yet.
#[derive(Debug)]
pub struct HistoryEvent {
    replica: ReplicaName,
    generation: Option<u64>,
    event: &'static str,
    reason: Option<String>,
}

impl HistoryEvent {
    /// Something about an instance.
    pub fn of(id: &InstanceId, event: &'static str) -> Self {
        Self {
            replica: id.replica.clone(),
            generation: Some(id.generation),
            event,
            reason: None,
        }
    }

    /// Something about a replica as such.
    pub fn of_replica(name: &ReplicaName, event: &'static str) -> Self {
        Self {
            replica: name.clone(),
            generation: None,
            event,
            reason: None,
        }
    }

    /// Why it happened.
    pub fn because(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }
}

/// The last events, the oldest first.
#[derive(Debug, Default)]
pub struct History(VecDeque<HistoryEntry>);

impl History {
    /// Notes events that happened now.
    pub fn record(&mut self, events: impl IntoIterator<Item = HistoryEvent>, now: Time) {
        for event in events {
            if self.0.len() == HISTORY_LEN {
                self.0.pop_front();
            }
            self.0.push_back(HistoryEntry {
                at_ms: now.as_micros() as f64 / 1_000.0,
                replica: event.replica.to_string(),
                generation: event.generation,
                event: event.event,
                reason: event.reason,
            });
        }
    }

    /// All that is remembered.
    pub fn entries(&self) -> Vec<HistoryEntry> {
        self.0.iter().cloned().collect()
    }
}
