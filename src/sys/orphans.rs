//! What a process with id 1 owes its orphans.
//!
//! The kernel hands a process whose parent has ended to process 1, which has to wait for its end:
//! otherwise it stays as a zombie and counts in the limit on processes. In a container the
//! balancer is process 1. Its own children are waited for by those that started them, who need
//! their exit status: only what is not registered here is reaped.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use log::{debug, warn};
use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// From one look for zombies to the next, however many end.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

thread_local! {
    static OWN: RefCell<HashSet<u32>> = RefCell::default();
}

/// Keeps a child of ours from being reaped as an orphan. To be made on the control thread right
/// after the child has been started, and dropped when it has been waited for.
#[derive(Debug)]
pub struct OwnChild(u32);

impl OwnChild {
    /// Registers the child of this process id.
    pub fn register(pid: u32) -> Self {
        OWN.with_borrow_mut(|own| own.insert(pid));
        Self(pid)
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        OWN.with_borrow_mut(|own| own.remove(&self.0));
    }
}

/// Reaps orphans for as long as it is polled, on the control thread.
pub async fn reap() {
    let mut child_ended = match signal(SignalKind::child()) {
        Ok(child_ended) => child_ended,
        Err(error) => {
            warn!("orphaned processes are not reaped: {error}");
            return;
        }
    };
    loop {
        reap_zombies();
        child_ended.recv().await;
        tokio::time::sleep(MIN_INTERVAL).await;
    }
}

fn reap_zombies() {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return;
    };
    let own_pid = std::process::id();
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let is_orphan = is_zombie_of(own_pid, &stat) && OWN.with_borrow(|own| !own.contains(&pid));
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| is_orphan)
            && let Ok(Some(_)) = waitpid(Some(pid), WaitOptions::NOHANG)
        {
            debug!("reaped the orphan {}", pid.as_raw_nonzero());
        }
    }
}

/// Reads `/proc/PID/stat`. The name in it may hold blanks and parentheses.
fn is_zombie_of(parent: u32, stat: &str) -> bool {
    let Some((_, behind_name)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = behind_name.split_whitespace();
    fields.next() == Some("Z") && fields.next().and_then(|pid| pid.parse().ok()) == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_known_by_its_state_and_its_parent() {
        for (stat, is_zombie) in [
            ("7 (sleep) Z 1 7 7 0 -1", true),
            ("7 (a) b) Z 1 7 7 0 -1", true),
            ("7 (sleep) S 1 7 7 0 -1", false),
            ("7 (Z) S 1 7 7 0 -1", false),
            ("7 (sleep) Z 12 7 7 0 -1", false),
            ("", false),
        ] {
            assert_eq!(is_zombie_of(1, stat), is_zombie, "{stat}");
        }
    }

    #[actix_web::test]
    async fn a_registered_child_keeps_its_exit_status_and_another_is_reaped() {
        let child = |registered: bool| {
            let child = std::process::Command::new("sh")
                .args(["-c", "exit 7"])
                .spawn()
                .unwrap();
            let own = registered.then(|| OwnChild::register(child.id()));
            (child, own)
        };
        let (mut own, registration) = child(true);
        let (other, _) = child(false);
        let is_zombie = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            is_zombie_of(std::process::id(), &stat)
        };
        while !is_zombie(own.id()) || !is_zombie(other.id()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reap_zombies();
        assert!(!is_zombie(other.id()));
        assert_eq!(own.wait().unwrap().code(), Some(7));
        drop(registration);
        assert!(OWN.with_borrow(HashSet::is_empty));
    }
}
