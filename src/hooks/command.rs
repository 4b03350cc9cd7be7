//! Events on the stdin of a command.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::DeliveryError;
use crate::api::ReplicaEvent;
use crate::sys::child::{die_with_parent, remove_own_secrets};
use crate::sys::orphans::OwnChild;

/// How many bytes of a command's stderr are read for the log.
const MAX_OUTPUT: u64 = 4 * 1024;

/// Runs a command for an event, whose JSON is `body`. It is killed if this is dropped before its end.
pub async fn run(
    words: &[String],
    event: &ReplicaEvent,
    body: Vec<u8>,
) -> Result<(), DeliveryError> {
    let wrong = |error: std::io::Error| DeliveryError::Temporary(error.to_string());
    let Some((program, arguments)) = words.split_first() else {
        return Err(DeliveryError::Refused("no command".to_owned()));
    };
    let mut command = std::process::Command::new(program);
    let generation = event.generation.map(|generation| generation.to_string());
    command
        .args(arguments)
        .env("RINGMASTER_EVENT", event.event.to_string())
        .env(
            "RINGMASTER_REPLICA",
            event.replica.as_deref().unwrap_or_default(),
        )
        .env("RINGMASTER_GENERATION", generation.unwrap_or_default())
        .env(
            "RINGMASTER_REASON",
            event.reason.as_deref().unwrap_or_default(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    remove_own_secrets(&mut command, &[]);
    die_with_parent(&mut command);
    let mut child = Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(wrong)?;
    let _registered = child.id().map(OwnChild::register);
    if let Some(mut stdin) = child.stdin.take() {
        // It may not want to read it.
        let _ = stdin.write_all(&body).await;
    }
    let mut output = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = (&mut stderr)
            .take(MAX_OUTPUT)
            .read_to_end(&mut output)
            .await;
        // What follows is read, too, and thrown away: the pipe must not fill.
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    let status = child.wait().await.map_err(wrong)?;
    if status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output);
    let printed = output.lines().last().unwrap_or_default();
    let printed = match printed {
        "" => String::new(),
        line => format!("; it printed: {line:?}"),
    };
    Err(DeliveryError::Temporary(format!("{status}{printed}")))
}
