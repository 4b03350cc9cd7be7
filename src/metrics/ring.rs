//! The ring, and what keeps the fleet.

use std::fmt;
use std::sync::Arc;

use super::Scrape;
use super::families::{Description, Families};
use crate::ring::{Moved, Ownership, SlotTable};

/// What takes a look at every slot, kept until the table changes.
#[derive(Debug, Clone, Default)]
pub(super) struct RingFigures {
    table: Option<(Arc<SlotTable>, Ownership)>,
    moved_slots: u64,
}

impl RingFigures {
    /// Computes them for a table, unless that is done.
    pub(super) fn update(&mut self, table: &Arc<SlotTable>) {
        if let Some((before, _)) = &self.table {
            if Arc::ptr_eq(before, table) {
                return;
            }
            // Tables of different slots cannot be compared by slots: all have moved.
            let moved = Moved::by_slots(before, table);
            self.moved_slots += moved.map_or(u64::from(table.spec().slots()), |moved| moved.moved);
        }
        self.table = Some((Arc::clone(table), Ownership::by_slots(table)));
    }
}

pub(super) fn collect(
    scrape: &Scrape,
    figures: &RingFigures,
    families: &mut Families<'_>,
) -> fmt::Result {
    families.gauge(
        Description::plain("ring_epoch", "Counts the changes of the ring."),
        scrape.view.epoch,
    )?;
    if let Some((table, ownership)) = &figures.table {
        let members: Vec<_> = (table.indices())
            .map(|index| {
                let name = table.member(index).name.to_string();
                (name, ownership.share(index))
            })
            .collect();
        families.gauge(
            Description::plain("ring_slots", "Slots of the ring."),
            table.spec().slots(),
        )?;
        families.gauges(
            Description::plain(
                "ring_ownership_ratio",
                "Share of the slots that belong to the replica.",
            ),
            (members.iter()).map(|(name, share)| ([("replica", name.as_str())], *share)),
        )?;
        let what = "Largest ratio of a replica's share of the slots to the share that its weight asks for.";
        families.gauge(
            Description::plain("ring_peak_to_mean_ratio", what),
            ownership.peak_to_mean(),
        )?;
    }
    families.counter(
        Description::plain(
            "ring_moved_slots",
            "Slots that had another replica than at the scrape before.",
        ),
        figures.moved_slots,
    )?;
    let fleet = &scrape.fleet;
    let is_well = |error: &Option<String>| f64::from(u8::from(error.is_none()));
    families.gauges(
        Description::plain("runtime_up", "Whether replicas can be started and stopped."),
        [([("runtime", fleet.runtime)], is_well(&fleet.runtime_error))],
    )?;
    families.gauge(
        Description::plain(
            "fleet_record_up",
            "Whether the last change was written to the fleet record.",
        ),
        is_well(&fleet.record.last_error),
    )?;
    families.gauge(
        Description::plain(
            "fleet_record_version",
            "Counts the changes of the fleet record.",
        ),
        fleet.record.version,
    )
}
