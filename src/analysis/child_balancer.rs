//! A balancer of our own: this same program as a child process, gone when we are.

use std::collections::VecDeque;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::experiments::ExperimentError;
use crate::sys::child::die_with_parent;

/// It listens within milliseconds; a debug build on a busy machine takes longer.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// After that it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// So many of its last log lines are kept, in case that it fails.
const LOG_LINES: usize = 20;

/// What it is started with: its defaults, apart from addresses that nobody else has, and
/// without the limit that the scale experiment is about to exceed.
const ARGUMENTS: [&str; 8] = [
    "--listen",
    "127.0.0.1:0",
    "--admin",
    "127.0.0.1:0",
    "--runtime",
    "process",
    "--max-in-flight",
    "none",
];

/// A balancer that runs as our child.
pub struct ChildBalancer {
    process: Child,
    pid: u32,
    /// Where clients ask.
    pub url: String,
    /// Its admin address.
    pub admin_url: String,
}

impl ChildBalancer {
    /// Starts one with so many replicas; it listens when this returns.
    pub async fn start(replicas: usize) -> Result<Self, ExperimentError> {
        let failed = |cause: &dyn std::fmt::Display| ExperimentError::Start(cause.to_string());
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = std::process::Command::new(program);
        command
            .args(ARGUMENTS)
            .args(["--replicas", &replicas.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches us alone, and we end it in order.
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            // What is measured is what the report says: the defaults.
            if name.to_string_lossy().starts_with("RINGMASTER_") {
                command.env_remove(name);
            }
        }
        die_with_parent(&mut command);
        let mut process = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let log = Log::default();
        if let Some(stderr) = process.stderr.take() {
            actix_web::rt::spawn(log.clone().keep(stderr));
        }
        let Some(stdout) = process.stdout.take() else {
            return Err(failed(&"it has no output"));
        };
        let mut lines = BufReader::new(stdout).lines();
        let mut urls = Vec::new();
        let both = async {
            while urls.len() < 2 {
                let line = lines.next_line().await.ok()??;
                if line.contains("listens on") || line.starts_with("admin") {
                    urls.extend(address_in(&line));
                }
            }
            Some(())
        };
        let heard = timeout(START_TIMEOUT, both).await;
        // The rest of it is read on, or it would be cut off in mid-sentence.
        actix_web::rt::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let (Ok(Some(())), Some(pid)) = (heard, process.id()) else {
            return Err(failed(&log.text()));
        };
        let admin_url = urls.pop().unwrap_or_default();
        Ok(Self {
            process,
            pid,
            url: urls.pop().unwrap_or_default(),
            admin_url,
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it was started with, for the report.
    pub fn command_line(replicas: usize) -> String {
        format!("ringmaster {} --replicas {replicas}", ARGUMENTS.join(" "))
    }

    /// Ends it, in order if it can, and its replicas with it.
    pub async fn stop(mut self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP_TIMEOUT, self.process.wait()).await.is_err() {
            let _ = self.process.kill().await;
        }
    }
}

/// `http://HOST:PORT` out of a line of the balancer's start-up text.
fn address_in(line: &str) -> Option<String> {
    let url = line
        .split_whitespace()
        .find(|word| word.starts_with("http://"))?;
    let authority = url["http://".len()..].split('/').next()?;
    Some(format!("http://{authority}"))
}

/// The last lines of a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    async fn keep(self, pipe: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LOG_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    }

    fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            return "it said nothing".to_owned();
        }
        kept.iter().cloned().collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_the_balancer_says() {
        assert_eq!(
            address_in("ringmaster 0.1.0 listens on http://127.0.0.1:5000").as_deref(),
            Some("http://127.0.0.1:5000")
        );
        assert_eq!(
            address_in("admin curl http://localhost:5001/api/v1/status").as_deref(),
            Some("http://localhost:5001")
        );
        assert_eq!(address_in("stop  Ctrl-C"), None);
    }
}
