//! What an analysis ran on: figures mean little without it.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use serde::Serialize;

/// The facts of the machine and of the run.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The CPU's model, as the kernel names it.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// The machine's memory.
    pub memory_mib: Option<u64>,
    /// The kernel's release.
    pub kernel: String,
    /// When the run began, in UTC.
    pub date: String,
    /// The command line, with the program's name alone.
    pub command: String,
    /// Ringmaster's version.
    pub version: String,
    /// The commit, if it ran in Ringmaster's own repository.
    pub revision: Option<String>,
    /// `release`, or `debug`, which is several times slower.
    pub build: &'static str,
}

impl Machine {
    /// Asks the machine.
    pub fn look() -> Self {
        // The report leaves out the program's folder.
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let words = std::iter::once("ringmaster").chain(arguments.iter().map(String::as_str));
        let command = shlex::try_join(words);
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib("/proc/meminfo", "MemTotal").map(|kib| kib / 1024),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            command: command.unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: revision(),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
        }
    }
}

/// Resident memory of a process now, and the most it ever was.
pub fn resident_kib(pid: u32) -> Option<(u64, u64)> {
    let status = format!("/proc/{pid}/status");
    Some((kib(&status, "VmRSS")?, kib(&status, "VmHWM")?))
}

/// `NAME: VALUE` of a file in /proc.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// `NAME: 123 kB` of a file in /proc.
fn kib(path: &str, name: &str) -> Option<u64> {
    let value = field(path, name)?;
    value.split_whitespace().next()?.parse().ok()
}

/// The commit of the repository that we stand in, if it is Ringmaster's.
fn revision() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let root = git(&["rev-parse", "--show-toplevel"])?;
    let manifest = fs::read_to_string(format!("{root}/Cargo.toml")).ok()?;
    if !manifest.contains("name = \"ringmaster\"") {
        return None;
    }
    git(&["describe", "--always", "--dirty"])
}
