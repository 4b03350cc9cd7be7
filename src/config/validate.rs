//! From layers to [`Settings`]: the one place where values are judged.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use super::key_source::is_token;
use super::layers::{Layers, Raw};
use super::option::RuntimeKind;
use super::options::OPTIONS;
use super::reader::Reader;
use super::recorded::default_fleet;
use super::settings::{DefaultNames, RequestTimes, RuntimeSettings, Settings, Times};
use super::{
    AdminAccess, AdminCalls, KeySource, RetryPolicy, StickyCookie, address, env_file, heartbeat,
    text, units,
};
use crate::fleet::{EjectionPolicy, OutlierOn, RestartLimit};
use crate::ring::{InvalidSpec, PanicThreshold, ReplicaName, RingSpec, Strategy};
use crate::runtime::ReplicaTemplate;
use crate::runtime::docker::{DockerSettings, PullPolicy, Security};
use crate::runtime::static_servers::Upstream;
use crate::sys::open_files;

/// Judges everything, or says all that is wrong.
pub(crate) fn settings(layers: &Layers) -> Result<Settings, Vec<String>> {
    let mut reader = Reader::new(layers);
    let settings = read(&mut reader);
    match settings {
        Some(settings) if reader.is_clean() => Ok(settings),
        _ => Err(reader.into_mistakes()),
    }
}

/// Judges the options of the ring alone.
pub(crate) fn ring_spec(layers: &Layers) -> Result<RingSpec, Vec<String>> {
    let mut reader = Reader::new(layers);
    match ring(&mut reader) {
        Some(spec) if reader.is_clean() => Ok(spec),
        _ => Err(reader.into_mistakes()),
    }
}

/// Reads every option. Where something was wrong the outcome is not to be used.
fn read(reader: &mut Reader<'_>) -> Option<Settings> {
    let kind = runtime_kind(reader);
    let listen = reader.value("listen", address::listen);
    let admin = reader.optional("admin", address::listen);
    if admin == Some(listen) && listen.port() != 0 {
        reader.mistake("admin", "is where clients are listened to already");
    }
    let public_address = reader.optional("public-address", address::host_and_port);
    let workers = reader
        .optional_whole("workers")
        .and_then(NonZeroUsize::new)
        .unwrap_or_else(cpus);
    let trusted_proxies = reader.list("trusted-proxy", address::network);
    let admin_hosts = reader.list("admin-host", address::host_name);
    let admin_access = AdminAccess {
        calls: reader.value("admin-calls", AdminCalls::parse),
        hosts: admin_hosts.into_iter().map(|(_, host)| host).collect(),
    };
    let key = reader.value("key", |text| {
        text.parse::<KeySource>().map_err(|wrong| wrong.to_string())
    });
    let ring = ring(reader);
    let balance_factor = reader.value("balance-factor", |text| {
        or_none(text, "not a balance factor")
    });
    let heartbeat = heartbeat::settings(reader);
    let ejection = EjectionPolicy {
        failures: reader.whole("outlier-failures"),
        on: reader.value("outlier-on", |text| match text {
            "errors" => Ok(OutlierOn::Errors),
            "5xx" => Ok(OutlierOn::ServerErrors),
            _ => Err("not a kind of failure".to_owned()),
        }),
        duration: reader.duration("outlier-ejection"),
    };
    let times = Times {
        start: reader.duration("start-timeout"),
        slow_start: reader.duration("slow-start"),
        hang_timeout: reader.duration("hang-timeout"),
        unready: reader.value("unready-timeout", unready_timeout),
        header: reader.duration("header-timeout"),
        keep_alive: reader.duration("keep-alive-timeout"),
        half_closed: reader.value("half-closed-timeout", half_closed_timeout),
        request: RequestTimes {
            wait: reader.duration("wait-timeout"),
            body: reader.duration("body-timeout"),
            response: reader.duration("response-timeout"),
            idle: reader.duration("idle-timeout"),
            tunnel: reader.duration("tunnel-timeout"),
            request: Some(reader.duration("request-timeout")).filter(|time| !time.is_zero()),
        },
        connect: reader.duration("connect-timeout"),
        drain: reader.duration("drain-timeout"),
        stop_grace: reader.duration("stop-grace"),
    };
    let restart_limit = RestartLimit {
        deaths: reader.whole("restart-limit"),
        window: reader.duration("restart-window"),
    };
    // The table's bounds are those of a percentage.
    let panic_threshold = PanicThreshold::new(reader.whole("panic-threshold")).unwrap_or_default();
    let max_in_flight = reader.value("max-in-flight", |text| or_none(text, "not a whole number"));
    let sticky_cookie = sticky_cookie(reader);
    let via = reader.value("via", text::via);
    let retry = reader.value("retry", |text| match text {
        "never" => Ok(RetryPolicy::Never),
        "unsent" => Ok(RetryPolicy::Unsent),
        "idempotent" => Ok(RetryPolicy::Idempotent),
        _ => Err("not a way to retry".to_owned()),
    });
    let max_tunnels = reader.value("max-tunnels", |text| or_none(text, "not a whole number"));
    let max_connections_per_client = reader.value("max-connections-per-client", |text| {
        or_none(text, "not a whole number")
    });
    let min_body_rate = NonZeroU64::new(reader.whole("min-body-rate"));
    let retry_budget = reader.whole("retry-budget");
    let max_waiting = reader.whole("max-waiting");
    let max_body = reader.value("max-body", units::body);
    let (runtime, replicas) = match kind {
        RuntimeKind::Process => {
            let replicas = replicas(reader);
            let template = template(reader);
            if template.port.is_some() && replicas.len() > 1 {
                reader.mistake(
                    "replica-port",
                    format!(
                        "{} replicas on one machine cannot share a port; leave it out, and each \
                         gets a free one, as PORT and {{port}}",
                        replicas.len()
                    ),
                );
            }
            if heartbeat.port.is_some() && replicas.len() > 1 {
                let wrong = format!(
                    "{} replicas on one machine cannot share a port for heartbeats",
                    replicas.len()
                );
                reader.mistake("heartbeat-port", wrong);
            }
            (RuntimeSettings::Process(template), replicas)
        }
        RuntimeKind::Docker => {
            let replicas = replicas(reader);
            let docker = docker(reader, listen.port());
            (RuntimeSettings::Docker(docker), replicas)
        }
        RuntimeKind::Static => {
            let upstreams = upstreams(reader, listen);
            let names = upstreams.iter().map(|u| u.name.clone()).collect();
            (RuntimeSettings::Static(upstreams), names)
        }
    };
    let max_connections = reader
        .optional_whole("max-connections")
        .and_then(NonZeroUsize::new)
        .unwrap_or_else(|| open_files::connections(replicas.len()));
    Some(Settings {
        listen,
        public_address,
        admin,
        workers,
        max_connections,
        trusted_proxies: trusted_proxies.into_iter().map(|(_, net)| net).collect(),
        admin_access,
        key,
        sticky_cookie,
        ring: ring?,
        balance_factor,
        heartbeat,
        ejection,
        restart_limit,
        panic_threshold,
        times,
        max_in_flight,
        via,
        retry,
        max_tunnels,
        max_connections_per_client,
        min_body_rate,
        retry_budget,
        max_waiting,
        max_body,
        replicas,
        runtime,
        state: reader.optional("state", text::file),
        default_names: DefaultNames {
            fleet: reader.given("fleet").is_none(),
            network: reader.given("docker-network").is_none(),
        },
    })
}

fn sticky_cookie(reader: &mut Reader<'_>) -> Option<StickyCookie> {
    let name = reader.optional("sticky-cookie", |text| match is_token(text) {
        true if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("not the name of a cookie".to_owned()),
    });
    let ttl = reader.optional_duration("sticky-ttl");
    if reader.given("sticky-cookie").is_none() && ttl.is_some() {
        let wrong = "there is no --sticky-cookie that it could be of".to_owned();
        reader.mistake("sticky-ttl", wrong);
    }
    name.map(|name| StickyCookie { name, ttl })
}

/// The runtime that was asked for, in so many words or by what it needs.
fn runtime_kind(reader: &mut Reader<'_>) -> RuntimeKind {
    let named = reader.optional("runtime", |text| {
        RuntimeKind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| "not a runtime".to_owned())
    });
    let (image, upstream) = (reader.given("image"), reader.given("upstream"));
    let (kind, because) = match (named, image, upstream) {
        (Some(kind), ..) => {
            let origin = reader.given("runtime").map(|given| &given.origin);
            (
                kind,
                origin.map_or_else(String::new, |o| format!("from {o}")),
            )
        }
        (None, Some(image), Some(_)) => {
            reader.mistake(
                "upstream",
                format!(
                    "replicas are either started or run by somebody else, and image (from {}) \
                     says the former; give one of the two",
                    image.origin
                ),
            );
            return RuntimeKind::Docker;
        }
        (None, Some(image), None) => (
            RuntimeKind::Docker,
            format!("because of image, from {}", image.origin),
        ),
        (None, None, Some(upstream)) => (
            RuntimeKind::Static,
            format!("because of upstream, from {}", upstream.origin),
        ),
        (None, None, None) => (RuntimeKind::Process, "by default".to_owned()),
    };
    // A runtime that cannot be read says nothing about what belongs to it.
    if named.is_some() || reader.given("runtime").is_none() {
        refuse_strangers(reader, kind, &because);
    }
    kind
}

/// An option that the runtime does not use was given in the belief that it works.
fn refuse_strangers(reader: &mut Reader<'_>, kind: RuntimeKind, because: &str) {
    for option in OPTIONS {
        if option.runtimes.contains(&kind) || reader.given(option.key).is_none() {
            continue;
        }
        let users: Vec<_> = option.runtimes.iter().map(|kind| kind.name()).collect();
        reader.mistake(
            option.key,
            format!(
                "only for runtime {}, but the runtime is {} ({because})",
                users.join(" or "),
                kind.name()
            ),
        );
    }
}

/// A duration, or `off`.
fn half_closed_timeout(text: &str) -> Result<Option<Duration>, String> {
    const MIN: Duration = Duration::from_millis(10);
    const MAX: Duration = Duration::from_secs(86_400);
    if text.trim().eq_ignore_ascii_case("off") || units::is_none(text) {
        return Ok(None);
    }
    match units::duration(text)? {
        duration if duration < MIN => Err("too short".to_owned()),
        duration if duration > MAX => Err("too long".to_owned()),
        duration => Ok(Some(duration)),
    }
}

/// A value, or `none` or `null`.
fn or_none<T: FromStr>(text: &str, wrong: &str) -> Result<Option<T>, String> {
    if units::is_none(text) {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| wrong.to_owned())
}

/// How long a replica may be unready; none: for ever.
fn unready_timeout(text: &str) -> Result<Option<Duration>, String> {
    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(86_400);
    if text.trim().eq_ignore_ascii_case("off") || units::is_none(text) {
        return Ok(None);
    }
    match units::duration(text)? {
        timeout if timeout < MIN => Err("too short".to_owned()),
        timeout if timeout > MAX => Err("too long".to_owned()),
        timeout => Ok(Some(timeout)),
    }
}

/// The CPUs that this process may use; the most that `--workers` allows if there are more.
fn cpus() -> NonZeroUsize {
    const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
    std::thread::available_parallelism().map_or(NonZeroUsize::MIN, |cpus| cpus.min(MOST))
}

fn ring(reader: &mut Reader<'_>) -> Option<RingSpec> {
    let strategy = reader.value("strategy", |text| {
        text.parse::<Strategy>()
            .map_err(|_| "not a strategy".to_owned())
    });
    let slots = reader.optional_whole("slots");
    let virtual_servers = reader.optional_whole("virtual-servers");
    let spec = RingSpec::new(strategy, slots, virtual_servers);
    // The recipe reports its first mistake; asked without the slots, it reports the other.
    let again = match spec {
        Err(InvalidSpec::Slots(..)) => RingSpec::new(strategy, None, virtual_servers).err(),
        _ => None,
    };
    for wrong in spec.as_ref().err().into_iter().chain(&again) {
        match wrong {
            InvalidSpec::Slots(_, why) => reader.mistake("slots", why),
            InvalidSpec::VirtualServers(_, why) => reader.mistake("virtual-servers", why),
            InvalidSpec::UnknownStrategy(_) => reader.mistake("strategy", wrong),
        }
    }
    spec.ok()
}

/// `Server1` to `ServerN`.
fn replicas(reader: &mut Reader<'_>) -> Vec<ReplicaName> {
    let count: u32 = reader.whole("replicas");
    (1..=count)
        // Such a name is always good.
        .filter_map(|number| format!("Server{number}").parse().ok())
        .collect()
}

fn template(reader: &mut Reader<'_>) -> ReplicaTemplate {
    ReplicaTemplate {
        command: reader.words("command", text::words, text::command),
        port: reader.optional_whole("replica-port"),
        env: variables(reader),
        memory: None,
        nano_cpus: None,
        pids: None,
    }
}

fn variables(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |key: String, value: String| match variables.iter_mut().find(|(k, _)| *k == key) {
        Some((_, present)) => *present = value,
        None => variables.push((key, value)),
    };
    for (_, lines) in reader.list("env-file", env_file::read) {
        lines.into_iter().for_each(|(key, value)| set(key, value));
    }
    let mut seen = HashSet::new();
    for (item, (key, value)) in reader.list("env", text::variable) {
        if seen.insert(key.clone()) {
            set(key, value);
        } else {
            reader.item_mistake("env", &item, format!("{key} is set twice"));
        }
    }
    variables
}

fn docker(reader: &mut Reader<'_>, port: u16) -> DockerSettings {
    let image = reader.optional("image", text::image);
    if reader.given("image").is_none() {
        reader.mistake("image", "missing; runtime docker needs to know what to run");
    }
    let fleet = reader.optional("fleet", text::engine_name);
    let fleet = fleet.unwrap_or_else(|| default_fleet(port));
    let network = reader.optional("docker-network", text::network);
    let security = reader.value("replica-security", |text| match text {
        "restricted" => Ok(Security::Restricted),
        "baseline" => Ok(Security::Baseline),
        _ => Err("not a level".to_owned()),
    });
    let pull = reader.value("pull", |text| match text {
        "always" => Ok(PullPolicy::Always),
        "missing" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        _ => Err("not one of them".to_owned()),
    });
    let template = template(reader);
    DockerSettings {
        network: network.unwrap_or_else(|| fleet.clone()),
        fleet,
        // Absent, it is a mistake that has been remembered.
        image: image.unwrap_or_default(),
        security,
        pull,
        template: ReplicaTemplate {
            memory: reader.value("memory", units::memory),
            nano_cpus: reader.value("cpus", units::cpus),
            pids: reader.value("pids", units::pids),
            ..template
        },
    }
}

fn upstreams(reader: &mut Reader<'_>, listen: SocketAddr) -> Vec<Upstream> {
    let read = reader.list("upstream", address::upstream);
    let nothing = Raw::Many(Vec::new());
    if reader
        .given("upstream")
        .is_none_or(|given| given.raw == nothing)
    {
        reader.mistake(
            "upstream",
            "missing; runtime static needs at least one HOST:PORT or NAME=HOST:PORT",
        );
    }
    let mut names: Vec<ReplicaName> = Vec::new();
    let mut addresses = HashSet::new();
    let mut upstreams = Vec::new();
    for (item, upstream) in read {
        if !addresses.insert(upstream.address.clone()) {
            reader.item_mistake(
                "upstream",
                &item,
                format!("{} is given twice", upstream.address),
            );
        } else if let Some(other) = names
            .iter()
            .find(|name| name.is_same_in_dns(&upstream.name))
        {
            let wrong = if *other == upstream.name {
                format!("the name {other} is given twice")
            } else {
                format!("DNS cannot tell the name {} from {other}", upstream.name)
            };
            reader.item_mistake("upstream", &item, wrong);
        } else if is_own_address(&upstream.address, listen) {
            reader.item_mistake(
                "upstream",
                &item,
                "is where the balancer itself listens; it would forward to itself",
            );
        }
        names.push(upstream.name.clone());
        upstreams.push(upstream);
    }
    upstreams
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
