//! Requests, and attempts to have a replica answer them.

use std::fmt;

use super::Scrape;
use super::families::{Description, Families};
use crate::upstream::stats::{FailureReason, ResponseCounts};

/// What waits for too long, by the reasons that say so.
const TIMEOUTS: [(&str, &[FailureReason]); 5] = [
    ("connect", &[FailureReason::ConnectTimeout]),
    ("response", &[FailureReason::ResponseTimeout]),
    (
        "request",
        &[FailureReason::RequestTimeout, FailureReason::QueueTimeout],
    ),
    ("queue", &[FailureReason::NoReplica, FailureReason::AllBusy]),
    ("client_body", &[FailureReason::ClientBodyTimeout]),
];

pub(super) fn collect(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let totals = scrape.stats.totals();
    // What no replica answered has an empty name.
    let mut counted: Vec<(String, ResponseCounts, u64)> = vec![(String::new(), totals.own, 0)];
    for (name, stats) in scrape.stats.replicas() {
        counted.push((name.to_string(), stats.snapshot(), stats.connects()));
    }
    let replicas = || counted.iter().skip(1);

    let what = "Requests answered to the end of the response; replica is empty if Ringmaster answered itself.";
    families.counters(
        Description::plain("requests", what),
        counted.iter().flat_map(|(name, counts, _)| {
            let responses = counts.responses();
            responses.map(move |(method, status, count)| {
                let (code, method) = (status.label(), method.label());
                (
                    [
                        ("replica", name.as_str()),
                        ("code", code),
                        ("method", method),
                    ],
                    count,
                )
            })
        }),
    )?;
    families.counter(
        Description::plain(
            "requests_received",
            "Requests that came in to be forwarded.",
        ),
        totals.counts.requests,
    )?;
    let what = "Time from a request's head to the last byte of its response.";
    families.histograms(
        Description::seconds("request_duration", what),
        (counted.iter()).map(|(name, counts, _)| ([("replica", name.as_str())], counts.durations)),
    )?;
    let what = "Time from an attempt's begin to the head of the replica's response.";
    families.histograms(
        Description::seconds("upstream_request_duration", what),
        replicas()
            .map(|(name, counts, _)| ([("replica", name.as_str())], counts.upstream_durations)),
    )?;
    families.counters(
        Description::plain(
            "upstream_connects",
            "Connections to replicas that were opened, or tried to be.",
        ),
        replicas().map(|(name, _, connects)| ([("replica", name.as_str())], *connects)),
    )?;
    families.counters(
        Description::plain(
            "upstream_failures",
            "Attempts to have a replica answer that failed, retried or not.",
        ),
        replicas().flat_map(|(name, counts, _)| {
            FailureReason::of_attempts().map(move |reason| {
                let labels = [("replica", name.as_str()), ("reason", reason.label())];
                (labels, counts.failures[reason as usize])
            })
        }),
    )?;
    families.counters(
        Description::plain(
            "retries",
            "Attempts beyond a request's first, by why the one before failed.",
        ),
        FailureReason::of_attempts().map(|reason| {
            (
                [("reason", reason.label())],
                totals.retried[reason as usize],
            )
        }),
    )?;
    families.counter(
        Description::plain(
            "retries_over_budget",
            "Requests that the retry budget kept from another attempt.",
        ),
        totals.counts.retries_over_budget,
    )?;
    let rejected = FailureReason::ALL.iter().zip(totals.rejected);
    families.counters(
        Description::plain(
            "rejected_requests",
            "Requests that Ringmaster answered with an error of its own.",
        ),
        rejected.map(|(reason, count)| ([("reason", reason.label())], count)),
    )?;
    families.counter(
        Description::plain(
            "queued_requests",
            "Requests that had to wait for a replica.",
        ),
        totals.counts.queued,
    )?;
    let connections = scrape.stats.connections();
    let of =
        |reason: FailureReason| totals.retried[reason as usize] + totals.rejected[reason as usize];
    let timeouts = TIMEOUTS.map(|(kind, reasons)| (kind, reasons.iter().map(|r| of(*r)).sum()));
    let timeouts = timeouts.into_iter().chain([
        ("client_header", connections.header_timeouts),
        ("client_keep_alive", connections.keep_alive_timeouts),
    ]);
    families.counters(
        Description::plain("timeouts", "What took longer than it may."),
        timeouts.map(|(kind, count): (_, u64)| ([("kind", kind)], count)),
    )
}
