//! From what was given to [`Settings`]: clap reads every option, then they are judged together. All
//! mistakes are found at once: where a value is wrong, its default takes its place.

mod runtime;
mod scaling;

use std::collections::HashSet;
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Display;

use actix_web::http::Method;
use clap::FromArgMatches as _;
use clap::error::ErrorKind;

use super::layers::Layer;
use super::option::{self, OPTIONS, OptionSpec};
use super::options::{
    BalancingOptions, EventTarget, HealthOptions, HeartbeatKind, HeartbeatSettings, Limits,
    Options, RunOptions, RuntimeKind, SWARM_HANG_TIMEOUT,
};
use super::settings::{DefaultNames, Settings, StickyCookie};
use super::units;
use crate::fleet::{ContainerOptions, watched_tag};
use crate::ring::{InvalidSpec, RingSpec};
use crate::sys::open_files;

/// Options that say what a request asks, or what a good answer is.
const HTTP_ONLY: [&str; 5] = [
    "heartbeat-path",
    "heartbeat-method",
    "heartbeat-header",
    "heartbeat-status",
    "heartbeat-body",
];

impl Default for Limits {
    fn default() -> Self {
        // A default that its own rule refuses fails every test.
        let options = options(&[]).unwrap_or_else(|error| panic!("a default is invalid: {error}"));
        options.limits
    }
}

/// Judges everything, or says all that is wrong.
pub(crate) fn settings(given: &Layer) -> Result<Settings, Vec<String>> {
    let (options, mut mistakes) = read(given)?;
    let settings = judge(options, &mut mistakes);
    mistakes.or(settings)
}

/// Judges the options of the ring alone.
pub(crate) fn ring_spec(given: &Layer) -> Result<RingSpec, Vec<String>> {
    let (options, mut mistakes) = read(given)?;
    let spec = ring(&options.balancing, &mut mistakes);
    mistakes.or(spec)
}

/// Mistakes, each with the key that it is about.
struct Mistakes<'a> {
    given: &'a Layer,
    found: Vec<(&'static str, String)>,
}

impl Mistakes<'_> {
    fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// Notes what is wrong with an option as a whole.
    fn add(&mut self, key: &'static str, wrong: impl Display) {
        let described = option::find(key).zip(self.given.get(key));
        let about = described.map_or(key.to_owned(), |(option, given)| given.describe(option));
        self.found.push((key, format!("{about}: {wrong}")));
    }

    /// Notes what is wrong with one item of a list.
    fn add_item(&mut self, key: &'static str, item: impl Into<OsString>, wrong: impl Display) {
        if let Some((option, given)) = option::find(key).zip(self.given.get(key)) {
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

/// Reads every value by itself, then those together that are good.
fn read(given: &Layer) -> Result<(Options, Mistakes<'_>), Vec<String>> {
    let found = Vec::new();
    let mut mistakes = Mistakes { given, found };
    let mut command = option::command();
    let mut good = Vec::new();
    for option in OPTIONS.iter() {
        let (key, Some(given)) = (option.key(), given.get(option.key())) else {
            continue;
        };
        if given.is_list && !option.is_list() {
            mistakes.add(key, format!("a list; allowed is {}", option.allowed()));
            continue;
        }
        for value in &given.values {
            let arg = option.as_arg(value);
            match command.try_get_matches_from_mut([&arg]) {
                Ok(_) => good.push(arg),
                Err(error) => mistakes.add_item(key, value, wrong(option, &error)),
            }
        }
    }
    let options = options(&good).map_err(|error| vec![error.to_string()])?;
    Ok((options, mistakes))
}

fn options(args: &[OsString]) -> Result<Options, clap::Error> {
    Options::from_arg_matches(&option::command().try_get_matches_from(args)?)
}

/// What clap says of a value.
fn wrong(option: &OptionSpec, error: &clap::Error) -> String {
    let wrong = match (error.kind(), error.source()) {
        (ErrorKind::InvalidUtf8, _) => "not UTF-8",
        (ErrorKind::InvalidValue, None) => "unknown value",
        // Our rules say what is allowed themselves.
        (_, Some(wrong)) => return wrong.to_string(),
        (_, None) => return error.to_string(),
    };
    format!("{wrong}; allowed is {}", option.allowed())
}

/// Judges options together. Where something was wrong the outcome is not to be used.
fn judge(options: Options, mistakes: &mut Mistakes<'_>) -> Option<Settings> {
    let Options {
        run,
        server,
        config: _,
        balancing,
        scaling,
        health,
        rollouts,
        limits,
        logs,
        events,
        docker,
        container,
    } = options;
    let kind = runtime::kind(&run, mistakes);
    let given = mistakes.is_given("admin");
    if given && server.admin == Some(server.listen) && server.listen.port() != 0 {
        mistakes.add("admin", "is already used by --listen");
    }
    let ring = ring(&balancing, mistakes);
    if !mistakes.is_given("sticky-cookie") && balancing.sticky_ttl.is_some() {
        mistakes.add("sticky-ttl", "needs --sticky-cookie");
    }
    let has_webhook = |target: &EventTarget| matches!(target, EventTarget::Webhook(_));
    if events.on_event_secret_file.is_some() && !events.on_event.iter().any(has_webhook) {
        mistakes.add("on-event-secret-file", "needs a URL as --on-event");
    }
    let ttl = balancing.sticky_ttl;
    check_heartbeat(&health.heartbeat, mistakes);
    let health = match kind {
        RuntimeKind::Swarm if !mistakes.is_given("hang-timeout") => HealthOptions {
            // Such a text is a good duration.
            hang_timeout: units::duration(SWARM_HANG_TIMEOUT).unwrap_or(health.hang_timeout),
            ..health
        },
        _ => health,
    };
    let state = run.state.clone();
    let heartbeat_port = health.heartbeat.port;
    let scaling = scaling::policy(scaling, run.replicas, mistakes);
    let image_watch = docker.image_watch;
    let has_no_tag = |image: &String| watched_tag(image).is_none();
    if image_watch.is_some() && run.image.as_ref().is_some_and(has_no_tag) {
        mistakes.add(
            "image-watch",
            "needs an image with a tag; a digest never moves",
        );
    }
    let container = container.into();
    if health.spares > 0 {
        check_spares(kind, &run, &container, mistakes);
    }
    let containers = (docker, container);
    let (runtime, replicas) = runtime::settings(
        kind,
        run,
        containers,
        heartbeat_port,
        server.listen,
        mistakes,
    );
    Some(Settings {
        default_admin: !given,
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
        scaling,
        health,
        rollouts,
        image_watch,
        limits,
        logs,
        events,
        replicas,
        runtime,
        state,
        default_names: DefaultNames {
            fleet: !mistakes.is_given("fleet"),
            network: !mistakes.is_given("docker-network"),
        },
    })
}

/// Notes what spares do not go with.
fn check_spares(
    kind: RuntimeKind,
    run: &RunOptions,
    container: &ContainerOptions,
    mistakes: &mut Mistakes<'_>,
) {
    let mut words = run.command.iter().flatten();
    let in_command = words.find_map(|word| placeholder_of_name(word));
    // Processes have no other.
    let in_command = in_command.filter(|p| kind == RuntimeKind::Docker || *p == NAME);
    match kind {
        RuntimeKind::Process if run.replica_port.is_some() => {
            let wrong = "needs a port for each instance: leave out --replica-port";
            mistakes.add("spares", wrong);
        }
        RuntimeKind::Process | RuntimeKind::Docker if in_command.is_some() => {
            let placeholder = in_command.unwrap_or_default();
            let wrong = format!(
                "{placeholder} in --command would be the spare's; take the header Ringmaster-Replica"
            );
            mistakes.add("spares", wrong);
        }
        RuntimeKind::Docker => {
            if let Some((option, placeholder)) = container_option_of_name(container) {
                let wrong = format!(
                    "{placeholder} in --{option} would be the spare's, also when it plays a replica"
                );
                mistakes.add("spares", wrong);
            }
        }
        RuntimeKind::Process => {}
        RuntimeKind::Swarm | RuntimeKind::Static => {
            let wrong = "is for child processes and for containers of one engine: services of a \
                         Swarm and servers that run already have no spares";
            mistakes.add("spares", wrong);
        }
    }
}

/// The first option of containers that depends on the replica's name, and by which placeholder.
fn container_option_of_name(container: &ContainerOptions) -> Option<(String, &'static str)> {
    let fields = serde_json::to_value(container).ok()?;
    let mut fields = fields.as_object()?.iter();
    fields.find_map(|(option, value)| {
        let placeholder = placeholder_of_name(&value.to_string())?;
        Some((option.clone(), placeholder))
    })
}

/// What stands for a replica's name in texts.
const NAME: &str = "{name}";

/// The first placeholder for a replica's name, or its number, in a text.
fn placeholder_of_name(text: &str) -> Option<&'static str> {
    let mut placeholders = [NAME, "{ordinal}"].into_iter();
    placeholders.find(|placeholder| text.contains(placeholder))
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
    let spec = |slots| RingSpec::new(options.strategy, slots, options.virtual_servers);
    let first = spec(options.slots);
    // The recipe reports its first mistake; asked without the slots, it reports the other.
    let second = match first {
        Err(InvalidSpec::Slots(..)) => spec(None).err(),
        _ => None,
    };
    for wrong in first.as_ref().err().into_iter().chain(&second) {
        match wrong {
            InvalidSpec::Slots(_, why) => mistakes.add("slots", why),
            InvalidSpec::VirtualServers(_, why) => mistakes.add("virtual-servers", why),
            InvalidSpec::UnknownStrategy(_) => mistakes.add("strategy", wrong),
        }
    }
    first.ok()
}
