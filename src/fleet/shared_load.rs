//! Which of several balancers scales a fleet, and by which load: the sum of what each has last said.
//!
//! One decides, the first by name of those that live and say their load. It has a lease: one that has not said anything for
//! [`LEASE`] decides nothing, and the next one takes its place only after [`BALANCER_LIFETIME`]. A figure that is
//! older than the lease, or that is missing, may be anything: the sum is then the least that there is, by
//! which replicas are added and none is removed.

use std::time::Duration;

/// How long what a balancer has said holds.
pub(crate) const LEASE: Duration = Duration::from_secs(5);

/// How long after its last word a balancer may still live.
pub(crate) const BALANCER_LIFETIME: Duration = Duration::from_secs(10);

/// The load that one balancer has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BalancerLoad {
    /// Requests in flight and requests that wait for a replica.
    pub load: f64,
    /// How long ago its last request came.
    pub idle_for: Duration,
}

impl BalancerLoad {
    /// The load of two balancers together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            load: self.load + other.load,
            idle_for: self.idle_for.min(other.idle_for),
        }
    }
}

/// What a balancer has said last.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BalancerReport<'a> {
    /// Its name, which orders them.
    pub name: &'a str,
    /// How long ago, by one clock for all.
    pub age: Duration,
    /// Its load; none if it has not said it.
    pub load: Option<BalancerLoad>,
}

/// Who scales the fleet.
#[derive(Debug, Clone, PartialEq)]
pub enum ScalingRole {
    /// This balancer.
    Leads {
        /// The sum of what the others have, as far as it is known.
        others: Option<BalancerLoad>,
        /// That is all of it.
        is_complete: bool,
    },
    /// Another one.
    Follows,
    /// That is not known.
    Unknown,
}

/// The role of the balancer `own` among all that have said something.
pub(crate) fn scaling_role(reports: &[BalancerReport<'_>], own: &str) -> ScalingRole {
    let is_own = |report: &&BalancerReport<'_>| report.name == own;
    let holds = |report: &BalancerReport<'_>| report.age < LEASE && report.load.is_some();
    if !reports
        .iter()
        .any(|report| is_own(&report) && holds(report))
    {
        return ScalingRole::Unknown;
    }
    let others = reports.iter().filter(|report| !is_own(report));
    let others: Vec<_> = others
        .filter(|report| report.age < BALANCER_LIFETIME)
        .collect();
    // One that does not scale says no load.
    let scales = |report: &&BalancerReport<'_>| report.load.is_some() && report.name < own;
    if others.iter().any(scales) {
        return ScalingRole::Follows;
    }
    let known = others.iter().filter(|report| report.age < LEASE);
    let known: Vec<_> = known.filter_map(|report| report.load).collect();
    ScalingRole::Leads {
        is_complete: known.len() == others.len(),
        others: known.into_iter().reduce(BalancerLoad::plus),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(load: f64, seconds: u64) -> Option<BalancerLoad> {
        let idle_for = Duration::from_secs(seconds);
        Some(BalancerLoad { load, idle_for })
    }

    /// The role of `m`.
    fn role(reports: &[(&str, u64, Option<BalancerLoad>)]) -> ScalingRole {
        let reports: Vec<_> = reports
            .iter()
            .map(|(name, age, load)| BalancerReport {
                name,
                age: Duration::from_secs(*age),
                load: *load,
            })
            .collect();
        scaling_role(&reports, "m")
    }

    #[test]
    fn the_first_of_those_that_live_scales_by_the_sum() {
        let leads = |others, is_complete| ScalingRole::Leads {
            others,
            is_complete,
        };
        let own = ("m", 0, load(1.0, 9));
        for (reports, expected) in [
            (vec![own], leads(None, true)),
            (
                vec![own, ("x", 2, load(3.0, 4)), ("z", 4, load(0.5, 7))],
                leads(load(3.5, 4), true),
            ),
            (vec![own, ("a", 1, load(3.0, 0))], ScalingRole::Follows),
            // One that only serves says none.
            (vec![own, ("a", 1, None)], leads(None, false)),
            // One that has just died, or cannot say anything, may still act.
            (vec![own, ("a", 9, load(3.0, 0))], ScalingRole::Follows),
            (vec![own, ("a", 10, load(3.0, 0))], leads(None, true)),
            (vec![own, ("z", 10, load(3.0, 0))], leads(None, true)),
        ] {
            assert_eq!(role(&reports), expected, "{reports:?}");
        }
    }

    #[test]
    fn a_figure_that_is_old_or_missing_makes_the_sum_the_least_that_there_is() {
        let own = ("m", 1, load(1.0, 9));
        for (reports, known) in [
            (vec![own, ("x", 5, load(3.0, 4))], None),
            (vec![own, ("x", 2, None)], None),
            (
                vec![own, ("x", 2, None), ("z", 2, load(2.0, 0))],
                load(2.0, 0),
            ),
        ] {
            let expected = ScalingRole::Leads {
                others: known,
                is_complete: false,
            };
            assert_eq!(role(&reports), expected, "{reports:?}");
        }
    }

    #[test]
    fn a_balancer_whose_own_word_is_old_decides_nothing() {
        assert_eq!(role(&[]), ScalingRole::Unknown);
        assert_eq!(role(&[("x", 0, load(1.0, 1))]), ScalingRole::Unknown);
        assert_eq!(role(&[("m", 5, load(1.0, 1))]), ScalingRole::Unknown);
        assert_eq!(role(&[("m", 0, None)]), ScalingRole::Unknown);
    }

    #[test]
    fn no_two_lead_whatever_each_has_heard() {
        // Both see the same list, at about the same time.
        for age in 0..12 {
            let reports = ["a", "m"].map(|name| BalancerReport {
                name,
                age: Duration::from_secs(if name == "a" { age } else { 0 }),
                load: load(1.0, 0),
            });
            let leads = |own| matches!(scaling_role(&reports, own), ScalingRole::Leads { .. });
            assert!(!(leads("a") && leads("m")), "{age}");
        }
    }
}
