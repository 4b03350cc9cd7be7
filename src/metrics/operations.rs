//! What an operator, or the load, has the fleet do.

use std::fmt;

use super::Scrape;
use super::families::{Description, Families};

pub(super) fn collect(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
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
