//! What an analysis is asked to do.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::experiments::AdminAccess;

/// One of the experiments, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Experiment {
    /// requests per replica at N = 3.
    Shares,
    /// the mean load at N = 2..6, and the spread around it.
    Means,
    /// replicas killed under load.
    Failure,
    /// A-4: A-1 and A-2 for every strategy.
    Strategies,
    /// As many requests as possible, open at once.
    Scale,
}

impl Experiment {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::Shares,
        Self::Means,
        Self::Failure,
        Self::Strategies,
        Self::Scale,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shares => "a1",
            Self::Means => "a2",
            Self::Failure => "a3",
            Self::Strategies => "a4",
            Self::Scale => "scale",
        }
    }

    /// Its name in texts.
    pub fn label(self) -> &'static str {
        match self {
            Self::Shares => "A-1",
            Self::Means => "A-2",
            Self::Failure => "A-3",
            Self::Strategies => "A-4",
            Self::Scale => "Scale",
        }
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

impl FromStr for Experiment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|experiment| experiment.name() == text)
            .ok_or_else(|| format!("{text:?} is none of a1, a2, a3, a4 and scale"))
    }
}

/// What to run, how much of it, against what, and where the results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which balancer.
    pub target: BalancerOptions,
    /// Requests in each measurement of.
    pub requests: usize,
    /// So many of them at once.
    pub concurrency: usize,
    /// What ask for.
    pub path: String,
    /// Requests held open at once in the scale experiment.
    pub scale: usize,
    /// What to run.
    pub experiments: BTreeSet<Experiment>,
    /// Where the random request ids begin: the same seed, the same ids.
    pub seed: u64,
    /// The folder for report, results and charts; made if it does not exist.
    pub out: PathBuf,
}

/// The balancer to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalancerOptions {
    /// One of our own, with the demo replicas as its child processes.
    Child,
    /// One that runs already.
    Running(RunningBalancer),
}

/// How to reach a balancer that runs already, and what to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningBalancer {
    /// `http://HOST:PORT`, where clients ask.
    pub url: String,
    /// Its admin API.
    pub admin: Option<AdminAccess>,
    /// How to kill a replica.
    pub kill: Option<KillCommand>,
    /// Its process on this machine, for its memory.
    pub pid: Option<u32>,
}

/// A command, already split into words, with `{name}` for the replica's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillCommand {
    /// It kills the replica.
    Kills(Vec<String>),
    /// It prints the number of the process to be killed: nothing then stands between the
    /// SIGKILL and the clock, where `docker kill` alone takes some 50 ms.
    PrintsPid(Vec<String>),
}
