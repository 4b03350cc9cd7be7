//! The faults: what each is called, where it can be done, and what is promised of it.

use std::time::Duration;

use crate::fixture::Runtime;
use crate::network::NetworkFault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to the balancer, and its start at the same address.
    Restart,
    /// The same, and a replica dies while nobody watches.
    RestartAndKill,
    /// A replica is killed.
    Kill,
    /// It takes more memory than it may have.
    OutOfMemory,
    /// It is frozen until it is replaced.
    Hang,
    /// It is frozen until that is noticed.
    Pause,
    /// It gets a fiftieth of a CPU for a while.
    Slow,
    /// `DELETE /rm`.
    Remove,
    /// `POST /add`.
    Add,
    /// It is killed, and its next two instances end as soon as they begin.
    CrashLoop,
    /// `docker rm -f`.
    TakenAway,
    /// `docker network disconnect`.
    Disconnect,
    /// It is killed while its image has another name.
    MissingImage,
    /// dockerd is ended, it is killed while nobody watches, and dockerd begins again.
    EngineRestart,
    /// Its network is bad for a while.
    Network(NetworkFault),
    /// Every replica is killed.
    AllAtOnce,
}

pub const ALL: [Fault; 20] = [
    Fault::Restart,
    Fault::RestartAndKill,
    Fault::Kill,
    Fault::OutOfMemory,
    Fault::Hang,
    Fault::Pause,
    Fault::Slow,
    Fault::Remove,
    Fault::Add,
    Fault::CrashLoop,
    Fault::TakenAway,
    Fault::Disconnect,
    Fault::MissingImage,
    Fault::Network(NetworkFault::Loss),
    Fault::Network(NetworkFault::Resets),
    Fault::Network(NetworkFault::CutAnswers),
    Fault::Network(NetworkFault::Silence),
    Fault::Network(NetworkFault::Narrow),
    Fault::AllAtOnce,
    Fault::EngineRestart,
];

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::RestartAndKill => "restart-and-kill",
            Self::Kill => "kill",
            Self::OutOfMemory => "out-of-memory",
            Self::Hang => "hang",
            Self::Pause => "pause",
            Self::Slow => "slow",
            Self::Remove => "remove",
            Self::Add => "add",
            Self::CrashLoop => "crash-loop",
            Self::TakenAway => "taken-away",
            Self::Disconnect => "disconnect",
            Self::MissingImage => "missing-image",
            Self::EngineRestart => "engine-restart",
            Self::Network(fault) => fault.name(),
            Self::AllAtOnce => "all-at-once",
        }
    }

    /// Whether it can be done to replicas that run there.
    pub fn is_for(self, runtime: Runtime) -> bool {
        let everywhere = [
            Self::Kill,
            Self::Hang,
            Self::Pause,
            Self::Remove,
            Self::Add,
            Self::CrashLoop,
            Self::AllAtOnce,
        ];
        match runtime {
            Runtime::Process => everywhere.contains(&self),
            Runtime::Docker => self != Self::EngineRestart,
            Runtime::OwnEngine => self == Self::EngineRestart,
        }
    }

    /// Whether it belongs to the short campaign: what takes long on containers and is much
    /// like another does not.
    pub fn is_quick(self, runtime: Runtime) -> bool {
        let long = [
            Self::OutOfMemory,
            Self::Hang,
            Self::Slow,
            Self::EngineRestart,
            Self::Network(NetworkFault::Loss),
            Self::Network(NetworkFault::CutAnswers),
            Self::Network(NetworkFault::Silence),
            Self::Network(NetworkFault::Narrow),
        ];
        runtime == Runtime::Process || !long.contains(&self)
    }

    /// Whether it ends the replica at once.
    pub fn is_an_end(self) -> bool {
        let ends = [
            Self::Kill,
            Self::OutOfMemory,
            Self::CrashLoop,
            Self::AllAtOnce,
            Self::TakenAway,
            Self::MissingImage,
        ];
        ends.contains(&self)
    }

    /// How soon it must be noticed, from when it begins or the engine knows of an end.
    pub fn noticed_within(self) -> Option<Duration> {
        match self {
            end if end.is_an_end() => Some(Duration::from_millis(100)),
            Self::Hang | Self::Pause | Self::Disconnect | Self::Network(NetworkFault::Silence) => {
                Some(Duration::from_secs(3))
            }
            _ => None,
        }
    }

    /// Whether no GET or PUT may fail. A request is sent twice at the most, so who loses both
    /// replicas is told; and so is who has a part of an answer that breaks off.
    pub fn spares_requests(self) -> bool {
        !matches!(
            self,
            Self::AllAtOnce | Self::Network(NetworkFault::CutAnswers)
        )
    }

    /// Whether the set of replicas changes, and keys with it.
    pub fn changes_the_ring(self) -> bool {
        matches!(self, Self::Remove | Self::Add)
    }
}
