//! The balancer itself, whatever its fleets.

use std::fmt;

use super::Scrape;
use super::families::{Description, Families};
use crate::log_writer;
use crate::upstream::stats::{ConnectionLabel, Refusal};

pub(super) fn collect(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    families.info(
        Description::plain("build", "What runs."),
        &[("version", env!("CARGO_PKG_VERSION"))],
    )?;
    let connections = scrape.stats.connections();
    families.counter(
        Description::plain(
            "client_connections_accepted",
            "Connections of clients that were accepted.",
        ),
        connections.accepted,
    )?;
    let what = "Connections of clients that are open, by what they do; up to half a second old.";
    let states = ConnectionLabel::ALL.iter().zip(connections.states);
    families.gauges(
        Description::plain("client_connections", what),
        states.map(|(state, open)| ([("state", state.label())], open)),
    )?;
    let refusals = Refusal::ALL.iter().zip(connections.refused);
    families.counters(
        Description::plain(
            "client_refusals",
            "What clients sent that was no request to forward, answered with an error.",
        ),
        refusals.map(|(reason, count)| ([("reason", reason.label())], count)),
    )?;
    families.counter(
        Description::bytes("client_received", "Bytes from clients."),
        connections.received,
    )?;
    families.counter(
        Description::bytes("client_sent", "Bytes to clients."),
        connections.sent,
    )?;
    families.counter(
        Description::plain(
            "log_lines_dropped",
            "Lines that came faster than the log took them.",
        ),
        log_writer::dropped_lines(),
    )
}
