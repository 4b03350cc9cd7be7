//! What `ringmaster ctl` is asked to do.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::{DesiredState, NewReplicas, NewRollout, RingPatch};
use crate::experiments::AdminAccess;
use crate::ring::KeySource;

/// What `ringmaster ctl` is asked to do, and where.
#[derive(Debug, PartialEq)]
pub struct CtlOptions {
    /// The balancer.
    pub access: AdminAccess,
    /// What says its URL: a flag, a variable, or the default.
    pub url_from: String,
    /// What has its token, if there is one.
    pub token_from: Option<String>,
    /// Print the JSON of the API.
    pub json: bool,
    /// How long to wait for an answer, if that is given.
    pub timeout: Option<Duration>,
    /// What to do.
    pub command: CtlCommand,
}

/// A project as docker compose resolves it, and its service that is rolled out.
#[derive(Debug, PartialEq)]
pub struct ComposeFile {
    /// Where it is; `-` is standard input.
    pub file: PathBuf,
    /// The service.
    pub service: String,
    /// Compose's hash of the service.
    pub config_hash: String,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum CtlCommand {
    /// Show the balancer and its replicas.
    Status,
    /// List the replicas.
    Replicas,
    /// Add replicas.
    Add(NewReplicas),
    /// Remove replicas.
    Remove {
        /// Which.
        names: Vec<String>,
        /// Do not ask whether that is meant.
        yes: bool,
    },
    /// Have this many replicas.
    Scale {
        /// How many.
        replicas: usize,
        /// Do not ask whether that is meant.
        yes: bool,
    },
    /// Drain replicas, or let them serve again.
    SetState {
        /// Which.
        names: Vec<String>,
        /// The state.
        state: DesiredState,
    },
    /// Replace the instances of replicas, one after the other.
    Restart {
        /// Which.
        names: Vec<String>,
        /// Do not wait for requests in flight.
        now: bool,
    },
    /// Move replicas from nodes that have more than their share.
    Rebalance {
        /// Only say which.
        dry_run: bool,
    },
    /// Have every request answered with 503.
    BeginMaintenance {
        /// The file of the page.
        page: Option<PathBuf>,
        /// When clients are to come again.
        retry_after: Option<Duration>,
    },
    /// Have requests go to the replicas again.
    EndMaintenance,
    /// Hold requests.
    Pause {
        /// For how long at the most.
        lasts: Option<Duration>,
    },
    /// Let them go again.
    Resume,
    /// Give every replica another version.
    StartRollout {
        /// What to change.
        new: Box<NewRollout>,
        /// What the compose file says of the service whose containers the replicas are.
        compose: Option<ComposeFile>,
        /// Wait for its end.
        wait: bool,
    },
    /// List the last rollouts.
    Rollouts,
    /// Pause, resume, promote or undo a rollout.
    DirectRollout {
        /// Which; the last one if it is absent.
        id: Option<u64>,
        /// The end of the call's path.
        command: &'static str,
    },
    /// Give a replica another weight.
    Weigh {
        /// Which.
        name: String,
        /// The weight.
        weight: u32,
        /// Only say what would move.
        dry_run: bool,
    },
    /// Show the ring.
    Ring,
    /// Change how the ring is built.
    ChangeRing {
        /// The change.
        patch: RingPatch,
        /// Only say what would move.
        dry_run: bool,
    },
    /// Show what is hashed for a request.
    Key,
    /// Have something else hashed.
    SetKey {
        /// What.
        source: KeySource,
    },
    /// Explain where a key goes.
    Explain {
        /// The key, as a request would bring it.
        key: OsString,
    },
    /// List what happened.
    Events {
        /// Go on with what happens.
        follow: bool,
    },
    /// Watch the balancer in the terminal.
    #[cfg(feature = "top")]
    Top,
    /// Show why instances died.
    Deaths {
        /// Only this replica's.
        replica: Option<String>,
        /// With requests, heartbeats and output.
        details: bool,
    },
}
