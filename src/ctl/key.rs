//! `key`: what is hashed for a request; `explain`: why a key goes where it goes, on the ring that runs.

use std::ffi::OsStr;

use super::careful::change_as_read;
use super::client::{ApiReply, CtlClient, encoded};
use super::error::CtlError;
use super::output::{Output, with_coloured_states};
use crate::api::{FleetPatch, FleetStatus, KeyCandidate, KeyExplanation};
use crate::ring::KeySource;
use crate::ring_cli::text::Grid;

/// The header that states stand below.
const STATE: &str = "state";

/// The most candidates of the table for people.
const MAX_ROWS: usize = 12;

/// Shows what is hashed for a request.
pub async fn show(client: &CtlClient, output: &Output) -> Result<(), CtlError> {
    let reply: ApiReply<FleetStatus> = client.get(&client.fleet_path("")).await?;
    output.reply(&reply, |fleet| fleet.key.clone());
    Ok(())
}

/// Has something else hashed for a request.
pub async fn set(client: &CtlClient, output: &Output, source: &KeySource) -> Result<(), CtlError> {
    let patch = FleetPatch {
        key: Some(source.to_string()),
        ..FleetPatch::default()
    };
    let unseen = |_: &FleetStatus| Ok(());
    let path = client.fleet_path("");
    let reply: ApiReply<FleetStatus> = change_as_read(client, &path, &patch, unseen).await?;
    output.reply(&reply, |fleet| format!("the key is {} now", fleet.key));
    Ok(())
}

/// Explains where a key goes.
pub async fn explain(client: &CtlClient, output: &Output, key: &OsStr) -> Result<(), CtlError> {
    let key = encoded(key.as_encoded_bytes());
    let path = client.fleet_path(&format!("/keys/{key}"));
    let reply: ApiReply<KeyExplanation> = client.get(&path).await?;
    output.reply(&reply, |explanation| {
        let served = match &explanation.served_by {
            Some(replica) => format!("A new request with this key goes to {replica}."),
            None => "No replica is available: a request with this key waits.".to_owned(),
        };
        let mut grid = Grid::with_texts(
            &["in order", STATE, "passed over because", "in flight"],
            1..3,
        );
        for candidate in explanation.candidates.iter().take(MAX_ROWS) {
            grid.row([
                candidate.replica.clone(),
                candidate.state.to_string(),
                reason(candidate),
                candidate.in_flight.to_string(),
            ]);
        }
        let more = explanation.candidates.len().saturating_sub(MAX_ROWS);
        if more > 0 {
            grid.row([format!("{more} more")]);
        }
        let candidates = with_coloured_states(&grid.text(), STATE);
        let epoch = explanation.epoch;
        format!(
            "{served}\n\n{candidates}\n{}\nEpoch {epoch}.",
            explanation.explained.text()
        )
    });
    Ok(())
}

/// Why a request does not go there.
fn reason(candidate: &KeyCandidate) -> String {
    match candidate {
        KeyCandidate {
            available: true, ..
        } => String::new(),
        KeyCandidate { ejected: true, .. } => "several requests in a row failed".to_owned(),
        KeyCandidate { at_bound: true, .. } => "it has as many requests as it may".to_owned(),
        KeyCandidate { state, .. } => format!("it is {state}"),
    }
}
