//! A campaign of faults under constant load: `make chaos`.
//!
//! `cargo test` runs a short one with a fixed seed, in which times are shown and not judged.
//! Ends with 1 if a promise was broken; the same `--seed` strikes the same replicas again.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod load;
mod replica;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use common::{Ringmaster, eventually, resident_kib, sockets_of};
use fastrand::Rng;
use faults::{ALL, Fault, Scene};
use load::Load;
use report::Report;

/// Files that may be open for reasons of their own: a heartbeat, say.
const SOME_FILES: usize = 8;
/// Allocators keep what they had; a leak grows beyond.
const SOME_KIB: u64 = 64 * 1024;

const USAGE: &str = "options: --seed N (1), --rounds N (1), --clients N (200), --only FAULT, \
                     --timed, --out FOLDER";

/// What `cargo test` hands to every test program, and is not for us.
const FOR_TESTS: [&str; 9] = [
    "--nocapture",
    "--no-capture",
    "--exact",
    "--quiet",
    "--include-ignored",
    "--show-output",
    "--test-threads",
    "--format",
    "--color",
];

struct Options {
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
            seed: 1,
            rounds: 1,
            clients: 200,
            faults: ALL.to_vec(),
            timed: false,
            out: None,
            wanted: true,
        };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} lacks a value; {USAGE}"));
            let number = |text: String| text.parse().map_err(|_| format!("{text}: {USAGE}"));
            match name.as_str() {
                "--seed" => options.seed = number(value()?)?,
                "--rounds" => options.rounds = number(value()?)? as usize,
                "--clients" => options.clients = (number(value()?)? as usize).clamp(10, 1_000),
                "--timed" => options.timed = true,
                "--out" => options.out = Some(value()?.into()),
                "--only" => {
                    let wanted = value()?;
                    options.faults.retain(|fault| fault.name() == wanted);
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
        Ok(options)
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("replica") {
        return match replica::run() {
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
    let report = actix_web::rt::System::new().block_on(campaign(&options));
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

async fn campaign(options: &Options) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("posts");
    let this = std::env::current_exe().unwrap();
    let command = format!("{} replica", this.display());
    let variable = format!("{}={}", replica::LEDGER, ledger.display());
    // Keys stay at home however uneven the load is, so that none may move.
    let fixed = ["--balance-factor", "none", "--admin", "127.0.0.1:0"];
    // Everything else is as it is by default, but nobody waits ten seconds for a hung one.
    let args = [
        "--command",
        &command,
        "--env",
        &variable,
        "--hang-mercy",
        "6s",
    ];
    let balancer = Ringmaster::ready(&[&fixed[..], &args].concat()).await;
    let text = balancer.text();
    let admin = text.lines().find(|line| line.starts_with("admin")).unwrap();
    let admin = admin
        .split_whitespace()
        .find(|word| word.starts_with("http://"));
    let admin = admin.unwrap().trim_end_matches("/status").to_owned();
    let scene = Scene { balancer, admin };
    let pid = scene.balancer.pid();
    let (files_before, resident_kib_before) = (sockets_of(pid), resident_kib(pid));

    let mut rng = Rng::with_seed(options.seed);
    let load = Load::start(&scene.balancer.url(""), options.clients);
    let mut rows = Vec::new();
    for _ in 0..options.rounds {
        for fault in &options.faults {
            eprintln!("chaos: {}", fault.name());
            rows.push(fault.strike(&scene, &load, &mut rng, options.timed).await);
        }
    }
    load.stop().await;
    // Connections that are kept for the next request end after some seconds without one.
    eventually("open files are back to what they were", || async {
        sockets_of(pid) <= files_before + SOME_FILES
    })
    .await;
    let ledger = std::fs::read_to_string(&ledger).unwrap_or_default();
    let mut report = Report {
        seed: options.seed,
        runtime: "process",
        clients: options.clients,
        rows,
        posts: ledger.lines().count(),
        doubled: load::doubled(&ledger),
        files_before,
        files_after: sockets_of(pid),
        resident_kib_before,
        resident_kib_after: resident_kib(pid),
        broken: Vec::new(),
    };
    if report.doubled > 0 {
        let broken = format!("{} POSTs were executed twice", report.doubled);
        report.broken.push(broken);
    }
    if report.resident_kib_after > report.resident_kib_before + SOME_KIB {
        report.broken.push("memory has grown".to_owned());
    }
    report
}
