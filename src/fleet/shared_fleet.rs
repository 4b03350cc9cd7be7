//! Other balancers over the same instances, where the runtime lets there be any.
//!
//! Names are the lock: of two balancers that start a replica one gets its name, and the
//! other takes over what runs under it. A replica that another balancer adds is foreign until it
//! answers its first heartbeat; if it never does, it is not our failure. A replica that another
//! balancer removes leaves the ring here, too, and the other one stops it. A balancer that ends
//! hands its instances over; if it stops them all the same, it announces no removal, and the
//! balancers that stay start them again.

use std::net::SocketAddr;

use super::event::{DeferredStep, ImmediateStep, Step, Steps};
use super::instance::{InstanceId, LaunchOrder};
use super::lifecycle::Phase;
use super::stopping::StoppingInstance;
use super::time::Time;
use super::transitions::StopMode;
use super::{Fleet, MAX_REPLICAS, Replica};
use crate::ring::ReplicaName;

impl Fleet {
    /// Another balancer's instance has the name: it plays the replica.
    pub(super) fn launch_preempted(
        &mut self,
        index: usize,
        by: u64,
        endpoint: SocketAddr,
        hash: Option<&str>,
        steps: &mut Steps,
    ) {
        if !matches!(self.replicas[index].phase, Phase::Launching { .. }) {
            return;
        }
        self.take_over_generation(index, by, hash);
        if self.replicas[index].leaving {
            self.forget_replica(index, self.policy.stop_grace, steps);
        } else {
            self.probe(index, endpoint, steps);
        }
    }

    /// Another balancer has started an instance.
    pub(super) fn discovered(
        &mut self,
        order: LaunchOrder,
        endpoint: SocketAddr,
        hash: Option<&str>,
        steps: &mut Steps,
    ) {
        let name = &order.id.replica;
        self.generations.saw(name, order.id.generation);
        let departs = self.stopping_instances.iter().any(|d| d.is_of(name));
        if self.shutting_down || departs || self.is_being_changed(name) {
            return;
        }
        match self.index_of(name) {
            Some(index) => {
                // In any other phase there is one, or what we start finds this one.
                if let Phase::BackingOff { .. } = self.replicas[index].phase {
                    self.take_over_generation(index, order.id.generation, hash);
                    self.probe(index, endpoint, steps);
                } else {
                    self.relief_is_there(index);
                }
            }
            None => match self.refusal_of_foreign(&order) {
                Some(reason) => {
                    let message = "another balancer has added it, and here is no room";
                    steps.warn(name, format!("{message}: {reason}"));
                }
                None => {
                    self.next_ordinal = self.next_ordinal.max(order.ordinal.saturating_add(1));
                    let definition = self.definition_of(name, hash);
                    let foreign = Replica::adopted(&order, &definition);
                    self.replicas.push(Replica {
                        member: false,
                        ..foreign
                    });
                    self.probe(self.replicas.len() - 1, endpoint, steps);
                }
            },
        }
    }

    /// A replica that is ready and no newcomer of ours joins.
    pub(super) fn admit_foreign(&mut self, index: usize, steps: &mut Steps) {
        if self.is_being_changed(&self.replicas[index].name) {
            return;
        }
        let Phase::Ready { endpoint, .. } = self.replicas[index].phase else {
            return;
        };
        let mut foreign = self.replicas.remove(index);
        foreign.member = true;
        foreign.leftover_generations = vec![foreign.generation];
        let id = foreign.id();
        steps.join(vec![foreign.as_member()]);
        steps.push(ImmediateStep::Admit(id, endpoint));
        // It joins behind the members, and before newcomers that are not ready yet.
        let last_member = self.replicas.iter().rposition(|replica| replica.member);
        let place = last_member.map_or(0, |last| last + 1);
        self.replicas.insert(place, foreign);
    }

    /// Another balancer removes a replica.
    pub(super) fn removed_elsewhere(&mut self, index: usize, steps: &mut Steps) {
        let replica = &mut self.replicas[index];
        let launching = matches!(replica.phase, Phase::Launching { .. });
        if self.shutting_down || replica.leaving || launching {
            return;
        }
        // The other balancer stops it.
        replica.leftover_generations.clear();
        if replica.is_watched() {
            steps.push(ImmediateStep::Unwatch(replica.id()));
        }
        let (id, member) = (replica.id(), replica.member);
        if !member {
            let reason = "another balancer has removed it".to_owned();
            self.failed_to_start(index, reason, steps);
            return;
        }
        if let Phase::Stopping { .. } = replica.phase {
            self.stopping_instances
                .push(StoppingInstance::under_way(id.clone()));
        }
        self.replicas.remove(index);
        steps.push(ImmediateStep::Leave(vec![id.replica]));
    }

    /// The owner of the instances has taken a replica away that was to be started again: it leaves
    /// the ring and the record.
    pub(super) fn destroyed(&mut self, index: usize, steps: &mut Steps) {
        let replica = &self.replicas[index];
        let waits = matches!(
            replica.phase,
            Phase::Launching { .. } | Phase::BackingOff { .. }
        );
        let is_changed = replica.leaving || self.is_being_changed(&replica.name);
        if self.shutting_down || !waits || !replica.member || is_changed {
            return;
        }
        let gone = self.replicas.remove(index);
        steps.leave(vec![gone.name]);
    }

    /// Leaves every instance to another balancer, but for stand-ins and those of replicas that are on
    /// their way in or out: these are ours alone. Changes that wait are answered with an error.
    pub fn hand_over(&mut self, now: Time) -> Vec<Step> {
        let mut steps = Steps::at(now);
        let ours = |r: &&Replica| {
            let is_joining = !r.member && self.is_being_changed(&r.name);
            r.leaving || is_joining || r.stand_in().is_some()
        };
        let ours = self.replicas.iter().filter(ours);
        let ours: Vec<_> = ours.map(|replica| replica.name.clone()).collect();
        self.shutting_down = true;
        self.leave_reliefs(&mut steps);
        self.stop_others(&mut steps);
        self.refuse_all(&mut steps);
        self.remove_all(&ours, StopMode::AtOnce, &mut steps);
        let kept = self.replicas.extract_if(.., |replica| !replica.leaving);
        let watched = kept.filter(Replica::is_watched);
        steps.extend(watched.map(|replica| ImmediateStep::Unwatch(replica.id())));
        steps.list
    }

    /// The runtime has recovered: launches every replica whose last launch it failed.
    pub(super) fn recovered(&mut self, steps: &mut Steps) {
        for index in 0..self.replicas.len() {
            let replica = &self.replicas[index];
            if replica.last_error.is_some() && matches!(replica.phase, Phase::BackingOff { .. }) {
                self.launch(index, steps);
            }
        }
    }

    /// A foreign instance that had a replica's name is gone.
    pub(super) fn name_freed(&mut self, name: &ReplicaName, steps: &mut Steps) {
        if let Some(index) = self.index_of(name)
            && self.replicas[index].last_launch_failed
            && matches!(self.replicas[index].phase, Phase::BackingOff { .. })
        {
            self.launch(index, steps);
        }
    }

    /// Has other balancers told that a replica is removed. Not when this one stops: the
    /// replicas are still theirs.
    pub(super) fn announce_removal(&self, id: &InstanceId, steps: &mut Steps) {
        if !self.shutting_down {
            steps.push(DeferredStep::AnnounceRemoval(id.clone()));
        }
    }

    fn take_over_generation(&mut self, index: usize, generation: u64, hash: Option<&str>) {
        self.note_definition(index, hash);
        let replica = &mut self.replicas[index];
        replica.generation = generation;
        replica.last_launch_failed = false;
        replica.forget_instance();
        // The balancer that started this one clears away what older ones left behind.
        replica.leftover_generations = vec![generation];
    }

    fn refusal_of_foreign(&self, order: &LaunchOrder) -> Option<String> {
        if self.replicas.len() >= MAX_REPLICAS {
            return Some(format!("{MAX_REPLICAS} replicas are the most"));
        }
        let room = self.check_room(&[order.weight]);
        room.err().map(|error| error.to_string())
    }
}
