//! Signals to a child process of the balancer's.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpgid, kill_process_group};

use super::{Call, Effect};

/// A replica's process, with all that it has started.
pub(super) struct ProcessGroup(Pid);

impl ProcessGroup {
    /// The group of a replica's process; else why that is impossible.
    pub(super) fn find(pid: u32, replica: &str) -> Result<Self, String> {
        // The ids of a balancer in a container or elsewhere are other processes here.
        let group = single_process(pid).filter(|&pid| is_instance_of(pid, replica));
        group.map(Self).ok_or_else(|| {
            format!(
                "process {pid} on this machine is not {replica}'s: this must run where the \
                 balancer runs, as the same user"
            )
        })
    }

    pub(super) fn call(&self, call: Call) -> Result<Effect, String> {
        let signal = match call {
            Call::Kill => Signal::KILL,
            Call::Pause => Signal::STOP,
            Call::Resume => Signal::CONT,
        };
        match kill_process_group(self.0, signal) {
            Ok(()) => Ok(Effect::Applied),
            Err(Errno::SRCH) => Ok(Effect::Gone),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// SIGKILL to any process but 0 and 1.
#[cfg(feature = "analyze")]
pub(crate) fn kill(pid: u32) -> Result<(), String> {
    let pid = single_process(pid).ok_or_else(|| format!("there is no replica in process {pid}"))?;
    rustix::process::kill_process(pid, Signal::KILL).map_err(|error| error.to_string())
}

/// 0 and 1 are no replicas, and mean far more than one process to the kernel.
fn single_process(pid: u32) -> Option<Pid> {
    let pid = i32::try_from(pid).ok().filter(|&pid| pid > 1)?;
    Pid::from_raw(pid)
}

/// Whether this is a replica's process as a balancer starts it: the leader of a process group,
/// with the replica's name in its environment.
fn is_instance_of(pid: Pid, name: &str) -> bool {
    let expected = format!("SERVER_ID={name}");
    getpgid(Some(pid)) == Ok(pid)
        && fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).is_ok_and(|environ| {
            let mut variables = environ.split(|&byte| byte == 0);
            variables.any(|variable| variable == expected.as_bytes())
        })
}
