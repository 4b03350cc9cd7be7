//! What is known of this fleet's instances. What a list of tasks adds to that is in [`observe`]. Pure.
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

mod observe;

use std::collections::HashMap;

use tokio::time::Instant;

use super::task::TaskInfo;
use crate::runtime::{Exit, InstanceId};

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

/// Why an instance is to end, and since when other balancers can know that.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leaving {
    /// Another one plays its replica; from here.
    Replaced(Instant),
    /// Its replica is being removed; from here.
    Removed(Instant),
    /// Another balancer removes its replica.
    RemovedElsewhere,
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
    leaving: Option<Leaving>,
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
            leaving: None,
        }
    }
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

    /// Other balancers are told that it is to end. What is removed stays so.
    pub(super) fn leaves(&mut self, id: &InstanceId, leaving: Leaving) {
        if let Some(instance) = self.instances.get_mut(id)
            && !instance.is_removed()
        {
            instance.leaving = Some(leaving);
        }
    }

    /// Since when other balancers can know that it is to end, if that is done from here.
    pub(super) fn announced_at(&self, id: &InstanceId) -> Option<Instant> {
        match self.instances.get(id)?.leaving? {
            Leaving::Replaced(since) | Leaving::Removed(since) => Some(since),
            Leaving::RemovedElsewhere => None,
        }
    }

    /// Another balancer removes its replica; false if that is known, or done from here.
    pub(super) fn is_removed_elsewhere(&mut self, id: &InstanceId) -> bool {
        match self.instances.get_mut(id) {
            Some(instance) if !instance.is_removed() && instance.life != Life::Stopping => {
                instance.leaving = Some(Leaving::RemovedElsewhere);
                instance.life = Life::Stopping;
                true
            }
            _ => false,
        }
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

    /// Whether its replica is being removed, from here or elsewhere.
    fn is_removed(&self) -> bool {
        matches!(
            self.leaving,
            Some(Leaving::Removed(_) | Leaving::RemovedElsewhere)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::task::{read, tests::task};
    use super::*;

    pub(super) fn id(generation: u64) -> InstanceId {
        InstanceId::new("S1".parse().unwrap(), generation)
    }

    pub(super) fn info(generation: u64, state: &str, desired: &str) -> TaskInfo {
        let mut task = task("S1", generation, state);
        task["DesiredState"] = json!(desired);
        task["Status"]["ContainerStatus"] = json!({"ContainerID": "c", "ExitCode": 137});
        read(&task, "zoo").unwrap()
    }

    pub(super) fn running_one() -> InstanceTable {
        let mut table = InstanceTable::default();
        assert!(table.open_launch(&id(1)));
        assert!(!table.open_launch(&id(1)));
        table.runs(&info(1, "running", "running"));
        table.close_launch(&id(1));
        assert!(table.is_live(&id(1)));
        table
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
    fn a_removal_outlasts_what_is_known_of_a_successor() {
        let [first, second] = [0, 1].map(|s| Instant::now() + Duration::from_secs(s));
        let (replaced, removed) = (Leaving::Replaced, Leaving::Removed);
        for (before, after, announced) in [
            (replaced(first), replaced(second), second),
            (replaced(first), removed(second), second),
            (removed(first), replaced(second), first),
            (removed(first), removed(second), first),
        ] {
            let mut table = running_one();
            assert_eq!(table.announced_at(&id(1)), None);
            table.leaves(&id(1), before);
            table.leaves(&id(1), after);
            let found = table.announced_at(&id(1));
            assert_eq!(found, Some(announced), "{before:?}, {after:?}");
        }
        let mut table = running_one();
        table.leaves(&id(1), replaced(first));
        assert!(table.is_removed_elsewhere(&id(1)));
        assert_eq!(table.announced_at(&id(1)), None);
    }
}
