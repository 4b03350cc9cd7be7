//! Signals to a child process of the balancer's.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};

use super::Blow;

/// A replica's process, with all that it has started.
pub(super) struct Group(Pid);

impl Group {
    /// The group of a replica's process. In words, why it cannot be had.
    pub(super) fn find(pid: u32, replica: &str) -> Result<Self, String> {
        // A balancer in a container or elsewhere tells ids that are somebody else's here.
        let group = one_of_many(pid).filter(|&pid| is_ours(pid, replica));
        group.map(Self).ok_or_else(|| {
            format!(
                "process {pid} on this machine is not {replica}'s: this must run where the \
                 balancer runs, as the same user"
            )
        })
    }

    pub(super) fn kill(&self) -> Result<Blow, String> {
        self.send(Signal::KILL)
    }

    pub(super) fn stop(&self) -> Result<Blow, String> {
        self.send(Signal::STOP)
    }

    pub(super) fn go_on(&self) -> Result<Blow, String> {
        self.send(Signal::CONT)
    }

    fn send(&self, signal: Signal) -> Result<Blow, String> {
        match kill_process_group(self.0, signal) {
            Ok(()) => Ok(Blow::Landed),
            Err(Errno::SRCH) => Ok(Blow::Missed),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// SIGKILL to a process that somebody has named, whatever it is.
pub(in crate::analysis) fn kill(pid: u32) -> Result<(), String> {
    let pid = one_of_many(pid).ok_or_else(|| format!("there is no replica in process {pid}"))?;
    kill_process(pid, Signal::KILL).map_err(|error| error.to_string())
}

/// 0 and 1 are nobody's replica, and mean far more than one process to the kernel.
fn one_of_many(pid: u32) -> Option<Pid> {
    let pid = i32::try_from(pid).ok().filter(|&pid| pid > 1)?;
    Pid::from_raw(pid)
}

/// Whether this is a replica's process as a balancer starts it: the leader of a group of its
/// own that was told its name.
fn is_ours(pid: Pid, name: &str) -> bool {
    let told = format!("SERVER_ID={name}");
    getpgid(Some(pid)) == Ok(pid)
        && fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).is_ok_and(|environ| {
            let mut variables = environ.split(|&byte| byte == 0);
            variables.any(|variable| variable == told.as_bytes())
        })
}
