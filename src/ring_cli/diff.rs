//! `ringmaster ring diff`: what a change would move.

use serde::Serialize;

use super::flows::{self, Measure};
use super::request_ids;
use super::text::{self, Grid};
use crate::api::RingSummary;
use crate::ring::{MemberIndex, Moved, Ownership, ReplicaName, SlotTable};

/// What moves between two rings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The ring as it is.
    pub before: RingSummary,
    /// The ring as it would be.
    pub after: RingSummary,
    /// What `total`, `moved` and every share count: slots, or six-digit request ids where
    /// slots are not exact or the two rings differ in them.
    pub measure: Measure,
    /// How many there are.
    pub total: u64,
    /// How many get another owner.
    pub moved: u64,
    /// The share of those, from 0 to 1.
    pub moved_share: f64,
    /// The share that has to move under any strategy.
    pub unavoidable_share: f64,
    /// The moved share over the unavoidable one; null if nothing had to move.
    pub moved_to_unavoidable: Option<f64>,
    /// A row for every replica of either ring, by name.
    pub replicas: Vec<ReplicaChange>,
    /// How much each replica gives to each other one, the largest first.
    pub flows: Vec<Flow>,
}

/// One replica, before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplicaChange {
    /// Its name.
    pub name: String,
    /// On the ring as it is; null if it joins.
    pub before: Option<Side>,
    /// On the ring as it would be; null if it leaves.
    pub after: Option<Side>,
}

/// A replica on one of the two rings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Side {
    /// Its weight.
    pub weight: u32,
    /// How many it owns.
    pub count: u64,
    /// Its share, from 0 to 1.
    pub share: f64,
    /// Its share over its fair share.
    pub of_fair: f64,
}

/// What one replica gives to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flow {
    /// The owner before.
    pub from: String,
    /// The owner after.
    pub to: String,
    /// How many.
    pub count: u64,
    /// Of all, from 0 to 1.
    pub share: f64,
}

impl Diff {
    /// Compares two tables.
    pub fn new(before: &SlotTable, after: &SlotTable) -> Self {
        let measure = Measure::of_both(before, after);
        let (moved, measure) = match (measure, Moved::by_slots(before, after)) {
            (Measure::Slots, Some(moved)) => (moved, measure),
            _ => (
                Moved::by_keys(before, after, request_ids()),
                Measure::RequestIds,
            ),
        };
        let flows = flows::flows(before, after, measure)
            .into_iter()
            .map(|(from, to, count)| Flow {
                from: before.member(from).name.to_string(),
                to: after.member(to).name.to_string(),
                count,
                share: count as f64 / moved.total.max(1) as f64,
            })
            .collect();
        Self {
            before: RingSummary::new(before),
            after: RingSummary::new(after),
            measure,
            total: moved.total,
            moved: moved.moved,
            moved_share: moved.share(),
            unavoidable_share: moved.unavoidable,
            moved_to_unavoidable: moved.factor(),
            replicas: changes(before, after, measure),
            flows,
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let factor = match self.moved_to_unavoidable {
            Some(factor) => text::ratio(factor),
            None => "none: no fair share changes".to_owned(),
        };
        let mut summary = vec![
            ("Before", self.before.text()),
            ("After", self.after.text()),
            (
                "Moved",
                format!(
                    "{} of {} {} ({})",
                    text::count(self.moved),
                    text::count(self.total),
                    self.measure.text(),
                    text::percent(self.moved_share)
                ),
            ),
            ("Unavoidable", text::percent(self.unavoidable_share)),
            ("Moved/unavoidable", factor),
        ];
        for (word, sides) in [
            ("Peak/mean before", self.peak(|r| r.before)),
            ("Peak/mean after", self.peak(|r| r.after)),
        ] {
            summary.push((word, text::ratio(sides)));
        }
        let flows = match self.flows.as_slice() {
            [] => String::new(),
            _ => self.matrix().unwrap_or_else(|| self.top_flows()),
        };
        format!("{}\n{}{flows}", text::paragraphs(summary), self.ownership())
    }

    fn peak(&self, side: impl Fn(&ReplicaChange) -> Option<Side>) -> f64 {
        let ratios = self.replicas.iter().filter_map(side).map(|s| s.of_fair);
        ratios.fold(0.0, f64::max)
    }

    fn ownership(&self) -> String {
        let mut grid = Grid::new(&[
            "Replica", "Weight", "Before", "Of fair", "After", "Of fair", "Change",
        ]);
        for replica in &self.replicas {
            let weight = |side: &Option<Side>| match side {
                Some(side) => text::count(side.weight.into()),
                None => "none".to_owned(),
            };
            let (old, new) = (weight(&replica.before), weight(&replica.after));
            let weight = if old == new {
                old
            } else {
                format!("{old} -> {new}")
            };
            let share = |side: &Option<Side>| side.map_or(0.0, |side| side.share);
            let cells = |side: &Option<Side>| match side {
                Some(side) => [text::percent(side.share), text::ratio(side.of_fair)],
                None => ["-".to_owned(), "-".to_owned()],
            };
            let [before, before_of_fair] = cells(&replica.before);
            let [after, after_of_fair] = cells(&replica.after);
            grid.row([
                replica.name.clone(),
                weight,
                before,
                before_of_fair,
                after,
                after_of_fair,
                text::change(share(&replica.after) - share(&replica.before)),
            ]);
        }
        grid.text()
    }

    /// Givers down, takers across; `None` if it would not fit.
    fn matrix(&self) -> Option<String> {
        const COLUMN: usize = "100.00 %".len();
        let names = |name: fn(&Flow) -> &String| {
            let mut names: Vec<&String> = self.flows.iter().map(name).collect();
            names.sort_unstable_by_key(|name| text::sort_key(name));
            names.dedup();
            names
        };
        let (givers, takers) = (names(|f| &f.from), names(|f| &f.to));
        let columns = takers.iter().map(|name| 2 + name.len().max(COLUMN));
        let widest = givers.iter().map(|name| name.len()).max()?;
        let width = widest.max("Gives to".len()) + columns.sum::<usize>();
        if width > usize::from(text::WIDTH) || givers.len() > 16 {
            return None;
        }

        let header: Vec<&str> = ["Gives to"]
            .into_iter()
            .chain(takers.iter().map(|name| name.as_str()))
            .collect();
        let mut grid = Grid::new(&header);
        for from in givers {
            let share = |to: &&String| {
                let flow = self.flows.iter().find(|f| f.from == *from && f.to == **to);
                flow.map_or_else(|| "-".to_owned(), |flow| text::percent(flow.share))
            };
            grid.row([from.clone()].into_iter().chain(takers.iter().map(share)));
        }
        Some(format!("\n{}", grid.text()))
    }

    fn top_flows(&self) -> String {
        const MAX_ROWS: usize = 12;
        let mut grid = Grid::new(&["Giver and taker", "Moved", "Share"]);
        for flow in self.flows.iter().take(MAX_ROWS) {
            grid.row([
                format!("{} -> {}", flow.from, flow.to),
                text::count(flow.count),
                text::percent(flow.share),
            ]);
        }
        if let Some(more @ [_, ..]) = self.flows.get(MAX_ROWS..) {
            let count = more.iter().map(|flow| flow.count).sum();
            let share = more.iter().map(|flow| flow.share).sum();
            grid.row([
                format!("{} more", text::count(more.len() as u64)),
                text::count(count),
                text::percent(share),
            ]);
        }
        format!("\n{}", grid.text())
    }
}

/// A row for every replica of either table. Both have their members sorted by name.
fn changes(before: &SlotTable, after: &SlotTable, measure: Measure) -> Vec<ReplicaChange> {
    let owned = |table: &SlotTable| match measure {
        Measure::Slots => Ownership::by_slots(table),
        Measure::RequestIds => Ownership::by_keys(table, request_ids()),
    };
    let (old, new) = (owned(before), owned(after));
    let mut names: Vec<&ReplicaName> = [before, after]
        .iter()
        .flat_map(|table| table.members().iter().map(|m| &m.name))
        .collect();
    names.sort_unstable_by_key(|name| text::sort_key(name.as_str()));
    names.dedup();
    let side = |table: &SlotTable, ownership: &Ownership, name: &ReplicaName| {
        let side = |index: MemberIndex| Side {
            weight: table.member(index).weight.get(),
            count: ownership.owned(index),
            share: ownership.share(index),
            of_fair: ownership.share(index) / ownership.fair_share(index),
        };
        table.index_of(name).map(side)
    };
    let change = |name: &ReplicaName| ReplicaChange {
        name: name.to_string(),
        before: side(before, &old, name),
        after: side(after, &new, name),
    };
    names.into_iter().map(change).collect()
}
