//! Which containers the fleet has, as the engine lists them.

use std::collections::{HashMap, HashSet};

use log::warn;

use crate::ring::ReplicaName;
use crate::runtime::RuntimeError;
use crate::runtime::docker::Inner;
use crate::runtime::docker::container::{FLEET, Record};
use crate::runtime::docker::names::{Role, container_name, role};

/// So many containers with our labels and other names are told of.
const MOST_STRANGERS: usize = 100;

impl Inner {
    /// Every container of this fleet, running or not.
    pub(super) async fn list_fleet(&self) -> Result<Vec<Record>, RuntimeError> {
        self.list(&[(FLEET, &self.settings.fleet)]).await
    }

    /// The fleet's containers with these labels. Strangers that have them are told of once
    /// and left alone.
    pub(super) async fn list(&self, labels: &[(&str, &str)]) -> Result<Vec<Record>, RuntimeError> {
        let mut listed = self.engine.list(&self.settings.network, labels).await?;
        listed.retain(|record| {
            // One of ours may have been renamed by hand.
            let ours =
                self.role(record) != Role::Stranger || self.book.borrow().knows(&record.container);
            if !ours {
                self.tell_of_stranger(record);
            }
            ours
        });
        Ok(listed)
    }

    pub(super) fn role(&self, record: &Record) -> Role {
        role(&self.settings.fleet, &record.order.id, &record.name)
    }

    fn tell_of_stranger(&self, record: &Record) {
        let mut strangers = self.strangers.borrow_mut();
        if strangers.len() < MOST_STRANGERS && strangers.insert(record.container.clone()) {
            let name = container_name(&self.settings.fleet, &record.order.id.replica);
            warn!(
                "docker: container {} has the labels of {} but not its name, {name}: left alone",
                record.name, record.order.id
            );
        }
    }
}

/// Parts the newest container of each replica, in the order in which replicas joined,
/// from those that it has replaced. One that can be reached comes before any that cannot.
pub(super) fn newest_of_each(mut records: Vec<Record>) -> (Vec<Record>, Vec<Record>) {
    records.sort_by_key(|record| (record.endpoint.is_some(), record.order.id.generation));
    let mut newest = HashMap::new();
    let mut superseded = Vec::new();
    for record in records {
        let replica = record.order.id.replica.clone();
        superseded.extend(newest.insert(replica, record));
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_by(|a, b| {
        let place = |r: &Record| (r.order.ordinal, r.order.id.replica.clone());
        place(a).cmp(&place(b))
    });
    (newest, superseded)
}

/// Which of the containers that others have replaced are to be cleared away: all but those that
/// run, and the last one of each replica that has died, whose log people may want to read.
/// `newest` are the containers that play the replicas.
pub(super) fn outdated(mut replaced: Vec<Record>, newest: &[Record]) -> Vec<Record> {
    // A replica whose newest container has died keeps that one, and none before it.
    let died = newest.iter().filter(|record| is_dead(record));
    let mut kept: HashSet<ReplicaName> = died.map(|r| r.order.id.replica.clone()).collect();
    replaced.sort_by_key(|record| std::cmp::Reverse(record.order.id.generation));
    replaced.retain(|record| !is_dead(record) || !kept.insert(record.order.id.replica.clone()));
    replaced
}

/// Whether a container has run and does not any more.
fn is_dead(record: &Record) -> bool {
    !record.running && !record.starting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{InstanceId, LaunchOrder};

    fn record(replica: &str, generation: u64, ordinal: u64) -> Record {
        Record {
            container: format!("{replica}.{generation}"),
            order: LaunchOrder {
                id: InstanceId {
                    replica: replica.parse().unwrap(),
                    generation,
                },
                weight: Default::default(),
                ordinal,
            },
            name: String::new(),
            running: false,
            starting: false,
            unhealthy: false,
            endpoint: None,
            definition: None,
        }
    }

    fn names(records: Vec<Record>) -> Vec<String> {
        records.into_iter().map(|r| r.container).collect()
    }

    #[test]
    fn last_dead_container_of_each_replica_is_kept() {
        let runs = |record: Record| Record {
            running: true,
            ..record
        };
        let newest = [runs(record("a", 4, 1)), record("b", 4, 2)];
        let replaced = vec![
            record("a", 1, 1),
            record("a", 3, 1),
            runs(record("a", 2, 1)),
            record("b", 3, 2),
        ];
        assert_eq!(names(outdated(replaced, &newest)), ["b.3", "a.2", "a.1"]);
    }

    #[test]
    fn the_newest_stands_for_its_replica() {
        let (newest, superseded) = newest_of_each(vec![
            record("b", 9, 2),
            record("a", 2, 3),
            record("b", 10, 2),
            record("a", 1, 3),
            record("c", 1, 1),
        ]);
        assert_eq!(names(newest), ["c.1", "b.10", "a.2"]);
        assert_eq!(names(superseded), ["a.1", "b.9"]);
    }
}
