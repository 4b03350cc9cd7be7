//! `status` and `replicas`: how the balancer is.

use super::client::{ApiReply, CtlClient};
use super::error::CtlError;
use super::output::{Output, plain, span, with_coloured_states};
use super::{maintenance, pause};
use crate::api::{
    FleetScaling, FleetStatus, ImageWatch, ListPage, ReplicaState, ReplicaStatus, Status,
};
use crate::ring_cli::text::{Grid, count, paragraphs, replicas as in_words, sort_key};

/// The header that states stand below.
const STATE: &str = "state";

/// Shows the balancer, its fleets and their replicas.
pub async fn status(client: &CtlClient, output: &Output) -> Result<(), CtlError> {
    let reply: ApiReply<Status> = client.get("/status").await?;
    let mut fleets = reply.value.fleets.iter();
    if fleets.all(|fleet| fleet.name != client.fleet()) {
        // The balancer says what is wrong with the name.
        client.get::<FleetStatus>(&client.fleet_path("")).await?;
    }
    output.reply(&reply, |status| {
        let mut text = format!(
            "Ringmaster {} at {}, up for {}\n",
            plain(&status.version),
            client.url(),
            span(status.now, status.started_at)
        );
        for fleet in &status.fleets {
            text.push('\n');
            text.push_str(&fleet_text(fleet));
        }
        text
    });
    Ok(())
}

/// Lists the replicas.
pub async fn replicas(client: &CtlClient, output: &Output) -> Result<(), CtlError> {
    let path = client.fleet_path("/replicas?limit=1000");
    let mut reply: ApiReply<ListPage<ReplicaStatus>> = client.get(&path).await?;
    while let Some(after) = reply.value.next.take() {
        let path = client.fleet_path(&format!("/replicas?limit=1000&after={after}"));
        let more: ApiReply<ListPage<ReplicaStatus>> = client.get(&path).await?;
        reply.value.items.extend(more.value.items);
        reply.value.next = more.value.next;
        // Plain structs of texts and numbers: they are always JSON.
        reply.json = serde_json::to_string(&reply.value).unwrap_or_default();
    }
    output.reply(&reply, |page| table(&page.items));
    Ok(())
}

fn fleet_text(fleet: &FleetStatus) -> String {
    let counters = &fleet.counters;
    let ring = &fleet.ring;
    let factor = match ring.balance_factor {
        Some(factor) => format!("balance factor {factor}"),
        None => "no balance factor".to_owned(),
    };
    let mut rows = vec![
        (
            "Fleet",
            format!(
                "{}: {} of {} ready, run by {}",
                fleet.name,
                fleet.ready_replicas,
                in_words(fleet.desired_replicas),
                fleet.runtime.kind
            ),
        ),
        (
            "Ring",
            format!(
                "{}, {} slots, {factor}, key {}",
                ring.strategy,
                count(ring.slots.into()),
                plain(&fleet.key)
            ),
        ),
        (
            "Requests",
            format!(
                "{}: {} failed, {} retried, {} queued",
                count(counters.requests),
                count(counters.failed),
                count(counters.retried),
                count(counters.queued)
            ),
        ),
    ];
    if let Some(watch) = &fleet.image_watch {
        rows.push(("Image", image_text(watch)));
    }
    if let Some(spares) = &fleet.spares {
        let text = format!(
            "{} of {} ready, {} starting",
            spares.ready, spares.wanted, spares.starting
        );
        rows.push(("Spares", text));
    }
    if let Some(scaling) = &fleet.scaling {
        rows.push(("Scaling", scaling_text(scaling)));
    }
    if fleet.maintenance.is_some() {
        rows.push(("Maintenance", maintenance::text(fleet)));
    }
    if fleet.pause.is_some() {
        rows.push(("Pause", pause::text(fleet)));
    }
    if let Some(place) = &fleet.record.place {
        let version = fleet.record.version;
        rows.push(("Record", format!("{}, version {version}", plain(place))));
    }
    if let Some(drift) = &fleet.record.drift {
        rows.push(("Drift", plain(&drift.differences.join("; "))));
    }
    let errors = [&fleet.runtime.last_error, &fleet.record.last_error];
    rows.extend((errors.into_iter().flatten()).map(|error| ("Error", plain(error))));
    format!("{}\n{}", paragraphs(rows), table(&fleet.replicas))
}

fn image_text(watch: &ImageWatch) -> String {
    let digest = watch.digest.as_deref().unwrap_or("unknown");
    let mut text = format!(
        "{} is {} at its registry",
        plain(&watch.image),
        plain(digest)
    );
    let rest = [&watch.last_move, &watch.last_error].into_iter().flatten();
    rest.for_each(|more| text.push_str(&format!("; {}", plain(more))));
    text
}

fn scaling_text(scaling: &FleetScaling) -> String {
    let mut text = format!(
        "{} to {} replicas for {} requests in flight in each; {:.1} now",
        scaling.min_replicas, scaling.max_replicas, scaling.target_in_flight, scaling.load
    );
    if let Some(held) = &scaling.held {
        text.push_str(&format!("; nothing changes: {}", plain(held)));
    }
    if let Some(last) = &scaling.last_decision {
        let (from, to) = (last.from, last.to);
        text.push_str(&format!(
            "; last from {from} to {to}: {}",
            plain(&last.reason)
        ));
    }
    text
}

/// A row for each replica.
fn table(replicas: &[ReplicaStatus]) -> String {
    let header = [
        "replica",
        STATE,
        "where",
        "note",
        "weight",
        "gen",
        "in flight",
        "deaths",
    ];
    let mut grid = Grid::with_texts(&header, 1..4);
    let mut replicas: Vec<&ReplicaStatus> = replicas.iter().collect();
    replicas.sort_by_key(|replica| sort_key(&replica.name));
    for replica in replicas {
        grid.row([
            replica.name.clone(),
            replica.state.to_string(),
            place(replica),
            note(replica),
            replica.weight.to_string(),
            replica.generation.to_string(),
            replica.in_flight.to_string(),
            replica.consecutive_deaths.to_string(),
        ]);
    }
    with_coloured_states(&grid.text(), STATE)
}

/// Where its instance is.
fn place(replica: &ReplicaStatus) -> String {
    if let (Some(node), Some(endpoint)) = (&replica.node, &replica.endpoint) {
        return format!("{} on {}", plain(endpoint), plain(node));
    }
    match (&replica.container, replica.pid, &replica.endpoint) {
        (Some(container), ..) => plain(container),
        (None, Some(pid), _) => format!("process {pid}"),
        (None, None, Some(endpoint)) => plain(endpoint),
        (None, None, None) => String::new(),
    }
}

/// What is not as usual about it.
pub fn note(replica: &ReplicaStatus) -> String {
    let mut notes = Vec::new();
    if replica.drained && replica.state != ReplicaState::Drained {
        notes.push("drained".to_owned());
    }
    if replica.ejected {
        notes.push("ejected".to_owned());
    }
    if let Some(share) = replica.slow_start_share.filter(|share| *share < 1.0) {
        notes.push(format!("slow start {:.0} %", share * 100.0));
    }
    if replica.degraded {
        notes.push("degraded: started once a minute".to_owned());
    }
    if replica.outdated {
        notes.push("of an earlier definition".to_owned());
    }
    notes.extend(replica.last_error.as_deref().map(plain));
    notes.join("; ")
}
