//! Why an analysis or a drill could not be finished.

use std::io;
use std::path::PathBuf;

use crate::fault_injection::FaultError;

/// Why an analysis or a drill could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// The child balancer did not start.
    #[error("cannot start a balancer: {0}")]
    Start(String),
    /// The balancer does not respond, or not as one of this version.
    #[error("{what}: {cause}")]
    Call {
        /// Method and URL.
        what: String,
        /// Why it failed.
        cause: String,
    },
    /// An expected state was not reached in time.
    #[error("waited {seconds} s in vain until {what}")]
    TimedOut {
        /// The state.
        what: String,
        /// The time limit.
        seconds: u64,
    },
    /// A fault could not be injected.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// A file could not be written.
    #[error("cannot write {}: {cause}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A chart could not be drawn.
    #[error("cannot draw {chart}: {cause}")]
    Chart {
        /// Which.
        chart: &'static str,
        /// Why not.
        cause: String,
    },
    /// Ctrl-C, or a signal like it.
    #[error("interrupted by {0}; the balancer is as it was")]
    Interrupted(&'static str),
    /// Signals cannot be handled.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
}
