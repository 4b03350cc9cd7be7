//! Replicas: how they are, and what has happened to them.

use std::fmt;
use std::sync::Arc;

use super::Scrape;
use super::families::{Description, Families};
use crate::api::ReplicaState;
use crate::fleet::ReplicaStatus;
use crate::runtime::InstanceHandle;
use crate::upstream::Instance;

/// The values of the label `state`.
const STATES: [(ReplicaState, &str); 9] = [
    (ReplicaState::Starting, "starting"),
    (ReplicaState::Ready, "ready"),
    (ReplicaState::Drained, "drained"),
    (ReplicaState::Unready, "unready"),
    (ReplicaState::Hung, "hung"),
    (ReplicaState::Restarting, "restarting"),
    (ReplicaState::BackingOff, "backing_off"),
    (ReplicaState::Draining, "draining"),
    (ReplicaState::Stopping, "stopping"),
];

/// One replica of a scrape.
struct Seen<'s> {
    name: String,
    status: &'s ReplicaStatus,
    instance: Option<Arc<Instance>>,
}

/// A number about one of them.
type Figure = fn(&Seen<'_>) -> f64;

pub(super) fn collect(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let view = &scrape.view;
    let seen: Vec<Seen<'_>> = (scrape.fleet.replicas.iter())
        .map(|status| {
            let instance = view.any_of(&status.id.replica);
            Seen {
                name: status.id.replica.to_string(),
                status,
                // One that is being replaced may still be there.
                instance: instance.filter(|instance| *instance.id() == status.id),
            }
        })
        .collect();
    let of_each = |figure: Figure| {
        seen.iter()
            .map(move |seen| ([("replica", seen.name.as_str())], figure(seen)))
    };
    let figures: [(&str, &str, Figure); 8] = [
        (
            "replica_up",
            "Whether the replica is ready: it gets requests.",
            |seen| flag(seen.status.state == ReplicaState::Ready),
        ),
        (
            "replica_generation",
            "Counts the instances that have played the replica.",
            |seen| seen.status.id.generation as f64,
        ),
        (
            "replica_weight",
            "Its share of the ring relative to the others.",
            |seen| f64::from(seen.status.weight.get()),
        ),
        (
            "replica_consecutive_deaths",
            "Deaths since it was last healthy for a minute.",
            |seen| f64::from(seen.status.consecutive_deaths),
        ),
        (
            "replica_degraded",
            "Whether it dies so often that it is started once a minute only.",
            |seen| flag(seen.status.degraded),
        ),
        (
            "replica_in_flight_requests",
            "Requests that it is working on, tunnels included.",
            |seen| {
                seen.instance
                    .as_ref()
                    .map_or(0.0, |instance| f64::from(instance.in_flight()))
            },
        ),
        (
            "replica_tunnels",
            "Connections to it that have switched to another protocol.",
            |seen| {
                seen.instance
                    .as_ref()
                    .map_or(0.0, |instance| f64::from(instance.tunnels()))
            },
        ),
        (
            "replica_ejected",
            "Whether its requests go to others because several in a row failed.",
            |seen| {
                let instance = seen.instance.as_ref();
                flag(instance.is_some_and(|instance| instance.is_ejected()))
            },
        ),
    ];
    for (name, help, figure) in figures {
        families.gauges(Description::plain(name, help), of_each(figure))?;
    }
    families.gauges(
        Description::plain("replica_state", "1 for the state that the replica is in."),
        seen.iter().flat_map(|seen| {
            STATES.iter().map(move |(state, label)| {
                let labels = [("replica", seen.name.as_str()), ("state", *label)];
                (labels, flag(seen.status.state == *state))
            })
        }),
    )?;
    collect_nodes(scrape, families)?;
    collect_lives(scrape, families)
}

/// Where they run, if there are several places.
fn collect_nodes(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let handles = scrape.fleet.instance_handle.iter();
    let replicas = scrape.fleet.replicas.iter().zip(handles);
    let on_nodes: Vec<(String, &str)> = replicas
        .filter_map(|(status, handle)| match handle {
            Some(InstanceHandle::OnNode { node, .. }) => {
                Some((status.id.replica.to_string(), node.as_str()))
            }
            _ => None,
        })
        .collect();
    if on_nodes.is_empty() {
        return Ok(());
    }
    families.gauges(
        Description::plain("replica_node", "1 for the node that its instance runs on."),
        on_nodes
            .iter()
            .map(|(replica, node)| ([("replica", replica.as_str()), ("node", *node)], 1.0)),
    )
}

/// What has happened to them.
fn collect_lives(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let replicas: Vec<_> = (scrape.stats.replicas().into_iter())
        .map(|(name, stats)| (name.to_string(), stats))
        .collect();
    let replicas = || {
        replicas
            .iter()
            .map(|(name, stats)| (name.as_str(), stats.life()))
    };
    families.counters(
        Description::plain(
            "replica_restarts",
            "Instances that died or were given up, by the first sign of it.",
        ),
        replicas().flat_map(|(name, life)| {
            let deaths = life.deaths();
            deaths.map(move |(cause, n)| ([("replica", name), ("cause", cause.label())], n))
        }),
    )?;
    families.histograms(
        Description::seconds(
            "replica_replacement_duration",
            "Time from a death to when the replica was ready again.",
        ),
        replicas().map(|(name, life)| ([("replica", name)], life.replacements())),
    )?;
    families.counters(
        Description::plain(
            "replica_ejections",
            "How often it was ejected because several requests in a row failed.",
        ),
        replicas().map(|(name, life)| ([("replica", name)], life.ejections())),
    )?;
    families.counters(
        Description::plain("heartbeats", "Heartbeats by outcome."),
        replicas().flat_map(|(name, life)| {
            let outcomes = life.heartbeats().into_iter();
            outcomes.map(move |(outcome, n)| ([("replica", name), ("outcome", outcome)], n))
        }),
    )?;
    families.histograms(
        Description::seconds(
            "heartbeat_duration",
            "Time until heartbeats were answered, well or badly.",
        ),
        replicas().map(|(name, life)| ([("replica", name)], life.heartbeat_latency())),
    )
}

fn flag(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}
