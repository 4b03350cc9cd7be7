//! Why a slot belongs to its owner, in numbers and in words.

use serde::Serialize;

use super::Ring;
use super::text::{self, Grid};
use crate::ring::{Explanation, MemberScore, Ownership, Preference, Reason, SlotTable, Strategy};

/// Why a slot belongs to its owner.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Why {
    /// `classic`, `quadratic`, `modulo`: the owner has the nearest virtual server clockwise.
    VirtualServer {
        /// The formula that places it, in words.
        formula: &'static str,
        /// The owner's number, i.
        i: u64,
        /// The virtual server's number, j.
        j: u32,
        /// Phi(i, j) mod M.
        wanted: u32,
        /// Its slot: the first free one from there on.
        stands_on: u32,
        /// How many slots clockwise it is.
        distance: u32,
    },
    /// `ring`: the owner has the next point clockwise.
    Point {
        /// The place of the slot on the circle of 2^64 places.
        place: String,
        /// The place of the point.
        point: String,
        /// The point's number among the owner's.
        j: u32,
        /// How far it is, in slots.
        distance: f64,
    },
    /// `maglev`: the owner claimed the slot first.
    Preferences {
        /// The place of the slot in all replicas' preference lists, the earliest first.
        preferences: Vec<PreferenceRow>,
    },
    /// `rendezvous`: the owner has the lowest score of the replicas below their capacity.
    Scores {
        /// True if another replica has a lower score, but is full of slots with still lower ones.
        bumped: bool,
        /// The scores of all replicas, the lowest first.
        scores: Vec<ScoreRow>,
    },
}

/// The place of the slot in a replica's preference list: slot = (`offset` + `nth` * `skip`) mod M.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreferenceRow {
    /// The replica.
    pub replica: String,
    /// Its weight.
    pub weight: u32,
    /// The first slot of its list.
    pub offset: u32,
    /// The distance between the slots of its list.
    pub skip: u32,
    /// How many slots of its list come before this one.
    pub nth: u32,
}

/// A replica's score for the slot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreRow {
    /// The replica.
    pub replica: String,
    /// Its weight.
    pub weight: u32,
    /// An exponential draw over the weight.
    pub score: f64,
    /// How many slots it owns.
    pub owns: u64,
    /// The most it may own.
    pub capacity: u64,
}

/// The most rows of the table for people.
const MAX_ROWS: usize = 12;

impl Why {
    pub(super) fn new(table: &SlotTable, explanation: &Explanation) -> Self {
        let member = |index| {
            let member = table.member(index);
            (member.name.to_string(), member.weight.get())
        };
        match &explanation.reason {
            Reason::VirtualServer {
                nearest,
                number,
                distance,
            } => Self::VirtualServer {
                formula: match table.spec().strategy() {
                    Strategy::Quadratic => "Phi(i, j) = i^2 + j^2 + 2j + 25",
                    _ => "Phi(i, j) = i + j + 2j + 25",
                },
                i: *number,
                j: nearest.j,
                wanted: nearest.wanted.get(),
                stands_on: nearest.slot.get(),
                distance: *distance,
            },
            Reason::Point { place, point, j } => {
                let slot = 2f64.powi(64) / f64::from(table.spec().slots());
                Self::Point {
                    place: format!("{place:#018x}"),
                    point: format!("{point:#018x}"),
                    j: *j,
                    distance: point.wrapping_sub(*place) as f64 / slot,
                }
            }
            Reason::Preferences(preferences) => {
                let row = |preference: &Preference| {
                    let (replica, weight) = member(preference.member);
                    PreferenceRow {
                        replica,
                        weight,
                        offset: preference.offset,
                        skip: preference.skip,
                        nth: preference.nth,
                    }
                };
                Self::Preferences {
                    preferences: preferences.iter().map(row).collect(),
                }
            }
            Reason::Scores(scores) => {
                let ownership = Ownership::by_slots(table);
                let row = |score: &MemberScore| {
                    let (replica, weight) = member(score.member);
                    ScoreRow {
                        replica,
                        weight,
                        score: score.score,
                        owns: ownership.owned(score.member),
                        capacity: score.capacity,
                    }
                };
                Self::Scores {
                    bumped: scores
                        .first()
                        .is_some_and(|lowest| lowest.member != explanation.owner),
                    scores: scores.iter().map(row).collect(),
                }
            }
        }
    }

    /// The reason in words.
    pub(super) fn sentence(&self, ring: &Ring, owner: &str) -> String {
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
