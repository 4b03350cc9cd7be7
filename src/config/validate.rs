//! From layers to [`Settings`]: every option is read by its rule, then they are judged together.
//! All mistakes are found at once: where a value is wrong, its default takes its place.

use std::collections::HashSet;
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::LazyLock;

use actix_web::http::Method;
use clap::error::ErrorKind;
use clap::{Command, FromArgMatches as _};

use super::layers::Layers;
use super::option::{self, OPTIONS, OptionSpec};
use super::options::{
    BalancingOptions, DockerOptions, HeartbeatKind, HeartbeatSettings, Limits, Options, RunOptions,
    RuntimeKind, Variable,
};
use super::recorded::default_fleet;
use super::settings::{DefaultNames, RuntimeSettings, Settings, StickyCookie};
use crate::ring::{InvalidSpec, ReplicaName, RingSpec};
use crate::runtime::ReplicaTemplate;
use crate::runtime::docker::DockerSettings;
use crate::runtime::static_servers::Upstream;
use crate::sys::open_files;

/// Options that say what a request asks, or what a good answer is.
const HTTP_ONLY: [&str; 5] = [
    "heartbeat-path",
    "heartbeat-method",
    "heartbeat-header",
    "heartbeat-status",
    "heartbeat-body",
];

/// Every option as it is by default.
static DEFAULTS: LazyLock<Options> = LazyLock::new(|| {
    let matches = option::command().try_get_matches_from([""; 0]);
    let options = matches.and_then(|matches| Options::from_arg_matches(&matches));
    // A default that its own rule refuses fails every test.
    options.unwrap_or_else(|error| panic!("a default is invalid: {error}"))
});

impl Default for Limits {
    fn default() -> Self {
        DEFAULTS.limits
    }
}

/// What reads options that are given. Without defaults: they would replace what was read before.
static COMMAND: LazyLock<Command> = LazyLock::new(|| {
    let mut command = option::command().mut_args(|arg| arg.default_value(None));
    command.build();
    command
});

/// Judges everything, or says all that is wrong.
pub(crate) fn settings(layers: &Layers) -> Result<Settings, Vec<String>> {
    let (options, mut mistakes) = read(layers);
    let settings = judge(options, &mut mistakes);
    mistakes.or(settings)
}

/// Judges the options of the ring alone.
pub(crate) fn ring_spec(layers: &Layers) -> Result<RingSpec, Vec<String>> {
    let (options, mut mistakes) = read(layers);
    let spec = ring(&options.balancing, &mut mistakes);
    mistakes.or(spec)
}

/// Mistakes, each with the key that it is about.
struct Mistakes<'a> {
    layers: &'a Layers,
    found: Vec<(&'static str, String)>,
}

impl Mistakes<'_> {
    fn is_given(&self, key: &str) -> bool {
        self.layers.get(key).is_some()
    }

    /// Notes what is wrong with an option as a whole.
    fn add(&mut self, key: &'static str, wrong: impl Display) {
        let described = option::find(key).zip(self.layers.get(key));
        let about = described.map_or(key.to_owned(), |(option, given)| given.describe(option));
        self.found.push((key, format!("{about}: {wrong}")));
    }

    /// Notes what is wrong with one item of a list.
    fn add_item(&mut self, key: &'static str, item: impl Into<OsString>, wrong: impl Display) {
        if let (Some(option), Some(given)) = (option::find(key), self.layers.get(key)) {
            let about = given.describe_item(option, &item.into());
            self.found.push((key, format!("{about}: {wrong}")));
        }
    }

    /// A value if there are no mistakes.
    fn or<T>(self, value: Option<T>) -> Result<T, Vec<String>> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.found.into_iter().map(|(_, mistake)| mistake).collect()),
        }
    }
}

/// Reads every option that was given, each by itself; the others are as by default.
fn read(layers: &Layers) -> (Options, Mistakes<'_>) {
    let mut options = DEFAULTS.clone();
    let mut mistakes = Mistakes {
        layers,
        found: Vec::new(),
    };
    let mut command = COMMAND.clone();
    for option in OPTIONS.iter() {
        let (key, Some(given)) = (option.key(), layers.get(option.key())) else {
            continue;
        };
        if given.is_list && !option.is_list() {
            mistakes.add(key, format!("a list; allowed is {}", option.allowed()));
        } else if let Err(wrong) = apply(&mut command, option, &given.values, &mut options) {
            if !option.is_list() {
                mistakes.add(key, wrong);
                continue;
            }
            let mut scratch = options.clone();
            let mut good = Vec::new();
            for item in &given.values {
                match apply(&mut command, option, [item], &mut scratch) {
                    Ok(()) => good.push(item),
                    Err(wrong) => mistakes.add_item(key, item, wrong),
                }
            }
            // Those were good a moment ago.
            let _ = apply(&mut command, option, good, &mut options);
        }
    }
    (options, mistakes)
}

/// Has clap read an option's values.
fn apply<'v>(
    command: &mut Command,
    option: &OptionSpec,
    values: impl IntoIterator<Item = &'v OsString>,
    options: &mut Options,
) -> Result<(), String> {
    let matches = command.try_get_matches_from_mut(option.as_args(values));
    let applied = matches.and_then(|matches| options.update_from_arg_matches(&matches));
    applied.map_err(|error| match (error.kind(), error.source()) {
        (ErrorKind::InvalidUtf8, _) => format!("not UTF-8; allowed is {}", option.allowed()),
        (_, Some(wrong)) => wrong.to_string(),
        (_, None) => error.to_string(),
    })
}

/// Judges options together. Where something was wrong the outcome is not to be used.
fn judge(options: Options, mistakes: &mut Mistakes<'_>) -> Option<Settings> {
    let Options {
        run,
        server,
        config: _,
        balancing,
        health,
        limits,
        logs,
        docker,
    } = options;
    let kind = runtime_kind(&run, mistakes);
    if server.admin == Some(server.listen) && server.listen.port() != 0 {
        mistakes.add("admin", "is already used by --listen");
    }
    let ring = ring(&balancing, mistakes);
    if !mistakes.is_given("sticky-cookie") && balancing.sticky_ttl.is_some() {
        mistakes.add("sticky-ttl", "needs --sticky-cookie");
    }
    let ttl = balancing.sticky_ttl;
    check_heartbeat(&health.heartbeat, mistakes);
    let (replicas, state) = (replicas(run.replicas), run.state.clone());
    let (runtime, replicas) = match kind {
        RuntimeKind::Process => {
            let ports = [
                ("replica-port", run.replica_port),
                ("heartbeat-port", health.heartbeat.port),
            ];
            for (key, port) in ports {
                if port.is_some() && replicas.len() > 1 {
                    let advice = match key {
                        "replica-port" => "; without it each gets a free one, as PORT and {port}",
                        _ => "",
                    };
                    let count = replicas.len();
                    let wrong = format!("{count} replicas on one machine cannot share it{advice}");
                    mistakes.add(key, wrong);
                }
            }
            (RuntimeSettings::Process(template(run, mistakes)), replicas)
        }
        RuntimeKind::Docker => {
            let settings = docker_settings(run, docker, server.listen.port(), mistakes);
            (RuntimeSettings::Docker(settings), replicas)
        }
        RuntimeKind::Static => {
            check_upstreams(&run.upstream, server.listen, mistakes);
            let names = run.upstream.iter().map(|upstream| upstream.name.clone());
            (
                RuntimeSettings::Static(run.upstream.clone()),
                names.collect(),
            )
        }
    };
    Some(Settings {
        max_connections: server
            .max_connections
            .unwrap_or_else(|| open_files::connections(replicas.len())),
        server,
        key: balancing.key,
        sticky_cookie: balancing
            .sticky_cookie
            .map(|name| StickyCookie { name, ttl }),
        ring: ring?,
        balance_factor: balancing.balance_factor,
        health,
        limits,
        logs,
        replicas,
        runtime,
        state,
        default_names: DefaultNames {
            fleet: !mistakes.is_given("fleet"),
            network: !mistakes.is_given("docker-network"),
        },
    })
}

/// The runtime that was asked for, by its name or by what it needs.
fn runtime_kind(run: &RunOptions, mistakes: &mut Mistakes<'_>) -> RuntimeKind {
    let origin = |key| {
        mistakes
            .layers
            .get(key)
            .map(|given| given.origin.to_string())
    };
    let (kind, because) = match (origin("runtime"), origin("image"), origin("upstream")) {
        (Some(origin), ..) => match run.runtime {
            Some(kind) => (kind, format!("from {origin}")),
            // A runtime that cannot be read says nothing about what belongs to it.
            None => return RuntimeKind::Process,
        },
        (None, Some(image), Some(_)) => {
            let wrong = format!(
                "is for servers that run already, image (from {image}) for replicas to start; give one of \
                 the two"
            );
            mistakes.add("upstream", wrong);
            return RuntimeKind::Docker;
        }
        (None, Some(image), None) => (
            RuntimeKind::Docker,
            format!("because of image, from {image}"),
        ),
        (None, None, Some(upstream)) => (
            RuntimeKind::Static,
            format!("because of upstream, from {upstream}"),
        ),
        (None, None, None) => (RuntimeKind::Process, "by default".to_owned()),
    };
    // An option that the runtime does not use was given in the belief that it works.
    for option in OPTIONS
        .iter()
        .filter(|option| !option.runtimes().contains(&kind))
    {
        let key = option.key();
        if mistakes.is_given(key) {
            let users: Vec<_> = option.runtimes().iter().map(|kind| kind.name()).collect();
            let (users, kind) = (users.join(" or "), kind.name());
            // What else is wrong with it does not matter.
            mistakes.found.retain(|(about, _)| *about != key);
            let wrong = format!("only for runtime {users}, but the runtime is {kind} ({because})");
            mistakes.add(key, wrong);
        }
    }
    kind
}

fn check_heartbeat(heartbeat: &HeartbeatSettings, mistakes: &mut Mistakes<'_>) {
    for key in HTTP_ONLY {
        if heartbeat.kind == HeartbeatKind::Tcp && mistakes.is_given(key) {
            mistakes.add(key, "is for --heartbeat http, but --heartbeat is tcp");
        }
    }
    if heartbeat.method == Method::HEAD && heartbeat.body.is_some() {
        let wrong = "the answer to --heartbeat-method HEAD has no body";
        mistakes.add("heartbeat-body", wrong);
    }
    let mut names = HashSet::new();
    for (name, value) in &heartbeat.headers {
        if !names.insert(name) {
            let item = format!("{name}: {value}");
            mistakes.add_item("heartbeat-header", item, format!("{name} is given twice"));
        }
    }
}

fn ring(options: &BalancingOptions, mistakes: &mut Mistakes<'_>) -> Option<RingSpec> {
    let BalancingOptions {
        strategy,
        slots,
        virtual_servers,
        ..
    } = *options;
    let spec = RingSpec::new(strategy, slots, virtual_servers);
    // The recipe reports its first mistake; asked without the slots, it reports the other.
    let again = match spec {
        Err(InvalidSpec::Slots(..)) => RingSpec::new(strategy, None, virtual_servers).err(),
        _ => None,
    };
    for wrong in spec.as_ref().err().into_iter().chain(&again) {
        match wrong {
            InvalidSpec::Slots(_, why) => mistakes.add("slots", why),
            InvalidSpec::VirtualServers(_, why) => mistakes.add("virtual-servers", why),
            InvalidSpec::UnknownStrategy(_) => mistakes.add("strategy", wrong),
        }
    }
    spec.ok()
}

/// `Server1` to `ServerN`.
fn replicas(count: u32) -> Vec<ReplicaName> {
    // Such a name is always good.
    (1..=count)
        .filter_map(|number| format!("Server{number}").parse().ok())
        .collect()
}

fn template(run: RunOptions, mistakes: &mut Mistakes<'_>) -> ReplicaTemplate {
    ReplicaTemplate {
        command: run.command,
        port: run.replica_port,
        env: variables(run.env_file, run.env, mistakes),
        memory: None,
        nano_cpus: None,
        pids: None,
    }
}

/// The variables of files and of `--env`, which wins.
fn variables(
    files: Vec<Vec<Variable>>,
    env: Vec<Variable>,
    mistakes: &mut Mistakes<'_>,
) -> Vec<Variable> {
    let mut names = HashSet::new();
    for (name, _) in &env {
        if !names.insert(name) {
            mistakes.add_item("env", format!("{name}="), format!("{name} is set twice"));
        }
    }
    let mut variables: Vec<Variable> = Vec::new();
    for (name, value) in files.into_iter().flatten().chain(env) {
        match variables.iter_mut().find(|(present, _)| *present == name) {
            Some((_, present)) => *present = value,
            None => variables.push((name, value)),
        }
    }
    variables
}

fn docker_settings(
    mut run: RunOptions,
    docker: DockerOptions,
    port: u16,
    mistakes: &mut Mistakes<'_>,
) -> DockerSettings {
    if !mistakes.is_given("image") {
        mistakes.add("image", "missing; runtime docker needs to know what to run");
    }
    let fleet = docker.fleet.unwrap_or_else(|| default_fleet(port));
    DockerSettings {
        network: docker.docker_network.unwrap_or_else(|| fleet.clone()),
        fleet,
        // Absent, it is a mistake that has been noted.
        image: run.image.take().unwrap_or_default(),
        security: docker.replica_security,
        pull: docker.pull,
        template: ReplicaTemplate {
            memory: docker.memory,
            nano_cpus: docker.cpus,
            pids: docker.pids,
            ..template(run, mistakes)
        },
    }
}

fn check_upstreams(upstreams: &[Upstream], listen: SocketAddr, mistakes: &mut Mistakes<'_>) {
    if mistakes
        .layers
        .get("upstream")
        .is_none_or(|given| given.values.is_empty())
    {
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
    let address: Option<SocketAddr> = match address.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse().ok(),
        None => address.parse().ok(),
    };
    address.is_some_and(|address| {
        address == listen
            || (address.port() == listen.port()
                && address.ip().is_loopback()
                && listen.ip().is_unspecified())
    })
}
