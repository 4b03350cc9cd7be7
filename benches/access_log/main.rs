//! What the access log costs at the highest rate that a client reaches.
//!
//! ```text
//! make bench-access-log                                # 9 rounds of 3 s for each balancer
//! make bench-access-log ARGS='--rounds 15 --at-most 1.1'
//! ```
//!
//! Three balancers before the same replica: without an access log, with `combined` and with `json` to
//! a file. In each round wrk asks each of them in turn, over 50 connections, as fast as it can; the
//! figure is the median over the rounds of the CPU time per request, beside that of the round's run
//! without a log, so that what disturbs the machine disturbs both. It fails if a ratio is more than
//! `--at-most`.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "it is shared")]
mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use support::{Process, RELEASE, exit_code, free_ports, median};

/// Where the access logs are while it runs.
const FOLDER: &str = "target/access_log";

const CONNECTIONS: usize = 50;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The ratio above which it fails.
    #[arg(long, default_value_t = 1.1)]
    at_most: f64,
    #[arg(long, default_value = RELEASE)]
    ringmaster: PathBuf,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A balancer with a certain log.
struct Balancer {
    name: &'static str,
    port: u16,
    process: Process,
    log: Option<PathBuf>,
    requests: u64,
    /// CPU time per request of each round, in microseconds.
    cpu_us: Vec<f64>,
    /// Beside that of the same round's run without a log.
    ratios: Vec<f64>,
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), String> {
    let options = Options::parse();
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder).map_err(|e| format!("{FOLDER}: {e}"))?;
    let [replica_port, ports @ ..] = free_ports::<4>()?;
    let _replica = Process::start(
        Command::new(&options.ringmaster)
            .args(["replica", "--id", "A"])
            .arg(format!("--listen=127.0.0.1:{replica_port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
        replica_port,
    )?;
    let mut balancers = Vec::new();
    for (name, port) in ["off", "combined", "json"].into_iter().zip(ports) {
        balancers.push(start(
            &options.ringmaster,
            name,
            port,
            replica_port,
            folder,
        )?);
    }
    for balancer in &balancers {
        // The first time fills pools and caches.
        load(balancer.port, 1)?;
    }
    for round in 0..options.rounds {
        let mut without = f64::NAN;
        for balancer in &mut balancers {
            let before = cpu_ns(balancer.process.0.id());
            let requests = load(balancer.port, options.seconds)?;
            let used = cpu_ns(balancer.process.0.id()).saturating_sub(before);
            let cpu_us = used as f64 / 1e3 / requests.max(1) as f64;
            if balancer.log.is_none() {
                without = cpu_us;
            }
            balancer.requests += requests;
            balancer.cpu_us.push(cpu_us);
            balancer.ratios.push(cpu_us / without);
            let (name, rate) = (balancer.name, requests / options.seconds);
            println!(
                "round {}: {name:8} {rate:6} requests/s, {cpu_us:.2} us",
                round + 1
            );
        }
    }
    println!();
    let mut too_much = Vec::new();
    for balancer in balancers {
        let (name, ratio) = (balancer.name, median(balancer.ratios));
        let cpu_us = median(balancer.cpu_us);
        drop(balancer.process);
        let dropped = match &balancer.log {
            Some(log) => {
                let missing = balancer.requests.saturating_sub(lines(log)?);
                format!(", {missing} of {} lines dropped", balancer.requests)
            }
            None => String::new(),
        };
        println!("{name:8} {cpu_us:.2} us CPU a request, {ratio:.3} of off{dropped}");
        if ratio > options.at_most {
            too_much.push(name);
        }
    }
    // Hundreds of megabytes; what is left behind is written again.
    let _ = fs::remove_dir_all(folder);
    match too_much.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{too_much:?} cost more than {} of off",
            options.at_most
        )),
    }
}

fn start(
    ringmaster: &Path,
    name: &'static str,
    port: u16,
    replica: u16,
    folder: &Path,
) -> Result<Balancer, String> {
    let log = (name != "off").then(|| folder.join(format!("{name}.log")));
    let mut command = Command::new(ringmaster);
    command
        .args(["--workers=1", "--heartbeat-interval=1h", "--admin=off"])
        .arg(format!("--listen=127.0.0.1:{port}"))
        .arg(format!("--upstream=127.0.0.1:{replica}"))
        .env("RINGMASTER_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(log) = &log {
        // It would be appended to.
        let _ = fs::remove_file(log);
        command.arg("--access-log").arg(log);
        command.arg(format!("--access-log-format={name}"));
    }
    Ok(Balancer {
        name,
        port,
        process: Process::start(&mut command, port)?,
        log,
        requests: 0,
        cpu_us: Vec::new(),
        ratios: Vec::new(),
    })
}

/// Has wrk ask as fast as it can; how many requests were answered.
fn load(port: u16, seconds: u64) -> Result<u64, String> {
    let output = Command::new("wrk")
        .args(["--threads=1", &format!("--connections={CONNECTIONS}")])
        .arg(format!("--duration={seconds}s"))
        .arg(format!("http://127.0.0.1:{port}/heartbeat"))
        .output()
        .map_err(|e| format!("wrk: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("wrk: {text}"));
    }
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.split_once(" requests in "));
    let number = line.and_then(|(number, _)| number.trim().parse().ok());
    number.ok_or_else(|| format!("wrk: {text}"))
}

/// CPU time of a process: of all its threads, the one that writes the log included.
fn cpu_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .filter_map(|task| {
            let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            stat.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

fn lines(log: &Path) -> Result<u64, String> {
    let file = File::open(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut count = 0;
    loop {
        let chunk = reader.fill_buf().map_err(|e| e.to_string())?;
        if chunk.is_empty() {
            return Ok(count);
        }
        count += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = chunk.len();
        reader.consume(length);
    }
}
