//! The command line: from arguments and environment to an [`Invocation`].
//!
//! [`parse`] takes both as values and touches nothing but the files that they name (`--config`,
//! `--env-file`), so that a test can say what it likes without a process of its own.

mod admin_access;
#[cfg(feature = "analyze")]
mod analyze;
#[cfg(not(feature = "analyze"))]
#[path = "cli/analyze_left_out.rs"]
mod analyze;
mod args;
mod command;
mod completions;
mod ctl;
mod drill;
mod mistakes;
mod ring;

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use completions::complete_for_shell;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches};

use crate::config::{self, CONFIG, Layer, Settings};
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
    Replica(ringmaster_server::Options),
    /// Ask a running balancer how it is.
    Healthcheck {
        /// What to ask; `http://HOST:PORT/PATH`.
        url: String,
    },
    /// Guard the process groups of a balancer's children.
    Guard,
    /// Measure a balancer.
    #[cfg(feature = "analyze")]
    Analyze(Box<crate::analysis::Options>),
    /// Harm replicas of a running balancer.
    Drill(Box<crate::drill::Options>),
    /// Operate a running balancer.
    Ctl(Box<crate::ctl::CtlOptions>),
    /// Print this script, which completes command lines.
    Completions(String),
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

/// Of flags that clap has accepted.
impl From<clap::Error> for UsageError {
    fn from(error: clap::Error) -> Self {
        error.to_string().into()
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
    let matches = command.try_get_matches_from_mut(&args);
    let of_clap = |error: clap::Error| match is_page(&error) {
        true => Ok(Invocation::Print(Page(error.render()))),
        false => Err(mistakes::describe(&error, &command, &subcommands).into()),
    };
    let invocation = matches.map_or_else(of_clap, |matches| invocation(&matches, &env));
    invocation.map_err(|error| UsageError {
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
        Some((command::REPLICA, matches)) => replica(read(matches)?, env),
        Some((command::HEALTHCHECK, matches)) => Ok(healthcheck(read(matches)?, env)),
        Some((process::GUARD_COMMAND, _)) => Ok(Invocation::Guard),
        Some((ring::NAME, matches)) => ring::request(matches, env),
        Some((args::ANALYZE, matches)) => analyze::invocation(matches, env),
        Some((drill::NAME, matches)) => drill::alias_invocation(read(matches)?, env),
        Some((ctl::NAME, matches)) => ctl::invocation(matches, env),
        Some((command::CHECK, matches)) => {
            let (given, settings, warnings) = configure(matches, env)?;
            let report = config::report(&given, &settings);
            Ok(Invocation::Check { report, warnings })
        }
        _ => {
            let (_, settings, warnings) = configure(matches, env)?;
            let settings = Box::new(settings);
            Ok(Invocation::Balance { settings, warnings })
        }
    }
}

/// The flags of a subcommand, which clap has accepted.
fn read<F: FromArgMatches>(matches: &ArgMatches) -> Result<F, UsageError> {
    Ok(F::from_arg_matches(matches)?)
}

/// Puts the layers together and judges them.
fn configure(
    matches: &ArgMatches,
    env: &[(OsString, OsString)],
) -> Result<(Layer, Settings, Vec<String>), UsageError> {
    let (mut given, mut warnings) = config::read_environment(env);
    given.extend(config::flags(matches));
    let mut mistakes = Vec::new();
    if let Some(config) = given.get(CONFIG) {
        let path = config.values.first().map(PathBuf::from).unwrap_or_default();
        // Without the file, what else is wrong cannot be told.
        let (mut file, found) = config::read_file(&path, &config.origin)?;
        file.extend(given);
        (given, mistakes) = (file, found);
    }
    match config::settings(&given) {
        Ok(settings) if mistakes.is_empty() => {
            warnings.extend(config::command_warnings(&settings));
            Ok((given, settings, warnings))
        }
        settings => {
            mistakes.extend(settings.err().unwrap_or_default());
            Err(mistakes.into())
        }
    }
}

/// A variable's value, if it is set to something.
fn variable<'e>(env: &'e [(OsString, OsString)], name: &str) -> Option<&'e str> {
    env.iter()
        .rev()
        .find(|(key, _)| key == name)
        .and_then(|(_, value)| value.to_str())
        .filter(|value| !value.is_empty())
}

/// Run one demo replica by itself
#[derive(Args)]
struct ReplicaFlags {
    /// Where to listen [default: 127.0.0.1 and PORT, else 5001]
    #[arg(
        long, value_name = "ADDR",
        value_parser = config::text_rule("IP:PORT", config::listen_address)
    )]
    listen: Option<SocketAddr>,
    /// What it calls itself [default: SERVER_ID, else 1]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// End each connection after one response
    #[arg(long)]
    no_keep_alive: bool,
}

fn replica(flags: ReplicaFlags, env: &[(OsString, OsString)]) -> Result<Invocation, UsageError> {
    let listen = match (flags.listen, variable(env, "PORT")) {
        (Some(listen), _) => listen,
        (None, None) => (Ipv4Addr::LOCALHOST, 5001).into(),
        (None, Some(text)) => match text.parse::<u16>() {
            Ok(port) => (Ipv4Addr::LOCALHOST, port).into(),
            Err(_) => {
                let wrong = format!("PORT = {text:?}: not a port; allowed is 0 to 65535");
                return Err(wrong.into());
            }
        },
    };
    let id = flags.id.as_deref().or_else(|| variable(env, "SERVER_ID"));
    let id = id.unwrap_or("1").to_owned();
    Ok(Invocation::Replica(ringmaster_server::Options {
        listen,
        id,
        keep_alive: !flags.no_keep_alive,
    }))
}

/// Ask a running balancer how it is, and exit with 0 (well) or 1
#[derive(Args)]
struct HealthcheckFlags {
    /// What to ask [default: /rep where RINGMASTER_LISTEN says, else http://127.0.0.1:5000/rep]
    #[arg(long, value_name = "URL", value_parser = args::url("http://HOST:PORT/PATH"))]
    url: Option<String>,
}

fn healthcheck(flags: HealthcheckFlags, env: &[(OsString, OsString)]) -> Invocation {
    let url = flags.url.unwrap_or_else(|| {
        // In a container whose balancer listens elsewhere, the same image's health
        // check finds it, at the admin listener where the client port has no /rep.
        let is_off = variable(env, "RINGMASTER_ADMIN_CALLS") == Some("off");
        let admin = variable(env, "RINGMASTER_ADMIN").filter(|_| is_off);
        let listen = admin
            .or_else(|| variable(env, "RINGMASTER_LISTEN"))
            .and_then(|text| config::listen_address(text).ok())
            .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 5000).into());
        format!("http://{}/rep", reachable(listen))
    });
    Invocation::Healthcheck { url }
}

/// An address to connect to for one that is listened on.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        // One that listens on [::] takes IPv4 as well, unless a machine forbids it.
        listen.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    listen
}
