//! `ringmaster analyze`: the four experiments of the original write-up, and one of scale.
//!
//! Real requests go through a real balancer, which is a child process or runs already; this
//! layer is a client of it and uses nothing of its insides. [`ring`](crate::ring) is the one
//! exception: it computes where each request should have gone, to be compared with where it
//! went.
//!
//! [`run`] does all of it: it prepares the `tested_balancer`, lets each experiment measure, writes
//! `results.json`, `report.md` and the charts, and leaves the balancer as it found it,
//! whether it succeeds, fails or is interrupted.

mod chart;
mod child_balancer;
mod distribution;
mod failure;
mod format;
mod machine;
mod options;
mod report;
pub mod results;
mod scale;
mod stats;
mod tested_balancer;

use std::path::Path;
use std::time::Duration;
use std::{fmt, fs, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

pub use options::{BalancerOptions, Experiment, KillCommand, Options, RunningBalancer};

use crate::experiments::ExperimentError;
use machine::Machine;
use results::{Results, Setting, Skipped};
use tested_balancer::TestedBalancer;

/// No answer is worth waiting longer for; it counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the experiments, writes the results, and says in a few lines what came out.
///
/// # Errors
///
/// What could not be started, reached, measured or written. The balancer is ended, or put
/// back as it was, all the same.
pub async fn run(options: &Options) -> Result<String, ExperimentError> {
    // Before anything starts, so that no signal is lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(ExperimentError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ExperimentError::Signals)?;
    // A folder that cannot be written is known before minutes of work.
    let out = &options.out;
    fs::create_dir_all(out).map_err(|cause| ExperimentError::File {
        path: out.clone(),
        cause,
    })?;
    let machine = Machine::look();

    let target = TestedBalancer::open(&options.target).await?;
    let measured = tokio::select! {
        measured = measure(&target, options, machine) => measured,
        name = first_of(&mut terminate, &mut interrupt) => {
            eprintln!("{name}: putting the balancer back");
            Err(ExperimentError::Interrupted(name))
        }
    };
    let closed = target.close().await;
    let results = measured?;
    closed?;

    chart::write_all(out, &results)?;
    let json = serde_json::to_string_pretty(&results).map_err(|error| ExperimentError::File {
        path: out.join("results.json"),
        cause: error.into(),
    })?;
    write(&out.join("results.json"), &json)?;
    let unwritable = |cause: fmt::Error| ExperimentError::File {
        path: out.join("report.md"),
        cause: io::Error::other(cause),
    };
    let markdown = report::markdown(&results).map_err(unwritable)?;
    write(&out.join("report.md"), &markdown)?;
    report::summary(&results, out).map_err(unwritable)
}

/// All experiments that were asked for, in order.
async fn measure(
    target: &TestedBalancer,
    options: &Options,
    machine: Machine,
) -> Result<Results, ExperimentError> {
    let mut results = Results {
        format: 1,
        machine,
        setting: Setting {
            balancer: target.describe(),
            ring: target.original_ring().cloned(),
            requests: options.requests,
            path: options.path.clone(),
            concurrency: options.concurrency,
            seed: options.seed,
        },
        a1: None,
        a2: None,
        a3: None,
        a4: None,
        scale: None,
        skipped: Vec::new(),
    };
    for &experiment in &options.experiments {
        match experiment {
            Experiment::Shares => {
                results.a1 = Some(distribution::shares(target, options).await?);
            }
            Experiment::Means => {
                results.a2 = Some(distribution::means(target, options).await?);
            }
            Experiment::Failure => match target.cannot_kill().await? {
                Some(reason) => results.skip(experiment, &reason),
                None => results.a3 = Some(failure::run(target, options).await?),
            },
            Experiment::Strategies => {
                if target.admin.is_none() {
                    let reason = "without --admin the strategy cannot be changed, so that its \
                                  figures are computed, not measured";
                    results.skip(experiment, reason);
                }
                results.a4 = Some(distribution::strategies(target, options).await?);
            }
            Experiment::Scale => {
                results.scale = Some(scale::run(target, options).await?);
            }
        }
    }
    Ok(results)
}

impl Results {
    fn skip(&mut self, experiment: Experiment, reason: &str) {
        eprintln!("{experiment}: {reason}");
        self.skipped.push(Skipped {
            experiment: experiment.to_string(),
            reason: reason.to_owned(),
        });
    }
}

async fn first_of(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn write(path: &Path, text: &str) -> Result<(), ExperimentError> {
    fs::write(path, text).map_err(|cause| ExperimentError::File {
        path: path.to_owned(),
        cause,
    })
}
