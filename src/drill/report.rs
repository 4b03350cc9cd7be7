//! The result of a drill: as a table for people, as JSON for programs.

use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use super::keys::Sample;
use super::{Fault, Options};
use crate::experiments::load::{self, Completion, Names};
use crate::experiments::recovery::{Recovery, silence};
use crate::ring_cli::text::Grid;

/// A fault whose requests are not counted yet.
pub(super) struct Drilled {
    pub(super) recovery: Recovery,
    /// When the watch ended.
    pub(super) until: Instant,
    pub(super) moved: Option<usize>,
    /// Of the instance before the fault and after it.
    pub(super) generations: [u64; 2],
    /// Why the replica has not recovered, if it has not.
    pub(super) error: Option<String>,
}

/// One replica's line.
#[derive(Debug, Serialize)]
struct Line {
    replica: String,
    fault: String,
    evicted_ms: Option<f64>,
    ready_ms: Option<f64>,
    reason: Option<String>,
    silent_ms: Option<f64>,
    requests: usize,
    failed: usize,
    retried: Option<u64>,
    keys_moved: Option<usize>,
    generation_before: u64,
    generation_after: u64,
    error: Option<String>,
}

/// The result of a drill.
#[derive(Debug)]
pub struct Outcome {
    /// No request failed, and every replica has recovered.
    pub good: bool,
    /// The text to print.
    pub text: String,
}

impl Outcome {
    pub(super) fn of(
        options: &Options,
        fault: Fault,
        drilled: Vec<Drilled>,
        answers: &[Completion],
        samples: &[Sample],
    ) -> Self {
        let replicas: Vec<String> = drilled.iter().map(|d| d.recovery.replica.clone()).collect();
        let known = Names::new(&replicas);
        let fault = fault.to_string();
        let lines = drilled.into_iter();
        let lines: Vec<Line> = lines
            .map(|one| line(one, &fault, answers, &known))
            .collect();
        let all = || {
            let sampled = samples.iter().flat_map(|sample| &sample.0);
            answers.iter().chain(sampled)
        };
        let (failed, failures) = load::failures(all().filter(|answer| answer.failed));
        let advice = load::advice(&options.path, &failures);
        let good = failed == 0 && lines.iter().all(|line| line.error.is_none());
        let text = if options.json {
            let json = json!({
                "fault": fault,
                "drills": lines,
                "requests": all().count(),
                "failed": failed,
                "failures": failures,
                "advice": advice,
            });
            format!("{json:#}")
        } else {
            let total = format!("{} requests, {failed} failed", all().count());
            let failures = failures.into_iter().chain(advice);
            table(&lines, &total, &failures.collect::<Vec<_>>())
        };
        Self { good, text }
    }
}

fn line(one: Drilled, fault: &str, answers: &[Completion], known: &Names) -> Line {
    let names_replicas = answers.iter().any(|answer| answer.from.is_ok());
    let silent_ms =
        names_replicas.then(|| silence(answers, known, &one.recovery).as_secs_f64() * 1e3);
    let Recovery {
        replica,
        injected,
        evicted_ms,
        ready_ms,
        reason,
        retried,
        ..
    } = one.recovery;
    let meanwhile = || {
        let answers = answers.iter();
        answers.filter(|answer| answer.ended >= injected && answer.begun < one.until)
    };
    Line {
        silent_ms,
        requests: meanwhile().count(),
        failed: meanwhile().filter(|answer| answer.failed).count(),
        replica,
        fault: fault.to_owned(),
        evicted_ms,
        ready_ms,
        reason,
        retried,
        keys_moved: one.moved,
        generation_before: one.generations[0],
        generation_after: one.generations[1],
        error: one.error,
    }
}

/// One line a replica, then what does not fit into columns.
fn table(lines: &[Line], total: &str, failures: &[String]) -> String {
    let mut grid = Grid::new(&[
        "replica",
        "fault",
        "evicted after",
        "ready after",
        "silent",
        "requests",
        "failed",
        "retried",
        "keys moved",
    ]);
    for line in lines {
        grid.row([
            line.replica.clone(),
            line.fault.clone(),
            time(line.evicted_ms),
            time(line.ready_ms),
            time(line.silent_ms),
            line.requests.to_string(),
            line.failed.to_string(),
            or_dash(line.retried),
            or_dash(line.keys_moved),
        ]);
    }
    let mut text = grid.text() + "\n";
    for line in lines {
        let name = &line.replica;
        let left = match &line.reason {
            Some(reason) => format!("evicted: {reason}"),
            None => "never evicted".to_owned(),
        };
        let after = match &line.error {
            Some(error) => error.clone(),
            None if line.generation_before == line.generation_after => {
                "the same instance as before".to_owned()
            }
            None => "another instance, under the same name".to_owned(),
        };
        text.push_str(&format!("{name}: {left}; {after}\n"));
    }
    text.push_str(&format!("{total}\n"));
    for failure in failures {
        text.push_str(&format!("  {failure}\n"));
    }
    text
}

/// `38.2 ms`, `2.45 s`.
pub(super) fn time(ms: Option<f64>) -> String {
    match ms {
        Some(ms) if ms < 1_000.0 => format!("{ms:.1} ms"),
        Some(ms) => format!("{:.2} s", ms / 1e3),
        None => "-".to_owned(),
    }
}

fn or_dash(number: Option<impl ToString>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}
