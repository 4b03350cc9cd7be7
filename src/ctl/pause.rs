//! `pause` and `resume`: requests wait while a database is failed over.

use std::time::Duration;

use awc::http::Method;
use serde_json::json;

use super::client::{ApiReply, CallCondition, CtlClient};
use super::error::CtlError;
use super::output::{Output, span};
use crate::api::{FleetStatus, NewPause, Timestamp};
use crate::ring_cli::text::count;

/// Pauses the fleet; fails if requests are still in flight after `--drain-timeout`.
pub async fn pause(
    client: &CtlClient,
    output: &Output,
    lasts: Option<Duration>,
) -> Result<(), CtlError> {
    let new = NewPause {
        lasts: lasts.map(|lasts| format!("{}ms", lasts.as_millis())),
    };
    let path = client.fleet_path("/pause");
    let none = CallCondition::None;
    let reply: ApiReply<FleetStatus> = client.change(Method::POST, &path, none, &new).await?;
    output.reply(&reply, text);
    match reply.value.pause.map(|pause| pause.in_flight) {
        Some(0) => Ok(()),
        Some(in_flight) => Err(CtlError::NotDrained(in_flight)),
        None => Err(CtlError::PauseOver),
    }
}

/// Ends the pause.
pub async fn resume(client: &CtlClient, output: &Output) -> Result<(), CtlError> {
    let path = client.fleet_path("/resume");
    let none = CallCondition::None;
    let reply: ApiReply<FleetStatus> = client.change(Method::POST, &path, none, &json!({})).await?;
    output.reply(&reply, text);
    Ok(())
}

/// Whether the fleet is paused, as a line.
pub fn text(fleet: &FleetStatus) -> String {
    let Some(pause) = &fleet.pause else {
        return "not paused: requests go to the replicas".to_owned();
    };
    let requests = |n: u64| match n {
        1 => "1 request".to_owned(),
        n => format!("{} requests", count(n)),
    };
    format!(
        "paused for {} more at the most: {} in flight, {} waiting",
        span(pause.ends_at, Timestamp::now()),
        requests(pause.in_flight.into()),
        count(pause.waiting as u64),
    )
}
