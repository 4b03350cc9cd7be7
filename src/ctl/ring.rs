//! `ring` and `weight`: how keys are spread over replicas, and changes of it.

use std::collections::BTreeMap;

use awc::http::Method;

use super::careful::change_as_read;
use super::client::{ApiReply, CallCondition, CtlClient};
use super::error::CtlError;
use super::output::Output;
use crate::api::{ReplicaPatch, ReplicaStatus, RingChange, RingDetails, RingPatch, RingStatus};
use crate::ring_cli::text::{Grid, count, percent, ratio, sort_key};

/// Shows how the ring is built and who owns how much of it.
pub async fn show(client: &CtlClient, output: &Output) -> Result<(), CtlError> {
    let reply: ApiReply<RingDetails> = client.get(&client.fleet_path("/ring")).await?;
    output.reply(&reply, |details| {
        let weights = details.replicas.iter().map(|one| u64::from(one.weight));
        let weights = weights.sum::<u64>().max(1) as f64;
        let slots = f64::from(details.ring.slots);
        let mut grid = Grid::new(&["replica", "weight", "slots", "share", "of fair"]);
        let mut replicas: Vec<_> = details.replicas.iter().collect();
        replicas.sort_by_key(|replica| sort_key(&replica.name));
        for replica in replicas {
            let share = replica.slots as f64 / slots;
            let fair = f64::from(replica.weight) / weights;
            grid.row([
                replica.name.clone(),
                replica.weight.to_string(),
                count(replica.slots),
                percent(share),
                ratio(share / fair),
            ]);
        }
        format!(
            "{}; epoch {}\n\n{}",
            summary(&details.ring),
            details.epoch,
            grid.text()
        )
    });
    Ok(())
}

/// Changes the ring, or says what that would move.
pub async fn change(
    client: &CtlClient,
    output: &Output,
    patch: &RingPatch,
    dry_run: bool,
) -> Result<(), CtlError> {
    let ring = client.fleet_path("/ring");
    let reply: ApiReply<RingChange> = if dry_run {
        let path = format!("{ring}?dry_run=true");
        client
            .change(Method::PATCH, &path, CallCondition::None, patch)
            .await?
    } else {
        change_as_read(client, &ring, patch, |_: &RingDetails| Ok(())).await?
    };
    output.reply(&reply, change_text);
    Ok(())
}

/// Gives a replica another weight, or says what that would move.
pub async fn weigh(
    client: &CtlClient,
    output: &Output,
    name: &str,
    weight: u32,
    dry_run: bool,
) -> Result<(), CtlError> {
    if dry_run {
        let patch = RingPatch {
            weights: BTreeMap::from([(name.to_owned(), weight)]),
            ..RingPatch::default()
        };
        return change(client, output, &patch, true).await;
    }
    let patch = ReplicaPatch {
        weight: Some(weight),
        ..ReplicaPatch::default()
    };
    let path = client.replica_path(name, "");
    let reply: ApiReply<ReplicaStatus> =
        change_as_read(client, &path, &patch, |_: &ReplicaStatus| Ok(())).await?;
    output.reply(&reply, |replica| {
        format!("{} has weight {} now", replica.name, replica.weight)
    });
    Ok(())
}

/// `rendezvous: 262,144 slots, balance factor 2`.
fn summary(ring: &RingStatus) -> String {
    let virtual_servers = match ring.virtual_servers {
        Some(number) => format!(", {} virtual servers each", count(number.into())),
        None => String::new(),
    };
    let factor = match ring.balance_factor {
        Some(factor) => format!("balance factor {factor}"),
        None => "no balance factor".to_owned(),
    };
    let slots = count(ring.slots.into());
    format!(
        "{}: {slots} slots{virtual_servers}, {factor}",
        ring.strategy
    )
}

fn change_text(change: &RingChange) -> String {
    let mut grid = Grid::new(&["replica", "before", "after"]);
    let mut replicas: Vec<_> = change.ownership.iter().collect();
    replicas.sort_by_key(|one| sort_key(&one.replica));
    for one in replicas {
        grid.row([one.replica.clone(), percent(one.before), percent(one.after)]);
    }
    let moved = percent(change.moved_share);
    let what = match change.dry_run {
        true => format!("{moved} of the keys would move; nothing is changed"),
        false => format!("{moved} of the keys have moved"),
    };
    format!("{}\n{what}\n\n{}", summary(&change.ring), grid.text())
}
