//! `report.md`: the figures in tables, and what they mean.

mod balance;
mod failure_and_scale;

use std::fmt::{self, Write};
use std::path::Path;

use super::distribution::list;
use super::results::Results;
use crate::experiments::load;
use crate::human::thousands;
use balance::worst;
use failure_and_scale::slowest;

/// The whole report.
pub fn markdown(results: &Results) -> Result<String, fmt::Error> {
    let mut text = String::from("# Analysis\n\n");
    setting(&mut text, results)?;
    if let Some(distribution) = &results.a1 {
        balance::a1(&mut text, distribution)?;
    }
    if let Some(distributions) = &results.a2 {
        balance::a2(&mut text, distributions)?;
    }
    if let Some(run) = &results.a3 {
        failure_and_scale::a3(&mut text, run)?;
    }
    if let Some(runs) = &results.a4 {
        balance::a4(&mut text, runs)?;
    }
    if let Some(run) = &results.scale {
        failure_and_scale::scale(&mut text, run)?;
    }
    if !results.skipped.is_empty() {
        text.push_str("## Not measured\n\n");
        for skipped in &results.skipped {
            writeln!(text, "* {}: {}.", skipped.experiment, skipped.reason)?;
        }
        text.push('\n');
    }
    text.push_str(
        "## The data\n\n\
         Everything above is in [results.json](results.json); its fields are described in \
         `src/analysis/results.rs`. The charts are there as SVG, too.\n",
    );
    Ok(text)
}

/// The few lines for the terminal.
pub fn summary(results: &Results, out: &Path) -> Result<String, fmt::Error> {
    let mut text = String::new();
    if let Some(one) = &results.a1 {
        writeln!(text, "A-1    {}, {} failed", list(&one.counts), one.failed)?;
    }
    if let Some(all) = &results.a2 {
        let peak = worst(all);
        let failed: u64 = all.iter().map(|one| one.failed).sum();
        writeln!(text, "A-2    peak/mean up to {peak:.3}, {failed} failed")?;
    }
    if let Some(run) = &results.a3 {
        let (evicted, ready) = slowest(run);
        writeln!(
            text,
            "A-3    evicted within {evicted}, ready within {ready}, {} of {} requests failed",
            run.failed,
            thousands(run.requests)
        )?;
    }
    if let Some(runs) = &results.a4 {
        let each: Vec<String> = runs
            .iter()
            .map(|run| format!("{} {:.2}", run.strategy, worst(&run.by_replicas)))
            .collect();
        writeln!(text, "A-4    peak/mean up to: {}", each.join(", "))?;
    }
    if let Some(run) = &results.scale {
        writeln!(
            text,
            "Scale  {} requests open at once, {} failed",
            thousands(run.open_at_once as u64),
            run.failed
        )?;
    }
    if let Some(advice) = load::advice(&results.setting.path, &results.failures()) {
        writeln!(text, "{advice}")?;
    }
    writeln!(text, "written to {}", out.join("report.md").display())?;
    Ok(text)
}

fn image(text: &mut String, alternative: &str, name: &str) -> fmt::Result {
    writeln!(text, "![{alternative}]({name}.png)\n")
}

fn setting(text: &mut String, results: &Results) -> fmt::Result {
    let (machine, setting) = (&results.machine, &results.setting);
    let memory = machine
        .memory_mib
        .map_or_else(String::new, |mib| format!(", {mib} MiB of memory"));
    let ring = setting.ring.as_ref().map_or_else(
        || "unknown, for its admin address is".to_owned(),
        |ring| format!("{}, {} slots", ring.strategy, thousands(ring.slots.into())),
    );
    let revision = machine.revision.as_deref().unwrap_or("unknown");
    writeln!(
        text,
        "Real requests through a real balancer, each with a random six-digit `X-Request-ID` \
             (seed {seed}), to `GET {path}`, {concurrency} at once.\n\n\
             | | |\n| --- | --- |\n\
             | command | `{command}` |\n\
             | balancer | {balancer} |\n\
             | ring | {ring} |\n\
             | Ringmaster | {version}, {build} build, revision {revision} |\n\
             | machine | {cpu}, {cpus} CPUs{memory}, Linux {kernel} |\n\
             | date | {date} |\n",
        seed = setting.seed,
        path = setting.path,
        concurrency = setting.concurrency,
        command = machine.command,
        balancer = setting.balancer,
        version = machine.version,
        build = machine.build,
        cpu = machine.cpu,
        cpus = machine.cpus,
        kernel = machine.kernel,
        date = machine.date
    )
}

fn failures(text: &mut String, failures: &[String]) -> fmt::Result {
    if failures.is_empty() {
        return Ok(());
    }
    text.push_str("Some of what went wrong:\n\n");
    for failure in failures {
        writeln!(text, "* `{}`", failure.replace('\n', " "))?;
    }
    text.push('\n');
    Ok(())
}
