//! How many replicas a load needs.
//!
//! The rule is that of Kubernetes' HorizontalPodAutoscaler (algorithm details in its documentation:
//! the ratio of measured to wanted load, a tolerance, a stabilization window before fewer replicas),
//! on the requests in flight at this moment instead of metrics of the last minute: so more replicas
//! are started at once.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use super::time::Time;

/// The load may differ from what is wanted by this part before the number of replicas changes:
/// HPA's default.
const TOLERANCE: f64 = 0.1;

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalingPolicy {
    /// The fewest replicas. With 0, one is left until the fleet has been idle for `idle_to_zero`.
    pub min: usize,
    /// The most replicas; not less than `min`.
    pub max: usize,
    /// How many requests one replica is to have in flight.
    pub target_in_flight: NonZeroU32,
    /// For how long fewer replicas must have been enough before there are fewer.
    pub down_after: Duration,
    /// After how long without a request a fleet whose `min` is 0 has no replica.
    pub idle_to_zero: Duration,
}

/// What is seen of a fleet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetLoadSample {
    /// How many replicas are desired.
    pub desired: usize,
    /// Requests in flight and requests that wait for a replica, on average over the last second or two.
    pub load: f64,
    /// How long ago the last request came.
    pub idle_for: Duration,
    /// Nothing may be concluded from the load: a replica is degraded, say.
    pub is_held: bool,
    /// The load may be more than this: another balancer gets requests, too, and has not said how many.
    pub is_least: bool,
}

/// Decides how many replicas a fleet has.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    policy: ScalingPolicy,
    /// How many replicas were enough, and when; newer ones that need more have replaced older ones that
    /// need less, so that the first one is the most of the window.
    needed: VecDeque<(Time, usize)>,
    started: Option<Time>,
}

impl Autoscaler {
    /// One that knows of no load yet: it lets `down_after` pass before it stops anything.
    pub fn new(policy: ScalingPolicy) -> Self {
        Self {
            policy,
            needed: VecDeque::new(),
            started: None,
        }
    }

    /// How many replicas there are to be, if not as many as there are.
    pub fn decide(&mut self, now: Time, seen: FleetLoadSample) -> Option<usize> {
        let ScalingPolicy { min, max, .. } = self.policy;
        let started = *self.started.get_or_insert(now);
        let is_idle = seen.load == 0.0 && min == 0;
        let needed = match is_idle && seen.desired == 0 {
            true => 0,
            false => self.needed_for(seen).clamp(min.max(1), max),
        };
        if seen.is_held {
            // What is needed while replicas fail says nothing about what will be.
            self.needed.clear();
            self.started = Some(now);
            return None;
        }
        if seen.is_least {
            // Fewer replicas may not be enough, and more are.
            self.needed.clear();
            self.started = Some(now);
            return (needed > seen.desired).then_some(needed);
        }
        while self.needed.back().is_some_and(|(_, less)| *less <= needed) {
            self.needed.pop_back();
        }
        self.needed.push_back((now, needed));
        let window = self.policy.down_after;
        let is_old = |at: Time| now.saturating_sub(at) > window;
        while self.needed.front().is_some_and(|(at, _)| is_old(*at)) {
            self.needed.pop_front();
        }
        if needed > seen.desired {
            return Some(needed);
        }
        if is_idle && seen.desired > 0 && seen.idle_for >= self.policy.idle_to_zero {
            self.needed.clear();
            return Some(0);
        }
        let most = self.needed.front().map_or(needed, |(_, most)| *most);
        let has_watched = now.saturating_sub(started) >= window;
        (most < seen.desired && (has_watched || seen.desired > max)).then_some(most)
    }

    /// `ceil(desired * load of one / wanted load of one)`, or what there is if that is near enough.
    fn needed_for(&self, seen: FleetLoadSample) -> usize {
        let needed = seen.load / f64::from(self.policy.target_in_flight.get());
        let ratio = needed / seen.desired.max(1) as f64;
        match (ratio - 1.0).abs() <= TOLERANCE {
            true => seen.desired,
            // More than a usize holds becomes its most, and what is no number 0.
            false => needed.ceil() as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: ScalingPolicy = ScalingPolicy {
        min: 2,
        max: 10,
        target_in_flight: NonZeroU32::new(10).unwrap(),
        down_after: Duration::from_secs(300),
        idle_to_zero: Duration::from_secs(60),
    };

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    fn seen(desired: usize, load: f64) -> FleetLoadSample {
        FleetLoadSample {
            desired,
            load,
            idle_for: Duration::ZERO,
            is_held: false,
            is_least: false,
        }
    }

    #[test]
    fn more_replicas_are_wanted_at_once_and_within_the_bounds() {
        for (desired, load, wanted) in [
            (3, 30.0, None),
            (3, 33.0, None),
            (3, 33.1, Some(4)),
            (3, 61.0, Some(7)),
            (3, 1e300, Some(10)),
            (3, f64::NAN, None),
            (1, 0.0, Some(2)),
            (10, 1e6, None),
        ] {
            let mut scaler = Autoscaler::new(POLICY);
            assert_eq!(
                scaler.decide(at(0), seen(desired, load)),
                wanted,
                "{desired}, {load}"
            );
        }
    }

    #[test]
    fn fewer_replicas_are_wanted_when_that_has_been_enough_for_the_window() {
        let mut scaler = Autoscaler::new(POLICY);
        for second in 0..300 {
            let load = if second == 100 { 55.0 } else { 21.0 };
            assert_eq!(scaler.decide(at(second), seen(8, load)), None, "{second}");
        }
        // The most of the window counts, and then what follows it.
        assert_eq!(scaler.decide(at(300), seen(8, 21.0)), Some(6));
        assert_eq!(scaler.decide(at(400), seen(6, 21.0)), None);
        assert_eq!(scaler.decide(at(401), seen(6, 21.0)), Some(3));
    }

    #[test]
    fn nothing_is_decided_while_the_load_says_nothing() {
        let mut scaler = Autoscaler::new(POLICY);
        let held = |desired, load| FleetLoadSample {
            is_held: true,
            ..seen(desired, load)
        };
        assert_eq!(scaler.decide(at(0), seen(5, 10.0)), None);
        assert_eq!(scaler.decide(at(299), held(5, 1_000.0)), None);
        // The window begins again.
        assert_eq!(scaler.decide(at(598), seen(5, 10.0)), None);
        assert_eq!(scaler.decide(at(599), seen(5, 10.0)), Some(2));
    }

    #[test]
    fn a_load_that_may_be_more_adds_replicas_and_removes_none() {
        let mut scaler = Autoscaler::new(POLICY);
        let least = |desired, load| FleetLoadSample {
            is_least: true,
            ..seen(desired, load)
        };
        assert_eq!(scaler.decide(at(0), seen(5, 20.0)), None);
        assert_eq!(scaler.decide(at(299), least(5, 0.0)), None);
        assert_eq!(scaler.decide(at(301), least(5, 61.0)), Some(7));
        // Not above the most, though.
        assert_eq!(scaler.decide(at(302), least(12, 10.0)), None);
        // The window begins again when all of it is known.
        assert_eq!(scaler.decide(at(310), seen(7, 20.0)), None);
        assert_eq!(scaler.decide(at(601), seen(7, 20.0)), None);
        assert_eq!(scaler.decide(at(602), seen(7, 20.0)), Some(2));
        // Other balancers may have had requests.
        let policy = ScalingPolicy { min: 0, ..POLICY };
        let mut scaler = Autoscaler::new(policy);
        let idle = FleetLoadSample {
            idle_for: Duration::from_secs(9_999),
            ..least(3, 0.0)
        };
        assert_eq!(scaler.decide(at(0), idle), None);
    }

    #[test]
    fn idle_fleet_has_no_replica_and_its_next_request_the_first_one() {
        let policy = ScalingPolicy { min: 0, ..POLICY };
        let idle = |desired, seconds| FleetLoadSample {
            idle_for: Duration::from_secs(seconds),
            ..seen(desired, 0.0)
        };
        let mut scaler = Autoscaler::new(policy);
        assert_eq!(scaler.decide(at(0), idle(3, 0)), None);
        assert_eq!(scaler.decide(at(59), idle(3, 59)), None);
        assert_eq!(scaler.decide(at(60), idle(3, 60)), Some(0));
        assert_eq!(scaler.decide(at(61), idle(0, 61)), None);
        assert_eq!(scaler.decide(at(1_000), idle(0, 1_000)), None);
        // One that waits, and many.
        assert_eq!(scaler.decide(at(1_001), seen(0, 1.0)), Some(1));
        assert_eq!(scaler.decide(at(1_001), seen(0, 25.0)), Some(3));
        // One replica is left of a fleet that has been used within the time, however little.
        let mut scaler = Autoscaler::new(policy);
        for second in 0..=300 {
            let wanted = scaler.decide(at(second), idle(2, second % 59));
            assert_eq!(wanted, (second == 300).then_some(1), "{second}");
        }
        // A long request, or an open WebSocket, is use.
        let long = FleetLoadSample {
            load: 1.0,
            ..idle(1, 9_999)
        };
        assert_eq!(Autoscaler::new(policy).decide(at(0), long), None);
        // A fleet that may not be empty is not.
        assert_eq!(Autoscaler::new(POLICY).decide(at(0), idle(2, 9_999)), None);
    }

    proptest! {
        #[test]
        fn decisions_are_changes_within_the_bounds(
            loads in prop::collection::vec((0.0..200.0f64, any::<bool>()), 1..400),
        ) {
            let mut scaler = Autoscaler::new(POLICY);
            let mut desired = 3;
            for (second, (load, is_held)) in loads.into_iter().enumerate() {
                let idle_for = Duration::ZERO;
                let is_least = second % 5 == 4;
                let sample = FleetLoadSample { desired, load, idle_for, is_held, is_least };
                if let Some(wanted) = scaler.decide(at(second as u64 * 7), sample) {
                    prop_assert!((2..=10).contains(&wanted) && wanted != desired && !is_held);
                    prop_assert!(wanted > desired || !is_least);
                    // One that is needed now is not stopped.
                    prop_assert!(wanted as f64 * 10.0 * (1.0 + TOLERANCE) >= load || wanted == 10);
                    desired = wanted;
                }
            }
        }
    }
}
