//! One child process, from its start to its end.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};

use super::guardian::{GuardedGroup, Guardian};
use super::output;
use super::output_tail::ChildRecord;
use crate::fleet::{Exit, InstanceId};
use crate::runtime::RuntimeError;
use crate::sys::child::{die_with_parent, remove_own_secrets};
use crate::sys::orphans::OwnChild;

/// An order to stop the child.
pub struct StopOrder {
    /// The time between SIGTERM and SIGKILL; none at all skips SIGTERM.
    pub grace: Duration,
    /// Completed when the child is gone.
    pub done: oneshot::Sender<()>,
}

/// A child that runs.
pub struct Child {
    process: tokio::process::Child,
    group: Pid,
    _own: OwnChild,
    _guarded: Option<GuardedGroup>,
}

impl Child {
    /// Starts a program as the leader of a process group of its own, which the guardian ends if
    /// the balancer cannot.
    pub fn spawn(
        id: InstanceId,
        command_line: &[OsString],
        env: &[(String, String)],
        record: &Rc<ChildRecord>,
        guardian: Option<&Rc<Guardian>>,
    ) -> Result<Self, RuntimeError> {
        let Some((program, arguments)) = command_line.split_first() else {
            return Err(RuntimeError("the command is empty".to_owned()));
        };
        let mut command = std::process::Command::new(program);
        command
            .args(arguments)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        remove_own_secrets(&mut command, env);
        die_with_parent(&mut command);
        if let Some(pipe) = guardian.and_then(|guardian| guardian.pipe()) {
            pipe.announce_group_of(&mut command);
        }

        let mut process = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                if let Some(guardian) = guardian {
                    guardian.forget_failed();
                }
                RuntimeError(format!("cannot run {program:?}: {error}"))
            })?;
        let group = process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| RuntimeError("ended before it began".to_owned()))?;
        let own = OwnChild::register(group.as_raw_nonzero().get().unsigned_abs());
        let guarded = guardian.map(|guardian| guardian.note_group(group));
        if let Some(stdout) = process.stdout.take() {
            let record = Rc::clone(record);
            actix::spawn(output::forward(id.replica.clone(), stdout, record));
        }
        if let Some(stderr) = process.stderr.take() {
            actix::spawn(output::forward(id.replica, stderr, Rc::clone(record)));
        }
        Ok(Self {
            process,
            group,
            _own: own,
            _guarded: guarded,
        })
    }

    /// Its process id: it leads the group that is named after it.
    pub fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for the child's end. Returns how it ended if it did so by itself; if it was ordered
    /// to, all orders are answered. `record` is given how it ended if it had done so by itself.
    pub async fn live(
        mut self,
        orders: &mut mpsc::UnboundedReceiver<StopOrder>,
        record: &ChildRecord,
    ) -> Option<Exit> {
        let order = tokio::select! {
            status = self.process.wait() => {
                self.end_the_rest();
                let exit = describe(status);
                record.ended(Some(exit.clone()));
                return Some(exit);
            }
            Some(order) = orders.recv() => order,
        };
        // It may have ended before it was told to: then that is how it ended.
        let own_end = self.process.try_wait();
        let own_end = own_end.ok().flatten().map(|status| describe(Ok(status)));
        let mut waiting = vec![order.done];
        let mut deadline = tokio::time::Instant::now() + order.grace;
        if order.grace.is_zero() {
            self.signal(Signal::KILL);
        } else {
            self.signal(Signal::TERM);
            // A stopped process (SIGSTOP) acts on SIGTERM only once it goes on.
            self.signal(Signal::CONT);
        }
        loop {
            tokio::select! {
                _ = self.process.wait() => break,
                () = tokio::time::sleep_until(deadline) => {
                    self.signal(Signal::KILL);
                    // SIGKILL can take as long as the kernel likes, but not for ever;
                    // another one does no harm.
                    deadline += Duration::from_secs(1);
                }
                Some(order) = orders.recv() => {
                    deadline = deadline.min(tokio::time::Instant::now() + order.grace);
                    waiting.push(order.done);
                }
            }
        }
        self.end_the_rest();
        record.ended(own_end);
        for done in waiting {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
        None
    }

    /// To the child and to whatever it has started.
    fn signal(&self, signal: Signal) {
        // The group may be gone this very moment, which is what is wanted.
        let _ = rustix::process::kill_process_group(self.group, signal);
    }

    /// What the child has started does not outlive it.
    fn end_the_rest(&self) {
        self.signal(Signal::KILL);
    }
}

fn describe(status: io::Result<ExitStatus>) -> Exit {
    match status {
        Ok(status) => Exit {
            code: status.code(),
            signal: status.signal(),
            out_of_memory: false,
        },
        Err(_) => Exit::default(),
    }
}
