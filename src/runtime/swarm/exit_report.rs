//! How an instance ended, and the end of its log, on whatever node that is.

use std::rc::Rc;
use std::time::Duration;

use log::debug;
use tokio::time::{Instant, sleep};

use super::SwarmFleet;
use super::task::exit_of;
use crate::runtime::{Exit, ExitReport, InstanceId, MAX_OUTPUT_LINES, last_lines};

/// How long the end of a task takes to reach the managers, at most: the kernel of its node closes its
/// connections some 0.2 s earlier.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

impl SwarmFleet {
    /// The report on an instance; what the managers do not answer is left out.
    pub(super) fn exit_report(
        self: Rc<Self>,
        id: &InstanceId,
    ) -> impl Future<Output = ExitReport> + use<> {
        // Now: once its successor has started, the table has forgotten it.
        let (task, is_expected) = {
            let instances = self.instances.borrow();
            let is_expected = instances.exit(id).is_some() || instances.node_answers(id);
            (instances.task(id).map(str::to_owned), is_expected)
        };
        async move {
            // One that hangs may be on a node that is lost: its log is not there, and the wait long.
            let Some(task) = task.filter(|_| is_expected) else {
                return ExitReport::default();
            };
            let exit = self.await_exit(&task).await;
            let lines = match exit {
                Some(_) => self.output_of(&task).await,
                None => Vec::new(),
            };
            ExitReport { exit, lines }
        }
    }

    /// How a task has ended, once the managers know.
    pub(super) async fn await_exit(&self, task: &str) -> Option<Exit> {
        let deadline = Instant::now() + EXIT_TIMEOUT;
        loop {
            let found = self.api.get(&format!("/tasks/{task}")).await;
            if let Some(exit) = found.ok().and_then(|task| exit_of(&task)) {
                return Some(exit);
            }
            if Instant::now() > deadline {
                return None;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The last lines that a task has printed.
    pub(super) async fn output_of(&self, task: &str) -> Vec<String> {
        match self.api.task_output(task, MAX_OUTPUT_LINES).await {
            Ok(text) => last_lines(&text),
            Err(error) => {
                debug!("swarm: cannot read the log of task {task}: {error}");
                Vec::new()
            }
        }
    }
}
