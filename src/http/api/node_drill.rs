//! A drill of a node: it is drained, until the replicas that ran there are ready elsewhere.

use log::info;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::drill_run::{DrillRun, RECOVERY_TIMEOUT, millis};
use super::error::ApiError;
use crate::actors::supervisor::SupervisorHandle;
use crate::api::{Drill, DrillState, MovedReplica, ReplicaEvent, ReplicaEventKind, Timestamp};

/// A node that is drained. It takes instances again when this is dropped, if not before.
struct DrainedNode<'a>(&'a SupervisorHandle);

impl Drop for DrainedNode<'_> {
    fn drop(&mut self) {
        self.0.begin_restoring_node();
    }
}

/// Drains the node, follows its replicas, and has it take instances again.
pub async fn carry_out(
    mut run: DrillRun,
    supervisor: &SupervisorHandle,
    node: &str,
    replicas: Vec<String>,
) -> Result<Drill, ApiError> {
    let drill = &mut run.drill;
    info!(
        "drill: node {node} is drained, with {}",
        replicas.join(", ")
    );
    let mut events = supervisor.follow_events(None).await?.coming;
    let moved = replicas.into_iter().map(|replica| MovedReplica {
        replica,
        left_after_ms: None,
        ready_after_ms: None,
        generation_after: None,
    });
    drill.moved = moved.collect();
    drill.started_at = Timestamp::now();
    let drained = DrainedNode(supervisor);
    if let Err(error) = supervisor.drain_node(node.to_owned()).await? {
        drill.state = DrillState::Failed;
        drill.error = Some(error.to_string());
        return Err(error.into());
    }
    let has_recovered = follow(drill, &mut events).await;
    let restored = supervisor.restore_node().await?;
    drop(drained);
    drill.state = match has_recovered {
        true => DrillState::Recovered,
        false => DrillState::NotRecovered,
    };
    if let Err(error) = restored {
        drill.state = DrillState::Failed;
        drill.error = Some(format!("node {node} is still drained: {error}"));
    }
    Ok(drill.clone())
}

/// Notes when each replica leaves and is ready again; whether all are.
async fn follow(drill: &mut Drill, events: &mut Receiver<ReplicaEvent>) -> bool {
    let deadline = Instant::now() + RECOVERY_TIMEOUT;
    while !drill.moved.iter().all(|one| one.ready_after_ms.is_some()) {
        let event = match timeout_at(deadline, events.recv()).await {
            Ok(Ok(event)) => event,
            Ok(Err(RecvError::Lagged(_))) => continue,
            Ok(Err(RecvError::Closed)) | Err(_) => return false,
        };
        note(drill, &event);
    }
    let last = drill.moved.iter().filter_map(|one| one.ready_after_ms);
    drill.ready_after_ms = last.reduce(f64::max);
    true
}

/// What an event says of the replicas that are moved.
fn note(drill: &mut Drill, event: &ReplicaEvent) {
    let after_ms = millis(event.at, drill.started_at);
    let mut moved = drill.moved.iter_mut();
    let Some(one) = moved.find(|one| event.replica.as_ref() == Some(&one.replica)) else {
        return;
    };
    match event.event {
        // The one before gets no more requests when its successor is begun.
        ReplicaEventKind::Evicted | ReplicaEventKind::Starting => {
            one.left_after_ms.get_or_insert(after_ms);
        }
        ReplicaEventKind::Ready if one.left_after_ms.is_some() => {
            one.ready_after_ms = Some(after_ms);
            one.generation_after = event.generation;
        }
        // It has been removed.
        ReplicaEventKind::Left => {
            let replica = one.replica.clone();
            drill.moved.retain(|one| one.replica != replica);
        }
        _ => {}
    }
}
