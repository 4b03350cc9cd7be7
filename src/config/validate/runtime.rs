//! Judges where replicas run, and what is particular to it.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::super::env_file;
use super::super::option::OPTIONS;
use super::super::options::{DockerOptions, RunOptions, RuntimeKind, Variable};
use super::super::recorded::default_fleet;
use super::super::settings::RuntimeSettings;
use super::Mistakes;
use crate::fleet::{ContainerOptions, ContainerTemplate};
use crate::ring::ReplicaName;
use crate::runtime::ReplicaTemplate;
use crate::runtime::docker::{DockerSettings, Security};
use crate::runtime::static_servers::Upstream;
use crate::runtime::swarm::SwarmSettings;

/// The runtime that was asked for, by its name or by what it needs.
pub(super) fn kind(run: &RunOptions, mistakes: &mut Mistakes<'_>) -> RuntimeKind {
    let origin = |key| {
        mistakes
            .given
            .get(key)
            .map(|given| given.origin.to_string())
    };
    // What says that replicas are containers.
    let mut docker = ["image", "like", "service"].into_iter();
    let docker = docker.find_map(|key| Some((key, origin(key)?)));
    let (kind, because) = match (origin("runtime"), docker, origin("upstream")) {
        (Some(origin), ..) => match run.runtime {
            Some(kind) => (kind, format!("from {origin}")),
            // A runtime that cannot be read says nothing about what belongs to it.
            None => return RuntimeKind::Process,
        },
        (None, Some((key, docker)), Some(_)) => {
            let wrong = format!(
                "is for servers that run already, {key} (from {docker}) for replicas to start; \
                 give one of the two"
            );
            mistakes.add("upstream", wrong);
            return RuntimeKind::Docker;
        }
        (None, Some((key, docker)), None) => {
            let because = format!("because of {key}, from {docker}");
            (RuntimeKind::Docker, because)
        }
        (None, None, Some(upstream)) => {
            let because = format!("because of upstream, from {upstream}");
            (RuntimeKind::Static, because)
        }
        (None, None, None) => (RuntimeKind::Process, "by default".to_owned()),
    };
    // An option that the runtime does not use was given in the belief that it works.
    for option in OPTIONS.iter() {
        let (key, users) = (option.key(), option.runtimes());
        if mistakes.is_given(key) && !users.contains(&kind) {
            let names: Vec<_> = users.iter().map(|kind| kind.name()).collect();
            let users = match names.as_slice() {
                [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
                names => names.concat(),
            };
            let kind = kind.name();
            // What else is wrong with it does not matter.
            mistakes.found.retain(|(about, _)| *about != key);
            let wrong = format!("only for runtime {users}, but the runtime is {kind} ({because})");
            mistakes.add(key, wrong);
        }
    }
    kind
}

/// What is particular to a runtime, and the replicas that it begins with.
pub(super) fn settings(
    kind: RuntimeKind,
    run: RunOptions,
    containers: (DockerOptions, ContainerOptions),
    heartbeat_port: Option<u16>,
    listen: SocketAddr,
    mistakes: &mut Mistakes<'_>,
) -> (RuntimeSettings, Vec<ReplicaName>) {
    let count = run.replicas;
    // Such a name is always good.
    let replicas = (1..=count).filter_map(|number| format!("Server{number}").parse().ok());
    match kind {
        RuntimeKind::Process => {
            let advice = "; without it each gets a free one, as PORT and {port}";
            for (key, port, advice) in [
                ("replica-port", run.replica_port, advice),
                ("heartbeat-port", heartbeat_port, ""),
            ] {
                if port.is_some() && count > 1 {
                    let wrong = format!("{count} replicas on one machine cannot share it{advice}");
                    mistakes.add(key, wrong);
                }
            }
            let template = template(run, mistakes);
            (RuntimeSettings::Process(template), replicas.collect())
        }
        RuntimeKind::Docker => {
            let settings = docker_settings(run, containers, listen.port(), mistakes);
            let replicas = match settings.service {
                // As many as compose has started.
                Some(_) => Vec::new(),
                None => replicas.collect(),
            };
            (RuntimeSettings::Docker(Box::new(settings)), replicas)
        }
        RuntimeKind::Swarm => {
            // Noted as another runtime's, if they were given.
            let (like, service) = (None, None);
            let run = RunOptions {
                like,
                service,
                ..run
            };
            let from_stack = run.image.is_none() && !mistakes.is_given("image");
            let zone = containers.0.placement_pref.clone();
            if from_stack && mistakes.is_given("placement-pref") {
                let wrong =
                    "is as the stack file has it (deploy.placement.preferences); leave it out";
                mistakes.add("placement-pref", wrong);
            }
            let containers = match from_stack {
                true => stack_settings(run, containers, listen.port(), mistakes),
                false => docker_settings(run, containers, listen.port(), mistakes),
            };
            let settings = SwarmSettings {
                containers,
                from_stack,
                zone,
            };
            // What belongs to another runtime has been noted.
            if mistakes.found.is_empty()
                && let Err(wrong) = settings.check()
            {
                mistakes.add("runtime", wrong);
            }
            (
                RuntimeSettings::Swarm(Box::new(settings)),
                replicas.collect(),
            )
        }
        RuntimeKind::Static => {
            check_upstreams(&run.upstream, listen, mistakes);
            let names = run.upstream.iter().map(|upstream| upstream.name.clone());
            let names = names.collect();
            (RuntimeSettings::Static(run.upstream), names)
        }
    }
}

fn template(run: RunOptions, mistakes: &mut Mistakes<'_>) -> ReplicaTemplate {
    ReplicaTemplate {
        env: variables(&run, mistakes),
        command: run.command,
        port: run.replica_port,
        ..ReplicaTemplate::default()
    }
}

/// The variables of files and of `--env`, which wins.
fn variables(run: &RunOptions, mistakes: &mut Mistakes<'_>) -> Vec<Variable> {
    let mut given = Vec::new();
    for path in &run.env_file {
        match env_file::read(path) {
            Ok(variables) => given.extend(variables),
            Err(wrong) => mistakes.add_item("env-file", path, wrong),
        }
    }
    let mut names = HashSet::new();
    for (name, _) in &run.env {
        if !names.insert(name) {
            mistakes.add_item("env", format!("{name}="), format!("{name} is set twice"));
        }
    }
    given.extend_from_slice(&run.env);
    let mut variables: Vec<Variable> = Vec::new();
    for (name, value) in given {
        match variables.iter_mut().find(|(present, _)| *present == name) {
            Some((_, present)) => *present = value,
            None => variables.push((name, value)),
        }
    }
    variables
}

/// What there is to be on top of what a service of a stack says.
fn stack_settings(
    run: RunOptions,
    containers: (DockerOptions, ContainerOptions),
    port: u16,
    mistakes: &mut Mistakes<'_>,
) -> DockerSettings {
    refuse_copied("is as the stack file has it; leave it out", mistakes);
    let given = ["memory", "cpus", "pids"].map(|key| mistakes.is_given(key));
    let mut settings = container_settings(run, containers, port, mistakes);
    let template = &mut settings.template;
    template.memory = template.memory.filter(|_| given[0]);
    template.nano_cpus = template.nano_cpus.filter(|_| given[1]);
    template.pids = template.pids.filter(|_| given[2]);
    settings.security = Security::Baseline;
    settings
}

fn docker_settings(
    run: RunOptions,
    containers: (DockerOptions, ContainerOptions),
    port: u16,
    mistakes: &mut Mistakes<'_>,
) -> DockerSettings {
    let what = ["image", "like", "service"];
    if !what.into_iter().any(|key| mistakes.is_given(key)) {
        mistakes.add("image", "missing; containers need something to run");
    }
    container_settings(run, containers, port, mistakes)
}

fn container_settings(
    mut run: RunOptions,
    (docker, container): (DockerOptions, ContainerOptions),
    port: u16,
    mistakes: &mut Mistakes<'_>,
) -> DockerSettings {
    let fleet = docker.fleet.unwrap_or_else(|| default_fleet(port));
    let (like, service) = (run.like.take(), run.service.take());
    if service.is_some() {
        refuse_beside_service(mistakes);
    } else if like.is_some() {
        refuse_copied(
            "is as the container has it that like names; leave it out",
            mistakes,
        );
    }
    let is_copied = like.is_some() || service.is_some();
    // What a container has wins over our defaults.
    let limits_hold = |key| !is_copied || mistakes.is_given(key);
    let [memory, cpus, pids] = ["memory", "cpus", "pids"].map(limits_hold);
    DockerSettings {
        network: docker.docker_network.unwrap_or_else(|| fleet.clone()),
        fleet,
        // Absent, it is a mistake that has been noted.
        image: run.image.take().unwrap_or_default(),
        security: match is_copied {
            true => Security::Baseline,
            false => docker.replica_security,
        },
        pull: docker.pull,
        template: ReplicaTemplate {
            memory: docker.memory.filter(|_| memory),
            nano_cpus: docker.cpus.filter(|_| cpus),
            pids: docker.pids.filter(|_| pids),
            ..template(run, mistakes)
        },
        container,
        // Its configuration is the engine's to say.
        like: like.map(|container| ContainerTemplate {
            container,
            body: Default::default(),
        }),
        service,
    }
}

/// Notes options that say what the compose file says.
fn refuse_beside_service(mistakes: &mut Mistakes<'_>) {
    const HERE: [&str; 7] = [
        "service",
        "docker-network",
        "replica-port",
        "target-in-flight",
        "min-replicas",
        "max-replicas",
        "scale-down-after",
    ];
    for option in OPTIONS.iter() {
        let key = option.key();
        let users = option.runtimes();
        let is_of_replicas =
            users.contains(&RuntimeKind::Docker) && !users.contains(&RuntimeKind::Static);
        if mistakes.is_given(key) && is_of_replicas && !HERE.contains(&key) {
            mistakes.add(
                key,
                "is as the compose file has it for service; leave it out",
            );
        }
    }
}

/// Notes options that say what is copied from something else.
fn refuse_copied(wrong: &str, mistakes: &mut Mistakes<'_>) {
    for option in OPTIONS.iter() {
        let key = option.key();
        let is_known = mistakes.found.iter().any(|(about, _)| *about == key);
        let is_copied = option.is_of_container() || key == "replica-security";
        if mistakes.is_given(key) && is_copied && !is_known {
            mistakes.add(key, wrong);
        }
    }
}

fn check_upstreams(upstreams: &[Upstream], listen: SocketAddr, mistakes: &mut Mistakes<'_>) {
    let given = mistakes.given.get("upstream");
    if given.is_none_or(|given| given.values.is_empty()) {
        let wrong = "missing; runtime static needs at least one HOST:PORT or NAME=HOST:PORT";
        mistakes.add("upstream", wrong);
    }
    for (place, Upstream { name, address }) in upstreams.iter().enumerate() {
        let before = &upstreams[..place];
        let same_name = before.iter().find(|other| other.name.is_same_in_dns(name));
        let wrong = if before.iter().any(|other| other.address == *address) {
            format!("{address} is given twice")
        } else if let Some(other) = same_name {
            match other.name == *name {
                true => format!("the name {name} is given twice"),
                false => format!("DNS cannot tell the name {name} from {}", other.name),
            }
        } else if is_own_address(address, listen) {
            "is where the balancer itself listens; it would forward to itself".to_owned()
        } else {
            continue;
        };
        let item = match name.as_str() == address {
            true => address.clone(),
            false => format!("{name}={address}"),
        };
        mistakes.add_item("upstream", item, wrong);
    }
}

/// Whether an upstream is for certain the balancer itself. Other names and addresses of
/// this machine are not looked up.
fn is_own_address(address: &str, listen: SocketAddr) -> bool {
    let address = address.replacen("localhost:", "127.0.0.1:", 1);
    address.parse().is_ok_and(|address: SocketAddr| {
        let is_here = address.ip().is_loopback() && listen.ip().is_unspecified();
        address == listen || (is_here && address.port() == listen.port())
    })
}
