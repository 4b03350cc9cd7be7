//! Taking over from an earlier balancer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::event::{ImmediateStep, Steps};
use super::instance::Existing;
use super::{Definition, Fleet, Replica};
use crate::ring::{Member, ReplicaName};

/// The instances that were found of one replica.
pub(super) struct ReplicaInstances {
    /// The instance that plays the replica, or whose successor will.
    pub(super) newest: Existing,
    /// The rest.
    pub(super) others: Vec<Existing>,
}

impl Fleet {
    /// Takes over what an earlier balancer left behind: of the desired members (of all that is
    /// found, if none is desired) what runs is kept under its generation, and what has ended or
    /// is missing is started. Of others what runs may join once it answers, as any instance
    /// that was not asked for here, and what has ended is cleared away.
    pub(super) fn adopt(&mut self, desired: &[Member], found: Vec<Existing>, steps: &mut Steps) {
        let by_replica = divide(found);
        for ReplicaInstances { newest, others } in &by_replica {
            for Existing { order, .. } in others.iter().chain([newest]) {
                self.generations.saw(&order.id.replica, order.id.generation);
                self.next_ordinal = self.next_ordinal.max(order.ordinal.saturating_add(1));
            }
        }
        let (wanted, unwanted): (Vec<_>, Vec<_>) = by_replica
            .into_iter()
            .partition(|instances| desired.is_empty() || instances.place_in(desired).is_some());
        for instances in &wanted {
            let newest = &instances.newest;
            let hash = newest.definition.as_deref();
            let definition = self.definition_of(&newest.order.id.replica, hash);
            self.replicas.push(instances.replica(&definition));
        }
        for Member { name, weight } in desired {
            match self.replicas.iter_mut().find(|r| r.name == *name) {
                // It goes with the next instance.
                Some(replica) => replica.weight = *weight,
                None => {
                    self.add_replica(name.clone(), *weight);
                    let definition = self.definition_of(name, None);
                    if let Some(missing) = self.replicas.last_mut() {
                        missing.member = true;
                        missing.definition = definition;
                    }
                }
            }
        }
        let place = |r: &Replica| desired.iter().position(|member| member.name == r.name);
        self.replicas.sort_by_key(place);
        steps.push(ImmediateStep::Join(self.members()));
        let mut wanted: HashMap<_, _> = wanted
            .into_iter()
            .map(|instances| (instances.newest.order.id.replica.clone(), instances))
            .collect();
        for index in 0..self.replicas.len() {
            let instances = wanted.remove(&self.replicas[index].name);
            let Some((endpoint, others)) = instances
                .and_then(|instances| Some((instances.newest.endpoint?, instances.others)))
            else {
                self.launch(index, steps);
                continue;
            };
            self.probe(index, endpoint, steps);
            for Existing { order, .. } in others {
                self.stop_instance(order.id, self.policy.stop_grace, steps);
            }
        }
        for ReplicaInstances { newest, others } in unwanted {
            match newest.endpoint {
                Some(endpoint) => {
                    let hash = newest.definition.as_deref();
                    self.discovered(newest.order, endpoint, hash, steps);
                }
                None => self.stop_instance(newest.order.id, Duration::ZERO, steps),
            }
            for Existing { order, .. } in others {
                self.stop_instance(order.id, self.policy.stop_grace, steps);
            }
        }
    }
}

impl ReplicaInstances {
    fn place_in(&self, desired: &[Member]) -> Option<usize> {
        let name = &self.newest.order.id.replica;
        desired.iter().position(|member| member.name == *name)
    }

    /// The replica that is played by what was found, or by its successor.
    fn replica(&self, definition: &Arc<Definition>) -> Replica {
        let newest = &self.newest;
        let mut replica = Replica::adopted(&newest.order, definition);
        replica
            .leftover_generations
            .push(newest.order.id.generation);
        if newest.endpoint.is_some() {
            replica.found_with.clone_from(&newest.definition);
        } else {
            // All of it has ended, and the start of the next clears it away.
            let older = self.others.iter().map(|found| found.order.id.generation);
            replica.leftover_generations.extend(older);
        }
        replica
    }
}

/// One instances a name, in the order of joining.
pub(super) fn divide(mut found: Vec<Existing>) -> Vec<ReplicaInstances> {
    // Of several instances of one replica the newest that runs is the one to keep, and
    // what it was started as is what counts: an older one may date from before the name
    // was removed and added again.
    found.sort_by_key(|f| (f.endpoint.is_some(), f.order.id.generation));
    let mut by_name: BTreeMap<ReplicaName, ReplicaInstances> = BTreeMap::new();
    let mut seen = HashSet::new();
    for found in found.into_iter().rev() {
        // A list that names an instance twice does not make it two.
        if !seen.insert(found.order.id.clone()) {
            continue;
        }
        match by_name.get_mut(&found.order.id.replica) {
            Some(instances) => instances.others.push(found),
            None => {
                let (name, newest) = (found.order.id.replica.clone(), found);
                let others = Vec::new();
                by_name.insert(name, ReplicaInstances { newest, others });
            }
        }
    }
    let mut by_replica: Vec<ReplicaInstances> = by_name.into_values().collect();
    by_replica.sort_by_key(|instances| instances.newest.order.ordinal);
    by_replica
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::fleet::rollout_state::Course;
    use crate::fleet::testing::{definition, recorded_rollout};
    use crate::fleet::tests::POLICY;
    use crate::fleet::{
        DeferredStep, Desired, Event, InstanceEvent, InstanceId, LaunchOrder, RecordedRollout,
        Stage, Step,
    };
    use crate::ring::Weight;
    use crate::ring::testing::member;

    fn found(name: &str, generation: u64, runs: bool) -> Existing {
        Existing {
            order: LaunchOrder {
                id: InstanceId::new(name.parse().unwrap(), generation),
                weight: Weight::default(),
                ordinal: generation,
            },
            endpoint: runs.then(|| SocketAddr::from(([127, 0, 0, 1], 9))),
            definition: None,
        }
    }

    #[test]
    fn what_is_desired_and_missing_is_started_beside_what_is_found() {
        let desired = [member("S1", 1), member("S2", 3), member("S3", 1)];
        let there = vec![
            found("S2", 5, true),
            found("S3", 4, false),
            found("foreign", 2, true),
            found("old", 7, false),
        ];
        let (fleet, steps) = Fleet::new(POLICY, Desired::of(&desired), there, Duration::ZERO);
        let names: Vec<_> = desired.iter().map(|member| member.name.clone()).collect();
        assert_eq!(fleet.desired(), names);
        // The weight is what is desired, whatever the instance was started with.
        assert_eq!(steps[0], ImmediateStep::Join(desired.to_vec()).into());
        let told: Vec<_> = steps[1..]
            .iter()
            .map(|step| match step {
                Step::Deferred(DeferredStep::Launch(order, ..)) => format!("launch {}", order.id),
                Step::Immediate(ImmediateStep::Watch(id, _)) => format!("watch {id}"),
                Step::Deferred(DeferredStep::Stop(id, _)) => format!("stop {id}"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(
            told,
            [
                "launch S1 (generation 1)",
                "watch S2 (generation 5)",
                "launch S3 (generation 5)",
                "watch foreign (generation 2)",
                "stop old (generation 7)",
            ]
        );
    }

    #[test]
    fn what_a_rollout_has_brought_is_not_outdated_once_the_next_balancer_has_finished_it() {
        let [before, to] = ["shop:1", "shop:2"].map(definition);
        let found_with = |name, generation, hash: String| Existing {
            definition: Some(hash),
            ..found(name, generation, true)
        };
        let there = vec![
            found_with("S1", 2, to.hash()),
            found_with("S2", 1, before.hash()),
            found_with("S3", 1, "another".to_owned()),
        ];
        let desired = Desired {
            definition: before,
            rollout: Some(RecordedRollout {
                stage: Stage::Running(Course::Onward),
                ..recorded_rollout(1, to, POLICY.balancer)
            }),
            updated: vec!["S1".parse().unwrap()],
            ..Desired::of(&["S1", "S2", "S3"].map(|name| member(name, 1)))
        };
        let (mut fleet, steps) = Fleet::new(POLICY, desired, there, Duration::ZERO);
        let outdated = |fleet: &Fleet| {
            let statuses = fleet.statuses().into_iter();
            statuses.map(|status| status.outdated).collect::<Vec<_>>()
        };
        assert_eq!(outdated(&fleet), [false, false, true]);
        // Whatever is to be done succeeds.
        let mut steps = std::collections::VecDeque::from(steps);
        let mut now = Duration::ZERO;
        while fleet.rollout_report().is_some() {
            let address = SocketAddr::from(([127, 0, 0, 1], 9));
            let happened = steps.pop_front().map(|step| match step {
                Step::Deferred(DeferredStep::Launch(order, ..)) => {
                    Some((order.id, InstanceEvent::Launched(address)))
                }
                Step::Deferred(DeferredStep::Drain(id)) => Some((id, InstanceEvent::Drained)),
                Step::Deferred(DeferredStep::Stop(id, _)) => Some((id, InstanceEvent::Stopped)),
                Step::Immediate(ImmediateStep::Watch(id, _)) => {
                    Some((id, InstanceEvent::BecameHealthy))
                }
                Step::Immediate(ImmediateStep::ReportRequests(id)) => {
                    let (requests, failed) = (0, 0);
                    Some((id, InstanceEvent::RequestsCounted { requests, failed }))
                }
                _ => None,
            });
            let event = match happened {
                Some(Some((id, event))) => Event::Instance(id, event),
                Some(None) => continue,
                None => {
                    now = fleet.wakes_at().expect("something is left to be done");
                    Event::Tick
                }
            };
            steps.extend(fleet.apply(event, now));
        }
        assert_eq!(outdated(&fleet), [false; 3]);
    }
}
