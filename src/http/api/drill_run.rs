//! A drill from its fault to the replica's recovery, and the list of the last ones.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log::{info, warn};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::error::ApiError;
use crate::actors::supervisor::SupervisorHandle;
use crate::api::{
    Drill, DrillFault, DrillState, ReplicaEvent, ReplicaEventKind, ReplicaStatus, Timestamp,
};
use crate::fault_injection::{Fault, FaultTarget};

/// How many drills are kept.
const HISTORY_LEN: usize = 20;
/// How long the replica may take to be back, from the end of the fault.
pub(super) const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after a fault that passes it may still be noticed: a heartbeat that it swallowed fails
/// only then.
const DETECTION_DELAY: Duration = Duration::from_secs(1);
/// How long an engine may take to resume a paused replica.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// The last drills; one at a time runs.
#[derive(Debug, Default)]
pub struct Drills(Mutex<Vec<Drill>>);

impl Drills {
    /// The last ones, the oldest first.
    pub fn all(&self) -> Vec<Drill> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Begins one, unless another runs.
    pub fn begin(
        self: &Arc<Self>,
        kind: DrillFault,
        fault: Fault,
        replica: &ReplicaStatus,
    ) -> Result<DrillRun, ApiError> {
        let lasts = fault.duration().map(|time| time.as_millis());
        self.begin_as(|drill| {
            drill.replica = Some(replica.name.clone());
            drill.fault = kind;
            drill.lasts_ms = lasts.and_then(|ms| u64::try_from(ms).ok());
            drill.generation_before = Some(replica.generation);
        })
    }

    /// The same of a node that is drained.
    pub fn begin_drain(self: &Arc<Self>, node: &str) -> Result<DrillRun, ApiError> {
        self.begin_as(|drill| drill.node = Some(node.to_owned()))
    }

    fn begin_as(self: &Arc<Self>, describe: impl FnOnce(&mut Drill)) -> Result<DrillRun, ApiError> {
        let mut drills = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = drills.last();
        if let Some(running) = last.filter(|drill| drill.state == DrillState::Running) {
            let what = running.replica.as_ref().or(running.node.as_ref());
            return Err(ApiError::DrillRunning(what.cloned().unwrap_or_default()));
        }
        let mut drill = Drill {
            id: last.map_or(0, |drill| drill.id) + 1,
            replica: None,
            node: None,
            fault: DrillFault::Drain,
            lasts_ms: None,
            state: DrillState::Running,
            started_at: Timestamp::now(),
            evicted_after_ms: None,
            reason: None,
            ready_after_ms: None,
            generation_before: None,
            generation_after: None,
            moved: Vec::new(),
            error: None,
        };
        describe(&mut drill);
        if drills.len() == HISTORY_LEN {
            drills.remove(0);
        }
        drills.push(drill.clone());
        Ok(DrillRun {
            drills: Arc::clone(self),
            drill,
        })
    }
}

/// The drill that runs; over when it is dropped.
pub struct DrillRun {
    drills: Arc<Drills>,
    pub(super) drill: Drill,
}

impl DrillRun {
    /// Its number.
    pub fn id(&self) -> u64 {
        self.drill.id
    }
}

impl Drop for DrillRun {
    fn drop(&mut self) {
        if self.drill.state == DrillState::Running {
            self.drill.state = DrillState::Failed;
        }
        let mut drills = self.drills.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = drills.iter_mut().find(|kept| kept.id == self.drill.id) {
            kept.clone_from(&self.drill);
        }
    }
}

/// Injects the fault and follows the replica until it is ready again.
pub async fn carry_out(
    mut run: DrillRun,
    supervisor: &SupervisorHandle,
    target: &FaultTarget,
    fault: Fault,
) -> Drill {
    let drill = &mut run.drill;
    let name = drill.replica.clone().unwrap_or_default();
    info!(replica:% = name; "drill of {name}: {fault}");
    match try_out(drill, supervisor, target, fault).await {
        Ok(true) => drill.state = DrillState::Recovered,
        Ok(false) => drill.state = DrillState::NotRecovered,
        Err(error) => {
            drill.state = DrillState::Failed;
            drill.error = Some(error);
        }
    }
    // What stays paused is replaced by the balancer.
    let released = tokio::time::timeout(RELEASE_TIMEOUT, target.release()).await;
    if let Ok(Err(error)) = released {
        warn!(replica:% = name; "drill of {name}: {error}");
    }
    drill.clone()
}

/// Whether the replica has recovered; or why the fault could not be injected.
async fn try_out(
    drill: &mut Drill,
    supervisor: &SupervisorHandle,
    target: &FaultTarget,
    fault: Fault,
) -> Result<bool, String> {
    let feed = supervisor.follow_events(None).await;
    let mut events = feed
        .map_err(|_| "the balancer is stopping".to_owned())?
        .coming;
    drill.started_at = Timestamp::now();
    target
        .inject(fault)
        .await
        .map_err(|error| error.to_string())?;
    let over = Instant::now() + fault.duration().unwrap_or_default();
    let (sustained, recovered) = tokio::join!(
        target.sustain(fault),
        follow(drill, &mut events, over, fault)
    );
    sustained.map_err(|error| error.to_string())?;
    Ok(recovered)
}

/// From one moment to another, to the hundredth.
pub(super) fn millis(at: Timestamp, since: Timestamp) -> f64 {
    (at.millis_since(since) * 100.0).round() / 100.0
}

/// Notes when the replica is evicted and ready again; whether it is. `over` is when the fault ends.
async fn follow(
    drill: &mut Drill,
    events: &mut Receiver<ReplicaEvent>,
    over: Instant,
    fault: Fault,
) -> bool {
    let mut is_ready = fault.duration().is_some();
    loop {
        let timeout = match is_ready {
            true => DETECTION_DELAY,
            false => RECOVERY_TIMEOUT,
        };
        let event = match tokio::time::timeout_at(over + timeout, events.recv()).await {
            Ok(Ok(event)) => event,
            Ok(Err(RecvError::Lagged(_))) => continue,
            Ok(Err(RecvError::Closed)) => return false,
            Err(_) => break,
        };
        if event.replica != drill.replica {
            continue;
        }
        let after_ms = millis(event.at, drill.started_at);
        match event.event {
            ReplicaEventKind::Evicted => {
                is_ready = false;
                drill.ready_after_ms = None;
                if drill.evicted_after_ms.is_none() {
                    drill.evicted_after_ms = Some(after_ms);
                    drill.reason = event.reason;
                }
            }
            ReplicaEventKind::Ready => {
                is_ready = true;
                drill.ready_after_ms = Some(after_ms);
                drill.generation_after = event.generation;
                if Instant::now() >= over {
                    break;
                }
            }
            ReplicaEventKind::Left => return false,
            _ => {}
        }
    }
    if is_ready && drill.evicted_after_ms.is_none() {
        drill.generation_after = drill.generation_before;
    }
    is_ready
}
