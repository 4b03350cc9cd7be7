//! What a proxy's processes have used, from /proc.

use std::fs;

/// The process and all that come from it.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&pid) = all.get(at) {
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        all.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        at += 1;
    }
    all
}

/// CPU time of a process, its children and all their threads.
#[derive(Clone, Copy, Default)]
pub struct Cpu {
    /// By schedstat, because ticks miss what happens between two of them.
    pub ns: u64,
    /// Ticks (of 10 ms) outside the kernel, as /proc/PID/stat counts them.
    user_ticks: u64,
    /// Ticks in the kernel.
    kernel_ticks: u64,
}

impl Cpu {
    /// What has been used by now.
    pub fn of(pid: u32) -> Self {
        let mut sum = Self::default();
        for pid in family(pid) {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
                continue;
            };
            for task in tasks.flatten() {
                let read = |name: &str| fs::read_to_string(task.path().join(name));
                let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
                let stat = read("schedstat").unwrap_or_default();
                sum.ns += number(stat.split_whitespace().next()).unwrap_or(0);
                // The name, in brackets, may contain spaces; the times are fields 14 and 15.
                let stat = read("stat").unwrap_or_default();
                let behind_name = stat.rsplit(") ").next().unwrap_or_default();
                let mut times = behind_name.split_whitespace().skip(11);
                sum.user_ticks += number(times.next()).unwrap_or(0);
                sum.kernel_ticks += number(times.next()).unwrap_or(0);
            }
        }
        sum
    }

    /// What has been used since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            ns: self.ns.saturating_sub(before.ns),
            user_ticks: self.user_ticks.saturating_sub(before.user_ticks),
            kernel_ticks: self.kernel_ticks.saturating_sub(before.kernel_ticks),
        }
    }

    /// The share of it outside the kernel.
    pub fn user_share(self) -> f64 {
        self.user_ticks as f64 / (self.user_ticks + self.kernel_ticks).max(1) as f64
    }
}

/// Resident memory of all processes, in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    family(pid).into_iter().filter_map(of).sum()
}
