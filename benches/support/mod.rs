//! A program that a bench starts, ports for it, and a bench's end.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The balancer that is measured by default.
pub const RELEASE: &str = "target/dist/ringmaster";

/// Prints what made a bench fail.
pub fn exit_code(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long a program may take to listen. Under valgrind it takes some seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A child process that ends with its owner.
pub struct Process(pub Child);

impl Process {
    /// Starts a program, and waits until it listens on this port.
    pub fn start(command: &mut Command, port: u16) -> Result<Self, String> {
        let name = command.get_program().to_owned();
        let child = command.spawn();
        let mut process = Self(child.map_err(|e| format!("{}: {e}", name.display()))?);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if Instant::now() > until || process.has_ended() {
                return Err(format!("{} does not listen", name.display()));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(process)
    }

    /// Asks it to end. Masters of workers need a signal that they can hand on.
    pub fn terminate(&self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        self.terminate();
        let until = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < until {
            if self.has_ended() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ports on which nothing listens.
pub fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let held: Result<Vec<_>, _> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(held.map_err(|e| e.to_string())?) {
        *port = listener.local_addr().map_err(|e| e.to_string())?.port();
    }
    Ok(ports)
}

/// The median, which of an even number of values is the upper one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
