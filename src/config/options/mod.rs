//! The options, a struct a section: each field is a flag, an environment variable and a key of
//! the file, with its rule, its default and its help (the field's comment: the first paragraph for
//! `-h`, all of it for `--help`; ` [default: ...]` at the first one's end says what a default is
//! derived from).
//!
//! The settings that the rest of Ringmaster reads are these structs.

mod balancing;
mod container;
mod docker;
mod events;
mod health;
mod heartbeat;
mod limits;
mod logs;
mod rollouts;
mod run;
mod scaling;
mod server;

use std::path::PathBuf;

use clap::Args;

pub use balancing::BalancingOptions;
pub use container::{ContainerFlags, SECTION as CONTAINER_SECTION};
pub use docker::DockerOptions;
pub use events::{EventOptions, EventTarget};
pub use health::{HealthOptions, SWARM_HANG_TIMEOUT};
pub use heartbeat::{HeartbeatKind, HeartbeatSettings};
pub use limits::{Limits, RetryPolicy};
pub use logs::{AccessLogFormat, AccessLogTarget, LogFormat, LogOptions};
pub use rollouts::RolloutOptions;
pub use run::{RunOptions, RuntimeKind, Variable};
pub use scaling::ScalingOptions;
pub use server::{AdminCalls, ServerOptions};

use super::read;
use super::rule::text;

/// A value that `none` sets to no limit. (Under this name clap takes it for a value that is always
/// there, where an `Option` is an option that may be absent.)
pub type Limit<T> = Option<T>;

/// A value that `off` turns off.
pub type Off<T> = Option<T>;

/// What stands for a duration in help texts.
const TIME: &str = "DURATION";

/// All options, in the order in which help lists them.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    #[command(flatten)]
    pub run: RunOptions,
    #[command(flatten)]
    pub server: ServerOptions,
    /// Read options from a TOML file
    ///
    /// Its keys are the flags without their dashes: heartbeat-interval = "2s". Flags and
    /// environment variables win over it; 'ringmaster check' shows what holds, in the form of such
    /// a file.
    #[arg(long, value_name = "PATH", value_parser = text("a file's path", read::file))]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub balancing: BalancingOptions,
    #[command(flatten)]
    pub scaling: ScalingOptions,
    #[command(flatten)]
    pub health: HealthOptions,
    #[command(flatten)]
    pub rollouts: RolloutOptions,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub logs: LogOptions,
    #[command(flatten)]
    pub events: EventOptions,
    #[command(flatten)]
    pub docker: DockerOptions,
    #[command(flatten)]
    pub container: ContainerFlags,
}
