//! `ringmaster ctl`: operates a running balancer, as a client of its admin API.
//!
//! Each group of commands is a file: it calls the API by `client`, and `output` prints the answer,
//! as a table for people or as the JSON that came.

mod careful;
mod client;
mod compose_file;
mod error;
mod event_stream;
mod events;
mod instances;
mod key;
mod maintenance;
mod options;
mod output;
mod pause;
mod rebalance;
mod replicas;
mod ring;
mod rollouts;
mod status;
#[cfg(feature = "top")]
mod top;

use std::time::Duration;

pub use error::CtlError;
pub use options::{ComposeFile, CtlCommand, CtlOptions};

use crate::api::{ListPage, NewRollout, ReplicaStatus};
use crate::experiments::AdminAccess;
use client::CtlClient;
use output::Output;

/// Does what is asked for, and prints the result.
///
/// # Errors
///
/// A call failed; what a person should know about it.
pub async fn run(options: &CtlOptions) -> Result<(), CtlError> {
    let client = CtlClient::new(options);
    let output = Output::new(options.json);
    match &options.command {
        CtlCommand::Status => status::status(&client, &output).await,
        CtlCommand::Replicas => status::replicas(&client, &output).await,
        CtlCommand::Add(new) => replicas::add(&client, &output, new).await,
        CtlCommand::Remove { names, yes } => replicas::remove(&client, &output, names, *yes).await,
        CtlCommand::Scale { replicas, yes } => {
            replicas::scale(&client, &output, *replicas, *yes).await
        }
        CtlCommand::SetState { names, state } => {
            instances::set_state(&client, &output, names, *state).await
        }
        CtlCommand::Restart { names, now } => {
            instances::restart(&client, &output, names, *now).await
        }
        CtlCommand::Rebalance { dry_run } => rebalance::rebalance(&client, &output, *dry_run).await,
        CtlCommand::BeginMaintenance { page, retry_after } => {
            maintenance::begin(&client, &output, page.as_deref(), *retry_after).await
        }
        CtlCommand::EndMaintenance => maintenance::end(&client, &output).await,
        CtlCommand::Pause { lasts } => pause::pause(&client, &output, *lasts).await,
        CtlCommand::Resume => pause::resume(&client, &output).await,
        CtlCommand::StartRollout { new, compose, wait } => {
            let compose = compose.as_ref().map(compose_file::read).transpose()?;
            let new = NewRollout {
                compose,
                ..(**new).clone()
            };
            rollouts::start(&client, &output, &new, *wait).await
        }
        CtlCommand::Rollouts => rollouts::status(&client, &output).await,
        CtlCommand::DirectRollout { id, command } => {
            rollouts::direct(&client, &output, *id, command).await
        }
        CtlCommand::Weigh {
            name,
            weight,
            dry_run,
        } => ring::weigh(&client, &output, name, *weight, *dry_run).await,
        CtlCommand::Ring => ring::show(&client, &output).await,
        CtlCommand::ChangeRing { patch, dry_run } => {
            ring::change(&client, &output, patch, *dry_run).await
        }
        CtlCommand::Key => key::show(&client, &output).await,
        CtlCommand::SetKey { source } => key::set(&client, &output, source).await,
        CtlCommand::Explain { key } => key::explain(&client, &output, key).await,
        CtlCommand::Events { follow: false } => events::list(&client, &output).await,
        CtlCommand::Events { follow: true } => event_stream::follow(&client, &output).await,
        #[cfg(feature = "top")]
        CtlCommand::Top => top::run(client).await,
        CtlCommand::Deaths { replica, details } => {
            events::deaths(&client, &output, replica.as_deref(), *details).await
        }
    }
}

/// The names of a fleet's replicas, for completions; none if the balancer does not say them in
/// time.
pub fn replica_names(access: AdminAccess, timeout: Duration) -> Vec<String> {
    let options = CtlOptions {
        access,
        url_from: String::new(),
        token_from: None,
        json: false,
        timeout: Some(timeout),
        command: CtlCommand::Replicas,
    };
    actix::System::new().block_on(async {
        let client = CtlClient::new(&options);
        let page = client
            .get::<ListPage<ReplicaStatus>>(&client.fleet_path("/replicas?limit=1000"))
            .await;
        let replicas = page.map(|page| page.value.items).unwrap_or_default();
        replicas.into_iter().map(|replica| replica.name).collect()
    })
}
