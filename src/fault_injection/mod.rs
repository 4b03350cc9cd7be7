//! Faults of replicas of a running balancer: kill, pause, delay. The one library for the admin API,
//! `analyze`, `drill` and `make chaos`; where a replica runs is what the balancer's status says.

mod container;
mod process;

use std::fmt;
use std::time::{Duration, Instant};

#[cfg(feature = "analyze")]
pub(crate) use process::kill as kill_process;

use crate::api::ReplicaStatus;
use container::Container;
use process::ProcessGroup;

/// A delayed replica is paused and runs in turn, for this long each.
const DELAY_HALF_CYCLE: Duration = Duration::from_millis(50);

/// What is done to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends: SIGKILL, or the engine's kill.
    Kill,
    /// It hangs for this long: SIGSTOP and SIGCONT, or the engine's pause and unpause.
    Pause(Duration),
    /// It hangs half of the time, 50 ms at a time, for this long.
    Delay(Duration),
}

impl Fault {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause(_) => "pause",
            Self::Delay(_) => "delay",
        }
    }

    /// How long it lasts, if it passes.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Kill => None,
            Self::Pause(time) | Self::Delay(time) => Some(time),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.duration() {
            None => Ok(()),
            Some(time) => write!(f, " {time:?}"),
        }
    }
}

/// A fault could not be injected.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot inject a fault into {replica}: {cause}")]
pub struct FaultError {
    /// Into which replica.
    pub replica: String,
    /// Why not.
    pub cause: String,
}

/// A signal to an instance, or a call to its engine.
#[derive(Debug, Clone, Copy)]
enum Call {
    Kill,
    Pause,
    Resume,
}

/// What became of a call to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It has taken effect.
    Applied,
    /// The instance has ended before.
    Gone,
}

/// One instance of a replica, with all that belongs to it. Release it in the end, whatever
/// becomes of the experiment.
pub struct FaultTarget {
    replica: String,
    handle: Handle,
}

enum Handle {
    Process(ProcessGroup),
    Container(Box<Container>),
}

impl FaultTarget {
    /// The instance that plays a replica now. `engine` is the address of its Docker engine; by
    /// default that of `DOCKER_HOST`, or the usual socket.
    ///
    /// # Errors
    ///
    /// The instance is not one that a balancer has started here.
    pub async fn find(replica: &ReplicaStatus, engine: Option<String>) -> Result<Self, FaultError> {
        let name = &replica.name;
        let handle = match (&replica.container, replica.pid) {
            (Some(container), _) => {
                let found = Container::find(container, name, engine).await;
                let found = found.map(|found| Handle::Container(Box::new(found)));
                found.map_err(|cause| match &replica.node {
                    Some(node) => format!(
                        "it runs on node {node}, whose engine alone can harm it ({cause}); from here \
                         a node can be drained: ctl drill --node {node}"
                    ),
                    None => cause,
                })
            }
            (None, Some(pid)) => ProcessGroup::find(pid, name).map(Handle::Process),
            (None, None) => Err(format!(
                "it is {}, and neither a process nor a container that the balancer has started: \
                 faults can be injected into such replicas alone, while they run",
                replica.state
            )),
        };
        let replica = name.clone();
        match handle {
            Ok(handle) => Ok(Self { replica, handle }),
            Err(cause) => Err(FaultError { replica, cause }),
        }
    }

    /// How [`FaultTarget::kill`] does it, in words.
    pub fn kill_method(&self) -> &'static str {
        match self.handle {
            Handle::Process(_) => "SIGKILL",
            Handle::Container(_) => "the engine's kill",
        }
    }

    /// Begins a fault.
    ///
    /// # Errors
    ///
    /// It has no effect.
    pub async fn inject(&self, fault: Fault) -> Result<(), FaultError> {
        let effect = match fault {
            Fault::Kill => self.kill().await?,
            Fault::Pause(_) | Fault::Delay(_) => self.pause().await?,
        };
        match effect {
            Effect::Applied => Ok(()),
            Effect::Gone => Err(self.failed("it has just ended by itself".to_owned())),
        }
    }

    /// Keeps up a fault that has begun, to its end. The balancer may end the instance before.
    ///
    /// # Errors
    ///
    /// A call that fails.
    pub async fn sustain(&self, fault: Fault) -> Result<(), FaultError> {
        match fault {
            Fault::Kill => return Ok(()),
            Fault::Pause(time) => tokio::time::sleep(time).await,
            Fault::Delay(time) => {
                let begun = Instant::now();
                while begun.elapsed() < time {
                    tokio::time::sleep(DELAY_HALF_CYCLE).await;
                    self.resume().await?;
                    tokio::time::sleep(DELAY_HALF_CYCLE).await;
                    if self.pause().await? == Effect::Gone {
                        return Ok(());
                    }
                }
            }
        }
        self.resume().await.map(drop)
    }

    /// Resumes it if it may still be paused: after an error, or a signal.
    ///
    /// # Errors
    ///
    /// A call that fails.
    pub async fn release(&self) -> Result<(), FaultError> {
        match &self.handle {
            Handle::Container(container) if !container.may_be_paused() => Ok(()),
            _ => self.resume().await.map(drop),
        }
    }

    /// Kills it.
    ///
    /// # Errors
    ///
    /// The call fails.
    pub async fn kill(&self) -> Result<Effect, FaultError> {
        self.call(Call::Kill).await
    }

    /// Pauses it, until it is resumed.
    ///
    /// # Errors
    ///
    /// The call fails.
    pub async fn pause(&self) -> Result<Effect, FaultError> {
        self.call(Call::Pause).await
    }

    /// Resumes it.
    ///
    /// # Errors
    ///
    /// The call fails.
    pub async fn resume(&self) -> Result<Effect, FaultError> {
        self.call(Call::Resume).await
    }

    async fn call(&self, call: Call) -> Result<Effect, FaultError> {
        let effect = match &self.handle {
            Handle::Process(group) => group.call(call),
            Handle::Container(container) => container.call(call).await,
        };
        effect.map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: String) -> FaultError {
        FaultError {
            replica: self.replica.clone(),
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ReplicaState;

    #[actix_web::test]
    async fn process_that_is_not_the_replica_s_instance_is_refused() {
        for (pid, reason) in [
            (None, "neither a process nor a container"),
            (Some(0), "is not Server1's"),
            (Some(1), "is not Server1's"),
            (Some(std::process::id()), "is not Server1's"),
            (Some(u32::MAX), "is not Server1's"),
        ] {
            let replica = ReplicaStatus {
                name: "Server1".to_owned(),
                weight: 1,
                state: ReplicaState::Ready,
                generation: 1,
                endpoint: None,
                pid,
                container: None,
                node: None,
                in_flight: 0,
                ejected: false,
                slow_start_share: None,
                outdated: false,
                consecutive_deaths: 0,
                drained: false,
                degraded: false,
                last_error: None,
            };
            let refused = FaultTarget::find(&replica, None).await;
            let refused = refused.err().unwrap().to_string();
            assert!(refused.contains(reason), "{replica:?}: {refused}");
        }
    }
}
