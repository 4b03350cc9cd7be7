//! Why a slot belongs to its owner, in numbers and in words.

use super::text::{self, Grid};
use crate::api::{RingSummary, Why};

/// The most rows of the table for people.
const MAX_ROWS: usize = 12;

impl Why {
    /// The reason in words.
    pub(super) fn sentence(&self, ring: &RingSummary, owner: &str) -> String {
        let slots = ring.slots;
        match self {
            Self::VirtualServer {
                formula,
                i,
                j,
                wanted,
                stands_on,
                distance,
            } => {
                let ahead = match distance {
                    0 => "on this very slot".to_owned(),
                    1 => "one slot clockwise".to_owned(),
                    n => format!("{} slots clockwise", text::count(u64::from(*n))),
                };
                let probed = if wanted == stands_on {
                    String::new()
                } else {
                    format!("; that was taken, and the next free slot was {stands_on}")
                };
                format!(
                    "The nearest virtual server clockwise is number {j} of {owner}, on slot \
                     {stands_on}, {ahead}. {formula} mod {slots} = {wanted} for i = {i}, j = \
                     {j}{probed}"
                )
            }
            Self::Point {
                place,
                point,
                j,
                distance,
            } => format!(
                "The slot stands at {place} on a circle of 2^64 places, and the next point \
                 clockwise is number {j} of {owner}, at {point}, {distance:.1} slots on"
            ),
            Self::Preferences { .. } => format!(
                "Each replica has a preference list of its own, entry n being slot \
                 (offset + n * skip) mod {slots}; they take turns in claiming the next slot of \
                 their lists that is still free, and {owner} claimed this one first"
            ),
            Self::Scores { bumped: false, .. } => format!(
                "{owner} has the lowest score for the slot and is below its capacity (a score is \
                 an exponential draw over the weight)"
            ),
            Self::Scores { scores, .. } => {
                let lower = scores.iter().take_while(|score| score.replica != owner);
                let lower: Vec<String> = lower.map(|score| score.replica.clone()).collect();
                let (has, is) = match lower.len() {
                    1 => ("has a lower score", "is"),
                    _ => ("have lower scores", "are"),
                };
                format!(
                    "Bumped: {} {has} for the slot (a score is an exponential draw over the \
                     weight) but {is} full, with slots of still lower scores; {owner} has the \
                     next score and is below its capacity",
                    text::names(&lower)
                )
            }
        }
    }

    /// The numbers of all replicas, where the reason lies in them.
    pub(super) fn grid(&self, owner: &str) -> Option<String> {
        let outcome = |replica: &str, past: bool| match () {
            () if replica == owner => "owner".to_owned(),
            () if past => String::new(),
            () => "full".to_owned(),
        };
        let (mut grid, rest) = match self {
            Self::VirtualServer { .. } | Self::Point { .. } => return None,
            Self::Preferences { preferences } => {
                let mut grid =
                    Grid::new(&["Replica", "Weight", "Offset", "Skip", "Entry n", "Outcome"]);
                for preference in preferences.iter().take(MAX_ROWS) {
                    grid.row([
                        preference.replica.clone(),
                        text::count(preference.weight.into()),
                        text::count(preference.offset.into()),
                        text::count(preference.skip.into()),
                        text::count(preference.nth.into()),
                        outcome(&preference.replica, true),
                    ]);
                }
                (grid, preferences.len().saturating_sub(MAX_ROWS))
            }
            Self::Scores { scores, .. } => {
                let place = scores.iter().position(|score| score.replica == owner);
                let place = place.unwrap_or_default();
                let shown = MAX_ROWS.max(place + 1);
                let mut grid =
                    Grid::new(&["Replica", "Weight", "Score", "Owns", "Capacity", "Outcome"]);
                for (n, score) in scores.iter().take(shown).enumerate() {
                    grid.row([
                        score.replica.clone(),
                        text::count(score.weight.into()),
                        format!("{:.6}", score.score),
                        text::count(score.owns),
                        text::count(score.capacity),
                        outcome(&score.replica, n > place),
                    ]);
                }
                (grid, scores.len().saturating_sub(shown))
            }
        };
        if rest > 0 {
            grid.row([format!("{} more", text::count(rest as u64))]);
        }
        Some(grid.text())
    }
}
