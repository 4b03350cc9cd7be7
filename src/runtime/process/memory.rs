//! What is remembered of children: their last lines, and how they ended.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::fleet::{Exit, InstanceId};
use crate::runtime::{ExitReport, MAX_OUTPUT_LINES};

/// So many children that have ended are remembered.
const ENDED: usize = 32;
/// What a line is cut to.
const LONGEST_LINE: usize = 500;
/// A child's output ends with it, unless something that it has started holds on to it.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is remembered of one child.
#[derive(Debug, Default)]
pub struct Memory {
    lines: RefCell<VecDeque<String>>,
    exit: RefCell<Option<Exit>>,
    ended: Cell<bool>,
    pipes: Cell<u32>,
    pipe_closed: Notify,
}

impl Memory {
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
        lines.push_back(line.chars().take(LONGEST_LINE).collect());
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
        // Late or not, what there is is told.
        let _ = tokio::time::timeout(PATIENCE, read).await;
        ExitReport {
            exit: self.exit.borrow().clone(),
            lines: self.lines.borrow().iter().cloned().collect(),
        }
    }
}

/// The memories of all children that run, and of those that ended lately.
#[derive(Debug, Default)]
pub struct Memories(RefCell<VecDeque<(InstanceId, Rc<Memory>)>>);

impl Memories {
    /// A new child's.
    pub fn begin(&self, id: &InstanceId) -> Rc<Memory> {
        let memory = Rc::<Memory>::default();
        let mut all = self.0.borrow_mut();
        let ended = all.iter().filter(|(_, memory)| memory.ended.get()).count();
        if ended >= ENDED
            && let Some(oldest) = all.iter().position(|(_, memory)| memory.ended.get())
        {
            all.remove(oldest);
        }
        all.push_back((id.clone(), Rc::clone(&memory)));
        memory
    }

    /// What is known of a child's end.
    pub fn exit_report(&self, id: &InstanceId) -> impl Future<Output = ExitReport> + 'static {
        let all = self.0.borrow();
        let found = all.iter().rev().find(|(other, _)| other == id);
        let memory = found.map(|(_, memory)| Rc::clone(memory));
        async move {
            match memory {
                Some(memory) => memory.exit_report().await,
                None => ExitReport::default(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(generation: u64) -> InstanceId {
        InstanceId {
            replica: "Server1".parse().unwrap(),
            generation,
        }
    }

    #[actix_web::test]
    async fn the_last_lines_are_kept_also_those_that_are_read_after_the_end() {
        let memories = Memories::default();
        let memory = memories.begin(&id(1));
        memory.pipe_opened();
        for number in 0..MAX_OUTPUT_LINES {
            memory.line(&format!("line {number}"));
        }
        let exit = Exit {
            code: Some(3),
            ..Exit::default()
        };
        memory.ended(Some(exit.clone()));
        let asked = actix::spawn(memories.exit_report(&id(1)));
        memory.line("the last");
        memory.pipe_closed();
        let words = asked.await.unwrap();
        assert_eq!(words.exit, Some(exit));
        assert_eq!(words.lines.len(), MAX_OUTPUT_LINES);
        assert_eq!(words.lines[0], "line 1");
        assert_eq!(words.lines.last().unwrap(), "the last");
    }

    #[actix_web::test]
    async fn old_memories_fade_and_those_of_the_living_stay() {
        let memories = Memories::default();
        memories.begin(&id(0)).line("alive");
        for generation in 1..=2 * ENDED as u64 {
            let memory = memories.begin(&id(generation));
            memory.line("dead");
            memory.ended(None);
        }
        assert!(memories.0.borrow().len() <= ENDED + 1);
        assert_eq!(memories.exit_report(&id(0)).await.lines, ["alive"]);
        assert_eq!(memories.exit_report(&id(1)).await, ExitReport::default());
    }
}
