//! `ringmaster ctl`: its subcommands and flags, and what they come down to.

mod flags;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};

use super::args::help;
use super::{Invocation, UsageError, admin_access, completions, drill};
use crate::api::{DesiredState, NewReplicas, NewRollout, RingPatch};
use crate::ctl::{ComposeFile, CtlCommand, CtlOptions};
use crate::experiments::AdminAccess;
use flags::{
    AddFlags, CtlFlags, CtlSubcommand, KeyFlags, MaintenanceSubcommand, RingChangeFlags,
    RolloutIdFlags, RolloutSubcommand,
};

/// The subcommand's name.
pub(super) const NAME: &str = "ctl";

const ABOUT: &str = "Operate a running balancer: status, replicas, ring, events";

const LONG_ABOUT: &str = "\
Operate a running balancer, by its admin API.

The balancer is the one at --admin: by default at http://127.0.0.1:5001, or where RINGMASTER_ADMIN \
says, so that it works in the balancer's own container, too. If it asks for a token, that comes \
from --token-file or RINGMASTER_ADMIN_TOKEN, never from the command line.";

const AFTER_HELP: &str = "\
Exit codes:
  0  Done    1  The call failed: stderr says why    2  Wrong use

Examples:
  How is it
    ringmaster ctl status
  Two more replicas, one of them twice as strong; and one less
    ringmaster ctl add S4 S5=2
    ringmaster ctl rm S4
  Start one anew, when its requests have ended
    ringmaster ctl restart Server1
  Bring out another version without a gap, and go back
    ringmaster ctl rollout start --image shop:1.5 --wait
    ringmaster ctl rollout undo
  Give it a tenth of the keys first, compare, and go on
    ringmaster ctl rollout start --image shop:1.6 --canary 10% --wait
    ringmaster ctl rollout status
    ringmaster ctl rollout promote
  Fail a database over without a failed request
    ringmaster ctl pause && ./failover; ringmaster ctl resume
  Why does this user's request go there
    ringmaster ctl explain alice
  What happens, as it happens; for people, and for a program
    ringmaster ctl top
    ringmaster ctl events --follow --json
  In a container
    docker compose exec ringmaster /ringmaster ctl status
  Completions, with the names of replicas
    source <(ringmaster ctl completions bash)";

/// The subcommand.
pub(super) fn command() -> Command {
    CtlFlags::augment_args(Command::new(NAME))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_long_help(AFTER_HELP)
        .disable_help_subcommand(true)
        // Without a subcommand there is a mistake to name.
        .arg_required_else_help(false)
        .mut_subcommand(drill::NAME, drill::described)
        .mut_subcommands(with_help)
        .arg(help())
}

/// The flags for help, for a subcommand and those below it.
fn with_help(command: Command) -> Command {
    command
        .mut_subcommands(with_help)
        .arg(help().help("Print this"))
}

/// What the flags come down to.
pub(super) fn invocation(
    matches: &ArgMatches,
    env: &[(OsString, OsString)],
) -> Result<Invocation, UsageError> {
    let CtlFlags {
        connection,
        command,
    } = CtlFlags::from_arg_matches(matches)?;
    let command = match command {
        CtlSubcommand::Completions(flags) => {
            return completions::script(flags.shell).map(Invocation::Completions);
        }
        command => command,
    };
    let url = admin_access::url(connection.admin, env)?;
    let token = admin_access::token(connection.token_file.as_deref(), env)?;
    let token_from = token.as_ref().map(|said| said.by.clone());
    let access = AdminAccess {
        url: url.value,
        token: token.map(|said| said.value),
        fleet: connection.fleet,
    };
    let command = match command {
        CtlSubcommand::Drill(flags) => {
            return Ok(drill::invocation(flags, access, connection.json));
        }
        CtlSubcommand::Completions(_) => {
            return Err("completions need no balancer".to_owned().into());
        }
        #[cfg(feature = "top")]
        CtlSubcommand::Top if connection.json => {
            let wrong = "top has no JSON: it is for people; for programs there are status, events \
                         --follow and GET /metrics";
            return Err(wrong.to_owned().into());
        }
        #[cfg(feature = "top")]
        CtlSubcommand::Top => CtlCommand::Top,
        CtlSubcommand::Status => CtlCommand::Status,
        CtlSubcommand::Replicas => CtlCommand::Replicas,
        CtlSubcommand::Add(flags) => CtlCommand::Add(new_replicas(flags)),
        CtlSubcommand::Rm(flags) => CtlCommand::Remove {
            names: flags.names,
            yes: flags.yes,
        },
        CtlSubcommand::Scale(flags) => CtlCommand::Scale {
            replicas: flags.replicas,
            yes: flags.yes,
        },
        CtlSubcommand::Drain(flags) => CtlCommand::SetState {
            names: flags.names,
            state: DesiredState::Drained,
        },
        CtlSubcommand::Undrain(flags) => CtlCommand::SetState {
            names: flags.names,
            state: DesiredState::Active,
        },
        CtlSubcommand::Restart(flags) => CtlCommand::Restart {
            names: flags.names,
            now: flags.now,
        },
        CtlSubcommand::Rebalance(flags) => CtlCommand::Rebalance {
            dry_run: flags.dry_run,
        },
        CtlSubcommand::Maintenance(MaintenanceSubcommand::On(flags)) => {
            CtlCommand::BeginMaintenance {
                page: flags.page,
                retry_after: flags.retry_after,
            }
        }
        CtlSubcommand::Maintenance(MaintenanceSubcommand::Off) => CtlCommand::EndMaintenance,
        CtlSubcommand::Pause(flags) => CtlCommand::Pause { lasts: flags.lasts },
        CtlSubcommand::Resume => CtlCommand::Resume,
        CtlSubcommand::Rollout(command) => rollout(command)?,
        CtlSubcommand::Weight(flags) => CtlCommand::Weigh {
            name: flags.name,
            weight: flags.weight.get(),
            dry_run: flags.dry_run,
        },
        CtlSubcommand::Ring(flags) => ring(flags),
        CtlSubcommand::Key(KeyFlags { source: None }) => CtlCommand::Key,
        CtlSubcommand::Key(KeyFlags {
            source: Some(source),
        }) => CtlCommand::SetKey { source },
        CtlSubcommand::Explain(flags) => CtlCommand::Explain { key: flags.key },
        CtlSubcommand::Events(flags) => CtlCommand::Events {
            follow: flags.follow,
        },
        CtlSubcommand::Deaths(flags) => CtlCommand::Deaths {
            replica: flags.name,
            details: flags.details,
        },
    };
    Ok(Invocation::Ctl(Box::new(CtlOptions {
        access,
        url_from: url.by,
        token_from,
        json: connection.json,
        timeout: connection.timeout,
        command,
    })))
}

fn new_replicas(flags: AddFlags) -> NewReplicas {
    let weighted = flags
        .replicas
        .iter()
        .filter(|member| member.weight.get() != 1);
    NewReplicas {
        count: flags.count,
        weights: weighted
            .map(|member| (member.name.to_string(), member.weight.get()))
            .collect(),
        names: (flags.replicas.iter())
            .map(|member| member.name.to_string())
            .collect(),
    }
}

fn rollout(command: RolloutSubcommand) -> Result<CtlCommand, String> {
    let direct = |flags: RolloutIdFlags, command| CtlCommand::DirectRollout {
        id: flags.id,
        command,
    };
    Ok(match command {
        RolloutSubcommand::Start(flags) => {
            let compose = compose_file(flags.file, flags.service, flags.config_hash)?;
            let set = flags.env.into_iter().map(|(key, value)| (key, Some(value)));
            let unset = flags.unset_env.into_iter().map(|key| (key, None));
            CtlCommand::StartRollout {
                new: Box::new(NewRollout {
                    image: flags.image,
                    command: flags.command,
                    env: unset.chain(set).collect(),
                    compose: None,
                    canary: flags.canary.map(String::from),
                }),
                compose,
                wait: flags.wait,
            }
        }
        RolloutSubcommand::Status => CtlCommand::Rollouts,
        RolloutSubcommand::Pause(flags) => direct(flags, "pause"),
        RolloutSubcommand::Resume(flags) => direct(flags, "resume"),
        RolloutSubcommand::Promote(flags) => direct(flags, "promote"),
        RolloutSubcommand::Undo(flags) => direct(flags, "undo"),
    })
}

/// A project of compose, if one is given; with all that its rollout needs.
fn compose_file(
    file: Option<PathBuf>,
    service: Option<String>,
    config_hash: Option<String>,
) -> Result<Option<ComposeFile>, String> {
    let service_name = service.as_deref().unwrap_or("SERVICE").to_owned();
    let (what, why) = match (file, service, config_hash) {
        (None, None, None) => return Ok(None),
        (Some(file), Some(service), Some(config_hash)) => {
            return Ok(Some(ComposeFile {
                file,
                service,
                config_hash,
            }));
        }
        (None, ..) => ("no project", "a rollout of a compose service reads one"),
        (_, None, _) => ("no --service", "a project has several"),
        (.., None) => (
            "no --config-hash",
            "without it docker compose up would recreate all containers",
        ),
    };
    Err(format!(
        "{what}: {why}: docker compose config --format json | ringmaster ctl rollout start --service \
         {service_name} --config-hash \"$(docker compose config | docker compose -f - config --hash \
         {service_name} | cut -d' ' -f2)\" -"
    ))
}

/// A question, unless something is to be changed.
fn ring(flags: RingChangeFlags) -> CtlCommand {
    let patch = RingPatch {
        strategy: flags.strategy,
        slots: flags.slots,
        virtual_servers: flags.virtual_servers,
        balance_factor: flags.balance_factor,
        weights: (flags.weight.into_iter())
            .map(|(name, weight)| (name, weight.get()))
            .collect(),
    };
    if patch == RingPatch::default() {
        return CtlCommand::Ring;
    }
    CtlCommand::ChangeRing {
        patch,
        dry_run: flags.dry_run,
    }
}
