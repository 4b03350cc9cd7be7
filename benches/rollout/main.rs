//! What a new version costs clients: rollout, undo, rollback and canary under constant load.
//!
//! ```text
//! make bench-rollout                                  # child processes, containers; 20,000 requests each
//! make bench-rollout ARGS='--requests 2000 --only process'
//! ```
//!
//! Sixteen clients send requests without a pause, one at a time; four of them ask for what takes 1.5 s.
//! Each change is begun under load, and the load goes on until it has sent `--requests`. Beside it, without
//! load: a changed compose file and `docker compose up`, and a script that starts a new container, waits
//! until it answers, and stops an old one, six times. It fails if a request fails.

mod load;
mod others;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "it is shared")]
mod support;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use load::Load;
use others::Image;
use serde_json::Value;
use support::{Process, RELEASE, exit_code, free_ports};

/// How many replicas are replaced.
const REPLICAS: u32 = 6;

#[derive(Parser)]
struct Options {
    /// How many requests each change has to live through.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// One of process and docker; else both.
    #[arg(long)]
    only: Option<String>,
    #[arg(long, default_value = RELEASE)]
    ringmaster: PathBuf,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A change of what replicas run.
struct Change {
    name: &'static str,
    /// What follows `ringmaster ctl rollout`.
    arguments: &'static [&'static str],
    /// The state in which it is over.
    until: &'static str,
    /// Whether it replaces every replica.
    replaces: bool,
}

const CANARY: Change = Change {
    name: "canary begun",
    arguments: &["start", "--env", "COLOUR=green", "--canary", "20%"],
    until: "canary",
    replaces: false,
};

const CHANGES: [Change; 7] = [
    Change {
        name: "rollout",
        arguments: &["start", "--env", "COLOUR=blue"],
        until: "done",
        replaces: true,
    },
    Change {
        name: "undone",
        arguments: &["undo"],
        until: "done",
        replaces: true,
    },
    Change {
        name: "broken version, rolled back",
        arguments: &["start", "--command", "/bin/sleep 0"],
        until: "rolled_back",
        replaces: false,
    },
    CANARY,
    Change {
        name: "canary undone",
        arguments: &["undo"],
        until: "rolled_back",
        replaces: false,
    },
    CANARY,
    Change {
        name: "canary promoted",
        arguments: &["promote"],
        until: "done",
        replaces: true,
    },
];

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), String> {
    let options = Options::parse();
    let is_wanted = |runtime: &str| options.only.as_deref().is_none_or(|only| only == runtime);
    println!("| what | took | a replica | requests | failed | the slowest short one |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut failures = Vec::new();
    if is_wanted("process") {
        failures.extend(changes("process", &[], &options)?);
    }
    if is_wanted("docker") {
        let image = Image::of(&options.ringmaster)?;
        let arguments = [
            "--image".to_owned(),
            image.name.clone(),
            format!("--fleet={}", image.name),
            "--pull=never".to_owned(),
        ];
        failures.extend(changes("docker", &arguments, &options)?);
        others::compose(&image)?;
        others::script(&image)?;
    }
    match failures.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(format!("{} requests failed: {first}", failures.len())),
    }
}

/// Makes every change on one runtime, and returns what failed.
fn changes(runtime: &str, arguments: &[String], options: &Options) -> Result<Vec<String>, String> {
    let [port, admin] = free_ports::<2>()?;
    let _balancer = Process::start(
        Command::new(&options.ringmaster)
            .args([
                format!("--listen=127.0.0.1:{port}"),
                format!("--admin=127.0.0.1:{admin}"),
                format!("--replicas={REPLICAS}"),
                "--rollout-monitor=0s".to_owned(),
            ])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
        port,
    )?;
    let ctl = |arguments: &[&str]| -> Result<Output, String> {
        let output = Command::new(&options.ringmaster)
            .arg("ctl")
            .args(arguments)
            .env("RINGMASTER_ADMIN_URL", format!("http://127.0.0.1:{admin}"))
            .output();
        output.map_err(|e| e.to_string())
    };
    wait_until("all replicas are ready", || {
        let status = ctl(&["replicas", "--json"])?.stdout;
        let ready = String::from_utf8_lossy(&status)
            .matches("\"state\":\"ready\"")
            .count();
        Ok(ready == REPLICAS as usize)
    })?;
    let mut failures = Vec::new();
    for change in CHANGES {
        let load = Load::start(port);
        load.wait_for(options.requests / 20);
        let begun = Instant::now();
        let output = ctl(&[&["rollout"], change.arguments].concat())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{}: {}: {said}", change.name, output.status));
        }
        wait_until(change.name, || {
            let listed = ctl(&["rollout", "status", "--json"])?.stdout;
            Ok(newest_state(&listed).as_deref() == Some(change.until))
        })?;
        let took = begun.elapsed();
        load.wait_for(options.requests);
        let result = load.stop();
        let each = match change.replaces {
            true => seconds(took / REPLICAS),
            false => "-".to_owned(),
        };
        println!(
            "| {runtime}: {} | {} | {each} | {} | {} | {} |",
            change.name,
            seconds(took),
            result.requests,
            result.failures.len(),
            seconds(result.slowest)
        );
        failures.extend(result.failures);
    }
    Ok(failures)
}

/// The state of the last rollout that has begun.
fn newest_state(listed: &[u8]) -> Option<String> {
    let listed: Value = serde_json::from_slice(listed).ok()?;
    let rollouts = listed["items"].as_array()?.iter();
    let newest = rollouts.max_by_key(|rollout| rollout["id"].as_u64())?;
    Some(newest["state"].as_str()?.to_owned())
}

/// Waits for a state, for a minute at most.
fn wait_until(what: &str, mut state: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(60);
    while !state()? {
        if Instant::now() > until {
            return Err(format!("it did not come true that {what}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
