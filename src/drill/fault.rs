//! What can be done to a replica, and how: signals to its child process.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpgid, kill_process_group};

use crate::analysis::AnalysisError;
use crate::analysis::admin::ReplicaStatus;
use crate::analysis::observed::Harm;

/// A delayed replica is stopped so long, then runs so long, and so on.
const STROKE: Duration = Duration::from_millis(50);

/// What is done to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT after so long.
    Pause(Duration),
    /// For so long it is stopped half of the time, in strokes of 50 ms.
    Delay(Duration),
}

impl Fault {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause(_) => "pause",
            Self::Delay(_) => "delay",
        }
    }

    /// What there is to wait for.
    pub(super) fn harm(self) -> Harm {
        match self {
            Self::Kill => Harm::Ends,
            Self::Pause(time) | Self::Delay(time) => Harm::Lasts(time),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Kill => Ok(()),
            Self::Pause(time) | Self::Delay(time) => write!(f, " {time:?}"),
        }
    }
}

/// The process that is to be harmed, with all that it has started. It goes on when this is
/// dropped, whatever became of the drill.
pub(super) struct Victim {
    name: String,
    group: Pid,
}

impl Victim {
    /// The process of a replica. In words, why it cannot be had.
    pub(super) fn find(replica: &ReplicaStatus) -> Result<Self, String> {
        let name = replica.name.clone();
        if let Some(container) = &replica.container {
            return Err(format!(
                "{name} is the container {container}: drill knows how to harm child processes \
                 only; for containers use docker kill, or docker pause and unpause"
            ));
        }
        let Some(pid) = replica.pid else {
            return Err(format!(
                "{name} ({}) has no process that the balancer knows of: drill needs replicas \
                 that are its child processes, and all of them running",
                replica.state
            ));
        };
        // A balancer in a container or elsewhere tells ids that are somebody else's here.
        let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let group = group.filter(|&pid| is_ours(pid, &name));
        let group = group.ok_or_else(|| {
            format!(
                "process {pid} on this machine is not {name}'s: drill must run where the \
                 balancer runs, as the same user"
            )
        })?;
        Ok(Self { name, group })
    }

    /// The first signal.
    pub(super) fn begin(&self, fault: Fault) -> Result<(), AnalysisError> {
        self.send(match fault {
            Fault::Kill => Signal::KILL,
            Fault::Pause(_) | Fault::Delay(_) => Signal::STOP,
        })
    }

    /// The others, until it is over. A balancer that has lost its patience may have ended the
    /// process before that.
    pub(super) async fn hold(&self, fault: Fault) -> Result<(), AnalysisError> {
        match fault {
            Fault::Kill => return Ok(()),
            Fault::Pause(time) => tokio::time::sleep(time).await,
            Fault::Delay(time) => {
                let begun = Instant::now();
                while begun.elapsed() < time {
                    tokio::time::sleep(STROKE).await;
                    self.send(Signal::CONT)?;
                    tokio::time::sleep(STROKE).await;
                    self.send(Signal::STOP)?;
                }
            }
        }
        self.send(Signal::CONT)
    }

    fn send(&self, signal: Signal) -> Result<(), AnalysisError> {
        match kill_process_group(self.group, signal) {
            Ok(()) => Ok(()),
            Err(Errno::SRCH) if signal != Signal::KILL => Ok(()),
            Err(error) => Err(AnalysisError::Kill {
                replica: self.name.clone(),
                cause: error.to_string(),
            }),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may be gone, or never have been stopped: then this changes nothing.
        let _ = self.send(Signal::CONT);
    }
}

/// Whether this is a replica's process as a balancer starts it: the leader of a group of its
/// own that was told its name.
fn is_ours(pid: Pid, name: &str) -> bool {
    let told = format!("SERVER_ID={name}");
    // 1 is nobody's replica.
    pid.as_raw_nonzero().get() > 1
        && getpgid(Some(pid)) == Ok(pid)
        && fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).is_ok_and(|environ| {
            let mut variables = environ.split(|&byte| byte == 0);
            variables.any(|variable| variable == told.as_bytes())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pid: Option<u32>, container: Option<&str>) -> ReplicaStatus {
        ReplicaStatus {
            name: "Server1".to_owned(),
            weight: 1,
            state: "ready".to_owned(),
            generation: 1,
            pid,
            container: container.map(str::to_owned),
            in_flight: 0,
        }
    }

    #[test]
    fn nobody_is_harmed_who_is_not_a_replica_s_process() {
        for (replica, reason) in [
            (status(None, Some("r-Server1")), "docker kill"),
            (status(None, None), "no process"),
            (status(Some(0), None), "is not Server1's"),
            (status(Some(1), None), "is not Server1's"),
            (status(Some(std::process::id()), None), "is not Server1's"),
            (status(Some(u32::MAX), None), "is not Server1's"),
        ] {
            let refused = Victim::find(&replica).err().unwrap_or_default();
            assert!(refused.contains(reason), "{replica:?}: {refused}");
        }
    }
}
