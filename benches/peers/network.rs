//! Runs the benchmark in a network namespace of its own.
//!
//! Everything goes over the loopback device, where it passes the machine's packet filter. With a
//! Docker engine the filter checks each packet of each request, which costs half as much as the
//! proxies themselves and dilutes their differences. A network namespace of its own has a
//! loopback device without a filter.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set for the run inside the namespace.
const MARK: &str = "RINGMASTER_BENCH_NETWORK";

/// Restarts the run in a network namespace of its own. Where that is not allowed (it needs root),
/// prints a message and continues in the machine's network.
pub fn enter() {
    if env::var_os(MARK).is_some() {
        return;
    }
    let mut tried = Command::new("unshare");
    tried.args(["--net", "ip", "link", "set", "lo", "up"]);
    let tried = tried.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let (true, Ok(program)) = (
        tried.is_ok_and(|status| status.success()),
        env::current_exe(),
    ) else {
        eprintln!("no network namespace of its own: the machine's packet filter takes part");
        return;
    };
    let error = Command::new("unshare")
        .args([
            "--net",
            "sh",
            "-c",
            r#"ip link set lo up && exec "$0" "$@""#,
        ])
        .arg(program)
        .args(env::args_os().skip(1))
        .env(MARK, "own")
        .exec();
    eprintln!("no network namespace of its own: {error}");
}

/// The network of the run, for its report.
pub fn name() -> &'static str {
    match env::var_os(MARK) {
        Some(_) => "in a network namespace of its own, without a packet filter",
        None => "in the machine's network, with its packet filter",
    }
}
