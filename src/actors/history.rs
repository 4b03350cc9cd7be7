//! What happened to replicas lately, for people and tools.

use std::collections::VecDeque;

use tokio::sync::broadcast::{Receiver, Sender};

use crate::api::{DEFAULT_FLEET, ReplicaEvent, ReplicaEventKind, Timestamp};
use crate::fleet::InstanceId;
use crate::ring::ReplicaName;

/// How many events are kept.
const HISTORY_LEN: usize = 1_000;

/// How many events a follower may be behind.
const MAX_LAG: usize = 256;

/// An event that is not dated yet.
#[derive(Debug)]
pub struct HistoryEvent {
    replica: Option<ReplicaName>,
    generation: Option<u64>,
    event: ReplicaEventKind,
    reason: Option<String>,
}

impl HistoryEvent {
    /// Something about an instance.
    pub fn of(id: &InstanceId, event: ReplicaEventKind) -> Self {
        Self {
            replica: Some(id.replica.clone()),
            generation: Some(id.generation),
            event,
            reason: None,
        }
    }

    /// Something about a replica as such.
    pub fn of_replica(name: &ReplicaName, event: ReplicaEventKind) -> Self {
        Self {
            replica: Some(name.clone()),
            generation: None,
            event,
            reason: None,
        }
    }

    /// Something about the fleet as a whole.
    pub fn of_fleet(event: ReplicaEventKind) -> Self {
        Self {
            replica: None,
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

/// Events for one follower, none lost and none twice.
#[derive(Debug)]
pub struct EventFeed {
    /// What has happened.
    pub past: Vec<ReplicaEvent>,
    /// What happens from then on.
    pub coming: Receiver<ReplicaEvent>,
}

/// The last events, the oldest first.
#[derive(Debug)]
pub struct History {
    events: VecDeque<ReplicaEvent>,
    /// Events since the balancer's start.
    count: u64,
    /// Sends each event to the open event streams. A stream that falls behind by more than the
    /// channel's capacity ends.
    followers: Sender<ReplicaEvent>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            events: VecDeque::new(),
            count: 0,
            followers: Sender::new(MAX_LAG),
        }
    }
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
            let event = ReplicaEvent {
                id: self.count,
                fleet: DEFAULT_FLEET.to_owned(),
                at,
                replica: event.replica.map(|name| name.to_string()),
                generation: event.generation,
                event: event.event,
                reason: event.reason,
            };
            self.events.push_back(event.clone());
            // Without a follower that is an error.
            let _ = self.followers.send(event);
        }
    }

    /// What follows the event with this number, as far as it is kept, and what is yet to come. A
    /// number beyond the last is of an earlier balancer, and all that is kept follows it; without
    /// one nothing does.
    pub fn follow(&self, after: Option<u64>) -> EventFeed {
        let after = match after {
            Some(after) if after > self.count => 0,
            Some(after) => after,
            None => self.count,
        };
        let events = self.events.iter();
        EventFeed {
            past: events.filter(|event| event.id > after).cloned().collect(),
            coming: self.followers.subscribe(),
        }
    }

    /// All that are kept.
    pub fn events(&self) -> Vec<ReplicaEvent> {
        self.events.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened() -> HistoryEvent {
        let name = "Server1".parse().unwrap();
        HistoryEvent::of_replica(&name, ReplicaEventKind::Joined)
    }

    fn ids(events: &[ReplicaEvent]) -> Vec<u64> {
        events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn follower_gets_what_it_has_missed_and_what_comes() {
        let mut history = History::default();
        history.record([happened(), happened(), happened()]);
        let mut feed = history.follow(Some(1));
        assert_eq!(ids(&feed.past), [2, 3]);
        assert!(history.follow(None).past.is_empty());
        // That of an earlier balancer.
        assert_eq!(ids(&history.follow(Some(9)).past), [1, 2, 3]);
        history.record([happened()]);
        assert_eq!(feed.coming.try_recv().unwrap().id, 4);
        assert!(feed.coming.try_recv().is_err());
    }

    #[test]
    fn only_the_last_events_are_kept() {
        let mut history = History::default();
        history.record((0..1_500).map(|_| happened()));
        let events = history.events();
        assert_eq!(events.len(), HISTORY_LEN);
        assert_eq!((events[0].id, events[999].id), (501, 1_500));
    }
}
