//! Instances that played a replica until another one took their place: they finish their requests, and
//! are stopped.

use std::time::Duration;

use crate::fleet::event::{DeferredStep, Steps};
use crate::fleet::{Fleet, InstanceEvent, InstanceId};

/// An instance that played a replica and finishes its requests.
#[derive(Debug)]
pub(in crate::fleet) struct Retiring {
    pub(super) id: InstanceId,
    /// How many ends of its drain it awaits.
    pub(super) drain_waits: u32,
}

impl Fleet {
    /// Has an instance that plays its replica no more finish its requests, and stops it then.
    pub(in crate::fleet) fn retire(&mut self, id: InstanceId, drain_waits: u32, steps: &mut Steps) {
        steps.push(DeferredStep::Drain(id.clone()));
        self.retiring.push(Retiring {
            id,
            drain_waits: drain_waits + 1,
        });
    }

    /// Takes in a report about an instance that retires.
    pub(super) fn apply_to_retiring(
        &mut self,
        place: usize,
        event: &InstanceEvent,
        steps: &mut Steps,
    ) {
        let retiring = &mut self.retiring[place];
        let grace = match event {
            InstanceEvent::Drained if retiring.drain_waits > 1 => {
                // One that began later has a later deadline.
                retiring.drain_waits -= 1;
                return;
            }
            InstanceEvent::Drained => self.policy.stop_grace,
            InstanceEvent::Exited(_) => Duration::ZERO,
            _ => return,
        };
        let id = self.retiring.remove(place).id;
        self.stop_instance(id, grace, steps);
    }
}
