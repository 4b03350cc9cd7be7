//! What an operator, or the load, has the fleet do.

use std::fmt;

use super::Scrape;
use super::families::{Description, Families};
use crate::api::FleetScaling;

pub(super) fn collect(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let spares = scrape.fleet.spares;
    if spares.wanted > 0 {
        let states = [("ready", spares.ready), ("starting", spares.starting)];
        families.gauges(
            Description::plain("spares", "Instances that play no replica."),
            states.map(|(state, count)| ([("state", state)], count as f64)),
        )?;
    }
    if let Some(scaling) = &scrape.fleet.scaling {
        collect_scaling(scaling, scrape.fleet.replicas.len(), families)?;
    }
    families.gauge(
        Description::plain(
            "maintenance",
            "Whether every request is answered with 503, 1 or 0.",
        ),
        u32::from(scrape.fleet.maintenance.is_some()),
    )?;
    families.gauge(
        Description::plain("paused", "Whether requests are held, 1 or 0."),
        u32::from(scrape.fleet.pause.is_some()),
    )
}

fn collect_scaling(
    scaling: &FleetScaling,
    replicas: usize,
    families: &mut Families<'_>,
) -> fmt::Result {
    let bounds = [
        ("min", scaling.min_replicas as f64),
        ("max", scaling.max_replicas as f64),
    ];
    families.gauges(
        Description::plain(
            "scaling_replicas",
            "How many replicas --target-in-flight may have there.",
        ),
        bounds.map(|(bound, replicas)| ([("bound", bound)], replicas)),
    )?;
    families.gauge(
        Description::plain(
            "scaling_load",
            "Requests in flight and waiting, on average over the last second.",
        ),
        scaling.load,
    )?;
    families.gauge(
        Description::plain(
            "scaling_held",
            "Whether nothing is concluded from the load, 1 or 0.",
        ),
        u32::from(scaling.held.is_some()),
    )?;
    let last = scaling.last_decision.as_ref();
    families.gauge(
        Description::plain(
            "scaling_decided_replicas",
            "How many replicas the last decision wanted; without one, how many there are.",
        ),
        last.map_or(replicas, |last| last.to) as f64,
    )?;
    families.gauge(
        Description::seconds(
            "scaling_last_decision_timestamp",
            "When the last decision was made, since 1970; 0: there has been none.",
        ),
        last.map_or(0.0, |last| last.at.unix_seconds()),
    )
}
