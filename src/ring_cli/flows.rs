//! How much each owner gives to each other one.

use std::collections::BTreeMap;

use crate::ring::{MemberIndex, SlotTable};

use super::request_ids;

/// What is counted when two tables are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Slots: exact where keys spread evenly over them.
    Slots,
    /// All six-digit request ids.
    RequestIds,
}

impl Measure {
    /// The measure for one table.
    pub(super) fn of(table: &SlotTable) -> Self {
        if table.spec().strategy().is_formula() {
            Self::RequestIds
        } else {
            Self::Slots
        }
    }

    /// The measure for two tables. Slots are comparable only if keys hash to them in the same way.
    pub(super) fn of_both(before: &SlotTable, after: &SlotTable) -> Self {
        let alike = before.spec().slots() == after.spec().slots();
        match (Self::of(before), Self::of(after)) {
            (Self::Slots, Self::Slots) if alike => Self::Slots,
            _ => Self::RequestIds,
        }
    }

    /// Its name in reports.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Slots => "slots",
            Self::RequestIds => "request ids",
        }
    }
}

/// For every pair of owners before and after that differ by name, how much went from one to the
/// other; the largest first.
pub(super) fn flows(
    before: &SlotTable,
    after: &SlotTable,
    measure: Measure,
) -> Vec<(MemberIndex, MemberIndex, u64)> {
    let mut pairs: BTreeMap<(MemberIndex, MemberIndex), u64> = BTreeMap::new();
    let mut add = |owners: (Option<MemberIndex>, Option<MemberIndex>)| {
        if let (Some(from), Some(to)) = owners {
            *pairs.entry((from, to)).or_default() += 1;
        }
    };
    match measure {
        Measure::Slots => {
            for slot in before.slots() {
                add((before.owner(slot), after.owner(slot)));
            }
        }
        Measure::RequestIds => {
            let owner = |table: &SlotTable, key| table.owner(table.slot_of(key));
            for key in request_ids() {
                add((owner(before, key), owner(after, key)));
            }
        }
    }
    let mut flows: Vec<_> = pairs
        .into_iter()
        .map(|((from, to), count)| (from, to, count))
        .filter(|&(from, to, _)| before.member(from).name != after.member(to).name)
        .collect();
    // Stable, so that equal flows stay in the order of their names.
    flows.sort_by_key(|&(_, _, count)| std::cmp::Reverse(count));
    flows
}
