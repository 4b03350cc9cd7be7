//! Why a slot belongs to its owner, in numbers and in words.

use serde::Serialize;

use super::Ring;
use super::text::{self, Grid};
use crate::ring::{Explanation, Ownership, Reason, SlotTable, Strategy};

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
        /// Where it stands: on the first slot from there on that was free.
        stands_on: u32,
        /// So many slots clockwise.
        distance: u32,
    },
    /// `ring`: the owner has the next point clockwise.
    Point {
        /// Where the slot stands on the circle of 2^64 places.
        place: String,
        /// Where the point stands.
        point: String,
        /// The point's number among the owner's.
        j: u32,
        /// How far it is, in slots.
        distance: f64,
    },
    /// `maglev`: the owner came by the slot first.
    Wishes {
        /// Those of all replicas, the earliest first.
        wishes: Vec<Wished>,
    },
    /// `rendezvous`: the owner asks least of those that have room for the slot.
    Asks {
        /// True if another asks less, but is full of slots that it asks less for.
        bumped: bool,
        /// What all replicas ask, the least first.
        asks: Vec<Asked>,
    },
}

/// A replica's wish for the slot: slot = (`offset` + `nth` * `skip`) mod M.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wished {
    /// The replica.
    pub replica: String,
    /// Its weight.
    pub weight: u32,
    /// Its first wish.
    pub offset: u32,
    /// From one wish to the next.
    pub skip: u32,
    /// So many wishes come before this one.
    pub nth: u32,
}

/// What a replica asks for the slot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    /// The replica.
    pub replica: String,
    /// Its weight.
    pub weight: u32,
    /// An exponential draw over the weight.
    pub price: f64,
    /// How many slots it owns.
    pub owns: u64,
    /// The most it may own.
    pub capacity: u64,
}

/// More replicas than these are summed up, for people.
const ENOUGH: usize = 12;

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
            Reason::Wishes(wishes) => {
                let wished = |wish: &crate::ring::Wish| {
                    let (replica, weight) = member(wish.member);
                    Wished {
                        replica,
                        weight,
                        offset: wish.offset,
                        skip: wish.skip,
                        nth: wish.nth,
                    }
                };
                Self::Wishes {
                    wishes: wishes.iter().map(wished).collect(),
                }
            }
            Reason::Asks(asks) => {
                let ownership = Ownership::by_slots(table);
                let asked = |ask: &crate::ring::Ask| {
                    let (replica, weight) = member(ask.member);
                    Asked {
                        replica,
                        weight,
                        price: ask.price,
                        owns: ownership.owned(ask.member),
                        capacity: ask.capacity,
                    }
                };
                Self::Asks {
                    bumped: asks.first().is_some_and(|a| a.member != explanation.owner),
                    asks: asks.iter().map(asked).collect(),
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
            Self::Wishes { .. } => format!(
                "Each replica wishes for the slots in an order of its own, wish n being slot \
                 (offset + n * skip) mod {slots}; they take turns in claiming the next wish that \
                 is still free, and {owner} came by this slot first"
            ),
            Self::Asks { bumped: false, .. } => format!(
                "{owner} asks least for the slot and has room for it (a price is an exponential \
                 draw over the weight)"
            ),
            Self::Asks { asks, .. } => {
                let cheaper = asks.iter().take_while(|ask| ask.replica != owner);
                let cheaper: Vec<String> = cheaper.map(|ask| ask.replica.clone()).collect();
                let (ask, are) = match cheaper.len() {
                    1 => ("asks", "is"),
                    _ => ("ask", "are"),
                };
                format!(
                    "Bumped: {} {ask} less for the slot (a price is an exponential draw over the \
                     weight) but {are} full, with slots of still lower prices; {owner} is the \
                     next and has room",
                    text::names(&cheaper)
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
            Self::Wishes { wishes } => {
                let mut grid =
                    Grid::new(&["Replica", "Weight", "Offset", "Skip", "Wish n", "Outcome"]);
                for wish in wishes.iter().take(ENOUGH) {
                    grid.row([
                        wish.replica.clone(),
                        text::count(wish.weight.into()),
                        text::count(wish.offset.into()),
                        text::count(wish.skip.into()),
                        text::count(wish.nth.into()),
                        outcome(&wish.replica, true),
                    ]);
                }
                (grid, wishes.len().saturating_sub(ENOUGH))
            }
            Self::Asks { asks, .. } => {
                let place = asks.iter().position(|ask| ask.replica == owner);
                let place = place.unwrap_or_default();
                let shown = ENOUGH.max(place + 1);
                let mut grid =
                    Grid::new(&["Replica", "Weight", "Price", "Owns", "May own", "Outcome"]);
                for (n, ask) in asks.iter().take(shown).enumerate() {
                    grid.row([
                        ask.replica.clone(),
                        text::count(ask.weight.into()),
                        format!("{:.6}", ask.price),
                        text::count(ask.owns),
                        text::count(ask.capacity),
                        outcome(&ask.replica, n > place),
                    ]);
                }
                (grid, asks.len().saturating_sub(shown))
            }
        };
        if rest > 0 {
            grid.row([format!("{} more", text::count(rest as u64))]);
        }
        Some(grid.text())
    }
}
