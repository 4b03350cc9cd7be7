//! `rollout`: another version for every replica, and what has become of it.

use std::time::Duration;

use awc::http::Method;
use serde_json::json;

use super::client::{ApiReply, CallCondition, CtlClient};
use super::error::CtlError;
use super::output::{Output, ago, plain};
use crate::api::{ListPage, NewRollout, Rollout, RolloutState, Timestamp};
use crate::ring_cli::text::Grid;

/// The pause between two looks at a rollout that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Begins a rollout; with `wait`, returns when it has ended, and fails unless it was done.
pub async fn start(
    client: &CtlClient,
    output: &Output,
    new: &NewRollout,
    wait: bool,
) -> Result<(), CtlError> {
    let path = client.fleet_path("/rollouts");
    let begun: ApiReply<Rollout> = client
        .change(Method::POST, &path, CallCondition::None, new)
        .await?;
    if !wait {
        output.reply(&begun, text);
        return Ok(());
    }
    output.say(&text(&begun.value));
    let mut said = begun.value.clone();
    let path = client.fleet_path(&format!("/rollouts/{}", begun.value.id));
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let now: ApiReply<Rollout> = client.get(&path).await?;
        let is_over = now.value.state.is_over();
        let is_news = (now.value.state, now.value.done) != (said.state, said.done);
        if is_over {
            output.reply(&now, text);
            return match now.value.state {
                RolloutState::Done => Ok(()),
                _ => Err(CtlError::NotRolledOut(now.value.id)),
            };
        }
        if is_news {
            output.say(&text(&now.value));
            said = now.value;
        }
    }
}

/// Lists the rollout under way and the last ones, the oldest first.
pub async fn status(client: &CtlClient, output: &Output) -> Result<(), CtlError> {
    let reply = list(client).await?;
    output.reply(&reply, |page| {
        let now = Timestamp::now();
        let columns = ["id", "state", "done", "started", "changes", "reason"];
        let mut grid = Grid::with_texts(&columns, 1..6);
        for rollout in &page.items {
            grid.row([
                rollout.id.to_string(),
                rollout.state.to_string(),
                progress(rollout),
                ago(now, rollout.started_at),
                plain(&rollout.changes.join("; ")),
                rollout.reason.as_deref().map_or_else(String::new, plain),
            ]);
        }
        match page.items.is_empty() {
            true => "there has been no rollout".to_owned(),
            false => grid.text(),
        }
    });
    Ok(())
}

/// Pauses, resumes or undoes a rollout: by default the last one.
pub async fn direct(
    client: &CtlClient,
    output: &Output,
    id: Option<u64>,
    command: &str,
) -> Result<(), CtlError> {
    let id = match id {
        Some(id) => id,
        // Of those that have ended, the last one that was done is the one to undo.
        None => {
            let rollouts = list(client).await?.value.items;
            let mut latest = rollouts.iter().rev();
            let is_meant = |one: &&Rollout| {
                one.finished_at.is_none() || command == "undo" && one.state == RolloutState::Done
            };
            latest.find(is_meant).map_or(0, |rollout| rollout.id)
        }
    };
    let path = client.fleet_path(&format!("/rollouts/{id}/{command}"));
    let none = CallCondition::None;
    let reply: ApiReply<Rollout> = client.change(Method::POST, &path, none, &json!({})).await?;
    output.reply(&reply, text);
    Ok(())
}

async fn list(client: &CtlClient) -> Result<ApiReply<ListPage<Rollout>>, CtlError> {
    client.get(&client.fleet_path("/rollouts?limit=1000")).await
}

fn progress(rollout: &Rollout) -> String {
    match rollout.done {
        Some(done) => format!("{done}/{}", rollout.replicas),
        None => String::new(),
    }
}

/// A rollout as a line.
pub fn text(rollout: &Rollout) -> String {
    let mut text = format!("rollout {} is {}", rollout.id, rollout.state);
    if let Some(done) = rollout.done {
        text.push_str(&format!(", {done} of {} replicas", rollout.replicas));
    }
    let why = rollout.reason.as_deref().map(plain);
    let why = why.unwrap_or_else(|| plain(&rollout.changes.join("; ")));
    format!("{text}: {why}")
}
