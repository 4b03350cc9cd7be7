//! How many replicas there are to be, by the load.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use super::super::rule::{duration, whole};
use super::TIME;

/// How many replicas there are to be, by the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(next_help_heading = "Scaling")]
pub struct ScalingOptions {
    /// How many requests a replica is to have in flight; replicas are added and removed for that
    ///
    /// Requests that wait count, too. More replicas are started at once, named as the last ones were;
    /// the newest are drained and stopped when fewer have been enough for --scale-down-after. While a
    /// replica is degraded, or another balancer serves a fleet of containers, nothing is changed; on a Swarm
    /// one balancer scales by the load of all.
    #[arg(long, value_name = "N", value_parser = whole::<NonZeroU32>(1, 1_000_000))]
    pub target_in_flight: Option<NonZeroU32>,
    /// The most replicas that --target-in-flight starts
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1024))]
    pub max_replicas: Option<u32>,
    /// The fewest replicas that --target-in-flight leaves [default: what --replicas says]
    ///
    /// With 0 the last one is stopped, too, after --idle-timeout-to-zero.
    #[arg(long, value_name = "N", value_parser = whole::<u32>(0, 1024))]
    pub min_replicas: Option<u32>,
    /// For how long fewer replicas must have been enough before some are removed
    #[arg(long, value_name = TIME, default_value = "5m", value_parser = duration("1s", "1day"))]
    pub scale_down_after: Duration,
    /// After how long without a request --min-replicas 0 leaves no replica
    ///
    /// The next request waits until the first replica is ready, for up to --wait-timeout.
    #[arg(long, value_name = TIME, default_value = "5m", value_parser = duration("1s", "7days"))]
    pub idle_timeout_to_zero: Duration,
}
