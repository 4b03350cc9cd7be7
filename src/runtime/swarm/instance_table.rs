//! What is known of this fleet's instances, and what a list of tasks says that is new. Pure.
//!
//! ```text
//!   open_launch --> Launching --launched--> Live --not wanted any more--> Ending
//!                       |                    |                              |
//!                       | stop               | task ended or gone           |
//!                       v                    v                              v
//!                   cancelled              Ended                          Ended
//!
//!   from any:  stopping --> Stopping --no task is wanted any more--> forgotten
//! ```

use std::collections::HashMap;

use tokio::time::Instant;

use super::task::{TaskInfo, TaskState};
use crate::runtime::{Event, Exit, InstanceEvent, InstanceId};

/// How many lists in a row lack the task of an instance before it counts as gone: a manager that has
/// just come back may not have all of them yet.
const MAX_ABSENCES: u32 = 2;

/// How an instance is, as far as this balancer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Launching {
        /// It was stopped meanwhile.
        cancelled: bool,
    },
    Live,
    /// Its task runs, and the Swarm is about to end it.
    Ending,
    /// That has been reported.
    Ended,
    /// It is being stopped from here, so its end is expected.
    Stopping,
}

/// Who removes a replica.
#[derive(Debug, Clone, Copy)]
enum Removal {
    Here(Instant),
    Elsewhere,
}

#[derive(Debug)]
struct KnownInstance {
    life: Life,
    /// The task that plays it, the last one that is known.
    task: Option<String>,
    node: Option<String>,
    container: Option<String>,
    /// Its node has ended its connections: it is the instance that has died, not the node.
    node_answers: bool,
    /// Lists in a row without its task.
    absences: u32,
    exit: Option<Exit>,
    /// It plays no replica.
    is_extra: bool,
    /// It has died, or is killed because it hangs.
    is_kept: bool,
    /// Its replica is being removed; from here since then, or elsewhere.
    removal: Option<Removal>,
    /// Since when another one plays its replica, if that has been done from here.
    retired_at: Option<Instant>,
}

impl KnownInstance {
    fn new(life: Life) -> Self {
        Self {
            life,
            task: None,
            node: None,
            container: None,
            node_answers: false,
            absences: 0,
            exit: None,
            is_extra: false,
            is_kept: false,
            removal: None,
            retired_at: None,
        }
    }
}

/// What a list of tasks says that is new.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Observed {
    pub(super) events: Vec<Event>,
    /// Instances that run and are not known here: the services say what they are.
    pub(super) unknown: Vec<InstanceId>,
}

/// The instances by their ids.
#[derive(Debug, Default)]
pub(super) struct InstanceTable {
    instances: HashMap<InstanceId, KnownInstance>,
}

impl InstanceTable {
    /// Notes that a launch begins; false if one is under way.
    pub(super) fn open_launch(&mut self, id: &InstanceId) -> bool {
        if self.is_launching(id) {
            return false;
        }
        let cancelled = false;
        let launching = KnownInstance::new(Life::Launching { cancelled });
        self.instances.insert(id.clone(), launching);
        true
    }

    /// A launch is over. It was successful if the instance is known to run by now.
    pub(super) fn close_launch(&mut self, id: &InstanceId) {
        if self.is_launching(id) {
            self.instances.remove(id);
        }
    }

    pub(super) fn is_launching(&self, id: &InstanceId) -> bool {
        matches!(self.life(id), Some(Life::Launching { .. }))
    }

    pub(super) fn is_cancelled(&self, id: &InstanceId) -> bool {
        matches!(self.life(id), Some(Life::Launching { cancelled: true }))
    }

    /// An instance runs: it was launched here, or found.
    pub(super) fn runs(&mut self, task: &TaskInfo) {
        let instance = self.instances.entry(task.order.id.clone());
        let instance = instance.or_insert_with(|| KnownInstance::new(Life::Live));
        instance.life = Life::Live;
        instance.is_extra = task.is_extra;
        instance.task = Some(task.id.clone());
        instance.node.clone_from(&task.node);
        instance.container.clone_from(&task.container);
    }

    /// The node of an instance has ended its connections, or does not answer. What was found last holds: a node
    /// that dies may end connections first.
    pub(super) fn note_node_answers(&mut self, id: &InstanceId, answers: bool) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.node_answers = answers;
        }
    }

    /// Whether its node has ended its connections.
    pub(super) fn node_answers(&self, id: &InstanceId) -> bool {
        let instance = self.instances.get(id);
        instance.is_some_and(|instance| instance.node_answers)
    }

    /// The node of an instance that does not answer, if the node does not either, as far as is known.
    pub(super) fn suspect_node(&self, id: &InstanceId) -> Option<&str> {
        let instance = self.instances.get(id)?;
        let is_silent = instance.is_kept && instance.life == Life::Live && !instance.node_answers;
        is_silent.then_some(instance.node.as_deref()?)
    }

    /// The node on which an instance runs or ran.
    pub(super) fn node(&self, id: &InstanceId) -> Option<&str> {
        self.instances.get(id)?.node.as_deref()
    }

    /// The other instances that run on its node.
    pub(super) fn others_on_node(&self, id: &InstanceId) -> Vec<InstanceId> {
        let Some(node) = self.node(id) else {
            return Vec::new();
        };
        let there = self.instances.iter().filter(|(other, instance)| {
            *other != id && instance.life == Life::Live && instance.node.as_deref() == Some(node)
        });
        there.map(|(id, _)| id.clone()).collect()
    }

    /// Its container.
    pub(super) fn container(&self, id: &InstanceId) -> Option<&str> {
        self.instances.get(id)?.container.as_deref()
    }

    /// Its last task.
    pub(super) fn task(&self, id: &InstanceId) -> Option<&str> {
        self.instances.get(id)?.task.as_deref()
    }

    /// How it ended, if it has.
    pub(super) fn exit(&self, id: &InstanceId) -> Option<&Exit> {
        self.instances.get(id)?.exit.as_ref()
    }

    pub(super) fn knows(&self, id: &InstanceId) -> bool {
        self.instances.contains_key(id)
    }

    pub(super) fn is_live(&self, id: &InstanceId) -> bool {
        matches!(self.life(id), Some(Life::Live))
    }

    /// It has died or is given up here: another balancer's it is not.
    pub(super) fn is_given_up(&self, id: &InstanceId) -> bool {
        matches!(self.life(id), Some(Life::Stopping | Life::Ended))
    }

    /// Its end is expected from here on.
    pub(super) fn stopping(&mut self, id: &InstanceId) {
        let instance = self.instances.entry(id.clone());
        let instance = instance.or_insert_with(|| KnownInstance::new(Life::Stopping));
        match &mut instance.life {
            Life::Launching { cancelled } => *cancelled = true,
            life => *life = Life::Stopping,
        }
    }

    /// It has died, or is killed because it hangs.
    pub(super) fn keep(&mut self, id: &InstanceId) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.is_kept = true;
        }
    }

    pub(super) fn is_kept(&self, id: &InstanceId) -> bool {
        self.instances
            .get(id)
            .is_some_and(|instance| instance.is_kept)
    }

    /// Whether its service stays after its end, for its log.
    pub(super) fn stays(&self, id: &InstanceId) -> bool {
        self.instances.get(id).is_some_and(KnownInstance::stays)
    }

    /// Its replica is being removed, from here.
    pub(super) fn begin_removal(&mut self, id: &InstanceId, now: Instant) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.removal.get_or_insert(Removal::Here(now));
        }
    }

    /// Another instance has taken its place, from here.
    pub(super) fn retire(&mut self, id: &InstanceId, now: Instant) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.retired_at = Some(now);
        }
    }

    /// Since when other balancers can know that it is to end, because it is being removed or has been
    /// replaced from here.
    pub(super) fn announced_at(&self, id: &InstanceId) -> Option<Instant> {
        let instance = self.instances.get(id)?;
        match instance.removal {
            Some(Removal::Here(since)) => Some(since),
            Some(Removal::Elsewhere) => None,
            None => instance.retired_at,
        }
    }

    /// Another balancer removes its replica; false if that is known, or done from here.
    pub(super) fn is_removed_elsewhere(&mut self, id: &InstanceId) -> bool {
        match self.instances.get_mut(id) {
            Some(instance) if instance.removal.is_none() && instance.life != Life::Stopping => {
                instance.removal = Some(Removal::Elsewhere);
                instance.life = Life::Stopping;
                true
            }
            _ => false,
        }
    }

    /// Takes a list of tasks in.
    pub(super) fn observe(&mut self, tasks: &[TaskInfo]) -> Observed {
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

    /// Forgets the instances of a replica before this one.
    pub(super) fn forget_older(&mut self, id: &InstanceId) {
        self.instances.retain(|other, instance| {
            let is_older = other.replica == id.replica && other.generation < id.generation;
            !is_older || matches!(instance.life, Life::Live | Life::Launching { .. })
        });
    }

    fn life(&self, id: &InstanceId) -> Option<&Life> {
        Some(&self.instances.get(id)?.life)
    }
}

impl KnownInstance {
    /// Of a replica the last one that has died stays.
    fn stays(&self) -> bool {
        self.is_kept && !self.is_extra
    }

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
    use serde_json::json;

    use super::super::task::{read, tests::task};
    use super::*;

    fn id(generation: u64) -> InstanceId {
        InstanceId::new("S1".parse().unwrap(), generation)
    }

    fn info(generation: u64, state: &str, desired: &str) -> TaskInfo {
        let mut task = task("S1", generation, state);
        task["DesiredState"] = json!(desired);
        task["Status"]["ContainerStatus"] = json!({"ContainerID": "c", "ExitCode": 137});
        read(&task, "zoo").unwrap()
    }

    fn running_one() -> InstanceTable {
        let mut table = InstanceTable::default();
        assert!(table.open_launch(&id(1)));
        assert!(!table.open_launch(&id(1)));
        table.runs(&info(1, "running", "running"));
        table.close_launch(&id(1));
        assert!(table.is_live(&id(1)));
        table
    }

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
    fn the_node_that_has_ended_the_connections_of_an_instance_is_not_suspect() {
        let mut table = running_one();
        let node = table.node(&id(1)).map(str::to_owned);
        assert!(node.is_some());
        // It is stopped on request.
        assert_eq!(table.suspect_node(&id(1)), None);
        table.keep(&id(1));
        assert_eq!(table.suspect_node(&id(1)), node.as_deref());
        table.note_node_answers(&id(1), true);
        assert_eq!(table.suspect_node(&id(1)), None);
        // Its kernel had ended them before it died.
        table.note_node_answers(&id(1), false);
        assert_eq!(table.suspect_node(&id(1)), node.as_deref());
    }

    #[test]
    fn others_on_a_node_are_those_that_run_on_the_node() {
        let mut table = running_one();
        assert_eq!(table.others_on_node(&id(1)), []);
        table.runs(&info(2, "running", "running"));
        assert_eq!(table.others_on_node(&id(1)), [id(2)]);
        assert_eq!(table.others_on_node(&id(3)), []);
        table.stopping(&id(2));
        assert_eq!(table.others_on_node(&id(1)), []);
    }

    #[test]
    fn a_launch_that_is_stopped_is_cancelled() {
        let mut table = InstanceTable::default();
        table.open_launch(&id(1));
        assert!(!table.is_cancelled(&id(1)));
        table.stopping(&id(1));
        assert!(table.is_cancelled(&id(1)));
        table.close_launch(&id(1));
        assert!(!table.knows(&id(1)));
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
        own.begin_removal(&id(1), Instant::now());
        assert!(!own.is_removed_elsewhere(&id(1)));
    }
}
