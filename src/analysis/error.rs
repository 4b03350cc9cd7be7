//! Why an analysis could not be finished.

use std::io;
use std::path::PathBuf;

/// Why an analysis could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// Our own balancer did not come up.
    #[error("cannot start a balancer: {0}")]
    Start(String),
    /// The balancer does not answer, or not in a way that we understand.
    #[error("{what}: {cause}")]
    Call {
        /// What was asked of it.
        what: String,
        /// What came of it.
        cause: String,
    },
    /// A state that should have come did not.
    #[error("waited {seconds} s in vain until {what}")]
    TooSlow {
        /// The state.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A replica could not be harmed.
    #[error("cannot harm {replica}: {cause}")]
    Harm {
        /// Which.
        replica: String,
        /// Why not.
        cause: String,
    },
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
