//! `drain`, `undrain` and `restart`: what a replica's instance does, while the replica stays.

use awc::http::Method;
use serde_json::json;

use super::client::{ApiReply, CallCondition, CtlClient};
use super::error::CtlError;
use super::output::Output;
use crate::api::{DesiredState, ReplicaPatch, ReplicaStatus};

/// Drains replicas, or lets them serve again.
pub async fn set_state(
    client: &CtlClient,
    output: &Output,
    names: &[String],
    state: DesiredState,
) -> Result<(), CtlError> {
    check_exist(client, names).await?;
    let patch = ReplicaPatch {
        state: Some(state),
        ..ReplicaPatch::default()
    };
    for name in names {
        let path = client.replica_path(name, "");
        let reply: ApiReply<ReplicaStatus> = client
            .change(Method::PATCH, &path, CallCondition::None, &patch)
            .await?;
        output.reply(&reply, |replica| match (state, replica.in_flight) {
            (DesiredState::Active, _) => format!("{name} is {}", replica.state),
            (DesiredState::Drained, 0) => format!("{name} is drained"),
            (DesiredState::Drained, left) => {
                format!("{name} is drained; requests in flight: {left}")
            }
        });
    }
    Ok(())
}

/// Replaces the instances of replicas, one after the other; each serves before the next is replaced.
pub async fn restart(
    client: &CtlClient,
    output: &Output,
    names: &[String],
    now: bool,
) -> Result<(), CtlError> {
    check_exist(client, names).await?;
    let call = if now { "/restart?now=true" } else { "/restart" };
    for name in names {
        let path = client.replica_path(name, call);
        let reply: ApiReply<ReplicaStatus> = client
            .change(Method::POST, &path, CallCondition::None, &json!({}))
            .await?;
        output.reply(&reply, |replica| {
            format!(
                "{name} (generation {}) is {}",
                replica.generation, replica.state
            )
        });
    }
    Ok(())
}

/// Checks that each replica exists: one that does not is told before another one is changed.
pub async fn check_exist(client: &CtlClient, names: &[String]) -> Result<(), CtlError> {
    for name in names {
        let path = client.replica_path(name, "");
        client.get::<ReplicaStatus>(&path).await?;
    }
    Ok(())
}
