//! What many slow clients cost the others.
//!
//! ```text
//! make bench-slow-clients                              # 1,500 slow clients, 5 rounds
//! make bench-slow-clients ARGS='--slow 300 --rounds 9'
//! ```
//!
//! A third of the slow clients upload a byte a second, a third do not read a large response, and a
//! third keep a WebSocket open. Each round measures the healthy clients' latency without them and
//! with them, one right after the other, so that what disturbs the machine disturbs both; the
//! figure is the median over the rounds of the ratio of the 99th percentiles. It fails if that is
//! more than `--at-most`.

mod clients;
mod replica;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "it is shared")]
mod support;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use support::{Process, RELEASE, exit_code, free_ports, median};

/// How long the balancer has to settle after slow clients have gone.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(Parser)]
struct Options {
    /// Slow clients.
    #[arg(long, default_value_t = 1_500)]
    slow: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The ratio above which it fails.
    #[arg(long, default_value_t = 2.0)]
    at_most: f64,
    #[arg(long, default_value = RELEASE)]
    ringmaster: PathBuf,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), String> {
    let options = Options::parse();
    // Both ends of every connection to and from the balancer, but for its own.
    ringmaster::sys::open_files::raise();
    let ports = free_ports::<4>()?;
    let [port, replicas @ ..] = ports;
    replica::start(&replicas).map_err(|e| e.to_string())?;
    let upstreams = replicas.map(|port| format!("--upstream=127.0.0.1:{port}"));
    let _balancer = Process::start(
        Command::new(&options.ringmaster)
            .arg(format!("--listen=127.0.0.1:{port}"))
            .args(upstreams)
            // On a busy machine the bench's own replicas would miss some.
            .arg("--heartbeat-interval=1h")
            .env("RINGMASTER_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null()),
        port,
    )?;
    let healthy =
        || clients::measure(port, Duration::from_secs(options.seconds)).map_err(|e| e.to_string());
    // The first time fills pools and caches.
    healthy()?;
    let mut ratios = Vec::new();
    for round in 1..=options.rounds {
        let without = healthy()?;
        let slow = clients::Slow::start(port, options.slow).map_err(|e| e.to_string())?;
        replica::wait_until_stuck();
        let with = healthy()?;
        slow.stop();
        std::thread::sleep(SETTLE);
        let ratio = with.p99.as_secs_f64() / without.p99.as_secs_f64();
        println!("round {round}: without {without}, with {with}; ratio {ratio:.2}");
        ratios.push(ratio);
    }
    let median = median(ratios);
    println!(
        "{} slow clients: the healthy clients' p99 is {median:.2} times what it is without them",
        options.slow
    );
    match median <= options.at_most {
        true => Ok(()),
        false => Err(format!("more than {} times", options.at_most)),
    }
}
