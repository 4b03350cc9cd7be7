//! `ringmaster ctl` against a balancer that runs.

mod careful;
mod changes;
mod completions;
mod connection;
mod maintenance;
mod pause;
mod reports;
mod rollouts;
mod top;

use std::process::{Output, Stdio};

use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::support::Ringmaster;

/// A balancer with three replicas.
async fn start() -> Ringmaster {
    start_with(&[]).await
}

async fn start_with(args: &[&str]) -> Ringmaster {
    let common = ["--admin", "127.0.0.1:0"];
    Ringmaster::ready(&[&common, args].concat()).await
}

/// `ringmaster ctl`, without what the environment of the tests may say.
fn ctl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmaster"));
    command.arg("ctl").args(args);
    for (name, _) in std::env::vars() {
        if name.starts_with("RINGMASTER_") {
            command.env_remove(name);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(balancer: &Ringmaster, args: &[&str]) -> Output {
    let admin = balancer.admin_url().await;
    let args = [&["--admin", admin.as_str()], args].concat();
    ctl(&args).output().await.unwrap()
}

/// What a call that succeeds prints; no line is too wide for a terminal.
async fn text(balancer: &Ringmaster, args: &[&str]) -> String {
    let output = run(balancer, args).await;
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(!text.contains('\x1b'), "{text}");
    text
}

/// The JSON of a call that succeeds.
async fn json<T: DeserializeOwned>(balancer: &Ringmaster, args: &[&str]) -> T {
    let text = run(balancer, &[args, &["--json"]].concat()).await;
    assert_eq!(text.status.code(), Some(0), "{args:?}: {text:?}");
    serde_json::from_slice(&text.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {text:?}"))
}

/// What a call that fails says.
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"", "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(said.starts_with("error: "), "{said}");
    said
}

/// Runs a shell's command in a terminal of 80 by 24, which is fed with `input`.
fn in_terminal(command: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_ringmaster");
    let command =
        format!("stty rows 24 cols 80; ringmaster() {{ '{program}' \"$@\"; }}; {command}");
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm-256color")
        .env_remove("RINGMASTER_ADMIN_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    script
}
