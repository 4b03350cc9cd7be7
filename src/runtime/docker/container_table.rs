//! The containers that this runtime knows, so that each death is reported once, and none that
//! was asked for. Pure: the engine's answers come in as arguments.
//!
//! ```text
//! created --> Starting --started--> Live --died--> (event, forgotten)
//!                |                   |
//!                | died: kept,       | stopping, or the launch failed:
//!                | see `started`     | forgotten, no event follows
//! ```
//!
//! The engine's event stream replays past events and overlaps with the lists that are taken
//! after a reconnect. Events of containers that are not in the table are ignored.

use std::collections::{HashMap, HashSet};

use bollard::models::ContainerState;

use crate::ring::ReplicaName;
use crate::runtime::{Event, Exit, InstanceEvent, InstanceId};

/// The engine's id of a container.
pub(super) type ContainerId = String;

#[derive(Default)]
pub(super) struct ContainerTable {
    entries: HashMap<ContainerId, TrackedContainer>,
    /// Launches under way; true once they are to be stopped.
    launches: HashMap<InstanceId, bool>,
    /// Containers that have died, or were to be stopped and may still run: a successor may take
    /// their names.
    given_up: HashSet<ContainerId>,
    /// Instances of replicas that are removed for good, until they are stopped.
    removals: HashSet<InstanceId>,
    /// Instances that are stopped because they hang: their containers are kept
    /// for their logs.
    kept: HashSet<InstanceId>,
}

struct TrackedContainer {
    instance: InstanceId,
    phase: ContainerPhase,
    out_of_memory: bool,
}

enum ContainerPhase {
    /// The launch has not returned yet; how the container ended, if it already has.
    Starting(Option<Exit>),
    Live,
}

impl ContainerTable {
    /// Begins a launch. False if one of the same instance is under way.
    pub(super) fn open_launch(&mut self, id: &InstanceId) -> bool {
        let vacant = !self.launches.contains_key(id);
        if vacant {
            self.launches.insert(id.clone(), false);
        }
        vacant
    }

    /// Ends a launch, failed or not.
    pub(super) fn close_launch(&mut self, id: &InstanceId) {
        self.launches.remove(id);
    }

    pub(super) fn is_launching(&self, id: &InstanceId) -> bool {
        self.launches.contains_key(id)
    }

    /// Whether a container of this instance runs.
    pub(super) fn runs(&self, id: &InstanceId) -> bool {
        self.live_container(id).is_some()
    }

    /// Whether a stop has cancelled the launch under way.
    pub(super) fn is_cancelled(&self, id: &InstanceId) -> bool {
        self.launches.get(id).copied().unwrap_or(false)
    }

    /// A container has been created but not started yet.
    pub(super) fn created(&mut self, container: &str, instance: &InstanceId) {
        self.insert(container, instance, ContainerPhase::Starting(None));
    }

    /// A running container of another or an earlier balancer is adopted.
    pub(super) fn adopted(&mut self, container: &str, instance: &InstanceId) {
        self.insert(container, instance, ContainerPhase::Live);
    }

    fn insert(&mut self, container: &str, instance: &InstanceId, phase: ContainerPhase) {
        let entry = TrackedContainer {
            instance: instance.clone(),
            phase,
            out_of_memory: false,
        };
        self.entries.insert(container.to_owned(), entry);
    }

    /// The launch is about to succeed. An error if the container has ended since.
    pub(super) fn started(&mut self, container: &str) -> Result<(), Exit> {
        match self.entries.get_mut(container) {
            Some(TrackedContainer {
                phase: ContainerPhase::Starting(Some(exit)),
                ..
            }) => Err(exit.clone()),
            Some(entry) => {
                entry.phase = ContainerPhase::Live;
                Ok(())
            }
            None => Err(Exit::default()),
        }
    }

    /// The container of an instance that runs.
    pub(super) fn live_container(&self, id: &InstanceId) -> Option<ContainerId> {
        let mut entries = self.entries.iter();
        let is_it = |entry: &TrackedContainer| {
            entry.instance == *id && matches!(entry.phase, ContainerPhase::Live)
        };
        let (container, _) = entries.find(|(_, entry)| is_it(entry))?;
        Some(container.clone())
    }

    /// The newest generation of a replica that runs.
    pub(super) fn newest_of(&self, replica: &ReplicaName) -> Option<u64> {
        let entries = self.entries.values();
        let live = entries.filter(|entry| matches!(entry.phase, ContainerPhase::Live));
        let of_it = live.filter(|entry| entry.instance.replica == *replica);
        of_it.map(|entry| entry.instance.generation).max()
    }

    /// A container that was a spare is this instance from now on; false if it has ended.
    pub(super) fn plays(&mut self, container: &str, id: &InstanceId) -> bool {
        let entry = self.entries.get_mut(container);
        let is_there = entry.is_some();
        if let Some(entry) = entry {
            entry.instance.clone_from(id);
        }
        is_there
    }

    /// The instance that a container is, if that is known.
    pub(super) fn instance_of(&self, container: &str) -> Option<InstanceId> {
        let entry = self.entries.get(container)?;
        Some(entry.instance.clone())
    }

    /// Whether this container is known.
    pub(super) fn knows(&self, container: &str) -> bool {
        self.entries.contains_key(container) || self.given_up.contains(container)
    }

    /// No event of this container is reported any more.
    pub(super) fn forget(&mut self, container: &str) {
        self.entries.remove(container);
    }

    /// The container has been removed.
    pub(super) fn removed(&mut self, container: &str) {
        self.entries.remove(container);
        self.given_up.remove(container);
    }

    /// Forgets the given-up containers that are not left.
    pub(super) fn retain_given_up(&mut self, is_left: impl Fn(&str) -> bool) {
        self.given_up.retain(|container| is_left(container));
    }

    /// Whether a successor may take the name of this container.
    pub(super) fn is_given_up(&self, container: &str) -> bool {
        self.given_up.contains(container)
    }

    /// The replica of this instance is removed for good.
    pub(super) fn begin_removal(&mut self, id: &InstanceId) {
        self.removals.insert(id.clone());
    }

    pub(super) fn is_being_removed(&self, id: &InstanceId) -> bool {
        self.removals.contains(id)
    }

    /// The container of this instance is kept when it is stopped.
    pub(super) fn keep(&mut self, id: &InstanceId) {
        self.kept.insert(id.clone());
    }

    /// Whether the container of this instance is kept when it is stopped: not if its replica
    /// is removed for good.
    pub(super) fn is_kept(&self, id: &InstanceId) -> bool {
        self.kept.contains(id) && !self.is_being_removed(id)
    }

    /// This instance does not run any more.
    pub(super) fn stopped(&mut self, id: &InstanceId) {
        self.removals.remove(id);
        self.kept.remove(id);
    }

    /// The instance is being stopped: its end is not reported, and a launch under way is
    /// cancelled.
    pub(super) fn stopping(&mut self, id: &InstanceId) {
        if let Some(cancelled) = self.launches.get_mut(id) {
            *cancelled = true;
        }
        let given_up = self.entries.extract_if(|_, entry| entry.instance == *id);
        self.given_up
            .extend(given_up.map(|(container, _)| container));
    }

    /// The kernel ran out of memory in this container. The container may survive that, if its
    /// first process was not killed, so this reports nothing.
    pub(super) fn ran_out_of_memory(&mut self, container: &str) {
        if let Some(entry) = self.entries.get_mut(container) {
            entry.out_of_memory = true;
        }
    }

    /// The container has ended. Returns the event to report, if any.
    pub(super) fn died(&mut self, container: &str, exit: Exit) -> Option<Event> {
        let entry = self.entries.get_mut(container)?;
        // The kernel sends SIGKILL when memory runs out.
        let out_of_memory =
            exit.out_of_memory || (entry.out_of_memory && exit.signal == Some(SIGKILL));
        let exit = Exit {
            out_of_memory,
            ..exit
        };
        match &mut entry.phase {
            ContainerPhase::Starting(noted) => {
                *noted = Some(exit);
                None
            }
            ContainerPhase::Live => {
                let entry = self.entries.remove(container)?;
                self.given_up.insert(container.to_owned());
                Some(Event::Instance(entry.instance, InstanceEvent::Exited(exit)))
            }
        }
    }

    /// Whether this container's end would be reported.
    pub(super) fn is_live(&self, container: &str) -> bool {
        let entry = self.entries.get(container);
        entry.is_some_and(|entry| matches!(entry.phase, ContainerPhase::Live))
    }

    /// The containers whose end would be reported.
    pub(super) fn live(&self) -> HashSet<ContainerId> {
        let live = |(id, entry): (&ContainerId, &TrackedContainer)| {
            matches!(entry.phase, ContainerPhase::Live).then(|| id.clone())
        };
        self.entries.iter().filter_map(live).collect()
    }
}

const SIGKILL: i32 = 9;

/// Parses an engine's exit code. Like a shell, the engine reports a signal as 128 plus its
/// number; a program that exits with such a code looks the same.
pub(crate) fn read_exit(code: Option<i64>, out_of_memory: bool) -> Exit {
    let code = code.and_then(|code| i32::try_from(code).ok());
    let signal = code.filter(|code| (129..=192).contains(code));
    Exit {
        code: if signal.is_some() { None } else { code },
        signal: signal.map(|code| code - 128),
        out_of_memory,
    }
}

/// How a container ended, by the engine's description of it.
pub(super) fn read_state(state: ContainerState) -> Exit {
    read_exit(state.exit_code, state.oom_killed == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(generation: u64) -> InstanceId {
        InstanceId::new("S1".parse().unwrap(), generation)
    }

    fn killed() -> Exit {
        read_exit(Some(137), false)
    }

    #[test]
    fn death_is_reported_once() {
        let mut table = ContainerTable::default();
        table.created("c", &instance(1));
        table.started("c").unwrap();
        let exited = Event::Instance(instance(1), InstanceEvent::Exited(killed()));
        assert_eq!(table.died("c", killed()), Some(exited));
        assert_eq!(table.died("c", killed()), None);
        assert_eq!(table.died("unknown", killed()), None);
    }

    #[test]
    fn death_during_a_launch_is_an_error_of_the_launch() {
        let mut table = ContainerTable::default();
        table.created("c", &instance(1));
        assert_eq!(table.died("c", killed()), None);
        assert_eq!(table.started("c"), Err(killed()));
    }

    #[test]
    fn requested_end_is_not_reported() {
        let mut table = ContainerTable::default();
        table.adopted("old", &instance(1));
        table.adopted("new", &instance(2));
        table.stopping(&instance(1));
        assert_eq!(table.died("old", killed()), None);
        assert_eq!(table.live(), HashSet::from(["new".to_owned()]));
    }

    #[test]
    fn newest_generation_of_a_replica_is_that_of_what_runs() {
        let mut table = ContainerTable::default();
        let replica = instance(1).replica;
        assert_eq!(table.newest_of(&replica), None);
        table.adopted("old", &instance(1));
        table.adopted("new", &instance(3));
        table.created("begun", &instance(4));
        assert_eq!(table.newest_of(&replica), Some(3));
        assert_eq!(table.newest_of(&"another".parse().unwrap()), None);
        table.stopping(&instance(3));
        assert_eq!(table.newest_of(&replica), Some(1));
    }

    #[test]
    fn stopping_container_is_given_up_until_it_is_removed() {
        let mut table = ContainerTable::default();
        table.adopted("c", &instance(1));
        assert!(table.knows("c") && !table.is_given_up("c"));
        table.stopping(&instance(1));
        assert!(table.knows("c") && table.is_given_up("c"));
        table.removed("c");
        assert!(!table.knows("c"));
    }

    #[test]
    fn end_of_a_spare_that_plays_a_replica_is_the_replicas() {
        let (mut table, spare) = (ContainerTable::default(), instance(7));
        table.adopted("c", &spare);
        let replica = InstanceId::new("S2".parse().unwrap(), 7);
        assert_eq!(table.live_container(&spare).as_deref(), Some("c"));
        assert!(table.plays("c", &replica));
        assert!(table.runs(&replica) && !table.runs(&spare));
        let exited = Event::Instance(replica.clone(), InstanceEvent::Exited(killed()));
        assert_eq!(table.died("c", killed()), Some(exited));
        assert!(!table.plays("c", &replica));
    }

    #[test]
    fn stop_cancels_a_launch() {
        let mut table = ContainerTable::default();
        assert!(table.open_launch(&instance(1)));
        assert!(!table.open_launch(&instance(1)));
        assert!(!table.is_cancelled(&instance(1)));
        table.created("c", &instance(1));
        table.stopping(&instance(1));
        assert!(table.is_cancelled(&instance(1)));
        table.close_launch(&instance(1));
        assert!(!table.is_launching(&instance(1)));
    }

    #[test]
    fn out_of_memory_explains_only_a_kill() {
        let mut table = ContainerTable::default();
        for (code, blamed) in [(137, true), (1, false)] {
            table.adopted("c", &instance(1));
            table.ran_out_of_memory("c");
            let Some(Event::Instance(_, InstanceEvent::Exited(exit))) =
                table.died("c", read_exit(Some(code), false))
            else {
                panic!("no event");
            };
            assert_eq!(exit.out_of_memory, blamed);
        }
    }

    #[test]
    fn exit_codes_are_parsed_like_a_shells() {
        let read = |code| read_exit(Some(code), false).to_string();
        assert_eq!(read(0), "exited with code 0");
        assert_eq!(read(127), "exited with code 127");
        assert_eq!(read(137), "killed by signal 9");
        assert_eq!(read(255), "exited with code 255");
        assert_eq!(read_exit(None, false).to_string(), "gone");
    }
}
