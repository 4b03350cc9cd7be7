//! Measures Ringmaster beside other proxies.
//!
//! ```text
//! make bench                                    # everything
//! make bench ARGS='--rounds 1 --only 50,close'  # some of it, quickly
//! ```
//!
//! One worker each, held on one core; load generator and backends on the other. All proxies
//! run from beginning to end, rounds go through all of them in turn, and each figure is the
//! median of its rounds, so that disturbances of the machine hit all alike. The figure that
//! holds on a noisy machine is the CPU time of the proxy's processes per request
//! (`/proc/PID/task/*/schedstat`).
//!
//! A proxy that is not installed is skipped with a message; `benches/peers/get` installs it.

mod chart;
mod idle;
mod load;
mod network;
mod options;
mod pauses;
mod proxies;
mod report;
mod scenario;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "it is shared")]
mod support;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use options::Options;
use report::Figures;
use support::exit_code;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), String> {
    let options = Options::parse();
    if let Some(folder) = &options.redraw {
        return chart::redraw(folder);
    }
    network::enter();
    let folder = PathBuf::from("target/peers");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let folder = folder.canonicalize().map_err(|e| e.to_string())?;
    load::write_script(&folder)?;

    let scenarios = scenario::all()
        .into_iter()
        .filter(|scenario| options.wants(scenario.name))
        .collect::<Vec<_>>();
    let mut figures = Figures::default();
    figures.pauses.watch();
    for replicas in [3, 100] {
        let scenarios: Vec<_> = scenarios
            .iter()
            .filter(|scenario| scenario.replicas == replicas)
            .collect();
        if scenarios.is_empty() {
            continue;
        }
        let backends = proxies::Backends::start(&folder, replicas)?;
        let proxies = proxies::start_all(&folder, &backends, &options)?;
        if replicas == 3 {
            for proxy in &proxies {
                figures.idle(proxy.name, usage::resident_kib(proxy.pid()));
            }
        }
        for scenario in scenarios {
            for round in 0..=options.rounds {
                for proxy in &proxies {
                    let sample = if scenario.idle {
                        idle::run(scenario, proxy)?
                    } else {
                        load::run(scenario, proxy, &folder, options.seconds)?
                    };
                    // The first round fills pools and caches.
                    if round > 0 {
                        figures.add(scenario, proxy.name, sample);
                    }
                }
                eprintln!("{}: round {round} of {}", scenario.name, options.rounds);
            }
        }
    }
    figures.pauses.watch();
    let versions = proxies::versions(&folder, &options);
    print!("{}", figures.table(&scenarios, &versions));
    figures.write(&options.out, &scenarios, &versions)
}
