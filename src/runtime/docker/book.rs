//! What this runtime knows of its containers while they live, so that each death is
//! reported once, and none that was asked for. Pure: the engine's answers come in as
//! arguments.
//!
//! ```text
//! created --> Starting --started--> Live --died--> (event, forgotten)
//!                |                   |
//!                | died: noted,      | stopping, or the launch failed:
//!                | told by started   | forgotten, no event follows
//! ```
//!
//! The engine's event stream replays what is past and overlaps with the lists that are
//! taken after a reconnect. A container that is not in the book, or not any more, is
//! nobody's news.

use std::collections::{HashMap, HashSet};

use crate::runtime::{Exit, InstanceId, RuntimeEvent};

/// The engine's id of a container.
pub(super) type ContainerId = String;

#[derive(Default)]
pub(super) struct Book {
    containers: HashMap<ContainerId, Entry>,
    /// Launches under way; true once somebody wants them stopped.
    launches: HashMap<InstanceId, bool>,
    /// Containers that have died, or were to be stopped and may hang on: their names may
    /// be taken.
    given_up: HashSet<ContainerId>,
    /// Instances whose replicas are removed for good; until they are stopped.
    disowned: HashSet<InstanceId>,
    /// Instances that are stopped because they are taken for dead: their containers are kept
    /// for their logs.
    kept: HashSet<InstanceId>,
}

struct Entry {
    instance: InstanceId,
    phase: Phase,
    out_of_memory: bool,
}

enum Phase {
    /// The launch has not answered yet; how the container ended, if it did already.
    Starting(Option<Exit>),
    Live,
}

impl Book {
    /// Opens a launch. False if one of the same instance is under way.
    pub(super) fn open_launch(&mut self, id: &InstanceId) -> bool {
        let vacant = !self.launches.contains_key(id);
        if vacant {
            self.launches.insert(id.clone(), false);
        }
        vacant
    }

    /// Closes it, whatever came of it.
    pub(super) fn close_launch(&mut self, id: &InstanceId) {
        self.launches.remove(id);
    }

    pub(super) fn is_launching(&self, id: &InstanceId) -> bool {
        self.launches.contains_key(id)
    }

    /// Whether a container of this instance runs.
    pub(super) fn runs(&self, id: &InstanceId) -> bool {
        let mut entries = self.containers.values();
        entries.any(|entry| entry.instance == *id && matches!(entry.phase, Phase::Live))
    }

    /// Whether the launch under way was overtaken by a stop.
    pub(super) fn is_cancelled(&self, id: &InstanceId) -> bool {
        self.launches.get(id).copied().unwrap_or(false)
    }

    /// A container exists but was not started yet.
    pub(super) fn created(&mut self, container: &str, instance: &InstanceId) {
        self.insert(container, instance, Phase::Starting(None));
    }

    /// A container of an earlier balancer's runs.
    pub(super) fn adopted(&mut self, container: &str, instance: &InstanceId) {
        self.insert(container, instance, Phase::Live);
    }

    fn insert(&mut self, container: &str, instance: &InstanceId, phase: Phase) {
        let entry = Entry {
            instance: instance.clone(),
            phase,
            out_of_memory: false,
        };
        self.containers.insert(container.to_owned(), entry);
    }

    /// The launch is about to report success. An error if the container has ended since.
    pub(super) fn started(&mut self, container: &str) -> Result<(), Exit> {
        match self.containers.get_mut(container) {
            Some(Entry {
                phase: Phase::Starting(Some(exit)),
                ..
            }) => Err(exit.clone()),
            Some(entry) => {
                entry.phase = Phase::Live;
                Ok(())
            }
            None => Err(Exit::default()),
        }
    }

    /// Whether anything is known of this container.
    pub(super) fn knows(&self, container: &str) -> bool {
        self.containers.contains_key(container) || self.given_up.contains(container)
    }

    /// Whatever happens to this container, nobody is told.
    pub(super) fn forget(&mut self, container: &str) {
        self.containers.remove(container);
    }

    /// It is gone for good.
    pub(super) fn removed(&mut self, container: &str) {
        self.containers.remove(container);
        self.given_up.remove(container);
    }

    /// Nobody but these is left of those that were given up.
    pub(super) fn retain_given_up(&mut self, is_left: impl Fn(&str) -> bool) {
        self.given_up.retain(|container| is_left(container));
    }

    /// Whether its time is over, so that its successor may take its name.
    pub(super) fn is_given_up(&self, container: &str) -> bool {
        self.given_up.contains(container)
    }

    /// The replica that this instance plays is removed for good.
    pub(super) fn disown(&mut self, id: &InstanceId) {
        self.disowned.insert(id.clone());
    }

    pub(super) fn is_disowned(&self, id: &InstanceId) -> bool {
        self.disowned.contains(id)
    }

    /// The container of this instance is kept when it is stopped.
    pub(super) fn keep(&mut self, id: &InstanceId) {
        self.kept.insert(id.clone());
    }

    /// Whether the container of this instance is kept when it is stopped: not if its replica
    /// is removed for good.
    pub(super) fn is_kept(&self, id: &InstanceId) -> bool {
        self.kept.contains(id) && !self.is_disowned(id)
    }

    /// This instance does not run any more.
    pub(super) fn stopped(&mut self, id: &InstanceId) {
        self.disowned.remove(id);
        self.kept.remove(id);
    }

    /// The instance is being stopped: no news of it, and its launch, if one is under
    /// way, is to undo itself.
    pub(super) fn stopping(&mut self, id: &InstanceId) {
        if let Some(cancelled) = self.launches.get_mut(id) {
            *cancelled = true;
        }
        let given_up = self.containers.extract_if(|_, entry| entry.instance == *id);
        self.given_up
            .extend(given_up.map(|(container, _)| container));
    }

    /// The kernel ran out of memory in this container. It may survive that (another
    /// process than its first was hit), so this is no news by itself.
    pub(super) fn ran_out_of_memory(&mut self, container: &str) {
        if let Some(entry) = self.containers.get_mut(container) {
            entry.out_of_memory = true;
        }
    }

    /// The container has ended. The news, if it is any.
    pub(super) fn died(&mut self, container: &str, exit: Exit) -> Option<RuntimeEvent> {
        let entry = self.containers.get_mut(container)?;
        // Only SIGKILL is what the kernel sends when memory runs out.
        let out_of_memory =
            exit.out_of_memory || (entry.out_of_memory && exit.signal == Some(SIGKILL));
        let exit = Exit {
            out_of_memory,
            ..exit
        };
        match &mut entry.phase {
            Phase::Starting(noted) => {
                *noted = Some(exit);
                None
            }
            Phase::Live => {
                let entry = self.containers.remove(container)?;
                self.given_up.insert(container.to_owned());
                Some(RuntimeEvent::Exited {
                    id: entry.instance,
                    exit,
                })
            }
        }
    }

    /// Whether this container's end would be news.
    pub(super) fn is_live(&self, container: &str) -> bool {
        let entry = self.containers.get(container);
        entry.is_some_and(|entry| matches!(entry.phase, Phase::Live))
    }

    /// The containers whose end would be news.
    pub(super) fn live(&self) -> HashSet<ContainerId> {
        let live = |(id, entry): (&ContainerId, &Entry)| {
            matches!(entry.phase, Phase::Live).then(|| id.clone())
        };
        self.containers.iter().filter_map(live).collect()
    }
}

const SIGKILL: i32 = 9;

/// Reads an engine's exit code. The engine reports a signal as a shell does, as 128 and
/// the signal's number; a program that exits with such a code by itself looks the same.
pub(super) fn read_exit(code: Option<i64>, out_of_memory: bool) -> Exit {
    let code = code.and_then(|code| i32::try_from(code).ok());
    let signal = code.filter(|code| (129..=192).contains(code));
    Exit {
        code: if signal.is_some() { None } else { code },
        signal: signal.map(|code| code - 128),
        out_of_memory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(generation: u64) -> InstanceId {
        InstanceId {
            replica: "S1".parse().unwrap(),
            generation,
        }
    }

    fn killed() -> Exit {
        read_exit(Some(137), false)
    }

    #[test]
    fn a_death_is_news_once() {
        let mut book = Book::default();
        book.created("c", &instance(1));
        book.started("c").unwrap();
        assert_eq!(
            book.died("c", killed()),
            Some(RuntimeEvent::Exited {
                id: instance(1),
                exit: killed()
            })
        );
        assert_eq!(book.died("c", killed()), None);
        assert_eq!(book.died("stranger", killed()), None);
    }

    #[test]
    fn a_death_before_the_launch_answers_is_the_launch_s_to_tell() {
        let mut book = Book::default();
        book.created("c", &instance(1));
        assert_eq!(book.died("c", killed()), None);
        assert_eq!(book.started("c"), Err(killed()));
    }

    #[test]
    fn an_end_that_was_asked_for_is_no_news() {
        let mut book = Book::default();
        book.adopted("old", &instance(1));
        book.adopted("new", &instance(2));
        book.stopping(&instance(1));
        assert_eq!(book.died("old", killed()), None);
        assert_eq!(book.live(), HashSet::from(["new".to_owned()]));
    }

    #[test]
    fn what_was_to_be_stopped_is_given_up_until_it_is_gone() {
        let mut book = Book::default();
        book.adopted("c", &instance(1));
        assert!(book.knows("c") && !book.is_given_up("c"));
        book.stopping(&instance(1));
        assert!(book.knows("c") && book.is_given_up("c"));
        book.removed("c");
        assert!(!book.knows("c"));
    }

    #[test]
    fn a_stop_overtakes_a_launch() {
        let mut book = Book::default();
        assert!(book.open_launch(&instance(1)));
        assert!(!book.open_launch(&instance(1)));
        assert!(!book.is_cancelled(&instance(1)));
        book.created("c", &instance(1));
        book.stopping(&instance(1));
        assert!(book.is_cancelled(&instance(1)));
        book.close_launch(&instance(1));
        assert!(!book.is_launching(&instance(1)));
    }

    #[test]
    fn memory_is_to_blame_only_for_a_kill() {
        let mut book = Book::default();
        for (code, blamed) in [(137, true), (1, false)] {
            book.adopted("c", &instance(1));
            book.ran_out_of_memory("c");
            let Some(RuntimeEvent::Exited { exit, .. }) =
                book.died("c", read_exit(Some(code), false))
            else {
                panic!("no news");
            };
            assert_eq!(exit.out_of_memory, blamed);
        }
    }

    #[test]
    fn codes_read_as_a_shell_reads_them() {
        let read = |code| read_exit(Some(code), false).to_string();
        assert_eq!(read(0), "exited with code 0");
        assert_eq!(read(127), "exited with code 127");
        assert_eq!(read(137), "killed by signal 9");
        assert_eq!(read(255), "exited with code 255");
        assert_eq!(read_exit(None, false).to_string(), "gone");
    }
}
