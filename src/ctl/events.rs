//! `events` and `deaths`: what happened.

use super::client::{ApiReply, CtlClient};
use super::error::CtlError;
use super::output::{Output, ago, plain};
use crate::api::{Death, ListPage, ReplicaEvent, ReplicaEventKind, RequestOutcome, Timestamp};
use crate::human;
use crate::ring_cli::text::Grid;

/// The most that the balancer gives at once; it keeps no more.
const ALL: &str = "?limit=1000";

/// Lists what happened lately, the oldest first.
pub async fn list(client: &CtlClient, output: &Output) -> Result<(), CtlError> {
    let reply: ApiReply<ListPage<ReplicaEvent>> = client.get(&format!("/events{ALL}")).await?;
    output.reply(&reply, |page| {
        let now = Timestamp::now();
        let mut grid = Grid::with_texts(&["when", "replica", "gen", "event", "reason"], 1..5);
        for event in &page.items {
            grid.row([
                ago(now, event.at),
                event.replica.clone().unwrap_or_default(),
                event
                    .generation
                    .map_or_else(String::new, |number| number.to_string()),
                word(event.event),
                event.reason.as_deref().map_or_else(String::new, plain),
            ]);
        }
        match page.items.is_empty() {
            true => "nothing has happened".to_owned(),
            false => grid.text(),
        }
    });
    Ok(())
}

/// What happened, in the word that the API has for it.
pub fn word(event: ReplicaEventKind) -> String {
    let word = serde_json::to_value(event).ok();
    let word = word.as_ref().and_then(serde_json::Value::as_str);
    word.unwrap_or_default().replace('_', " ")
}

/// One event as a line.
pub fn line(event: &ReplicaEvent) -> String {
    let generation = match event.generation {
        Some(generation) => format!(" (generation {generation})"),
        None => String::new(),
    };
    let reason = match &event.reason {
        Some(reason) => format!(": {}", plain(reason)),
        None => String::new(),
    };
    // Seconds are enough for people.
    let at = event.at.to_string();
    let at = at.split('.').next().unwrap_or_default();
    let what = word(event.event);
    let replica = event.replica.as_deref();
    let replica = replica.map_or_else(String::new, |name| format!("{name}{generation} "));
    format!("{at}Z {replica}{what}{reason}")
}

/// Shows why instances died, the oldest first.
pub async fn deaths(
    client: &CtlClient,
    output: &Output,
    replica: Option<&str>,
    details: bool,
) -> Result<(), CtlError> {
    let path = client.fleet_path(&format!("/deaths{ALL}"));
    let mut reply: ApiReply<ListPage<Death>> = client.get(&path).await?;
    if let Some(name) = replica {
        reply.value.items.retain(|death| death.replica == name);
        // Plain structs of texts and numbers: they are always JSON.
        reply.json = serde_json::to_string(&reply.value).unwrap_or_default();
    }
    output.reply(&reply, |page| {
        let now = Timestamp::now();
        let deaths = page
            .items
            .iter()
            .map(|death| death_text(death, now, details));
        match page.items.is_empty() {
            true => "no instance has died".to_owned(),
            false => deaths.collect::<Vec<_>>().join("\n"),
        }
    });
    Ok(())
}

fn death_text(death: &Death, now: Timestamp, details: bool) -> String {
    let mut lines = vec![format!(
        "{} (generation {}), {}: {}",
        death.replica,
        death.generation,
        ago(now, death.at),
        plain(&death.cause)
    )];
    if let Some(in_flight) = death.in_flight {
        lines.push(format!(
            "  requests in flight: {in_flight}{}",
            outcomes(death)
        ));
    }
    lines.extend(
        death
            .hint
            .iter()
            .map(|hint| format!("  hint: {}", plain(hint))),
    );
    if details {
        lines.extend(death.requests.iter().map(|request| {
            format!(
                "  {} {} ({}), {} ms old: {}",
                plain(&request.method),
                plain(&request.path),
                plain(&request.id),
                request.elapsed_ms,
                outcome(request.outcome)
            )
        }));
        lines.extend(death.heartbeats.iter().map(|heartbeat| {
            let result = heartbeat
                .error
                .as_deref()
                .map_or_else(|| "ok".to_owned(), plain);
            let latency = human::milliseconds(heartbeat.latency_ms);
            format!(
                "  heartbeat {}, {latency}: {result}",
                ago(now, heartbeat.at)
            )
        }));
        lines.extend(death.log.iter().map(|line| format!("  | {}", plain(line))));
    }
    lines.join("\n")
}

/// What became of the requests that are known: ` (1 retried, 2 failed)`.
fn outcomes(death: &Death) -> String {
    let all = [
        RequestOutcome::Retried,
        RequestOutcome::Failed,
        RequestOutcome::Aborted,
    ];
    let counts = all.map(|one| {
        (
            one,
            death.requests.iter().filter(|r| r.outcome == one).count(),
        )
    });
    let known = counts.iter().filter(|(_, count)| *count > 0);
    let known: Vec<String> = known
        .map(|(one, count)| format!("{count} {}", outcome(*one)))
        .collect();
    match known.is_empty() {
        true => String::new(),
        false => format!(" ({})", known.join(", ")),
    }
}

fn outcome(outcome: RequestOutcome) -> &'static str {
    match outcome {
        RequestOutcome::Retried => "retried",
        RequestOutcome::Failed => "failed",
        RequestOutcome::Aborted => "aborted",
    }
}
