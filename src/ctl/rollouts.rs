//! `rollout`: another version for every replica, and what has become of it.

use std::time::Duration;

use awc::http::Method;
use serde_json::json;

use super::client::{ApiReply, CallCondition, CtlClient};
use super::error::CtlError;
use super::output::{Output, ago, plain};
use crate::api::{ListPage, NewRollout, Rollout, RolloutCanary, RolloutState, Timestamp};
use crate::ring_cli::text::Grid;

/// The pause between two looks at a rollout that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What the list of rollouts is laid out for: a terminal of the usual width.
const WIDTH: u16 = 80;

/// Begins a rollout; with `wait`, returns when it has ended, and fails unless it was done. One with a canary
/// goes on when it is promoted: `wait` returns when the canary has its keys.
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
        if is_over || now.value.state == RolloutState::Canary {
            output.reply(&now, text);
            return match now.value.state {
                RolloutState::Done | RolloutState::Canary => Ok(()),
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
    output.reply(&reply, |page| listed(&page.items, Timestamp::now()));
    Ok(())
}

/// Rollouts as a table, below it why some were not done, and canaries.
fn listed(rollouts: &[Rollout], now: Timestamp) -> String {
    if rollouts.is_empty() {
        return "there has been no rollout".to_owned();
    }
    let columns = ["id", "state", "done", "started", "changes"];
    let mut grid = Grid::with_texts(&columns, 1..5).within(WIDTH);
    for rollout in rollouts {
        grid.row([
            rollout.id.to_string(),
            rollout.state.to_string(),
            progress(rollout),
            ago(now, rollout.started_at),
            plain(&rollout.changes.join("; ")),
        ]);
    }
    // A sentence has no room beside the rest.
    let reasons = rollouts.iter().filter_map(|rollout| {
        let reason = plain(rollout.reason.as_deref()?);
        Some(format!("rollout {}: {reason}\n", rollout.id))
    });
    let reasons: String = reasons.collect();
    let canaries = rollouts.iter().filter_map(|r| r.canary.as_ref());
    let parts = [grid.text(), reasons].into_iter();
    let parts: Vec<_> = parts.chain(canaries.map(comparison)).collect();
    let parts = parts.iter().map(|part| part.trim_end());
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

/// Pauses, resumes, promotes or undoes a rollout: by default the last one.
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

/// A canary beside the replicas.
fn comparison(canary: &RolloutCanary) -> String {
    let instances = canary.instances.iter().map(|instance| {
        let why = instance.last_error.as_deref().map(plain);
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let state = if instance.ready { "ready" } else { "not ready" };
        format!("{} {state}{why}", instance.name)
    });
    let instances: Vec<_> = instances.collect();
    let columns = ["ring", "requests", "failed", "error rate", "p50", "p99"];
    let mut grid = Grid::with_texts(&columns, 0..1);
    let rings = [
        ("canary", &canary.served),
        ("replicas", &canary.served_by_replicas),
    ];
    for (ring, served) in rings {
        let latency = |ms: Option<f64>| ms.map_or_else(String::new, |ms| format!("{ms:.1} ms"));
        grid.row([
            ring.to_owned(),
            served.requests.to_string(),
            served.failed.to_string(),
            format!("{:.2} %", served.error_rate * 100.0),
            latency(served.latency_p50_ms),
            latency(served.latency_p99_ms),
        ]);
    }
    format!(
        "{} of the keys go to the canary ({})\n{}",
        canary.share,
        instances.join("; "),
        grid.text()
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_below_the_table_which_fits_a_terminal() {
        let rollout = |id, state, changes: &[&str], reason: Option<&str>| Rollout {
            id,
            state,
            reason: reason.map(str::to_owned),
            changes: changes.iter().map(|change| (*change).to_owned()).collect(),
            started_at: Timestamp::EPOCH,
            finished_at: Some(Timestamp::EPOCH),
            done: None,
            replicas: 3,
            in_hand: Vec::new(),
            canary: None,
            balancer: None,
        };
        let image = "image registry.example/shop:1.4 -> registry.example/shop:1.5";
        let why =
            "the new instance of Server1: no good heartbeat within 5 s of its start: status 503";
        let rollouts = [
            rollout(8, RolloutState::Done, &["env: COLOUR is new"], None),
            rollout(
                9,
                RolloutState::RolledBack,
                &[image, "port 80 -> 81"],
                Some(why),
            ),
        ];
        let listed = listed(&rollouts, Timestamp::EPOCH);
        let (table, reasons) = listed.split_once("\n\n").unwrap();
        let width = table.lines().map(|line| line.chars().count()).max();
        assert!(
            width.is_some_and(|width| width <= usize::from(WIDTH)),
            "{table}"
        );
        assert_eq!(table.lines().count(), 5, "{table}");
        assert_eq!(reasons, format!("rollout 9: {why}"));
    }
}
