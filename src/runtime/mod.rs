//! Where instances run.
//!
//! [`Runtime`] is the one seam between deciding and doing. Its implementations are
//! siblings: `process` (child processes), `docker` (containers), `fixed` (servers
//! that somebody else runs) and, for tests, `scripted`. A runtime starts and stops
//! what it is told to and reports what ends by itself. It decides nothing.

pub mod docker;
pub mod fixed;
pub mod process;
pub mod record;
pub mod record_file;

mod definition;

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::stream::LocalBoxStream;

use crate::ring::ReplicaName;

pub use crate::fleet::{Exit, Found, InstanceId, LaunchOrder};

/// What a runtime reports unasked. Only a runtime whose instances several balancers may
/// share knows of any but the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// The instance ended without having been told to by [`Runtime::stop`].
    Exited {
        /// Which one.
        id: InstanceId,
        /// How.
        exit: Exit,
    },
    /// An instance runs that [`Runtime::launch`] was not asked for.
    Appeared {
        /// What it was started as.
        order: LaunchOrder,
        /// Where it listens, or will.
        endpoint: SocketAddr,
    },
    /// Another balancer removes the replica that this instance plays: see [`Runtime::disown`].
    Disowned {
        /// Which one.
        id: InstanceId,
    },
    /// The address of a replica's instance has changed.
    Relocated {
        /// Whose.
        replica: ReplicaName,
        /// Where it listens now, or will; none if its name has no address any more.
        endpoint: Option<SocketAddr>,
        /// Why, for the log.
        reason: String,
    },
    /// What the instance's own image says of its health has changed.
    HealthcheckChanged {
        /// Which one.
        id: InstanceId,
        /// What it says now.
        healthy: bool,
    },
    /// What had a replica's name, and was none of ours, is gone: the replica can be started.
    NameFreed {
        /// Whose name.
        replica: ReplicaName,
    },
    /// The trouble is over: see [`Runtime::trouble`].
    Recovered,
    /// A version of the fleet record has been removed, by a newer one or by hand.
    RecordRemoved {
        /// Which.
        version: u64,
    },
}

/// What plays a replica after [`Runtime::launch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The instance: the one that was ordered, or another balancer's that was first.
    pub id: InstanceId,
    /// Where it listens, or will.
    pub endpoint: SocketAddr,
}

/// So many lines of an instance's output are kept.
pub const LAST_LINES: usize = 50;

/// What an instance leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastWords {
    /// How it ended, if it did so by itself.
    pub exit: Option<Exit>,
    /// The last lines that it printed, [`LAST_LINES`] at most, the oldest first.
    pub lines: Vec<String>,
}

/// How many of the last lines an error message repeats.
const LINES_IN_MESSAGE: usize = 3;

/// Why an instance did not come up, with the last that it printed and what can be done about it.
pub fn with_output(reason: &str, lines: &[String], hint: Option<&str>) -> String {
    let printed = lines.iter().filter(|line| !line.is_empty());
    let printed: Vec<_> = printed.map(|line| format!("{line:?}")).collect();
    let mut message = reason.to_owned();
    if !printed.is_empty() {
        let last = &printed[printed.len().saturating_sub(LINES_IN_MESSAGE)..];
        message.push_str("; it printed: ");
        message.push_str(&last.join(", "));
    }
    if let Some(hint) = hint {
        message.push_str("; ");
        message.push_str(hint);
    }
    message
}

/// What an instance is to the machine that it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// A process, by its id as the balancer sees it.
    Process(u32),
    /// A container, by its name.
    Container(String),
}

/// Why a runtime could not do as it was told. Reads on after "cannot start Server1: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuntimeError(pub String);

/// The place where instances run.
///
/// All calls are made from one thread, the control thread, which lives as long as the
/// process; the returned futures run there too and may overlap.
pub trait Runtime: 'static {
    /// `process`, `docker`, `static`.
    fn kind(&self) -> &'static str;

    /// Whether instances run in containers that are locked in as far as
    /// `--replica-security restricted` goes, which is the cause of some deaths.
    fn is_restricted(&self) -> bool {
        false
    }

    /// Whether this runtime can start and stop instances. A runtime that cannot
    /// (`static`) only says where an instance is.
    fn spawns(&self) -> bool {
        true
    }

    /// Checks, before anything listens, that instances can be started at all (the
    /// program exists, the engine answers, the image is there), and lists what an
    /// earlier balancer left behind.
    fn prepare(&self) -> LocalBoxFuture<'_, Result<Vec<Found>, RuntimeError>>;

    /// Starts an instance and says where it will listen. It need not listen yet:
    /// heartbeats find out. An older generation of the same replica that has ended
    /// may still lie around; clearing it away is part of this call. If another balancer
    /// has started the replica meanwhile, it is left alone, and told.
    /// After an error nothing of this instance is left behind.
    fn launch(&self, order: LaunchOrder) -> LocalBoxFuture<'static, Result<Running, RuntimeError>>;

    /// Lets other balancers know that the replica that this instance plays is removed and
    /// its end no death. Nothing where there can be no other balancer.
    fn disown(&self, _: InstanceId) -> LocalBoxFuture<'static, ()> {
        Box::pin(async {})
    }

    /// Has the log of an instance kept, which has died or is about to be killed for dead, until
    /// the replica's next death or removal. To be called before [`Runtime::stop`]. Nothing
    /// where the log ends with the instance.
    fn keep_log(&self, _: &InstanceId) {}

    /// Ends an instance: SIGTERM, `grace`, SIGKILL, and clears away what is left of it.
    /// An instance that has ended by itself, or is unknown, is cleared away without
    /// complaint. No [`RuntimeEvent::Exited`] follows for it.
    fn stop(
        &self,
        id: InstanceId,
        grace: Duration,
    ) -> LocalBoxFuture<'static, Result<(), RuntimeError>>;

    /// What is known of an instance's end: to be asked for before its successor is
    /// started, and for one that is to be stopped both before that and after.
    fn last_words(&self, _: InstanceId) -> LocalBoxFuture<'static, LastWords> {
        Box::pin(async { LastWords::default() })
    }

    /// Heartbeats to the instance at this address begin; none of them has been answered yet.
    fn note_watched(&self, _: &InstanceId, _: SocketAddr) {}

    /// No more heartbeats go to the instance.
    fn note_unwatched(&self, _: &InstanceId) {}

    /// The instance answers heartbeats and is on the ring.
    fn note_admitted(&self, _: &InstanceId) {}

    /// What a running instance is to its machine, for people who want to look at it or harm
    /// it. None if it does not run, or if only somebody else knows.
    fn whereabouts(&self, _: &InstanceId) -> Option<Whereabouts> {
        None
    }

    /// What keeps the runtime from doing its work, if anything does; instances that run may
    /// go on all the same.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// What to do about an instance that runs while nothing listens on its port, if that is known.
    fn port_hint(&self, _port: u16) -> Option<String> {
        None
    }

    /// Everything that ends by itself, from now on, for as long as the runtime lives.
    /// Called once. The stream reconnects by itself where a connection is behind it.
    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent>;

    /// Whether an instance that runs was started by another definition than the present one:
    /// what a rollout would replace.
    fn is_outdated(&self, _: &InstanceId) -> bool {
        false
    }

    /// Whether another balancer serves these instances and goes on to if this one ends, which
    /// it is about to.
    fn is_shared(&self) -> LocalBoxFuture<'static, bool> {
        Box::pin(async { false })
    }

    /// Clears away what belongs to the runtime itself (a network it made), after every
    /// instance has been stopped.
    fn close(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What an operator may set about replicas, whichever runtime starts them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaTemplate {
    /// The program and its arguments, `{port}` and `{name}` not yet replaced. For
    /// `docker` it overrides the image's command. None: the image's own command, or
    /// the built-in demo replica.
    pub command: Option<Vec<String>>,
    /// The port a replica listens on. For `process` none means a free one for each.
    pub port: Option<u16>,
    /// Environment variables on top of `PORT` and `SERVER_ID`.
    pub env: Vec<(String, String)>,
    /// Memory limit in bytes (`docker`).
    pub memory: Option<u64>,
    /// CPU limit in billionths of a CPU (`docker`).
    pub nano_cpus: Option<u64>,
    /// Limit on processes and threads (`docker`).
    pub pids: Option<u32>,
}
