//! The command line: from arguments and environment to an [`Invocation`].
//!
//! [`parse`] takes both as values and touches nothing but the files that they name (`--config`,
//! `--env-file`), so that a test can say what it likes without a process of its own.

mod analyze;
mod command;
mod drill;
mod mistakes;
mod ring;

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::analysis::Options;
use crate::config::{self, CONFIG, Given, Layer, Layers, OPTIONS, Origin, Raw, Settings};
use crate::ring_cli;
use crate::runtime::process;

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Balance.
    Balance {
        /// What holds.
        settings: Box<Settings>,
        /// What to log before anything else: variables that look like a slip.
        warnings: Vec<String>,
    },
    /// Be one demo replica.
    Replica {
        /// Where to listen.
        listen: SocketAddr,
        /// The name it was given, such as `Server1`, or `1`.
        id: String,
    },
    /// Ask a running balancer how it is.
    Healthcheck {
        /// What to ask; `http://HOST:PORT/PATH`.
        url: String,
    },
    /// Guard the process groups of a balancer's children.
    Guard,
    /// Measure a balancer.
    Analyze(Box<Options>),
    /// Harm replicas of a running balancer.
    Drill(Box<crate::drill::Options>),
    /// The configuration is good; print this, the settings in the form of a
    /// configuration file, and exit with 0.
    Check {
        /// What to print.
        report: String,
        /// Variables that look like a slip.
        warnings: Vec<String>,
    },
    /// Answer a question about rings.
    Ring {
        /// What to answer.
        request: Box<ring_cli::RingCommand>,
        /// Variables that look like a slip.
        warnings: Vec<String>,
    },
    /// Print this and exit with 0.
    Print(Page),
}

/// The help or the version.
#[derive(Debug, Clone)]
pub struct Page(clap::builder::StyledStr);

impl Page {
    /// Prints it, in colour where there is a terminal that wants it.
    pub fn print(&self) {
        // Whoever reads may have seen enough (`| head`), which is no failure.
        let _ = write!(anstream::stdout(), "{}", self.0.ansi());
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Wrong use: every mistake, a line each, and where to read on. The exit code is 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    mistakes: Vec<String>,
    /// The subcommand that they are about, such as `ring show`; empty without one.
    subcommand: String,
}

impl UsageError {
    /// Every mistake.
    pub fn mistakes(&self) -> &[String] {
        &self.mistakes
    }
}

impl From<Vec<String>> for UsageError {
    fn from(mistakes: Vec<String>) -> Self {
        Self {
            mistakes,
            subcommand: String::new(),
        }
    }
}

impl From<String> for UsageError {
    fn from(mistake: String) -> Self {
        vec![mistake].into()
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            writeln!(f, "error: {mistake}")?;
        }
        let blank = if self.subcommand.is_empty() { "" } else { " " };
        write!(f, "try 'ringmaster {}{blank}--help'", self.subcommand)
    }
}

impl std::error::Error for UsageError {}

/// Says what a command line means, the program's name first, in an environment.
///
/// # Errors
///
/// Everything that is wrong with them, all at once.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Invocation, UsageError> {
    let env: Vec<_> = env.into_iter().collect();
    let mut command = command::command();
    let args = mistakes::with_help_flag(&command, args.into_iter().collect());
    let subcommands = mistakes::selected(&command, &args);
    let parsed = match command.try_get_matches_from_mut(&args) {
        Ok(matches) => invocation(&matches, &env),
        Err(error) if is_page(&error) => Ok(Invocation::Print(Page(error.render()))),
        Err(error) => Err(mistakes::describe(&error, &command, &subcommands).into()),
    };
    parsed.map_err(|error| UsageError {
        subcommand: subcommands.join(" "),
        ..error
    })
}

/// clap reports help and version as errors.
fn is_page(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    )
}

fn invocation(
    matches: &ArgMatches,
    env: &[(OsString, OsString)],
) -> Result<Invocation, UsageError> {
    match matches.subcommand() {
        Some((command::REPLICA, matches)) => replica(matches, env),
        Some((command::HEALTHCHECK, matches)) => healthcheck(matches, env),
        Some((process::GUARD_COMMAND, _)) => Ok(Invocation::Guard),
        Some((command::RING, matches)) => ring::request(matches, env),
        Some((analyze::NAME, matches)) => analyze::invocation(matches),
        Some((drill::NAME, matches)) => drill::invocation(matches),
        Some((command::CHECK, matches)) => {
            let (layers, settings, warnings) = configure(matches, env)?;
            Ok(Invocation::Check {
                report: config::report(&layers, &settings),
                warnings,
            })
        }
        _ => {
            let (_, settings, warnings) = configure(matches, env)?;
            Ok(Invocation::Balance {
                settings: Box::new(settings),
                warnings,
            })
        }
    }
}

/// Puts the layers together and judges them.
fn configure(
    matches: &ArgMatches,
    env: &[(OsString, OsString)],
) -> Result<(Layers, Settings, Vec<String>), UsageError> {
    let environment = config::read_environment(env);
    let mut mistakes = environment.mistakes;
    let mut layers = Layers {
        flags: flags(matches),
        environment: environment.layer,
        file: Layer::new(),
    };
    // A path need not be UTF-8, so that it takes its own way from the flag.
    let path = matches.get_one::<PathBuf>(CONFIG).cloned();
    let named = match layers.get(CONFIG) {
        Some(Given {
            raw: Raw::One(text),
            origin,
        }) => Some((path.unwrap_or_else(|| text.into()), origin.clone())),
        _ => None,
    };
    if let Some((path, origin)) = named {
        match config::read_file(&path, &origin) {
            Ok((layer, wrong)) => {
                layers.file = layer;
                mistakes.extend(wrong);
            }
            Err(wrong) => {
                // What else is wrong cannot be told from what the file may have said.
                mistakes.extend(wrong);
                return Err(mistakes.into());
            }
        }
    }
    match config::settings(&layers) {
        Ok(settings) if mistakes.is_empty() => {
            let mut warnings = environment.warnings;
            warnings.extend(config::command_warnings(&settings));
            Ok((layers, settings, warnings))
        }
        Ok(_) => Err(mistakes.into()),
        Err(wrong) => {
            mistakes.extend(wrong);
            Err(mistakes.into())
        }
    }
}

/// The layer of flags, as many as the subcommand takes.
fn flags(matches: &ArgMatches) -> Layer {
    OPTIONS
        .iter()
        .filter(|option| matches.try_contains_id(option.key).is_ok())
        .filter_map(|option| {
            let raw = if option.key == CONFIG {
                let path = matches.get_one::<PathBuf>(CONFIG)?;
                Raw::One(path.to_string_lossy().into_owned())
            } else if option.repeatable() {
                Raw::Many(matches.get_many::<String>(option.key)?.cloned().collect())
            } else {
                Raw::One(matches.get_one::<String>(option.key)?.clone())
            };
            let origin = Origin::Flag(option.key);
            Some((option.key, Given { raw, origin }))
        })
        .collect()
}

/// A variable's value, if it is set to something.
fn variable<'e>(env: &'e [(OsString, OsString)], name: &str) -> Option<&'e str> {
    env.iter()
        .rev()
        .find(|(key, _)| key == name)
        .and_then(|(_, value)| value.to_str())
        .filter(|value| !value.is_empty())
}

fn replica(matches: &ArgMatches, env: &[(OsString, OsString)]) -> Result<Invocation, UsageError> {
    const PORT: u16 = 5001;
    let listen = match (matches.get_one::<String>("listen"), variable(env, "PORT")) {
        (Some(text), _) => config::listen_address(text).map_err(|wrong| {
            format!("listen = {text:?} (from --listen): {wrong}; allowed is IP:PORT")
        })?,
        (None, Some(text)) => {
            let port = text
                .parse::<u16>()
                .map_err(|_| format!("PORT = {text:?}: not a port; allowed is 0 to 65535"))?;
            (Ipv4Addr::LOCALHOST, port).into()
        }
        (None, None) => (Ipv4Addr::LOCALHOST, PORT).into(),
    };
    let id = matches
        .get_one::<String>("id")
        .map(String::as_str)
        .or_else(|| variable(env, "SERVER_ID"))
        .unwrap_or("1")
        .to_owned();
    Ok(Invocation::Replica { listen, id })
}

fn healthcheck(
    matches: &ArgMatches,
    env: &[(OsString, OsString)],
) -> Result<Invocation, UsageError> {
    let url = match matches.get_one::<String>("url") {
        Some(url) => {
            check_url(url).map_err(|wrong| {
                format!("url = {url:?} (from --url): {wrong}; allowed is http://HOST:PORT/PATH")
            })?;
            url.clone()
        }
        None => {
            // In a container whose balancer listens elsewhere, the same image's health
            // check finds it, at the admin listener where the client port has no /rep.
            let is_off = variable(env, "RINGMASTER_ADMIN_CALLS") == Some("off");
            let admin = variable(env, "RINGMASTER_ADMIN").filter(|_| is_off);
            let listen = admin
                .or_else(|| variable(env, "RINGMASTER_LISTEN"))
                .and_then(|text| config::listen_address(text).ok())
                .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 5000).into());
            format!("http://{}/rep", reachable(listen))
        }
    };
    Ok(Invocation::Healthcheck { url })
}

/// An address to connect to for one that is listened on.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        // One that listens on [::] takes IPv4 as well, unless a machine forbids it.
        listen.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    listen
}

fn check_url(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err("does not start with http://".to_owned());
    };
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has a character in it that no URL has".to_owned());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'));
    let authority = if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    config::host_and_port(&authority).map(|_| ())
}
