//! What a child process does between fork and exec.

use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use super::open_files;

/// Makes the kernel kill the child when the process that starts it ends, however it ends, and
/// restores the limit on open files that this process was started with.
///
/// Only for a child that is started from the process's first thread: the kernel goes by the end
/// of the thread (PR_SET_PDEATHSIG, prctl(2)).
#[expect(unsafe_code, reason = "`pre_exec` is declared so")]
pub fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed
    // (signal-safety(7)); these three are plain system calls.
    unsafe {
        command.pre_exec(move || {
            open_files::restore()?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have ended before that call.
            if getppid() == Some(parent) {
                Ok(())
            } else {
                Err(io::Error::other("the balancer has ended"))
            }
        });
    }
}

/// Keeps the balancer's secrets out of a child's environment, but for variables that `env` sets for it.
pub fn remove_own_secrets(command: &mut Command, env: &[(String, String)]) {
    for (name, _) in std::env::vars_os() {
        let is_ours = name.as_encoded_bytes().starts_with(b"RINGMASTER_ADMIN_");
        if is_ours && !env.iter().any(|(key, _)| name == *key.as_str()) {
            command.env_remove(name);
        }
    }
}

/// Makes the child write a record of its own process id to a pipe before it can start anything
/// itself. If the pipe's reader is gone or does not read, the child starts all the same.
///
/// `record` must do nothing but compute.
#[expect(unsafe_code, reason = "`pre_exec` is declared so")]
pub fn write_pid<const N: usize>(
    command: &mut Command,
    pipe: Arc<PipeWriter>,
    record: fn(i32) -> [u8; N],
) {
    // SAFETY: as above; these are two plain system calls.
    unsafe {
        command.pre_exec(move || {
            let record = record(getpid().as_raw_nonzero().get());
            let _ = rustix::io::write(&*pipe, &record);
            Ok(())
        });
    }
}
