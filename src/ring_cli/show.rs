//! `ringmaster ring show`: how much each replica owns.

use serde::Serialize;

use super::flows::Measure;
use super::text::{self, Grid};
use super::{in_order, request_ids};
use crate::api::RingSummary;
use crate::ring::{MemberIndex, Ownership, SlotTable};

/// How much of a ring each replica owns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// The ring.
    pub ring: RingSummary,
    /// A row for every replica, by name.
    pub replicas: Vec<ReplicaRow>,
    /// How even the slots are.
    pub slots: Evenness,
    /// How even the six-digit request ids are, where the hash does not spread them evenly over
    /// the slots; null where it does, because slots are exact then.
    pub request_ids: Option<Evenness>,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplicaRow {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// Its weight over the sum of all weights.
    pub fair_share: f64,
    /// Its slots.
    pub slots: Owned,
    /// Its six-digit request ids.
    pub request_ids: Option<Owned>,
}

/// How many slots or request ids a replica owns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Owned {
    /// How many.
    pub count: u64,
    /// The share of all, from 0 to 1.
    pub share: f64,
    /// The share over the fair share; 1 is perfect.
    pub of_fair: f64,
}

/// How even shares are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evenness {
    /// How many there are.
    pub total: u64,
    /// The largest share over its fair share.
    pub peak_to_mean: f64,
    /// The smallest share over its fair share.
    pub least_to_mean: f64,
}

impl Shown {
    /// The report on a table.
    pub fn new(table: &SlotTable) -> Self {
        let slots = Ownership::by_slots(table);
        let ids = (Measure::of(table) == Measure::RequestIds)
            .then(|| Ownership::by_keys(table, request_ids()));
        let row = |index: MemberIndex| {
            let member = table.member(index);
            ReplicaRow {
                name: member.name.to_string(),
                weight: member.weight.get(),
                fair_share: slots.fair_share(index),
                slots: owned(&slots, index),
                request_ids: ids.as_ref().map(|ids| owned(ids, index)),
            }
        };
        let evenness = |ownership: &Ownership| Evenness {
            total: table.indices().map(|m| ownership.owned(m)).sum(),
            peak_to_mean: ownership.peak_to_mean(),
            least_to_mean: ownership.least_to_mean(),
        };
        Self {
            ring: RingSummary::new(table),
            replicas: in_order(table).into_iter().map(row).collect(),
            slots: evenness(&slots),
            request_ids: ids.as_ref().map(evenness),
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let with_ids = self.request_ids.is_some();
        let mut header = vec!["Replica", "Weight", "Fair", "Slots", "Share", "Of fair"];
        if with_ids {
            header.extend(["Request ids", "Share", "Of fair"]);
        }
        let mut grid = Grid::new(&header);
        let owned = |owned: &Owned| {
            [
                text::count(owned.count),
                text::percent(owned.share),
                text::ratio(owned.of_fair),
            ]
        };
        for row in &self.replicas {
            let mut cells = vec![
                row.name.clone(),
                text::count(row.weight.into()),
                text::percent(row.fair_share),
            ];
            cells.extend(owned(&row.slots));
            cells.extend(row.request_ids.as_ref().into_iter().flat_map(owned));
            grid.row(cells);
        }
        let mut totals = vec![
            "Total".to_owned(),
            text::count(self.ring.total_weight),
            text::percent(1.0),
        ];
        for evenness in [Some(&self.slots), self.request_ids.as_ref()] {
            let total = evenness.map(|e| [text::count(e.total), text::percent(1.0), String::new()]);
            totals.extend(total.into_iter().flatten());
        }
        grid.row(totals);

        let mut evenness = vec![("Slots", sentence(&self.slots))];
        if let Some(ids) = &self.request_ids {
            evenness.push(("Request ids", sentence(ids)));
        }
        format!(
            "{}\n\n{}\n{}",
            self.ring.text(),
            grid.text(),
            text::paragraphs(evenness)
        )
    }
}

fn owned(ownership: &Ownership, index: MemberIndex) -> Owned {
    let share = ownership.share(index);
    Owned {
        count: ownership.owned(index),
        share,
        of_fair: share / ownership.fair_share(index),
    }
}

fn sentence(evenness: &Evenness) -> String {
    format!(
        "peak/mean {}, least/mean {}",
        text::ratio(evenness.peak_to_mean),
        text::ratio(evenness.least_to_mean)
    )
}
