//! Harm to replicas of a running balancer, on purpose. This is the one place that does it, for
//! A-3 and for `ringmaster drill`; where a replica runs is what the balancer's status tells.

mod container;
mod process;

use std::fmt;
use std::time::{Duration, Instant};

pub(super) use process::kill as kill_process;

use super::error::AnalysisError;
use super::observed::Harm;
use crate::api::ReplicaStatus;
use container::Container;
use process::Group;

/// A delayed replica is stopped so long, then runs so long, and so on.
const STROKE: Duration = Duration::from_millis(50);

/// What is done to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends: SIGKILL, or the engine's kill.
    Kill,
    /// It hangs for so long: SIGSTOP and SIGCONT, or the engine's pause and unpause.
    Pause(Duration),
    /// For so long it hangs half of the time, in strokes of 50 ms.
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

    /// What there is to wait for.
    pub(crate) fn harm(self) -> Harm {
        match self {
            Self::Kill => Harm::Ends,
            Self::Pause(time) | Self::Delay(time) => Harm::Lasts(time),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Kill => Ok(()),
            Self::Pause(time) | Self::Delay(time) => write!(f, " {time:?}"),
        }
    }
}

/// What became of an attempt to strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Landed,
    /// Nobody is there any more.
    Missed,
}

/// One instance of a replica, with all that belongs to it. Who begins to harm it releases it
/// in the end, whatever becomes of the rest.
pub(crate) struct Victim {
    replica: String,
    body: Body,
}

enum Body {
    Process(Group),
    Container(Container),
}

impl Victim {
    /// The instance that plays a replica now.
    ///
    /// # Errors
    ///
    /// Why it cannot be had.
    pub(crate) async fn find(replica: &ReplicaStatus) -> Result<Self, AnalysisError> {
        let name = &replica.name;
        let body = match (&replica.container, replica.pid) {
            (Some(container), _) => Container::find(container, name).await.map(Body::Container),
            (None, Some(pid)) => Group::find(pid, name).map(Body::Process),
            (None, None) => Err(format!(
                "it is {}, and neither a process nor a container that the balancer has started: \
                 only such replicas can be harmed, and only while they run",
                replica.state
            )),
        };
        let replica = name.clone();
        match body {
            Ok(body) => Ok(Self { replica, body }),
            Err(cause) => Err(AnalysisError::Harm { replica, cause }),
        }
    }

    /// How it is killed, in words.
    pub(super) fn way_to_kill(&self) -> &'static str {
        match self.body {
            Body::Process(_) => "SIGKILL",
            Body::Container(_) => "the engine's kill",
        }
    }

    /// The first blow.
    pub(crate) async fn begin(&self, fault: Fault) -> Result<(), AnalysisError> {
        let struck = match fault {
            Fault::Kill => self.kill().await,
            Fault::Pause(_) | Fault::Delay(_) => self.stop().await,
        };
        match struck? {
            Blow::Landed => Ok(()),
            Blow::Missed => Err(self.failed("it has just ended by itself".to_owned())),
        }
    }

    /// The others, until it is over. A balancer that has lost its patience may have ended the
    /// instance before that.
    pub(crate) async fn hold(&self, fault: Fault) -> Result<(), AnalysisError> {
        match fault {
            Fault::Kill => return Ok(()),
            Fault::Pause(time) => tokio::time::sleep(time).await,
            Fault::Delay(time) => {
                let begun = Instant::now();
                while begun.elapsed() < time {
                    tokio::time::sleep(STROKE).await;
                    self.go_on().await?;
                    tokio::time::sleep(STROKE).await;
                    if self.stop().await? == Blow::Missed {
                        return Ok(());
                    }
                }
            }
        }
        self.go_on().await
    }

    /// Lets it go on, if it is stopped. To be called when a harm was perhaps not held to its
    /// end: after an error, or a signal.
    pub(crate) async fn release(&self) -> Result<(), AnalysisError> {
        match &self.body {
            Body::Process(_) => self.go_on().await,
            Body::Container(container) if container.may_be_paused() => self.go_on().await,
            Body::Container(_) => Ok(()),
        }
    }

    async fn kill(&self) -> Result<Blow, AnalysisError> {
        let struck = match &self.body {
            Body::Process(group) => group.kill(),
            Body::Container(container) => container.kill().await,
        };
        struck.map_err(|cause| self.failed(cause))
    }

    async fn stop(&self) -> Result<Blow, AnalysisError> {
        let struck = match &self.body {
            Body::Process(group) => group.stop(),
            Body::Container(container) => container.pause().await,
        };
        struck.map_err(|cause| self.failed(cause))
    }

    async fn go_on(&self) -> Result<(), AnalysisError> {
        let gone_on = match &self.body {
            Body::Process(group) => group.go_on(),
            Body::Container(container) => container.unpause().await,
        };
        gone_on.map(drop).map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: String) -> AnalysisError {
        AnalysisError::Harm {
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
    async fn nobody_is_harmed_who_is_not_a_replica_s_instance() {
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
                in_flight: 0,
                ejected: false,
                slow_start_share: None,
                outdated: false,
                consecutive_deaths: 0,
                degraded: false,
                last_error: None,
            };
            let refused = Victim::find(&replica).await.err().unwrap().to_string();
            assert!(refused.contains(reason), "{replica:?}: {refused}");
        }
    }
}
