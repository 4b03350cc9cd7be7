//! How an instance ended, and the end of its log, on whatever node that is.

use std::rc::Rc;

use log::debug;

use super::SwarmFleet;
use crate::runtime::{ExitReport, InstanceId, MAX_OUTPUT_LINES};

/// The length to which lines are cut, in characters.
const MAX_LINE_LEN: usize = 500;

impl SwarmFleet {
    /// The report on an instance; what the managers do not answer is left out.
    pub(super) async fn exit_report(self: Rc<Self>, id: InstanceId) -> ExitReport {
        let (exit, task) = {
            let instances = self.instances.borrow();
            let task = instances.task(&id).map(str::to_owned);
            (instances.exit(&id).cloned(), task)
        };
        // One that hangs may be on a node that is lost: its log is not there, and the wait long.
        let lines = match task.filter(|_| exit.is_some()) {
            Some(task) => self.output_of(&task).await,
            None => Vec::new(),
        };
        ExitReport { exit, lines }
    }

    /// The last lines that a task has printed.
    pub(super) async fn output_of(&self, task: &str) -> Vec<String> {
        match self.api.task_output(task, MAX_OUTPUT_LINES).await {
            Ok(text) => {
                let lines: Vec<String> = text.lines().map(readable).collect();
                lines[lines.len().saturating_sub(MAX_OUTPUT_LINES)..].to_vec()
            }
            Err(error) => {
                debug!("swarm: cannot read the log of task {task}: {error}");
                Vec::new()
            }
        }
    }
}

/// A line cut to size, without control characters.
fn readable(line: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let line = line.trim_end().chars().take(MAX_LINE_LEN);
    line.map(clean).collect()
}
