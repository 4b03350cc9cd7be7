//! Rollouts: where the one under way is, and how others have ended.

use std::fmt;

use super::Scrape;
use super::families::{Description, Families};
use crate::api::{RolloutCanary, RolloutOutcome, RolloutState};

/// The states of a rollout under way, as the values of a label.
const STATES: [(RolloutState, &str); 5] = [
    (RolloutState::Trial, "trial"),
    (RolloutState::Canary, "canary"),
    (RolloutState::Rolling, "rolling"),
    (RolloutState::Paused, "paused"),
    (RolloutState::RollingBack, "rolling_back"),
];

/// How one may end while the balancer runs, likewise.
const OUTCOMES: [(RolloutOutcome, &str); 2] = [
    (RolloutOutcome::Done, "done"),
    (RolloutOutcome::RolledBack, "rolled_back"),
];

pub(super) fn collect(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let present = scrape.fleet.rollout.as_ref().map(|rollout| rollout.state);
    families.gauges(
        Description::plain(
            "rollout_state",
            "Whether a rollout is in this state, 1 or 0.",
        ),
        STATES.map(|(state, label)| ([("state", label)], u32::from(present == Some(state)))),
    )?;
    collect_canary(scrape, families)?;
    let ended = &scrape.fleet.rollouts_ended;
    families.counters(
        Description::plain("rollouts", "Rollouts that have ended."),
        OUTCOMES.map(|(outcome, label)| {
            let count = ended.get(&outcome).copied().unwrap_or_default();
            ([("outcome", label)], count)
        }),
    )
}

/// The canary beside the replicas, while there is one.
fn collect_canary(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let rollout = scrape.fleet.rollout.as_ref();
    let canary = rollout.and_then(|rollout| rollout.canary.as_ref());
    let ready = |canary: &RolloutCanary| canary.instances.iter().filter(|i| i.ready).count();
    families.gauges(
        Description::plain(
            "canary_instances",
            "Instances of the rollout's canary, ready or not.",
        ),
        canary.into_iter().flat_map(|canary| {
            let (ready, all) = (ready(canary) as u64, canary.instances.len() as u64);
            [
                ([("ready", "yes")], ready),
                ([("ready", "no")], all - ready),
            ]
        }),
    )?;
    let rings = || {
        canary.into_iter().flat_map(|canary| {
            let replicas = &canary.served_by_replicas;
            [("canary", &canary.served), ("stable", replicas)]
        })
    };
    families.gauges(
        Description::plain(
            "canary_requests",
            "Requests to the canary, and to the replicas, since keys go to the canary.",
        ),
        rings().map(|(ring, served)| ([("ring", ring)], served.requests)),
    )?;
    families.gauges(
        Description::plain("canary_failed_requests", "Those of them that failed."),
        rings().map(|(ring, served)| ([("ring", ring)], served.failed)),
    )?;
    families.gauges(
        Description::seconds(
            "canary_latency",
            "Quantiles of the time to the head of their responses.",
        ),
        rings().flat_map(|(ring, served)| {
            let quantiles = [
                ("0.5", served.latency_p50_ms),
                ("0.99", served.latency_p99_ms),
            ];
            quantiles
                .into_iter()
                .filter_map(move |(quantile, milliseconds)| {
                    let labels = [("ring", ring), ("quantile", quantile)];
                    Some((labels, milliseconds? / 1e3))
                })
        }),
    )
}
