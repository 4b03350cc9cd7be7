//! What holds for containers alone.

use std::time::Duration;

use clap::Args;

use super::super::rule::{choice, duration, text, whole};
use super::super::{read, units};
use super::{Limit, Off, TIME};
use crate::runtime::docker::{PullPolicy, Security};

const BYTES: &str = "6m or more, with k, m or g for KiB, MiB or GiB";
const SPREAD: &str = "spread=node.labels.NAME or spread=engine.labels.NAME";
const NAME: &str = "1 to 63 letters, digits, '-', '_' and '.', a letter or digit first";
const NETWORK: &str = "a network's name of letters, digits, '-', '_' and '.', but not host or none, \
                       which give a container no address";
/// The kernel's `PID_MAX_LIMIT`.
const MAX_PIDS: u64 = 4_194_304;
const LEVELS: [(&str, Security); 2] = [
    ("restricted", Security::Restricted),
    ("baseline", Security::Baseline),
];
const PULLS: [(&str, PullPolicy); 3] = [
    ("always", PullPolicy::Always),
    ("missing", PullPolicy::Missing),
    ("never", PullPolicy::Never),
];

/// What holds for containers alone.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Docker")]
pub struct DockerOptions {
    /// Memory limit of a replica
    ///
    /// As Docker writes it, in units of 1024: 512m is 512 MiB. none: no limit.
    #[arg(
        long, value_name = "BYTES", default_value = "512m",
        value_parser = text(BYTES, memory).or("none")
    )]
    pub memory: Limit<u64>,
    /// CPU limit of a replica, such as 0.5
    ///
    /// none: no limit.
    #[arg(
        long, value_name = "CPUS", default_value = "none",
        value_parser = text("0.01 to 1024", units::cpus).or("none")
    )]
    pub cpus: Limit<u64>,
    /// Limit on a replica's processes and threads
    ///
    /// none: no limit.
    #[arg(
        long, value_name = "N", default_value = "512",
        value_parser = whole::<u32>(1, MAX_PIDS).or("none")
    )]
    pub pids: Limit<u32>,
    /// What this set of containers is called [default: by compose service or port]
    ///
    /// It begins their names and is the value of their label. A balancer that restarts takes over
    /// the containers of its fleet; two balancers of one name share them. By default it is
    /// PROJECT-SERVICE in a container of docker compose, else ringmaster if the balancer listens on
    /// port 5000, and ringmaster-PORT on any other.
    #[arg(long, value_name = "NAME", value_parser = text(NAME, read::engine_name))]
    pub fleet: Option<String>,
    /// How often the registry is asked whether the image's tag is another one by now
    ///
    /// If it is, a rollout brings it, pinned by its digest; one that has been rolled back or undone is
    /// not tried again until the tag moves once more. off: never.
    #[arg(long, value_name = TIME, default_value = "off", value_parser = duration("1s", "7days").or("off"))]
    pub image_watch: Off<Duration>,
    /// The network that replicas join [default: the fleet's name]
    ///
    /// It is made if it does not exist.
    #[arg(long, value_name = "NETWORK", value_parser = text(NETWORK, read::network))]
    pub docker_network: Option<String>,
    /// Spread replicas over the values of a label of nodes, such as spread=node.labels.zone
    ///
    /// As docker service create has it. Each value is a zone, which gets all replicas divided by the zones,
    /// rounded up; nodes without the label are one more. Without it replicas are spread over nodes alone. A
    /// stack file says it by deploy.placement.preferences.
    #[arg(long, value_name = "SPREAD", value_parser = text(SPREAD, read::spread))]
    pub placement_pref: Option<String>,
    /// How far a replica's container is restricted
    ///
    /// restricted: not root, no capabilities, read-only root file system with a /tmp. baseline: the
    /// image's own user, Docker's default capabilities, a writable root. No new privileges in
    /// either.
    #[arg(long, value_name = "LEVEL", default_value = "restricted", value_parser = choice(LEVELS))]
    pub replica_security: Security,
    /// When the image is pulled at start
    ///
    /// always: each time the balancer starts. missing: if the engine does not have it. never: the
    /// engine has to have it. A replica that is started again runs what the engine has. Private
    /// registries get the credentials of Docker's configuration (DOCKER_CONFIG, else ~/.docker),
    /// credential helpers included. On a Swarm, nodes fetch the image by the digest that its tag had
    /// when it was given; with never its registry is not asked for that.
    #[arg(long, value_name = "WHEN", default_value = "missing", value_parser = choice(PULLS))]
    pub pull: PullPolicy,
}

fn memory(text: &str) -> Result<u64, String> {
    /// The least that the engine takes for a container.
    const MIN: u64 = 6 << 20;
    units::bytes(text, MIN, "an amount of memory such as 512m")
}
