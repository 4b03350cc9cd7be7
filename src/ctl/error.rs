//! Why a call failed, in words that say what to do about it.

use std::io;
use std::time::Duration;

use crate::human;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// No connection.
    #[error(
        "cannot reach the admin API at {url} ({from}): {cause}; is the balancer there, with --admin? \
         --admin URL or RINGMASTER_ADMIN_URL say where it is"
    )]
    Unreachable {
        /// The URL.
        url: String,
        /// What says it.
        from: String,
        /// Why there is none.
        cause: String,
    },
    /// The connection broke off, or what came is not HTTP.
    #[error("{call} at {url}: {cause}")]
    Broken {
        /// Method and path.
        call: String,
        /// The URL of the balancer.
        url: String,
        /// What happened.
        cause: String,
    },
    /// No answer in time.
    #[error(
        "{call} at {url}: no answer within {}; --timeout sets how long to wait, and a change may \
         still be made", human::duration(*.after)
    )]
    TimedOut {
        /// Method and path.
        call: String,
        /// The URL of the balancer.
        url: String,
        /// The time limit.
        after: Duration,
    },
    /// The balancer refuses, or fails.
    #[error("{call}: {detail} ({status}){advice}")]
    Refused {
        /// Method and path.
        call: String,
        /// The `type` of the problem.
        kind: String,
        /// The status code.
        status: u16,
        /// Its reason.
        detail: String,
        /// What to do about it.
        advice: String,
    },
    /// Something else is there.
    #[error(
        "what answers at {url} ({from}) is not Ringmaster's admin API: {found}; the port of --admin \
         is meant, 5001 by default, not the one of clients"
    )]
    NotRingmaster {
        /// The URL.
        url: String,
        /// What says it.
        from: String,
        /// What came.
        found: String,
    },
    /// A Ringmaster is there whose answer means nothing here.
    #[error(
        "the balancer at {url} is Ringmaster {theirs}, this program is {}: {cause}; use the same \
         version for both", env!("CARGO_PKG_VERSION")
    )]
    OtherVersion {
        /// The URL.
        url: String,
        /// Its version.
        theirs: String,
        /// What could not be read.
        cause: String,
    },
    /// What was given as a compose project is none that can be rolled out: where it is, and what is wrong.
    #[error("{0}: {1}")]
    ComposeFile(String, String),
    /// A rollout that was waited for was not done.
    #[error("rollout {0} was not done")]
    NotRolledOut(u64),
    /// A file of this machine.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why not.
        cause: io::Error,
    },
    /// The fleet is paused, and requests have not ended.
    #[error(
        "{0} requests are still in flight after --drain-timeout; the fleet is paused all the same: 'ringmaster \
         ctl resume' ends that"
    )]
    NotDrained(u32),
    /// The pause ended before the fleet had drained.
    #[error("the pause has ended before every request in flight had: requests go on")]
    PauseOver,
    /// The person who was asked said no.
    #[error("nothing is changed")]
    Declined,
    /// The terminal cannot be used.
    #[error("{0}")]
    Terminal(String),
}

impl CtlError {
    /// Whether a call was refused with a problem whose `type` ends like this.
    pub fn is_of(&self, type_end: &str) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind.ends_with(type_end))
    }
}

impl From<io::Error> for CtlError {
    fn from(error: io::Error) -> Self {
        Self::Terminal(format!("the terminal cannot be used: {error}"))
    }
}
