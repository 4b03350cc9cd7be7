//! When a replica is well, and what becomes of one that is not.

use std::time::Duration;

use clap::Args;
use clap::builder::TypedValueParser as _;

use super::super::rule::{choice, duration, whole};
use super::{HeartbeatSettings, Off, TIME};
use crate::fleet::{EjectionPolicy, OutlierOn, RestartLimit};
use crate::ring::PanicThreshold;

/// The default of `--hang-timeout` with `--runtime swarm`: one more heartbeat.
pub const SWARM_HANG_TIMEOUT: &str = "300ms";

/// When a replica is well, and what becomes of one that is not.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Health")]
pub struct HealthOptions {
    /// How replicas are probed.
    #[command(flatten)]
    pub heartbeat: HeartbeatSettings,
    /// How long a hung replica may take to come back before it is replaced
    ///
    /// It is off the ring meanwhile. 0s: it is replaced at once. With --runtime swarm the default is
    /// 300ms: a replica whose node is lost does not come back, and its successor starts beside it.
    #[arg(long, value_name = TIME, default_value = "10s", value_parser = duration("0s", "1h"))]
    pub hang_timeout: Duration,
    /// How long a replica may answer heartbeats badly before it is replaced
    ///
    /// It is off the ring meanwhile. At most one is replaced at a time while others are unready.
    #[arg(
        long, value_name = TIME, default_value = "5m",
        value_parser = duration("100ms", "1day").or("off")
    )]
    pub unready_timeout: Off<Duration>,
    /// Below which share of ready replicas requests go to unready ones, too; 0: never
    ///
    /// The share is that of the ready among the ready and the unready. So clients see the
    /// application's own error page when all replicas miss the same database.
    #[arg(
        long, value_name = "PERCENT", default_value = "50",
        value_parser = whole(0, 100).map(percent)
    )]
    pub panic_threshold: PanicThreshold,
    /// How many deaths within --restart-window make a replica degraded
    ///
    /// It is then started once a minute, until it has been healthy for one.
    #[arg(long, value_name = "N", default_value = "5", value_parser = whole::<u32>(1, 1000))]
    pub restart_limit: u32,
    /// The time in which deaths count for --restart-limit
    #[arg(long, value_name = TIME, default_value = "5m", value_parser = duration("1s", "1day"))]
    pub restart_window: Duration,
    /// How many instances run beside the replicas, to take the place of one that dies (processes, containers)
    ///
    /// They answer heartbeats and get no requests. A spare that takes a place keeps the SERVER_ID that it
    /// was started with, spare-1 and so on; the replica's name is in the header Ringmaster-Replica of each
    /// request. Not on a Swarm, and for servers that run already.
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole::<u32>(0, 256))]
    pub spares: u32,
    /// How long a fresh replica may take to its first good heartbeat
    #[arg(long, value_name = TIME, default_value = "60s", value_parser = duration("100ms", "1h"))]
    pub start_timeout: Duration,
    /// How long a fresh replica's share grows, from a tenth of its keys to all
    ///
    /// The next replica in each key's order serves the others. 0s: it serves all of them at once.
    #[arg(long, value_name = TIME, default_value = "0s", value_parser = duration("0s", "1h"))]
    pub slow_start: Duration,
    /// How many failed requests in a row eject a replica; 0: none do
    ///
    /// --outlier-on says what a failure is. Others serve an ejected replica's keys; at most half of
    /// the replicas are ejected.
    #[arg(long, value_name = "N", default_value = "5", value_parser = whole::<u32>(0, 1_000_000))]
    pub outlier_failures: u32,
    /// Which requests have failed
    ///
    /// errors: a connection that cannot be made, a broken response, and a 502, 503 or 504. 5xx:
    /// every status from 500 on, too.
    #[arg(
        long, value_name = "KIND", default_value = "errors",
        value_parser = choice([("errors", OutlierOn::Errors), ("5xx", OutlierOn::ServerErrors)])
    )]
    pub outlier_on: OutlierOn,
    /// How long a replica's first ejection lasts; the second lasts twice as long, and so on
    #[arg(long, value_name = TIME, default_value = "5s", value_parser = duration("10ms", "1h"))]
    pub outlier_ejection: Duration,
}

impl HealthOptions {
    /// When a replica that fails requests is passed over for a while.
    pub fn ejection_policy(&self) -> EjectionPolicy {
        EjectionPolicy {
            failures: self.outlier_failures,
            on: self.outlier_on,
            duration: self.outlier_ejection,
        }
    }

    /// How often a replica may die before it is degraded.
    pub fn restart_limit(&self) -> RestartLimit {
        RestartLimit {
            deaths: self.restart_limit,
            window: self.restart_window,
        }
    }
}

fn percent(number: u8) -> PanicThreshold {
    PanicThreshold::new(number).unwrap_or_default()
}
