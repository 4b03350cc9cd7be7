//! The heartbeats of the last minutes, by replica: a replica's history goes on with its next
//! instance.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use crate::api::{HeartbeatOutcome, ReplicaHeartbeat};
use crate::fleet::{InstanceId, ProbeOutcome};
use crate::ring::ReplicaName;

/// How many heartbeats of a replica are kept: those of four minutes, at the default interval.
const HISTORY_LEN: usize = 256;

/// How long the history of a replica is kept that gets no more heartbeats.
const MAX_AGE: Duration = Duration::from_mins(5);

/// One heartbeat; small, as there are many of them.
#[derive(Debug, Clone, Copy)]
struct Beat {
    id: u64,
    at: SystemTime,
    generation: u64,
    micros: u32,
    outcome: ProbeOutcome,
}

/// The last heartbeats of all replicas.
#[derive(Debug, Default)]
pub struct HeartbeatHistory {
    replicas: HashMap<ReplicaName, VecDeque<Beat>>,
    count: u64,
}

impl HeartbeatHistory {
    /// Adds a heartbeat that was sent at `at`.
    pub fn record(
        &mut self,
        instance: &InstanceId,
        at: SystemTime,
        took: Duration,
        outcome: ProbeOutcome,
    ) {
        self.count += 1;
        let beat = Beat {
            id: self.count,
            at,
            generation: instance.generation,
            micros: u32::try_from(took.as_micros()).unwrap_or(u32::MAX),
            outcome,
        };
        if let Some(beats) = self.replicas.get_mut(&instance.replica) {
            if beats.len() == HISTORY_LEN {
                beats.pop_front();
            }
            beats.push_back(beat);
            return;
        }
        // Another replica is as good a time as any to forget those that are gone.
        self.forget(at);
        let beats = VecDeque::from([beat]);
        self.replicas.insert(instance.replica.clone(), beats);
    }

    fn forget(&mut self, now: SystemTime) {
        self.replicas.retain(|_, beats| {
            let age = beats.back().map(|last| now.duration_since(last.at));
            // A clock that was set back says nothing of the age.
            !matches!(age, Some(Ok(age)) if age > MAX_AGE)
        });
    }

    /// The first `limit` heartbeats after the one with this number, in the order in which they came
    /// out.
    pub fn after(&self, id: u64, limit: usize) -> Vec<ReplicaHeartbeat> {
        let recent = |beats: &VecDeque<Beat>| beats.partition_point(|beat| beat.id <= id);
        let beats = self.replicas.iter().flat_map(|(name, beats)| {
            let beats = beats.range(recent(beats)..);
            beats.map(move |beat| (name, beat))
        });
        let mut beats: Vec<_> = beats.collect();
        beats.sort_unstable_by_key(|(_, beat)| beat.id);
        beats.truncate(limit);
        beats.into_iter().map(heartbeat).collect()
    }
}

fn heartbeat((name, beat): (&ReplicaName, &Beat)) -> ReplicaHeartbeat {
    ReplicaHeartbeat {
        id: beat.id,
        replica: name.to_string(),
        generation: beat.generation,
        at: beat.at.into(),
        outcome: match beat.outcome {
            ProbeOutcome::Good => HeartbeatOutcome::Good,
            ProbeOutcome::Bad => HeartbeatOutcome::Bad,
            ProbeOutcome::Missed => HeartbeatOutcome::Missed,
        },
        latency_ms: f64::from(beat.micros) / 1_000.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str, generation: u64) -> InstanceId {
        InstanceId {
            replica: name.parse().unwrap(),
            generation,
        }
    }

    fn ids(history: &HeartbeatHistory, after: u64, limit: usize) -> Vec<u64> {
        let beats = history.after(after, limit);
        beats.iter().map(|beat| beat.id).collect()
    }

    #[test]
    fn history_of_a_replica_goes_on_with_its_next_instance() {
        let mut history = HeartbeatHistory::default();
        let at = SystemTime::UNIX_EPOCH;
        let took = Duration::from_micros(1_500);
        for (generation, outcome) in [
            (1, ProbeOutcome::Good),
            (1, ProbeOutcome::Bad),
            (2, ProbeOutcome::Missed),
        ] {
            history.record(&instance("a", generation), at, took, outcome);
        }
        let beats = history.after(0, 10);
        let told: Vec<_> = beats.iter().map(|b| (b.generation, b.outcome)).collect();
        let expected = [
            (1, HeartbeatOutcome::Good),
            (1, HeartbeatOutcome::Bad),
            (2, HeartbeatOutcome::Missed),
        ];
        assert_eq!(told, expected);
        assert_eq!(beats[0].latency_ms, 1.5);
    }

    #[test]
    fn heartbeats_of_all_replicas_come_in_order_and_in_parts() {
        let mut history = HeartbeatHistory::default();
        let at = SystemTime::UNIX_EPOCH;
        for name in ["a", "b", "a", "c", "b"] {
            history.record(&instance(name, 1), at, Duration::ZERO, ProbeOutcome::Good);
        }
        assert_eq!(ids(&history, 0, 10), [1, 2, 3, 4, 5]);
        assert_eq!(ids(&history, 2, 2), [3, 4]);
        assert!(ids(&history, 5, 10).is_empty());
    }

    #[test]
    fn only_the_last_heartbeats_are_kept_and_those_of_replicas_that_are_gone_for_a_while() {
        let mut history = HeartbeatHistory::default();
        let mut at = SystemTime::UNIX_EPOCH;
        let mut record = |history: &mut HeartbeatHistory, name, after: Duration| {
            at += after;
            history.record(&instance(name, 1), at, Duration::ZERO, ProbeOutcome::Good);
        };
        record(&mut history, "gone", Duration::ZERO);
        for _ in 0..HISTORY_LEN + 1 {
            record(&mut history, "a", Duration::from_secs(1));
        }
        assert_eq!(ids(&history, 0, 1), [1]);
        assert_eq!(ids(&history, 1, 1), [3]);
        assert_eq!(ids(&history, 0, 1_000).len(), HISTORY_LEN + 1);
        record(&mut history, "b", MAX_AGE);
        assert_eq!(ids(&history, 0, 1), [3]);
    }
}
