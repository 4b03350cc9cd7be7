//! Instances: what plays a replica right now.

use std::fmt;
use std::net::SocketAddr;

use crate::ring::{ReplicaName, Weight};

/// One incarnation of a replica: the third instance of `Server1` has generation 3.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId {
    /// The replica that this instance plays.
    pub replica: ReplicaName,
    /// Tells the instances that bore the name apart: each has a higher one than all
    /// before it. The first has 1.
    pub generation: u64,
}

impl InstanceId {
    /// The instance of this generation that plays the replica.
    pub fn new(replica: ReplicaName, generation: u64) -> Self {
        Self {
            replica,
            generation,
        }
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (generation {})", self.replica, self.generation)
    }
}

/// What a runtime needs to know to start an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchOrder {
    /// Which replica, and which of its generations.
    pub id: InstanceId,
    /// The replica's weight; kept with the instance where the runtime can keep it.
    pub weight: Weight,
    /// The replica's place in the order in which replicas joined; kept likewise.
    pub ordinal: u64,
}

/// What an instance is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchAs {
    /// It plays its replica.
    Replica,
    /// It starts beside the one that plays its replica.
    Successor,
    /// It is of the owner's kind, and starts beside the stand-in that plays its replica.
    Relief,
    /// It plays no replica.
    Extra,
    /// It plays none until one dies.
    Spare,
}

/// An instance of an earlier balancer's that still runs, or that ended and was not replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// What it was started as.
    pub order: LaunchOrder,
    /// Where it listens; none if it does not run any more.
    pub endpoint: Option<SocketAddr>,
    /// The hash of the definition that it was started by, where that is known.
    pub definition: Option<String>,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exit {
    /// The exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it, where that is known.
    pub signal: Option<i32>,
    /// The kernel's out-of-memory killer did it.
    pub out_of_memory: bool,
}

#[cfg(test)]
impl Exit {
    /// An end by itself, with this exit code.
    pub(crate) fn code(code: i32) -> Self {
        Self {
            code: Some(code),
            ..Self::default()
        }
    }

    /// An end by this signal.
    pub(crate) fn signal(signal: i32) -> Self {
        Self {
            signal: Some(signal),
            ..Self::default()
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.out_of_memory, self.signal, self.code) {
            (true, ..) => f.write_str("out of memory"),
            (_, Some(signal), _) => write!(f, "killed by signal {signal}"),
            (_, _, Some(code)) => write!(f, "exited with code {code}"),
            _ => f.write_str("gone"),
        }
    }
}
