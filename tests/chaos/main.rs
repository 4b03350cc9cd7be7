//! A campaign of faults under constant load: `make chaos`.
//!
//! On replicas that are processes, on containers of the machine's engine, and of one of our own
//! that is restarted. `cargo test` runs a short one with a fixed seed on processes, in which times
//! are shown and not judged; with `-- --ignored`, on containers. Ends with 1 if a promise was
//! broken; the same `--seed` chooses the same replicas again.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod accounting;
mod campaign;
mod containers;
#[path = "../support/docker/mod.rs"]
mod docker;
mod engine_baseline;
mod fault_injection;
mod faults;
mod fixture;
mod load;
mod measurement;
mod network;
mod replica;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod waits;

use std::path::PathBuf;
use std::process::ExitCode;

use docker::engine_answers;
use faults::{ALL, Fault};
use fixture::Runtime;
use report::Report;

const USAGE: &str = "options: --runtime process|docker (both with --timed, else process; docker also has an engine of \
                     its own), --seed N (1), --rounds N (1), --clients N (200), --only FAULT[,FAULT], \
                     --timed (all faults, durations judged), --out FOLDER";

/// What `cargo test` hands to every test program, and is not for us.
const FOR_TESTS: [&str; 8] = [
    "--nocapture",
    "--no-capture",
    "--exact",
    "--quiet",
    "--show-output",
    "--test-threads",
    "--format",
    "--color",
];

struct Options {
    runtimes: Vec<Runtime>,
    seed: u64,
    rounds: usize,
    clients: usize,
    faults: Vec<Fault>,
    timed: bool,
    out: Option<PathBuf>,
    /// It is meant by what `cargo test` was told.
    wanted: bool,
}

impl Options {
    fn from_args() -> Result<Self, String> {
        let mut options = Self {
            runtimes: vec![Runtime::Process, Runtime::Docker, Runtime::OwnEngine],
            seed: 1,
            rounds: 1,
            clients: 200,
            faults: ALL.to_vec(),
            timed: false,
            out: None,
            wanted: true,
        };
        // By itself, `cargo test` leaves containers out, as it does tests that are ignored.
        let mut with_containers = false;
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} lacks a value; {USAGE}"));
            let number = |text: String| text.parse().map_err(|_| format!("{text}: {USAGE}"));
            match name.as_str() {
                "--seed" => options.seed = number(value()?)?,
                "--rounds" => options.rounds = number(value()?)? as usize,
                "--clients" => options.clients = (number(value()?)? as usize).clamp(10, 1_000),
                "--timed" => {
                    options.timed = true;
                    with_containers = true;
                }
                "--include-ignored" => with_containers = true,
                "--ignored" => {
                    with_containers = true;
                    options
                        .runtimes
                        .retain(|runtime| *runtime != Runtime::Process);
                }
                "--out" => options.out = Some(value()?.into()),
                "--runtime" => {
                    let wanted = value()?;
                    let on_process = match wanted.as_str() {
                        "process" => true,
                        "docker" => false,
                        _ => return Err(format!("{wanted} is neither process nor docker")),
                    };
                    let is_wanted =
                        |runtime: &Runtime| (*runtime == Runtime::Process) == on_process;
                    options.runtimes.retain(is_wanted);
                    with_containers = true;
                }
                "--only" => {
                    let wanted = value()?;
                    let named = |fault: &Fault| wanted.split(',').any(|n| n == fault.name());
                    options.faults.retain(named);
                    if options.faults.is_empty() {
                        let names = ALL.map(Fault::name).join(", ");
                        return Err(format!("{wanted} is none of {names}"));
                    }
                }
                _ if FOR_TESTS.iter().any(|flag| name.starts_with(flag)) => {}
                // `cargo test NAME` asks every test program for tests of that name.
                _ if !name.starts_with('-') => options.wanted &= "chaos".contains(&name),
                _ => return Err(format!("{name} is not known; {USAGE}")),
            }
        }
        let Self {
            runtimes, faults, ..
        } = &mut options;
        if !with_containers {
            runtimes.retain(|runtime| *runtime == Runtime::Process);
        }
        runtimes.retain(|runtime| faults.iter().any(|fault| fault.is_for(*runtime)));
        if runtimes.is_empty() {
            return Err("that fault can only be done to containers".to_owned());
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("replica") {
        let at = std::env::args().nth(2).and_then(|at| at.parse().ok());
        return match replica::run(at.expect("an address to serve at")) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let options = match Options::from_args() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    if !options.wanted {
        return ExitCode::SUCCESS;
    }
    // Only where there is an engine, which under CI there has to be.
    let runtimes = options.runtimes.iter().copied();
    let runtimes = runtimes.filter(|runtime| *runtime == Runtime::Process || engine_answers());
    let campaigns = runtimes.filter_map(|runtime| {
        actix_web::rt::System::new().block_on(campaign::run(runtime, &options))
    });
    let report = Report {
        seed: options.seed,
        clients: options.clients,
        campaigns: campaigns.collect(),
    };
    println!("{}", report.table());
    if let Some(folder) = &options.out {
        report.write(folder).expect("the report can be written");
        println!("written to {}", folder.display());
    }
    let broken = report.promises_broken();
    for promise in &broken {
        println!("BROKEN: {promise}");
    }
    match broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
