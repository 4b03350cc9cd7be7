//! The settings of a fleet whose replicas are made from a service of a stack file.

use log::info;

use crate::config::{RuntimeSettings, Settings};
use crate::human::duration;
use crate::ring::ReplicaName;
use crate::runtime::RuntimeError;
use crate::runtime::swarm::{StackService, StackTemplate};

/// A service of a stack file, and what the flags say beside it.
pub(super) struct StackFlags {
    pub(super) service: StackService,
    flags: Settings,
}

/// Finds the service if the settings leave it to a stack to say what runs.
pub(super) async fn with_stack(
    settings: Settings,
) -> Result<(Settings, Option<StackFlags>), RuntimeError> {
    let leaves_it = matches!(&settings.runtime, RuntimeSettings::Swarm(swarm) if swarm.from_stack);
    if !leaves_it {
        return Ok((settings, None));
    }
    let (service, found) = StackService::find().await?;
    let flags = StackFlags {
        service,
        flags: settings,
    };
    let settings = settings_of(&flags, &found)?;
    info!(
        "stack: replicas of fleet {} are made from service {}",
        found.fleet, found.service
    );
    Ok((settings, Some(flags)))
}

/// The settings as the service and the flags say them together.
pub(super) fn settings_of(
    flags: &StackFlags,
    found: &StackTemplate,
) -> Result<Settings, RuntimeError> {
    let mut settings = flags.flags.clone();
    let RuntimeSettings::Swarm(swarm) = &flags.flags.runtime else {
        return Ok(settings);
    };
    let given = &swarm.containers;
    if !settings.default_names.fleet && given.fleet != found.fleet {
        return Err(RuntimeError(format!(
            "--fleet is {}, but service {} has the label ringmaster.fleet: {}",
            given.fleet, found.service, found.fleet
        )));
    }
    let network = (!settings.default_names.network).then_some(given.network.as_str());
    let swarm = flags.service.settings(swarm, found, network)?;
    settings.runtime = RuntimeSettings::Swarm(Box::new(swarm));
    if let Some(count) = found.replicas {
        let name = |number| ReplicaName::from_address(&format!("Server{number}"));
        settings.replicas = (1..=count).map(name).collect();
    }
    let grace = found.stop_grace.unwrap_or_default();
    if grace > settings.limits.stop_grace {
        info!(
            "stack: --stop-grace is {}, as the stack file has it",
            duration(grace)
        );
        settings.limits.stop_grace = grace;
    }
    Ok(settings)
}
