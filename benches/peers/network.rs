//! A network of the run's own.
//!
//! Everything goes over the loopback device, and there it passes the machine's packet filter:
//! where a Docker engine runs, that looks at each packet of each request, which costs as much
//! as half of what the proxies do themselves and dilutes what they differ in. In a network
//! namespace of its own the run has a loopback device without a filter.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Says to the run that it has one.
const MARK: &str = "RINGMASTER_BENCH_NETWORK";

/// Begins the run again in a network of its own, if it has none; where that is not allowed (it
/// takes root), it is said, and the run goes on in the machine's.
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

/// In which network the run is, for its report.
pub fn name() -> &'static str {
    match env::var_os(MARK) {
        Some(_) => "in a network namespace of its own, without a packet filter",
        None => "in the machine's network, with its packet filter",
    }
}
