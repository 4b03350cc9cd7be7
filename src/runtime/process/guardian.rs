//! Ends what replicas have started if the balancer is killed.
//!
//! The kernel kills the balancer's children when it dies (`PR_SET_PDEATHSIG`), but not theirs: the
//! server behind `npm start` or `sh -c` would keep its port. So one more process, `ringmaster
//! guard`, is told the process groups of all children through a pipe. At the pipe's end, which
//! comes however the balancer ends, it kills the groups that are left.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, PipeWriter, Read};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;

use log::{debug, warn};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use crate::sys::child::write_pid;
use crate::sys::orphans::OwnChild;

/// The hidden subcommand that runs [`guard`].
pub const GUARD_COMMAND: &str = "guard";

/// What the guardian is told: a kind, and a group's id. Writes of this size are never torn apart
/// (pipe(7)).
type GroupRecord = [u8; 5];

/// A child is about to become this group's first program; it says so itself.
const BEGINS: u8 = b'b';
/// The child has been started.
const RUNS: u8 = b'r';
/// The group has ended, and its id may soon be another's.
const ENDED: u8 = b'e';
/// A program could not be started: what is said to begin has ended.
const FAILED: u8 = b'f';

/// The pipe to the guardian.
#[derive(Debug, Clone)]
pub struct GuardianPipe(Arc<PipeWriter>);

impl GuardianPipe {
    /// Makes a child announce its own process group between fork and exec. If the guardian is
    /// gone or does not read, the child starts all the same.
    pub fn announce_group_of(&self, command: &mut std::process::Command) {
        write_pid(command, Arc::clone(&self.0), |pid| record(BEGINS, pid));
    }

    fn write(&self, kind: u8, group: i32) {
        let _ = rustix::io::write(&*self.0, &record(kind, group));
    }
}

fn record(kind: u8, group: i32) -> GroupRecord {
    let [a, b, c, d] = group.to_ne_bytes();
    [kind, a, b, c, d]
}

/// The guardian, as the balancer sees it.
#[derive(Debug, Default)]
pub struct Guardian {
    process: RefCell<Option<GuardianProcess>>,
    groups: RefCell<HashSet<i32>>,
}

#[derive(Debug)]
struct GuardianProcess {
    child: tokio::process::Child,
    _own: Option<OwnChild>,
    pipe: GuardianPipe,
}

impl Guardian {
    /// The pipe to a guardian that runs; started if there is none, or if it has ended. None if it
    /// cannot be started, which is told.
    pub fn pipe(&self) -> Option<GuardianPipe> {
        let mut process = self.process.borrow_mut();
        if let Some(running) = process.as_mut()
            && matches!(running.child.try_wait(), Ok(None))
        {
            return Some(running.pipe.clone());
        }
        *process = match start() {
            Ok(started) => Some(started),
            Err(error) => {
                warn!(
                    "cannot start a guardian: if the balancer is killed, what its replicas have \
                     started goes on: {error}"
                );
                None
            }
        };
        let pipe = process.as_ref()?.pipe.clone();
        for group in self.groups.borrow().iter() {
            pipe.write(RUNS, *group);
        }
        Some(pipe)
    }

    fn tell(&self, kind: u8, group: i32) {
        if let Some(process) = &*self.process.borrow() {
            process.pipe.write(kind, group);
        }
    }

    /// The child that was to lead a group could not be started.
    pub fn forget_failed(&self) {
        self.tell(FAILED, 0);
    }

    /// Guards a group until the returned value is dropped.
    pub fn note_group(self: &Rc<Self>, group: Pid) -> GuardedGroup {
        let group = group.as_raw_nonzero().get();
        self.groups.borrow_mut().insert(group);
        self.tell(RUNS, group);
        GuardedGroup {
            guardian: Rc::clone(self),
            group,
        }
    }
}

/// A process group that ends with the balancer; to be dropped when it has ended.
#[derive(Debug)]
pub struct GuardedGroup {
    guardian: Rc<Guardian>,
    group: i32,
}

impl Drop for GuardedGroup {
    fn drop(&mut self) {
        self.guardian.groups.borrow_mut().remove(&self.group);
        self.guardian.tell(ENDED, self.group);
    }
}

fn start() -> io::Result<GuardianProcess> {
    let (read, write) = io::pipe()?;
    // A guardian that does not read must never hold up a start.
    rustix::io::ioctl_fionbio(&write, true)?;
    // The program that runs, even if its file has been replaced.
    let mut command = std::process::Command::new("/proc/self/exe");
    command
        .arg0("ringmaster")
        .arg(GUARD_COMMAND)
        .stdin(read)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C at a terminal is not meant for it.
        .process_group(0);
    let child = tokio::process::Command::from(command).spawn()?;
    debug!("guardian: process {:?}", child.id());
    Ok(GuardianProcess {
        _own: child.id().map(OwnChild::register),
        child,
        pipe: GuardianPipe(Arc::new(write)),
    })
}

/// Runs the guardian: reads groups from stdin, and at its end kills those that are left.
///
/// # Errors
///
/// It cannot set itself up.
pub fn guard() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _entered = runtime.enter();
    // A signal to all processes of a service comes while the balancer may still finish requests:
    // the guardian ends with it, and not before.
    let deadly = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ];
    let _ignored: Vec<_> = deadly.into_iter().map(signal).collect::<Result<_, _>>()?;
    for group in groups_at_the_end(io::stdin().lock()) {
        if let Some(group) = Pid::from_raw(group) {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    Ok(())
}

/// The groups that are still guarded when the records end.
fn groups_at_the_end(mut records: impl Read) -> HashSet<i32> {
    let (mut beginning, mut running) = (HashSet::new(), HashSet::new());
    let mut record: GroupRecord = Default::default();
    while records.read_exact(&mut record).is_ok() {
        let [kind, a, b, c, d] = record;
        let group = i32::from_ne_bytes([a, b, c, d]);
        match kind {
            // 1 would be every process that there is (kill(2)).
            BEGINS if group > 1 => {
                beginning.insert(group);
            }
            RUNS if group > 1 => {
                beginning.remove(&group);
                running.insert(group);
            }
            ENDED => {
                beginning.remove(&group);
                running.remove(&group);
            }
            FAILED => beginning.clear(),
            _ => {}
        }
    }
    running.extend(beginning);
    running
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_have_ended_or_never_began_are_not_guarded() {
        let records: Vec<u8> = [
            (BEGINS, 7),
            (RUNS, 7),
            (BEGINS, 8),
            (FAILED, 0),
            (BEGINS, 9),
            (RUNS, 9),
            (ENDED, 9),
            (RUNS, 1),
            (BEGINS, 0),
            (RUNS, -7),
            (BEGINS, 10),
        ]
        .into_iter()
        .flat_map(|(kind, group): (u8, i32)| [vec![kind], group.to_ne_bytes().to_vec()].concat())
        // A record that broke off.
        .chain([RUNS, 7])
        .collect();
        assert_eq!(groups_at_the_end(&records[..]), [7, 10].into());
    }
}
