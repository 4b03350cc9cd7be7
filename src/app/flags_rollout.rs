//! Flags that define replicas in another way than those that run: has their rollout begin.

use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use tokio::time::sleep;

use crate::actors::supervisor::SupervisorHandle;
use crate::fleet::{PendingRollout, RecordChange, RolloutError};
use crate::human::duration;
use crate::runtime::record::RecordKeeper;

/// The pause before a rollout is tried again that another one is in the way of.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);

/// The same if it cannot be carried out: a registry may be down for a while. It doubles each time.
const MIN_RETRY_INTERVAL: Duration = Duration::from_secs(5);
const MAX_RETRY_INTERVAL: Duration = Duration::from_mins(5);

/// A rollout that the flags of a start ask for.
pub(super) struct FlagsRollout {
    pending: PendingRollout,
    /// The number that it will have, unless another one begins before.
    id: u64,
    record: Rc<RecordKeeper>,
    supervisor: SupervisorHandle,
}

impl FlagsRollout {
    /// The one that the flags of this start ask for, if they do.
    pub(super) fn pending(
        record: &Rc<RecordKeeper>,
        supervisor: &SupervisorHandle,
    ) -> Option<Self> {
        Some(Self {
            pending: record.pending_rollout()?.clone(),
            id: record.record().next_rollout(),
            record: Rc::clone(record),
            supervisor: supervisor.clone(),
        })
    }

    /// Over when it has begun, or is not needed any more.
    pub(super) async fn run(self) {
        let mut retry_interval = MIN_RETRY_INTERVAL;
        let mut warned = None;
        loop {
            let wanted = self.record.wanted();
            if wanted.next_rollout() != self.id {
                warn!(
                    "the definition that the flags say is not rolled out: rollout {} has begun since",
                    self.id
                );
                return self.take_up().await;
            }
            let changes = wanted.definition.differences(&self.pending.to);
            let begun = (self.supervisor).roll_out(self.pending.to.clone(), Some(self.noted()));
            let error = match begun.await {
                Ok(Ok(rollout)) => {
                    let (id, changes) = (rollout.id, changes.join("; "));
                    info!(rollout = id; "rollout {id} has begun because the flags have changed: {changes}");
                    return;
                }
                Ok(Err(RolloutError::Unchanged)) => return self.take_up().await,
                // The balancer ends.
                Ok(Err(RolloutError::ShuttingDown)) | Err(_) => return,
                Ok(Err(error)) => error,
            };
            let pause = match error {
                RolloutError::UnderWay(_) | RolloutError::Moving(_) => WAIT_INTERVAL,
                _ => retry_interval,
            };
            // Once, until it is another one.
            if warned.as_ref() != Some(&error) {
                warn!(
                    "the definition that the flags say is not rolled out yet: {error}; what runs serves \
                     on, and it is tried again in {}",
                    duration(pause)
                );
            }
            if pause == retry_interval {
                retry_interval = (retry_interval * 2).min(MAX_RETRY_INTERVAL);
            }
            warned = Some(error);
            sleep(pause).await;
        }
    }

    /// What the record notes, so that these flags are not tried again.
    fn noted(&self) -> RecordChange {
        RecordChange::Flags(Box::new(self.pending.flags.clone()))
    }

    async fn take_up(&self) {
        self.record.note(vec![self.noted()]);
        if let Err(error) = self.record.flush().await {
            // It stays queued for the next change.
            warn!("the flags are not noted in the fleet record yet: {error}");
        }
    }
}
