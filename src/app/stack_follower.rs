//! Has the fleet follow the service of a stack file that its replicas are made from: another definition
//! is rolled out, another number of replicas is reached, and the end of the service is the fleet's.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use tokio::time::sleep;

use crate::actors::supervisor::SupervisorHandle;
use crate::app::stack::{StackFlags, settings_of};
use crate::fleet::{Change, RecordChange, RolloutError, StackSeen, newest, next_names};
use crate::runtime::Runtime;
use crate::runtime::record::RecordKeeper;
use crate::runtime::swarm::StackTemplate;

/// The pause before something is tried again that had to wait.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The pause before the end of the service is believed.
const CONFIRM_PAUSE: Duration = Duration::from_millis(300);

/// Follows the service of a stack file.
pub(super) struct StackFollower {
    pub(super) flags: StackFlags,
    pub(super) record: Rc<RecordKeeper>,
    pub(super) supervisor: SupervisorHandle,
    pub(super) runtime: Rc<dyn Runtime>,
    /// What has been warned of last: once is enough.
    warned: RefCell<Option<String>>,
}

impl StackFollower {
    pub(super) fn new(
        flags: StackFlags,
        record: Rc<RecordKeeper>,
        supervisor: SupervisorHandle,
        runtime: Rc<dyn Runtime>,
    ) -> Self {
        Self {
            flags,
            record,
            supervisor,
            runtime,
            warned: RefCell::default(),
        }
    }

    /// Over when the service has been removed.
    pub(super) async fn run(self) {
        tokio::select! {
            () = self.flags.service.follow() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&self) {
        loop {
            let taken_up = match self.flags.service.read().await {
                Ok(Some(found)) => self.take_up(&found).await,
                Ok(None) => {
                    sleep(CONFIRM_PAUSE).await;
                    if matches!(self.flags.service.read().await, Ok(None)) {
                        return;
                    }
                    continue;
                }
                Err(error) => Err(error.to_string()),
            };
            match taken_up {
                Ok(()) => {
                    self.warned.take();
                    self.flags.service.changed().await;
                }
                Err(reason) => {
                    if self.warned.borrow().as_ref() != Some(&reason) {
                        warn!("stack: what it says is not taken up yet: {reason}");
                    }
                    self.warned.replace(Some(reason));
                    sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    /// Begins what has changed about the service since it was taken up last.
    async fn take_up(&self, found: &StackTemplate) -> Result<(), String> {
        let wanted = settings_of(&self.flags, found).map_err(|error| error.to_string())?;
        let flags = wanted.fleet_flags();
        let said = StackSeen {
            definition: flags.definition.hash(),
            replicas: flags.replicas.len(),
        };
        let record = self.record.record();
        let before = record.stack.as_ref();
        if before == Some(&said) || !self.runtime.leads().await {
            return Ok(());
        }
        let name = &found.service;
        let is_rolled = before.is_some_and(|before| before.definition == said.definition);
        if !is_rolled && record.definition != flags.definition {
            let definition = flags.definition.clone();
            match self.supervisor.roll_out(definition, None).await {
                Ok(Ok(rollout)) => {
                    info!(
                        "stack: service {name} has changed: rollout {} begins",
                        rollout.id
                    );
                }
                Ok(Err(RolloutError::Unchanged)) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                // The balancer ends.
                Err(_) => return Ok(()),
            }
        }
        let is_scaled = before.is_some_and(|before| before.replicas != said.replicas);
        let replicas = said.replicas;
        self.record.note(vec![RecordChange::Stack(said)]);
        let written = self.record.flush().await;
        if is_scaled {
            info!("stack: service {name} asks for {replicas} replicas");
            // A replica may take its time, and other changes need not wait for it.
            actix::spawn(scale(self.supervisor.clone(), replicas));
        }
        written.map_err(|error| error.to_string())
    }
}

/// Adds or removes the newest replicas.
async fn scale(supervisor: SupervisorHandle, wanted: usize) {
    let Ok(desired) = supervisor.list().await else {
        return;
    };
    let change = match wanted.checked_sub(desired.len()) {
        Some(0) => return,
        Some(n) => Change::Add {
            n,
            hostnames: next_names(&desired, n),
            weights: Default::default(),
        },
        None => {
            let n = desired.len() - wanted;
            let hostnames = newest(&desired, n);
            Change::Remove { n, hostnames }
        }
    };
    if let Ok(Err(error)) = supervisor.change(change).await {
        warn!("stack: not scaled to {wanted} replicas: {error}");
    }
}
