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

use support::{Process, free_ports, median};

const USAGE: &str = "options: --slow N (1500), --rounds N (5), --seconds N (3), \
                     --at-most RATIO (2), --ringmaster PATH (target/release/ringmaster)";

/// How long the balancer has to settle after slow clients have gone.
const SETTLE: Duration = Duration::from_secs(1);

struct Options {
    slow: usize,
    rounds: usize,
    seconds: u64,
    at_most: f64,
    ringmaster: PathBuf,
}

impl Options {
    fn from_args() -> Result<Self, String> {
        let mut options = Self {
            slow: 1_500,
            rounds: 5,
            seconds: 3,
            at_most: 2.0,
            ringmaster: "target/release/ringmaster".into(),
        };
        // `cargo bench` adds --bench.
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(name) = args.next() {
            let value = args
                .next()
                .ok_or(format!("{name} lacks a value; {USAGE}"))?;
            let invalid = |_| format!("{value} is no number; {USAGE}");
            match name.as_str() {
                "--slow" => options.slow = value.parse().map_err(invalid)?,
                "--rounds" => options.rounds = value.parse().map_err(invalid)?,
                "--seconds" => options.seconds = value.parse().map_err(invalid)?,
                "--at-most" => {
                    let ratio = value.parse();
                    options.at_most =
                        ratio.map_err(|_| format!("{value} is no number; {USAGE}"))?;
                }
                "--ringmaster" => options.ringmaster = value.into(),
                _ => return Err(format!("{name} is not known; {USAGE}")),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let options = Options::from_args()?;
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
