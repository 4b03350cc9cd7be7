//! What to run.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::rule::{text, whole};
use super::super::{address, read};
use crate::runtime::docker::ComposeService;
use crate::runtime::static_servers::Upstream;

/// A variable of replicas.
pub type Variable = (String, String);
/// A program and its arguments.
pub type Argv = Vec<String>;

/// Where replicas run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RuntimeKind {
    /// Child processes.
    Process,
    /// Containers.
    Docker,
    /// Services of a Docker Swarm.
    Swarm,
    /// Servers that run already.
    Static,
}

impl RuntimeKind {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::Swarm => "swarm",
            Self::Static => "static",
        }
    }
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "What to run")]
pub struct RunOptions {
    /// How many replicas to keep alive
    ///
    /// They are called Server1 to ServerN. More can be added, and these removed, while the balancer
    /// runs.
    #[arg(long, value_name = "N", default_value = "3", value_parser = whole::<u32>(1, 1024))]
    pub replicas: u32,
    /// Run this command as each replica [default: the image's own, or a demo server]
    ///
    /// It is split into words as a shell would, but no shell runs it. {port} and {name} in it
    /// become the replica's port and name; every replica finds both in its environment, too, as
    /// PORT and SERVER_ID. With --image, it replaces the image's own command. In the file it may
    /// also be a list of words.
    #[arg(
        long, value_name = "COMMAND",
        value_parser = text("a program and its arguments", read::words)
    )]
    pub command: Option<Argv>,
    /// Run each replica as a container of this image
    #[arg(
        long, value_name = "IMAGE",
        value_parser = text("an image's name, such as shop:1.4", read::image)
    )]
    pub image: Option<String>,
    /// Make replicas like this container: its whole configuration, and no addresses
    ///
    /// Environment, mounts, networks, user, limits, health check and whatever else the engine says
    /// of it. --image, --command, --env, --memory and the like hold instead of what it has. Published
    /// ports are not copied, and volumes without a name are fresh ones for each replica.
    #[arg(
        long, value_name = "CONTAINER",
        value_parser = text("a container's name or id", read::container)
    )]
    pub like: Option<String>,
    /// Take over a service of docker compose: heal, add and replace its containers
    ///
    /// Compose starts the first ones, and everything about them is as the compose file says. Its
    /// project is that of the container in which the balancer runs, unless it is named.
    #[arg(
        long, value_name = "[PROJECT/]SERVICE",
        value_parser = text("SERVICE or PROJECT/SERVICE, as compose names them", read::service)
    )]
    pub service: Option<ComposeService>,
    /// Balance over a server that runs already
    ///
    /// Heartbeats take it off the ring and put it back; nothing is started or stopped. Without a
    /// name, its address is its name.
    #[arg(
        long, value_name = "[NAME=]HOST:PORT",
        value_parser = text("HOST:PORT or NAME=HOST:PORT", address::upstream)
    )]
    pub upstream: Vec<Upstream>,
    /// The port that a replica listens on [default: the one that the image exposes, else 5000 in a
    /// container; a free one for a process]
    #[arg(long, value_name = "PORT", value_parser = whole::<u16>(1, 65535))]
    pub replica_port: Option<u16>,
    /// Set an environment variable in every replica
    ///
    /// A value with commas has a variable of its own: RINGMASTER_ENV__NAME=VALUE, with two
    /// underscores.
    #[arg(
        long, value_name = "KEY=VALUE",
        value_parser = text("KEY=VALUE, where KEY is neither PORT nor SERVER_ID", read::variable)
    )]
    pub env: Vec<Variable>,
    /// Set the variables of a file of KEY=VALUE lines in every replica
    ///
    /// Values are taken as they stand, with their quotes; blank lines and lines that begin with #
    /// are skipped. --env wins over files, a later line over an earlier one.
    #[arg(long, value_name = "FILE", value_parser = text("a file's path", read::file))]
    pub env_file: Vec<PathBuf>,
    /// Keep the fleet record in a file, to outlive the balancer
    ///
    /// What POST /add, DELETE /rm and PATCH /ring have changed then holds after a restart with the
    /// same flags. Flags that have changed win in what they say. Containers need no file: the
    /// engine keeps their record.
    #[arg(long, value_name = "PATH", value_parser = text("a file's path", read::file))]
    pub state: Option<PathBuf>,
    /// Where replicas run [default: docker with --image, --like or --service, static with --upstream, else process]
    ///
    /// process: child processes of the balancer. docker: containers; the default with --image.
    /// swarm: services of the Docker Swarm whose manager the engine is, on all of its nodes. static: servers that run already; the default with --upstream.
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<RuntimeKind>,
}
