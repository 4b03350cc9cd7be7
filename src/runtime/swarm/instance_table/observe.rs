//! What a list of tasks says that is new. Pure.

use std::collections::HashMap;

use super::{InstanceTable, KnownInstance, Life};
use crate::runtime::swarm::task::{TaskInfo, TaskState};
use crate::runtime::{Event, InstanceEvent, InstanceId};

/// How many lists in a row lack the task of an instance before it counts as gone: a manager that has
/// just come back may not have all of them yet.
const MAX_ABSENCES: u32 = 2;

/// What a list of tasks says that is new.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::runtime::swarm) struct Observed {
    pub(in crate::runtime::swarm) events: Vec<Event>,
    /// Instances that run and are not known here: the services say what they are.
    pub(in crate::runtime::swarm) unknown: Vec<InstanceId>,
}

impl InstanceTable {
    /// Takes a list of tasks in.
    pub(in crate::runtime::swarm) fn observe(&mut self, tasks: &[TaskInfo]) -> Observed {
        let mut observed = Observed::default();
        let mut newest: HashMap<&InstanceId, &TaskInfo> = HashMap::new();
        for task in tasks {
            let best = newest.entry(&task.order.id).or_insert(task);
            // A service has one task that is wanted; others are its history.
            if task.is_wanted && !best.is_wanted {
                *best = task;
            }
        }
        for (id, instance) in &mut self.instances {
            match newest.get(id) {
                Some(task) => {
                    instance.absences = 0;
                    instance.see(task, &mut observed.events);
                }
                None => instance.miss(id, &mut observed.events),
            }
        }
        let is_over = |id: &InstanceId, instance: &KnownInstance| {
            let wanted = newest
                .get(id)
                .is_some_and(|task| task.is_wanted && !task.has_ended());
            instance.life == Life::Stopping && !wanted && !instance.stays()
        };
        self.instances.retain(|id, instance| !is_over(id, instance));
        let unknown = newest.values().filter(|task| {
            task.is_live()
                && !task.is_extra
                && task.endpoint.is_some()
                && !self.instances.contains_key(&task.order.id)
        });
        observed.unknown = unknown.map(|task| task.order.id.clone()).collect();
        observed.unknown.sort();
        observed.events.sort_by_key(|event| match event {
            Event::Instance(id, _) => Some(id.clone()),
            _ => None,
        });
        observed
    }
}

impl KnownInstance {
    fn see(&mut self, task: &TaskInfo, events: &mut Vec<Event>) {
        self.task = Some(task.id.clone());
        if task.node.is_some() {
            self.node.clone_from(&task.node);
        }
        let id = || task.order.id.clone();
        if let TaskState::Ended(exit) = &task.state {
            self.exit = Some(exit.clone());
            if matches!(self.life, Life::Live | Life::Ending) {
                self.life = Life::Ended;
                events.push(Event::Instance(id(), InstanceEvent::Exited(exit.clone())));
            }
        } else if !task.is_wanted && self.life == Life::Live {
            self.life = Life::Ending;
            events.push(Event::Instance(id(), InstanceEvent::Ending));
        }
    }

    fn miss(&mut self, id: &InstanceId, events: &mut Vec<Event>) {
        self.absences += 1;
        if self.absences >= MAX_ABSENCES && matches!(self.life, Life::Live | Life::Ending) {
            self.life = Life::Ended;
            let exited = InstanceEvent::Exited(self.exit.clone().unwrap_or_default());
            events.push(Event::Instance(id.clone(), exited));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::Leaving;
    use super::super::tests::{id, info, running_one};
    use super::*;
    use crate::runtime::Exit;

    fn event(event: InstanceEvent) -> Vec<Event> {
        vec![Event::Instance(id(1), event)]
    }

    #[test]
    fn a_death_is_reported_once() {
        let mut table = running_one();
        assert_eq!(
            table.observe(&[info(1, "running", "running")]),
            Observed::default()
        );
        let dead = [info(1, "failed", "shutdown")];
        let exited = InstanceEvent::Exited(Exit::signal(9));
        assert_eq!(table.observe(&dead).events, event(exited));
        assert_eq!(table.observe(&dead), Observed::default());
        assert!(table.is_given_up(&id(1)));
        assert_eq!(table.exit(&id(1)), Some(&Exit::signal(9)));
    }

    #[test]
    fn an_end_that_the_swarm_announces_is_reported_before_it_comes() {
        let mut table = running_one();
        let ending = [info(1, "running", "shutdown")];
        assert_eq!(table.observe(&ending).events, event(InstanceEvent::Ending));
        assert_eq!(table.observe(&ending).events, []);
        let exited = event(InstanceEvent::Exited(Exit::signal(9)));
        assert_eq!(
            table.observe(&[info(1, "shutdown", "shutdown")]).events,
            exited
        );
    }

    #[test]
    fn a_task_that_two_lists_lack_is_gone() {
        let mut table = running_one();
        assert_eq!(table.observe(&[]).events, []);
        assert_eq!(table.observe(&[info(1, "running", "running")]).events, []);
        assert_eq!(table.observe(&[]).events, []);
        let gone = event(InstanceEvent::Exited(Exit::default()));
        assert_eq!(table.observe(&[]).events, gone);
    }

    #[test]
    fn what_runs_and_is_not_known_is_told() {
        let mut table = running_one();
        let tasks = [
            info(1, "running", "running"),
            info(2, "running", "running"),
            info(3, "running", "shutdown"),
            info(4, "starting", "running"),
        ];
        assert_eq!(table.observe(&tasks).unknown, [id(2)]);
    }

    #[test]
    fn an_end_from_here_is_no_death() {
        let mut table = running_one();
        table.stopping(&id(1));
        assert!(table.is_given_up(&id(1)));
        assert_eq!(
            table.observe(&[info(1, "running", "running")]),
            Observed::default()
        );
        assert!(table.knows(&id(1)));
        assert_eq!(
            table.observe(&[info(1, "shutdown", "shutdown")]),
            Observed::default()
        );
        assert!(!table.knows(&id(1)));
    }

    #[test]
    fn what_plays_no_replica_is_neither_adopted_nor_kept_for_its_log() {
        let mut table = running_one();
        let extra = TaskInfo {
            is_extra: true,
            ..info(2, "running", "running")
        };
        let tasks = [info(1, "running", "running"), extra];
        assert_eq!(table.observe(&tasks), Observed::default());
        table.runs(&tasks[1]);
        for number in [1, 2] {
            table.keep(&id(number));
            table.stopping(&id(number));
        }
        assert!(table.stays(&id(1)) && !table.stays(&id(2)));
        table.observe(&[]);
        assert!(table.knows(&id(1)) && !table.knows(&id(2)));
    }

    #[test]
    fn a_removal_by_another_balancer_is_told_once_and_its_end_expected() {
        let mut table = running_one();
        assert!(table.is_removed_elsewhere(&id(1)));
        assert!(!table.is_removed_elsewhere(&id(1)));
        assert_eq!(
            table.observe(&[info(1, "running", "remove")]),
            Observed::default()
        );
        assert!(!table.is_removed_elsewhere(&id(2)));
        let mut own = running_one();
        own.leaves(&id(1), Leaving::Removed(Instant::now()));
        assert!(!own.is_removed_elsewhere(&id(1)));
    }
}
