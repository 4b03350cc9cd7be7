//! Rollouts: where the one under way is, and how others have ended.

use std::fmt;

use super::Scrape;
use super::families::{Description, Families};
use crate::api::{RolloutOutcome, RolloutState};

/// The states of a rollout under way, as the values of a label.
const STATES: [(RolloutState, &str); 4] = [
    (RolloutState::Trial, "trial"),
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
    let ended = &scrape.fleet.rollouts_ended;
    families.counters(
        Description::plain("rollouts", "Rollouts that have ended."),
        OUTCOMES.map(|(outcome, label)| {
            let count = ended.get(&outcome).copied().unwrap_or_default();
            ([("outcome", label)], count)
        }),
    )
}
