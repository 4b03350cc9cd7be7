//! How rollouts are carried out.

use std::time::Duration;

use clap::Args;

use super::super::rule::{choice, duration, whole};
use super::TIME;
use crate::fleet::{FailureAction, RolloutOrder, RolloutPolicy};

/// How rollouts are carried out.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Rollouts")]
pub struct RolloutOptions {
    /// How many replicas a rollout replaces at a time
    ///
    /// The first instance of a new version is alone, whatever this says.
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole::<u32>(1, 1024))]
    pub rollout_parallelism: u32,
    /// Whether a rollout starts a replica's new instance before it stops the old one
    ///
    /// start-first: the old one serves until the new one is ready. stop-first: for fixed ports or
    /// little memory; the replica is off the ring meanwhile.
    #[arg(
        long, value_name = "ORDER", default_value = "start-first",
        value_parser = choice([
            ("start-first", RolloutOrder::StartFirst),
            ("stop-first", RolloutOrder::StopFirst),
        ])
    )]
    pub rollout_order: RolloutOrder,
    /// How long a rollout watches a new instance before it goes on
    ///
    /// If that dies, hangs, becomes unready or fails requests meanwhile, the rollout has failed. 0s:
    /// it goes on at once.
    #[arg(long, value_name = TIME, default_value = "5s", value_parser = duration("0s", "1day"))]
    pub rollout_monitor: Duration,
    /// Which share of a new instance's requests may fail while it is watched
    ///
    /// Of at least ten requests; a failed one is answered with a status from 500 on, or breaks off.
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = whole::<u8>(0, 100))]
    pub rollout_max_errors: u8,
    /// What a rollout does that has failed
    ///
    /// rollback: every replica gets its earlier version back. pause: it waits for 'ctl rollout
    /// resume' or 'undo'.
    #[arg(
        long, value_name = "ACTION", default_value = "rollback",
        value_parser = choice([
            ("rollback", FailureAction::Rollback),
            ("pause", FailureAction::Pause),
        ])
    )]
    pub rollout_failure: FailureAction,
}

impl RolloutOptions {
    /// What they come down to.
    pub fn policy(&self) -> RolloutPolicy {
        RolloutPolicy {
            parallelism: self.rollout_parallelism as usize,
            order: self.rollout_order,
            monitor: self.rollout_monitor,
            max_errors: self.rollout_max_errors,
            on_failure: self.rollout_failure,
        }
    }
}
