//! One measurement: wrk against a proxy.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::proxies::Proxy;
use crate::scenario::Scenario;
use crate::usage::{self, Cpu};

/// The result of one run of wrk.
#[derive(Clone, Copy, Default)]
pub struct Sample {
    pub requests: u64,
    /// Responses other than 2xx and 3xx, and errors and time-outs of connections.
    pub failed: u64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// CPU time of the proxy per request.
    pub cpu_us: f64,
    /// The part of it outside the kernel: counted in ticks, so it takes several rounds.
    pub user_us: f64,
    pub resident_kib: u64,
}

const SCRIPT: &str = r#"
local bytes = tonumber(os.getenv("UPLOAD") or "0")
if bytes > 0 then
  wrk.method = "POST"
  wrk.body = string.rep("x", bytes)
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %f %f\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout + e.status,
    latency:percentile(50), latency:percentile(99)))
end
"#;

pub fn write_script(folder: &Path) -> Result<(), String> {
    let path = folder.join("wrk.lua");
    fs::write(&path, SCRIPT).map_err(|e| format!("{}: {e}", path.display()))
}

pub fn run(
    scenario: &Scenario,
    proxy: &Proxy,
    folder: &Path,
    seconds: u32,
) -> Result<Sample, String> {
    let mut wrk = Command::new("taskset");
    wrk.args(["-c", "1", "wrk", "--threads", "1", "--timeout", "10s"])
        .args(["--connections", &scenario.connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg("--script")
        .arg(folder.join("wrk.lua"))
        .env("UPLOAD", scenario.upload.to_string());
    if scenario.close {
        wrk.args(["--header", "Connection: close"]);
    }
    wrk.arg(format!("http://127.0.0.1:{}{}", proxy.port, scenario.path));

    let before = Cpu::of(proxy.pid());
    let output = wrk.output().map_err(|e| format!("wrk: {e}"))?;
    let used = Cpu::of(proxy.pid()).since(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    let numbers: Vec<f64> = line
        .ok_or_else(|| format!("wrk at {}: {text}", proxy.name))?
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    let [requests, duration_us, failed, p50_us, p99_us] = numbers[..] else {
        return Err(format!("wrk at {}: {text}", proxy.name));
    };
    let cpu_us = used.ns as f64 / 1e3 / requests.max(1.0);
    Ok(Sample {
        requests: requests as u64,
        failed: failed as u64,
        per_second: requests / (duration_us / 1e6),
        p50_us,
        p99_us,
        cpu_us,
        user_us: cpu_us * used.user_share(),
        resident_kib: usage::resident_kib(proxy.pid()),
    })
}
