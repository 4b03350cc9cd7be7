//! Which instances are ejected for failing requests, and for how long.
//!
//! An ejected instance stays on the ring, answers heartbeats and finishes what it holds;
//! it is only passed over for a while, ever longer if it keeps failing. Replacing it is
//! for its heartbeats to decide: an instance that answers those and fails requests is broken in a way
//! that a restart may not mend.

use std::collections::BTreeMap;
use std::time::Duration;

use super::instance::InstanceId;

/// The longest ejection.
const MAX_DURATION: Duration = Duration::from_secs(300);

/// Which requests have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutlierOn {
    /// Those that got no answer, or a 502, 503 or 504.
    #[default]
    Errors,
    /// Those that got any answer from 500 on, too.
    ServerErrors,
}

impl OutlierOn {
    /// Whether a response with this status is a failure.
    pub fn is_failure(self, status: u16) -> bool {
        match self {
            Self::Errors => matches!(status, 502..=504),
            Self::ServerErrors => status >= 500,
        }
    }
}

/// What an ejection is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EjectionPolicy {
    /// Consecutive failures that eject an instance; 0: none is ever ejected.
    pub failures: u32,
    /// What a failure is.
    pub on: OutlierOn,
    /// The first ejection of an instance lasts this long, the second twice that, and so on.
    pub duration: Duration,
}

#[derive(Debug, Default)]
struct EjectionRecord {
    times: u32,
    /// The number of the ejection in force.
    ejected: Option<u64>,
}

/// The ejections of all instances that are ready.
#[derive(Debug)]
pub struct Ejections {
    policy: EjectionPolicy,
    records: BTreeMap<InstanceId, EjectionRecord>,
    numbers: u64,
}

/// One ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// No other one has it.
    pub number: u64,
    /// How long the instance is passed over.
    pub lasts: Duration,
}

/// What becomes of an instance that fails too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EjectionDecision {
    /// It is passed over for a while.
    Ejected(Ejection),
    /// It stays: half of the ready instances are ejected already.
    MaxEjected,
    /// It is ejected already, or not ready any more.
    Stale,
}

impl Ejections {
    /// No instance is ejected yet.
    pub fn new(policy: EjectionPolicy) -> Self {
        Self {
            policy,
            records: BTreeMap::new(),
            numbers: 0,
        }
    }

    /// Decides about an instance that has failed too often in a row. `ready` are
    /// all instances that are on the ring, ejected or not.
    pub fn decide(&mut self, id: &InstanceId, ready: &[InstanceId]) -> EjectionDecision {
        if !ready.contains(id) {
            return EjectionDecision::Stale;
        }
        let ejected = self
            .records
            .values()
            .filter(|r| r.ejected.is_some())
            .count();
        let record = self.records.entry(id.clone()).or_default();
        if record.ejected.is_some() {
            return EjectionDecision::Stale;
        }
        if ejected >= ready.len() / 2 {
            return EjectionDecision::MaxEjected;
        }
        self.numbers += 1;
        record.ejected = Some(self.numbers);
        record.times = record.times.saturating_add(1);
        let time = self.policy.duration.saturating_mul(record.times);
        // A configured duration above the maximum holds.
        EjectionDecision::Ejected(Ejection {
            number: self.numbers,
            lasts: time.min(MAX_DURATION.max(self.policy.duration)),
        })
    }

    /// The time of an ejection is over. Whether it was in force until now: an instance that has left the ring
    /// meanwhile is ejected no longer, even if it has come back.
    pub fn end(&mut self, number: u64) -> bool {
        let mut records = self.records.values_mut();
        let in_force = records.find(|record| record.ejected == Some(number));
        in_force.and_then(|record| record.ejected.take()).is_some()
    }

    /// Forgets the instances that have left the ring: all but those that `stays` names. Returns which of them were
    /// ejected until now.
    pub fn forget_all_but(&mut self, stays: impl Fn(&InstanceId) -> bool) -> Vec<InstanceId> {
        let mut freed = Vec::new();
        self.records.retain(|id, record| {
            let stays = stays(id);
            if !stays && record.ejected.is_some() {
                freed.push(id.clone());
            }
            stays
        });
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<InstanceId> {
        let id = |name: &&str| InstanceId::new(name.parse().unwrap(), 1);
        names.iter().map(id).collect()
    }

    fn five_seconds() -> Ejections {
        Ejections::new(EjectionPolicy {
            failures: 5,
            on: OutlierOn::Errors,
            duration: Duration::from_secs(5),
        })
    }

    #[test]
    fn ejections_grow_up_to_five_minutes() {
        let ready = ids(&["S1", "S2"]);
        let mut ejections = five_seconds();
        let mut seconds = Vec::new();
        for _ in 0..70 {
            let EjectionDecision::Ejected(ejection) = ejections.decide(&ready[0], &ready) else {
                panic!("not ejected after {seconds:?}");
            };
            seconds.push(ejection.lasts.as_secs());
            assert_eq!(ejections.decide(&ready[0], &ready), EjectionDecision::Stale);
            assert!(ejections.end(ejection.number));
            assert!(!ejections.end(ejection.number));
        }
        assert_eq!(seconds[..4], [5, 10, 15, 20]);
        assert_eq!(seconds[58..62], [295, 300, 300, 300]);
    }

    #[test]
    fn ejections_are_at_most_half_of_the_ready_instances() {
        for (replicas, max) in [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3)] {
            let names: Vec<String> = (0..replicas).map(|n| format!("S{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let ready = ids(&names);
            let mut ejections = five_seconds();
            let decisions = ready.iter().map(|id| ejections.decide(id, &ready));
            let ejected = decisions.filter_map(|decision| match decision {
                EjectionDecision::Ejected(ejection) => Some(ejection.number),
                _ => None,
            });
            let ejected: Vec<u64> = ejected.collect();
            assert_eq!(ejected.len(), max, "of {replicas}");
            // A place that is free again goes to the next instance that fails.
            if max > 0 {
                assert!(ejections.end(ejected[0]));
                let next = ejections.decide(&ready[replicas - 1], &ready);
                assert!(
                    matches!(next, EjectionDecision::Ejected(_)),
                    "of {replicas}"
                );
            }
        }
    }

    #[test]
    fn instance_that_left_frees_its_place_and_its_successor_starts_afresh() {
        let ready = ids(&["S1", "S2", "S3"]);
        let mut ejections = five_seconds();
        let first = ejections.decide(&ready[0], &ready);
        assert_eq!(first, ejected(1, 5));
        assert_eq!(
            ejections.decide(&ready[1], &ready),
            EjectionDecision::MaxEjected
        );
        let successor = InstanceId {
            generation: 2,
            ..ready[0].clone()
        };
        let now = [successor.clone(), ready[1].clone(), ready[2].clone()];
        let freed = ejections.forget_all_but(|id| now.contains(id));
        assert_eq!(freed, [ready[0].clone()]);
        assert_eq!(ejections.decide(&ready[0], &now), EjectionDecision::Stale);
        assert_eq!(ejections.decide(&successor, &now), ejected(2, 5));
        // The end of the first ejection is not the second one's.
        assert!(!ejections.end(1));
        assert_eq!(ejections.decide(&successor, &now), EjectionDecision::Stale);
    }

    #[test]
    fn only_ejected_instances_that_left_are_freed() {
        let ready = ids(&["S1", "S2", "S3", "S4"]);
        let mut ejections = five_seconds();
        assert_eq!(ejections.decide(&ready[0], &ready), ejected(1, 5));
        assert_eq!(ejections.decide(&ready[1], &ready), ejected(2, 5));
        assert_eq!(
            ejections.decide(&ready[2], &ready),
            EjectionDecision::MaxEjected
        );
        // The second was ejected until now, the third was not, and the first one stays.
        let freed = ejections.forget_all_but(|id| *id == ready[0] || *id == ready[3]);
        assert_eq!(freed, [ready[1].clone()]);
        assert_eq!(ejections.decide(&ready[0], &ready), EjectionDecision::Stale);
    }

    #[test]
    fn instance_that_was_off_the_ring_is_not_ejected_any_more() {
        let ready = ids(&["S1", "S2"]);
        let mut ejections = five_seconds();
        assert_eq!(ejections.decide(&ready[0], &ready), ejected(1, 5));
        ejections.forget_all_but(|id| *id == ready[1]);
        assert!(!ejections.end(1));
        assert_eq!(ejections.decide(&ready[0], &ready), ejected(2, 5));
    }

    #[test]
    fn statuses_are_failures_by_the_setting() {
        for (status, as_error, as_server_error) in [
            (200, false, false),
            (499, false, false),
            (500, false, true),
            (501, false, true),
            (502, true, true),
            (503, true, true),
            (504, true, true),
            (505, false, true),
        ] {
            assert_eq!(OutlierOn::Errors.is_failure(status), as_error, "{status}");
            let found = OutlierOn::ServerErrors.is_failure(status);
            assert_eq!(found, as_server_error, "{status}");
        }
    }

    #[test]
    fn first_ejection_may_last_longer_than_five_minutes() {
        let ready = ids(&["S1", "S2"]);
        let mut ejections = Ejections::new(EjectionPolicy {
            failures: 5,
            on: OutlierOn::Errors,
            duration: Duration::from_secs(400),
        });
        for number in [1, 2] {
            assert_eq!(ejections.decide(&ready[0], &ready), ejected(number, 400));
            assert!(ejections.end(number));
        }
    }

    fn ejected(number: u64, seconds: u64) -> EjectionDecision {
        EjectionDecision::Ejected(Ejection {
            number,
            lasts: Duration::from_secs(seconds),
        })
    }
}
