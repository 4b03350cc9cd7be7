//! The process, under the names that every exporter uses.

use std::fmt;

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo, boot_time_secs, ticks_per_second};

use super::families::{Description, Families};

/// What the kernel says of us.
struct Usage {
    cpu_seconds: f64,
    start_time: f64,
    resident: u64,
    virtual_memory: u64,
    open_fds: u64,
    max_fds: u64,
    threads: i64,
}

fn usage() -> ProcResult<Usage> {
    let own = Process::myself()?;
    let stat = own.stat()?;
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
    let max_fds = match own.limits()?.max_open_files.soft_limit {
        LimitValue::Value(most) => most,
        LimitValue::Unlimited => u64::MAX,
    };
    Ok(Usage {
        cpu_seconds: seconds(stat.utime + stat.stime),
        start_time: boot_time_secs()? as f64 + seconds(stat.starttime),
        resident: stat.rss_bytes().get(),
        virtual_memory: stat.vsize,
        open_fds: own.fd_count()? as u64,
        max_fds,
        threads: stat.num_threads,
    })
}

pub(super) fn collect(families: &mut Families<'_>) -> fmt::Result {
    // Without /proc there is nothing to say.
    let Ok(usage) = usage() else { return Ok(()) };
    families.counter(
        Description::seconds(
            "process_cpu",
            "Processor time of the process, user and system.",
        ),
        usage.cpu_seconds,
    )?;
    families.gauge(
        Description::seconds(
            "process_start_time",
            "When the process began, since the epoch.",
        ),
        usage.start_time,
    )?;
    families.gauge(
        Description::bytes("process_resident_memory", "Memory that the process has."),
        usage.resident,
    )?;
    families.gauge(
        Description::bytes("process_virtual_memory", "Addresses that the process has."),
        usage.virtual_memory,
    )?;
    families.gauge(
        Description::plain("process_open_fds", "Files that the process has open."),
        usage.open_fds,
    )?;
    families.gauge(
        Description::plain("process_max_fds", "Files that it may have open."),
        usage.max_fds,
    )?;
    families.gauge(
        Description::plain("process_threads", "Threads of the process."),
        usage.threads,
    )
}
