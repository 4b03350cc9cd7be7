//! The flags of `ringmaster ctl`; their comments are its help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use crate::cli::args::base_url;
use crate::cli::completions::replica_names;
use crate::cli::drill::DrillFlags;
use crate::config::{
    Rule, command_words, duration_rule, env_variable, image_name, text_rule, whole_rule,
};
use crate::ring::{CanaryShare, KeySource, Member, Weight};
use crate::ring_cli;

#[derive(Args)]
pub struct CtlFlags {
    #[command(flatten)]
    pub connection: ConnectionFlags,
    #[command(subcommand)]
    pub command: CtlSubcommand,
}

#[derive(Args)]
#[command(next_help_heading = "The balancer")]
pub struct ConnectionFlags {
    /// Where its admin API is [default: RINGMASTER_ADMIN_URL, else http://127.0.0.1:5001]
    #[arg(long, global = true, value_name = "URL", value_parser = base_url())]
    pub admin: Option<String>,
    /// The token, in a file: by itself, or as --admin-token-file has it [default:
    /// RINGMASTER_ADMIN_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Which of its fleets
    #[arg(long, global = true, value_name = "NAME", default_value = crate::api::DEFAULT_FLEET)]
    pub fleet: String,
    /// How long to wait for an answer [default: 10s, and 5m for changes]
    #[arg(
        long, global = true, value_name = "TIME", value_parser = duration_rule("100ms", "1h")
    )]
    pub timeout: Option<Duration>,
    /// Print the JSON of the API, not a table
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum CtlSubcommand {
    /// Show how the balancer and its replicas are
    Status,
    /// List the replicas
    Replicas,
    /// Add replicas, and wait until they are on the ring
    Add(AddFlags),
    /// Remove replicas, when their requests have ended
    Rm(RemoveFlags),
    /// Have this many replicas: add those that are missing, or remove some
    Scale(ScaleFlags),
    /// Give replicas no more requests; they run on
    Drain(NamesFlags),
    /// Let drained replicas serve again
    Undrain(NamesFlags),
    /// Replace the processes or containers of replicas, one replica after the other
    Restart(RestartFlags),
    /// Move replicas from nodes of a Swarm that have more than their share, without a gap
    Rebalance(RebalanceFlags),
    /// Hold requests; those in flight end, and are waited for
    Pause(PauseFlags),
    /// Let requests that are held go
    Resume,
    /// Answer every request with 503 and a page, or let them through again
    #[command(subcommand)]
    Maintenance(MaintenanceSubcommand),
    /// Bring out another version, without a gap
    #[command(subcommand)]
    Rollout(RolloutSubcommand),
    /// Give a replica another share of the keys
    Weight(WeightFlags),
    /// Show the ring, or change it
    Ring(RingChangeFlags),
    /// Show what is hashed for a request, or change it
    Key(KeyFlags),
    /// Explain why a key goes where it goes, now
    Explain(ExplainKeyFlags),
    /// List what happened, or follow it
    Events(EventsFlags),
    /// Show why instances died
    Deaths(DeathsFlags),
    /// Harm replicas under load, and see how the balancer heals
    Drill(DrillFlags),
    /// Watch the balancer: load, replicas, events
    #[cfg(feature = "top")]
    Top,
    /// Print a script that completes command lines, replicas' names too
    Completions(CompletionsFlags),
}

#[derive(Args)]
pub struct AddFlags {
    /// Names and weights of the first of them, such as S4 S5=2; the others get random names
    #[arg(value_name = "NAME[=WEIGHT]", value_parser = member())]
    pub replicas: Vec<Member>,
    /// How many [default: as many as there are names, else 1]
    #[arg(long, value_name = "N", value_parser = whole_rule::<usize>(1, 1_024))]
    pub count: Option<usize>,
}

#[derive(Args)]
pub struct RemoveFlags {
    /// Which
    #[arg(value_name = "NAME", required = true, value_parser = name(), add = replica_names())]
    pub names: Vec<String>,
    /// Do not ask, on a terminal, whether that is meant
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Args)]
pub struct ScaleFlags {
    /// How many, 0 to 1024
    #[arg(value_name = "N", value_parser = whole_rule::<usize>(0, 1_024))]
    pub replicas: usize,
    /// Do not ask, on a terminal, whether fewer are meant
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Args)]
pub struct NamesFlags {
    /// Which
    #[arg(value_name = "NAME", required = true, value_parser = name(), add = replica_names())]
    pub names: Vec<String>,
}

#[derive(Args)]
pub struct RestartFlags {
    /// Which
    #[arg(value_name = "NAME", required = true, value_parser = name(), add = replica_names())]
    pub names: Vec<String>,
    /// Do not wait for the requests that they have
    #[arg(long)]
    pub now: bool,
}

#[derive(Args)]
pub struct RebalanceFlags {
    /// Only say which
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct PauseFlags {
    /// After how long the pause ends by itself [default: what --max-pause of the balancer says]
    #[arg(long = "for", value_name = "TIME", value_parser = duration_rule("100ms", "10m"))]
    pub lasts: Option<Duration>,
}

#[derive(Subcommand)]
pub enum MaintenanceSubcommand {
    /// Answer every request with 503 and a page, also after a restart of the balancer
    On(MaintenanceFlags),
    /// Let requests through to the replicas again
    Off,
}

#[derive(Args)]
pub struct MaintenanceFlags {
    /// The page, HTML up to 64 KiB [default: what --maintenance-page of the balancer says]
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// After how long clients are to come again [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = duration_rule("1s", "1day"))]
    pub retry_after: Option<Duration>,
}

#[derive(Subcommand)]
pub enum RolloutSubcommand {
    /// Give every replica another image, command or environment, one after the other
    Start(RolloutFlags),
    /// List the rollout under way and the last ones
    Status,
    /// Begin with no further replica
    Pause(RolloutIdFlags),
    /// Go on with a rollout that is paused
    Resume(RolloutIdFlags),
    /// Give every replica the version of the canary
    Promote(RolloutIdFlags),
    /// Give every replica its earlier version back
    Undo(RolloutIdFlags),
}

#[derive(Args)]
pub struct RolloutFlags {
    /// The new image, for containers
    #[arg(
        long, value_name = "IMAGE",
        value_parser = text_rule("an image's name, such as shop:1.5", image_name)
    )]
    pub image: Option<String>,
    /// The new command, in the words of a shell
    #[arg(
        long, value_name = "COMMAND",
        value_parser = text_rule("a program and its arguments", command_words)
    )]
    pub command: Option<Words>,
    /// Set a variable; repeatable
    #[arg(
        long, value_name = "KEY=VALUE",
        value_parser = text_rule("KEY=VALUE, where KEY is neither PORT nor SERVER_ID", env_variable)
    )]
    pub env: Vec<(String, String)>,
    /// Remove a variable; repeatable
    #[arg(long, value_name = "KEY")]
    pub unset_env: Vec<String>,
    /// Give this part of the keys to extra instances of the new version first, until the rollout is
    /// promoted or undone
    #[arg(
        long, value_name = "SHARE",
        value_parser = text_rule(CanaryShare::ALLOWED, |text| {
            text.parse::<CanaryShare>().map_err(|_| "is none".to_owned())
        })
    )]
    pub canary: Option<CanaryShare>,
    /// Wait for the rollout's end, or until the canary has its keys: 0 if it was done or has them, 1 if
    /// it was rolled back
    #[arg(long)]
    pub wait: bool,
    /// The service of a compose project whose containers the replicas are
    #[arg(long, value_name = "SERVICE", conflicts_with_all = ["image", "command", "env", "unset_env"])]
    pub service: Option<String>,
    /// Its hash, as 'docker compose config | docker compose -f - config --hash SERVICE' says it: with it
    /// 'docker compose up' changes nothing afterwards
    #[arg(long, value_name = "HASH", requires = "service")]
    pub config_hash: Option<String>,
    /// What 'docker compose config --format json' says; - is standard input
    #[arg(value_name = "FILE", requires = "service")]
    pub file: Option<PathBuf>,
}

/// A program and its arguments. (Under its own name clap takes it for a list of values.)
pub type Words = Vec<String>;

#[derive(Args)]
pub struct RolloutIdFlags {
    /// Its number [default: that of the last one]
    #[arg(value_name = "ID", value_parser = whole_rule::<u64>(1, 1_000_000_000))]
    pub id: Option<u64>,
}

#[derive(Args)]
pub struct KeyFlags {
    /// What is hashed from now on, as --key of the balancer has it; most keys move
    #[arg(value_name = "KEY", value_parser = key_source())]
    pub source: Option<KeySource>,
}

#[derive(Args)]
pub struct WeightFlags {
    /// Which replica
    #[arg(value_name = "NAME", value_parser = name(), add = replica_names())]
    pub name: String,
    /// Its share relative to the others, 1 to 1000
    #[arg(value_name = "WEIGHT", value_parser = weight())]
    pub weight: Weight,
    /// Only say what would move
    #[arg(long)]
    pub dry_run: bool,
}

/// A number, or no bound. (Under this name clap takes it for one value.)
type FactorOrNone = Option<f64>;

#[derive(Args)]
#[command(next_help_heading = "The change")]
pub struct RingChangeFlags {
    /// Another strategy: classic, quadratic, modulo, ring, maglev or rendezvous
    #[arg(long, value_name = "STRATEGY")]
    pub strategy: Option<String>,
    /// Another number of slots
    #[arg(long, value_name = "M", value_parser = whole_rule::<u32>(1, 1_048_576))]
    pub slots: Option<u32>,
    /// Another number of virtual servers for each replica
    #[arg(long, value_name = "K", value_parser = whole_rule::<u32>(1, 10_000))]
    pub virtual_servers: Option<u32>,
    /// How far above its fair share a replica may be loaded; or none
    #[arg(long, value_name = "C", value_parser = balance_factor())]
    pub balance_factor: Option<FactorOrNone>,
    /// Another weight of a replica; repeatable
    #[arg(long, value_name = "NAME=WEIGHT", value_parser = named_weight())]
    pub weight: Vec<(String, Weight)>,
    /// Only say what would move
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct ExplainKeyFlags {
    /// A request's key: its id, or what --key of the balancer takes from it
    #[arg(value_name = "KEY")]
    pub key: OsString,
}

#[derive(Args)]
pub struct EventsFlags {
    /// Go on with what happens, until Ctrl-C; through restarts of the balancer, too
    #[arg(long, short)]
    pub follow: bool,
}

#[derive(Args)]
pub struct DeathsFlags {
    /// Only this replica's
    #[arg(value_name = "NAME", value_parser = name(), add = replica_names())]
    pub name: Option<String>,
    /// With the requests that it had, its last heartbeats and the last lines that it printed
    #[arg(long)]
    pub details: bool,
}

#[derive(Args)]
pub struct CompletionsFlags {
    /// For which shell: bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// A name that can stand in a path. Whether there is such a replica is the balancer's to say.
fn name() -> Rule<String> {
    text_rule("a replica's name", |text| match text.trim() {
        "" => Err("is empty".to_owned()),
        name => Ok(name.to_owned()),
    })
}

fn member() -> Rule<Member> {
    text_rule("NAME or NAME=WEIGHT, such as S4=2", |text| {
        ring_cli::member(text).map_err(|wrong| wrong.to_string())
    })
}

fn key_source() -> Rule<KeySource> {
    text_rule(KeySource::ALLOWED, str::parse)
}

fn weight() -> Rule<Weight> {
    text_rule("1 to 1000", |text| {
        ring_cli::weight(text).map_err(|wrong| wrong.to_string())
    })
}

fn named_weight() -> Rule<(String, Weight)> {
    text_rule("NAME=WEIGHT, such as Server1=2", |text| {
        let (name, weight) = text.rsplit_once('=').ok_or("a weight is missing")?;
        let weight = ring_cli::weight(weight).map_err(|wrong| wrong.to_string())?;
        Ok((name.trim().to_owned(), weight))
    })
}

fn balance_factor() -> Rule<FactorOrNone> {
    let factor = text_rule("a number above 1", |text| {
        let number = text.parse::<f64>().map_err(|_| "is no number".to_owned())?;
        match number.is_finite() {
            true => Ok(number),
            false => Err("is no number".to_owned()),
        }
    });
    factor.or("none")
}
