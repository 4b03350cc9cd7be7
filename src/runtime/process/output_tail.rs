//! What is kept of children: their last lines, and how they ended.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::fleet::{Exit, InstanceId};
use crate::runtime::{ExitReport, MAX_OUTPUT_LINES};

/// How many children that have ended are kept.
const MAX_ENDED: usize = 32;
/// Characters that are kept of a line.
const MAX_LINE: usize = 500;
/// How long the output of a child that has ended may go on: a process that it has started may
/// hold its pipes open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// What is kept of one child.
#[derive(Debug, Default)]
pub struct ChildRecord {
    lines: RefCell<VecDeque<String>>,
    exit: RefCell<Option<Exit>>,
    ended: Cell<bool>,
    pipes: Cell<u32>,
    pipe_closed: Notify,
}

impl ChildRecord {
    /// One more pipe is read from.
    pub fn pipe_opened(&self) {
        self.pipes.set(self.pipes.get() + 1);
    }

    /// A pipe has come to its end.
    pub fn pipe_closed(&self) {
        self.pipes.set(self.pipes.get().saturating_sub(1));
        self.pipe_closed.notify_waiters();
    }

    /// The child has printed a line.
    pub fn line(&self, line: &str) {
        let mut lines = self.lines.borrow_mut();
        if lines.len() == MAX_OUTPUT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(MAX_LINE).collect());
    }

    /// The child is gone; `exit` says how if it went by itself.
    pub fn ended(&self, exit: Option<Exit>) {
        self.ended.set(true);
        if exit.is_some() {
            *self.exit.borrow_mut() = exit;
        }
    }

    /// All of it; of a child that has ended once its output has been read to the end.
    pub async fn exit_report(&self) -> ExitReport {
        let read = async {
            loop {
                let closed = self.pipe_closed.notified();
                if !self.ended.get() || self.pipes.get() == 0 {
                    return;
                }
                closed.await;
            }
        };
        // Complete or not, what there is is returned.
        let _ = tokio::time::timeout(OUTPUT_TIMEOUT, read).await;
        ExitReport {
            exit: self.exit.borrow().clone(),
            lines: self.lines.borrow().iter().cloned().collect(),
        }
    }
}

/// The records of all children that run, and of those that ended lately.
#[derive(Debug, Default)]
pub struct ChildRecords(RefCell<VecDeque<(InstanceId, Rc<ChildRecord>)>>);

impl ChildRecords {
    /// A new child's.
    pub fn begin(&self, id: &InstanceId) -> Rc<ChildRecord> {
        let record = Rc::<ChildRecord>::default();
        let mut all = self.0.borrow_mut();
        let ended = all.iter().filter(|(_, record)| record.ended.get()).count();
        if ended >= MAX_ENDED
            && let Some(oldest) = all.iter().position(|(_, record)| record.ended.get())
        {
            all.remove(oldest);
        }
        all.push_back((id.clone(), Rc::clone(&record)));
        record
    }

    /// The child is another instance from now on.
    pub fn rename(&self, from: &InstanceId, to: &InstanceId) {
        let mut all = self.0.borrow_mut();
        if let Some((id, _)) = all.iter_mut().rev().find(|(id, _)| id == from) {
            id.clone_from(to);
        }
    }

    /// What is known of a child's end.
    pub fn exit_report(&self, id: &InstanceId) -> impl Future<Output = ExitReport> + 'static {
        let all = self.0.borrow();
        let found = all.iter().rev().find(|(other, _)| other == id);
        let record = found.map(|(_, record)| Rc::clone(record));
        async move {
            match record {
                Some(record) => record.exit_report().await,
                None => ExitReport::default(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(generation: u64) -> InstanceId {
        InstanceId::new("Server1".parse().unwrap(), generation)
    }

    #[actix_web::test]
    async fn the_last_lines_are_kept_also_those_that_are_read_after_the_end() {
        let records = ChildRecords::default();
        let record = records.begin(&id(1));
        record.pipe_opened();
        for number in 0..MAX_OUTPUT_LINES {
            record.line(&format!("line {number}"));
        }
        let exit = Exit::code(3);
        record.ended(Some(exit.clone()));
        let asked = actix::spawn(records.exit_report(&id(1)));
        record.line("the last");
        record.pipe_closed();
        let words = asked.await.unwrap();
        assert_eq!(words.exit, Some(exit));
        assert_eq!(words.lines.len(), MAX_OUTPUT_LINES);
        assert_eq!(words.lines[0], "line 1");
        assert_eq!(words.lines.last().unwrap(), "the last");
    }

    #[actix_web::test]
    async fn records_of_ended_children_are_bounded_and_those_of_running_ones_stay() {
        let records = ChildRecords::default();
        records.begin(&id(0)).line("alive");
        for generation in 1..=2 * MAX_ENDED as u64 {
            let record = records.begin(&id(generation));
            record.line("dead");
            record.ended(None);
        }
        assert!(records.0.borrow().len() <= MAX_ENDED + 1);
        assert_eq!(records.exit_report(&id(0)).await.lines, ["alive"]);
        assert_eq!(records.exit_report(&id(1)).await, ExitReport::default());
    }
}
