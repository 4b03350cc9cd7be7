//! `maintenance on` and `off`: every request is answered with 503 and a page.

use std::path::Path;
use std::time::Duration;

use awc::http::Method;
use serde_json::json;

use super::client::{ApiReply, CallCondition, CtlClient};
use super::error::CtlError;
use super::output::Output;
use crate::api::{FleetStatus, NewMaintenance};

/// Begins a maintenance, or changes its page.
pub async fn begin(
    client: &CtlClient,
    output: &Output,
    page: Option<&Path>,
    retry_after: Option<Duration>,
) -> Result<(), CtlError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|cause| CtlError::Unreadable {
            path: path.display().to_string(),
            cause,
        })
    };
    let seconds = retry_after.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
    let new = NewMaintenance {
        page: page.map(read).transpose()?,
        retry_after_seconds: seconds,
    };
    set(client, output, Method::PUT, &new).await
}

/// Ends it.
pub async fn end(client: &CtlClient, output: &Output) -> Result<(), CtlError> {
    set(client, output, Method::DELETE, &json!({})).await
}

async fn set(
    client: &CtlClient,
    output: &Output,
    method: Method,
    body: &impl serde::Serialize,
) -> Result<(), CtlError> {
    let path = client.fleet_path("/maintenance");
    let none = CallCondition::None;
    let reply: ApiReply<FleetStatus> = client.change(method, &path, none, body).await?;
    output.reply(&reply, text);
    Ok(())
}

/// Whether there is a maintenance, as a line.
pub fn text(fleet: &FleetStatus) -> String {
    match &fleet.maintenance {
        None => "no maintenance: requests go to the replicas".to_owned(),
        Some(present) => format!(
            "maintenance: every request is answered with 503, a page of {} bytes, and Retry-After: {}",
            present.page_bytes, present.retry_after_seconds
        ),
    }
}
