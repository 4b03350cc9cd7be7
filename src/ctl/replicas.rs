//! `add`, `rm` and `scale`: more and fewer replicas.

use std::collections::BTreeSet;

use super::careful::{change_as_read, post_once};
use super::client::{ApiReply, CtlClient};
use super::error::CtlError;
use super::instances::check_exist;
use super::output::Output;
use crate::api::{AddedReplicas, FleetPatch, FleetStatus, NewReplicas, RingDetails};
use crate::ring::{Member, RingSpec, SlotTable, Weight};
use crate::ring_cli::Diff;
use crate::ring_cli::text::{names as listed, percent, replicas as in_words};

/// Adds replicas; returns when they are on the ring.
pub async fn add(client: &CtlClient, output: &Output, new: &NewReplicas) -> Result<(), CtlError> {
    let path = client.fleet_path("/replicas");
    let reply: ApiReply<AddedReplicas> = post_once(client, &path, new).await?;
    output.reply(&reply, |added| {
        let total = in_words(added.replicas.len());
        format!("added {}; {total} now", listed(&added.added))
    });
    Ok(())
}

/// Removes replicas, one after the other; says before what moves.
pub async fn remove(
    client: &CtlClient,
    output: &Output,
    names: &[String],
    yes: bool,
) -> Result<(), CtlError> {
    let mut names = names.to_owned();
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let ring: ApiReply<RingDetails> = client.get(&client.fleet_path("/ring")).await?;
    let effect = effect_of_removal(&ring.value, &names);
    if effect.is_none() {
        check_exist(client, &names).await?;
    }
    let effect = effect.unwrap_or_else(|| format!("removing {}", listed(&names)));
    output.confirm(&effect, yes)?;
    for name in &names {
        client.delete(&client.replica_path(name, "")).await?;
        output.say(&format!("removed {name}"));
    }
    Ok(())
}

/// Adds as many replicas as are missing, or removes those too many; says before what moves.
pub async fn scale(
    client: &CtlClient,
    output: &Output,
    replicas: usize,
    yes: bool,
) -> Result<(), CtlError> {
    let path = client.fleet_path("");
    let patch = FleetPatch {
        desired_replicas: Some(replicas),
        ..FleetPatch::default()
    };
    let confirm = |fleet: &FleetStatus| match effect_of_scaling(fleet, replicas) {
        Some(effect) => output.confirm(&effect, yes),
        None => Ok(()),
    };
    let reply: ApiReply<FleetStatus> = change_as_read(client, &path, &patch, confirm).await?;
    output.reply(&reply, |fleet| {
        let total = in_words(fleet.desired_replicas);
        format!("{total} now, {} ready", fleet.ready_replicas)
    });
    Ok(())
}

/// What having fewer replicas moves, as far as that is certain before the balancer has chosen them.
fn effect_of_scaling(fleet: &FleetStatus, replicas: usize) -> Option<String> {
    let removed = fleet.desired_replicas.checked_sub(replicas)?;
    if removed == 0 {
        return None;
    }
    let drained = fleet
        .replicas
        .iter()
        .filter(|replica| replica.drained)
        .count();
    let active = fleet.desired_replicas.saturating_sub(drained).max(1);
    let moved = percent(removed.saturating_sub(drained) as f64 / active as f64);
    Some(format!(
        "{removed} of {} are removed, drained ones first, then at random: about {moved} of the keys \
         move",
        in_words(fleet.desired_replicas)
    ))
}

/// What a removal moves, computed as the balancer does it; none if a replica does not exist.
fn effect_of_removal(ring: &RingDetails, leaving: &[String]) -> Option<String> {
    let member = |name: &str, weight| {
        let (name, weight) = (name.parse().ok()?, Weight::new(weight)?);
        Some(Member { name, weight })
    };
    let members = (ring.replicas.iter()).map(|replica| member(&replica.name, replica.weight));
    let before: Vec<Member> = members.collect::<Option<_>>()?;
    let stays = |member: &&Member| leaving.iter().all(|name| member.name.as_str() != name);
    let after: Vec<Member> = before.iter().filter(stays).cloned().collect();
    if before.len() - after.len() != leaving.len() {
        return None;
    }
    let who = listed(leaving);
    if after.is_empty() {
        return Some(format!(
            "{who}: no replica is left, and no request is served"
        ));
    }
    let strategy = ring.ring.strategy.parse().ok()?;
    let spec = RingSpec::new(strategy, Some(ring.ring.slots), ring.ring.virtual_servers).ok()?;
    let [before, after] = [&before, &after].map(|members| SlotTable::build(&spec, members).ok());
    let (before, after) = (before?, after?);
    let moved = percent(Diff::new(&before, &after).moved_share);
    let left = in_words(after.members().len());
    Some(format!("{who}: {moved} of the keys move; {left} left"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{RingMember, RingStatus};

    fn ring(weights: &[(&str, u32)]) -> RingDetails {
        let member = |(name, weight): &(&str, u32)| RingMember {
            name: (*name).to_owned(),
            weight: *weight,
            slots: 0,
        };
        RingDetails {
            epoch: 1,
            ring: RingStatus {
                strategy: "rendezvous".to_owned(),
                slots: 65_536,
                virtual_servers: None,
                balance_factor: None,
            },
            replicas: weights.iter().map(member).collect(),
            owners: Vec::new(),
        }
    }

    #[test]
    fn effect_of_a_removal_is_the_share_that_leaves() {
        let effect = |weights: &[_], leaving: &[&str]| {
            let leaving: Vec<String> = leaving.iter().map(|name| (*name).to_owned()).collect();
            effect_of_removal(&ring(weights), &leaving)
        };
        let half = effect(&[("S1", 1), ("S2", 1), ("S3", 2)], &["S3"]).unwrap();
        let share = half.strip_prefix("S3: ").unwrap();
        let share: f64 = share.split(' ').next().unwrap().parse().unwrap();
        assert!((49.0..52.0).contains(&share), "{half}");
        assert!(
            half.ends_with("of the keys move; 2 replicas left"),
            "{half}"
        );
        let none = effect(&[("S1", 1)], &["S1"]).unwrap();
        assert!(none.contains("no replica is left"), "{none}");
        assert_eq!(effect(&[("S1", 1)], &["S2"]), None);
    }
}
