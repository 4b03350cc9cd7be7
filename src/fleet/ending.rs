//! An instance whose end is announced while it still runs: its node is drained, or its owner ends it. It
//! gets no more requests and finishes those that it has, and its successor starts at once.

use super::Fleet;
use super::event::{ImmediateStep, Steps};
use super::lifecycle::Phase;

impl Fleet {
    /// An instance that runs is about to be ended from outside.
    pub(super) fn ending(&mut self, index: usize, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        let (Phase::Ready { endpoint, .. } | Phase::Unready { endpoint, .. }) = replica.phase
        else {
            // Its end is reported, too.
            return;
        };
        if self.shutting_down || !replica.is_desired() {
            return;
        }
        let id = replica.id();
        let waits = replica.drain_waits;
        replica.leftover_generations.clear();
        let message = "is about to be ended from outside: it gets no requests, and is replaced";
        steps.warn(
            &id.replica,
            format!("generation {} {message}", id.generation),
        );
        steps.push(ImmediateStep::MarkDrained(id.clone(), endpoint));
        steps.push(ImmediateStep::Unwatch(id.clone()));
        self.retire(id, waits, steps);
        self.launch(index, steps);
    }
}
