//! How many instructions a small request takes in user space, by callgrind.
//!
//! ```text
//! make bench-instructions                                     # target/dist/ringmaster
//! make bench-instructions ARGS='--beside OTHER --at-most 1'   # fails if it takes 1 % more
//! ```
//!
//! Times differ from run to run by more than most changes are worth. Instructions do not: two runs
//! differ by a few in twenty thousand, however busy the machine is. Each program answers few
//! requests in one run and many in another, one after the other over kept connections; the
//! difference is free of start and end. What callgrind has counted stays in `target/instructions`,
//! for `callgrind_annotate`.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "it is shared")]
mod support;

use std::fs::create_dir_all;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use support::{Process, RELEASE, exit_code, free_ports};

const CONNECTIONS: usize = 50;
const FEW: usize = 2_000;
const MANY: usize = 12_000;

/// Where callgrind's counts are left.
const FOLDER: &str = "target/instructions";

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = RELEASE)]
    ringmaster: PathBuf,
    /// Another build to compare with.
    #[arg(long)]
    beside: Option<PathBuf>,
    /// How much more than the other it may take, in per cent.
    #[arg(long)]
    at_most: Option<f64>,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), String> {
    let options = Options::parse();
    create_dir_all(FOLDER).map_err(|e| format!("{FOLDER}: {e}"))?;
    let [port] = free_ports()?;
    let _replica = Process::start(
        Command::new(&options.ringmaster)
            .args(["replica", "--id", "A"])
            .arg(format!("--listen=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
        port,
    )?;
    let ours = instructions(&options.ringmaster, "ringmaster", port)?;
    println!(
        "{ours:.0} instructions a request: {}",
        options.ringmaster.display()
    );
    let Some(beside) = &options.beside else {
        return Ok(());
    };
    let theirs = instructions(beside, "beside", port)?;
    let percent = (ours / theirs - 1.0) * 100.0;
    println!("{theirs:.0} instructions a request: {}", beside.display());
    println!("{percent:+.2} %");
    match options.at_most {
        Some(most) if percent > most => Err(format!("more than {most} % over the other")),
        _ => Ok(()),
    }
}

/// The instructions of one request to a build.
fn instructions(program: &Path, name: &str, replica: u16) -> Result<f64, String> {
    let few = count(program, name, replica, FEW)?;
    let many = count(program, name, replica, MANY)?;
    Ok((many as f64 - few as f64) / (MANY - FEW) as f64)
}

/// The instructions of a whole run that answers this many requests.
fn count(program: &Path, name: &str, replica: u16, requests: usize) -> Result<u64, String> {
    let [port] = free_ports()?;
    let mut balancer = Process::start(
        Command::new("valgrind")
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={FOLDER}/{name}.{requests}"))
            .arg(program)
            .args(["--workers=1", "--heartbeat-interval=1h"])
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--upstream=A=127.0.0.1:{replica}"))
            .env("RINGMASTER_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped()),
        port,
    )?;
    ask(port, requests).map_err(|e| format!("{}: {e}", program.display()))?;
    // The second signal ends it at once: an orderly stop looks at all sockets of the machine.
    balancer.terminate();
    sleep(Duration::from_millis(50));
    balancer.terminate();
    let mut said = String::new();
    let stderr = balancer.0.stderr.take();
    stderr
        .map_or(Ok(0), |mut stderr| stderr.read_to_string(&mut said))
        .map_err(|e| e.to_string())?;
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    collected
        .and_then(|(_, number)| number.trim().parse().ok())
        .ok_or(format!("callgrind has counted nothing: {said}"))
}

/// Asks this often, one after the other.
fn ask(port: u16, requests: usize) -> std::io::Result<()> {
    let connect = |_| {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(BufReader::new(stream))
    };
    let mut connections = (0..CONNECTIONS).map(connect);
    let mut connections = connections.by_ref().collect::<std::io::Result<Vec<_>>>()?;
    for request in 0..requests {
        let connection = &mut connections[request % CONNECTIONS];
        let asked = b"GET /home HTTP/1.1\r\nHost: localhost\r\n\r\n";
        connection.get_mut().write_all(asked)?;
        read_response(connection)?;
    }
    Ok(())
}

fn read_response(from: &mut impl BufRead) -> std::io::Result<()> {
    let (mut line, mut length) = (String::new(), 0);
    from.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(std::io::Error::other(format!("answers {line:?}")));
    }
    while line != "\r\n" {
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        line.clear();
        from.read_line(&mut line)?;
    }
    from.read_exact(&mut vec![0; length])
}
