//! A-3 and scale: how it heals, and how much it holds.

use std::fmt::{self, Write};

use super::{failures, image};
use crate::analysis::chart;
use crate::analysis::format::mebibytes;
use crate::analysis::results::{FailureRun, ScaleRun};
use crate::human::{milliseconds, thousands};

pub(super) fn a3(text: &mut String, run: &FailureRun) -> fmt::Result {
    text.push_str("## A-3: replicas killed under load\n\n");
    image(
        text,
        "Answers per second by replica around each kill",
        chart::FAILURE,
    )?;
    text.push_str(
        "| replica | killed by | evicted after | ready after | silent for | failed | retried |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let time = |ms: Option<f64>| ms.map_or_else(|| "unknown".to_owned(), milliseconds);
    let count = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    for kill in &run.kills {
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            kill.replica,
            kill.method,
            time(kill.evicted_ms),
            time(kill.ready_ms),
            milliseconds(kill.silent_ms),
            kill.failed,
            count(kill.retried)
        )?;
    }
    let (evicted, ready) = slowest(run);
    writeln!(
        text,
        "\nThe slowest was evicted after {evicted} and ready after {ready}; the original \
             detects a failure within 5 s and replaces the server within 10 s. Of {requests} \
             requests ({offered} a second offered, {answered} answered), {failed} failed; \
             {retried} were sent once more, to another replica.\n\n\
             Times count from the kill (where a command does it, from the command's start), by \
             the balancer's own history; \"silent\" is what clients see, the longest time \
             without a response of that replica. Bins of the chart are {bin} ms \
             long.\n",
        requests = thousands(run.requests),
        offered = thousands(run.offered_per_second.into()),
        answered = thousands(run.answered_per_second as u64),
        failed = run.failed,
        retried = count(run.retried),
        bin = run.kills.first().map_or(0, |kill| kill.timeline.bin_ms)
    )?;
    failures(text, &run.failures)
}

/// The slowest eviction and the slowest return.
pub(super) fn slowest(run: &FailureRun) -> (String, String) {
    let most = |times: Vec<Option<f64>>| {
        let times: Option<Vec<f64>> = times.into_iter().collect();
        let most = times.map(|times| times.into_iter().fold(0.0, f64::max));
        most.map_or_else(|| "an unknown time".to_owned(), milliseconds)
    };
    (
        most(run.kills.iter().map(|kill| kill.evicted_ms).collect()),
        most(run.kills.iter().map(|kill| kill.ready_ms).collect()),
    )
}

pub(super) fn scale(text: &mut String, run: &ScaleRun) -> fmt::Result {
    writeln!(
        text,
        "## Scale: {} requests open at once\n",
        thousands(run.open_at_once as u64)
    )?;
    let in_flight = run
        .in_flight_at_once
        .map_or_else(|| "unknown".to_owned(), thousands);
    writeln!(
        text,
        "| | |\n| --- | ---: |\n\
             | requests sent | {} |\n\
             | held by replicas at the same moment, as the client counts | {} |\n\
             | in flight at the same moment, as the balancer counts | {in_flight} |\n\
             | answered | {} |\n\
             | failed | {} |\n\
             | held for | {} |\n\
             | all open after | {:.1} s |",
        thousands(run.tried as u64),
        thousands(run.open_at_once as u64),
        thousands(run.answered),
        run.failed,
        milliseconds(run.held_ms as f64),
        run.opening_seconds
    )?;
    match &run.memory {
        Some(memory) => {
            let grown = memory.open_kib.saturating_sub(memory.before_kib) as f64;
            writeln!(
                text,
                "| balancer's memory before | {} |\n\
                     | while all were open | {} ({:.1} KiB a request) |\n\
                     | at its peak | {} |\n\
                     | after the last answer | {} |\n",
                mebibytes(memory.before_kib),
                mebibytes(memory.open_kib),
                grown / (run.open_at_once.max(1) as f64),
                mebibytes(memory.peak_kib),
                mebibytes(memory.after_kib)
            )?;
            text.push_str(
                "Memory is what is resident of the balancer's process (VmRSS, VmHWM), after all \
                 the experiments before this one.\n\n",
            );
        }
        None => text.push_str("| balancer's memory | unknown: its process is not (`--pid`) |\n\n"),
    }
    if let Some(reason) = &run.limited_by {
        writeln!(text, "More at once was not to be had: {reason}.\n")?;
    }
    failures(text, &run.failures)
}
