//! Changes on request, one after the other.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use super::change::{self, Change, ChangeError, ChangeId, Changed, Failures};
use super::event::{DeferredStep, ImmediateStep, Steps};
use super::lifecycle::Phase;
use super::random_names::{self, SeededRng};
use super::transitions::StopMode;
use super::{Fleet, Replica};
use crate::ring::{BuildError, ReplicaName, Weight};

/// How many changes may wait for their turn.
const MAX_WAITING: usize = 64;

/// A change that waits for its turn.
#[derive(Debug)]
pub(super) struct Request {
    pub change_id: ChangeId,
    pub change: Change,
    pub seed: u64,
}

/// The change that is being carried out.
#[derive(Debug)]
pub(super) struct Active {
    change_id: ChangeId,
    kind: Kind,
    /// The replicas that it is about.
    names: Vec<ReplicaName>,
    failures: Failures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Adding,
    /// A start failed, and the newcomers are being taken back.
    RollingBack,
    Removing,
    /// The one replica is being restarted.
    Restarting,
    /// The one replica gets another instance, which starts beside the one before.
    Replacing,
    /// It has been done at once.
    Done,
}

impl Fleet {
    /// Why a change is refused at once.
    pub(super) fn refusal(&self, change: &Change) -> Option<ChangeError> {
        let needs_starts = !matches!(change, Change::SetDrained { .. });
        if needs_starts && !self.policy.spawns {
            Some(ChangeError::FixedFleet)
        } else if self.shutting_down {
            Some(ChangeError::ShuttingDown)
        } else if self.waiting.len() >= MAX_WAITING {
            Some(ChangeError::Busy(self.waiting.len()))
        } else {
            None
        }
    }

    /// Answers every change that waits or is under way: the balancer stops.
    pub(super) fn refuse_all(&mut self, steps: &mut Steps) {
        let under_way = self.active.take().map(|active| active.change_id);
        let waiting = self.waiting.drain(..).map(|request| request.change_id);
        let change_ids = under_way.into_iter().chain(waiting);
        let refused = Err(ChangeError::ShuttingDown);
        steps.extend(change_ids.map(|id| DeferredStep::Reply(id, refused.clone())));
    }

    /// Brings the change under way to its end if it has got there, and begins the next.
    pub(super) fn advance_changes(&mut self, steps: &mut Steps) {
        loop {
            if let Some(active) = self.active.take() {
                self.active = self.advance(active, steps);
                if self.active.is_some() {
                    return;
                }
            }
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            let change_id = request.change_id;
            match self.begin(request, steps) {
                Ok(active) => self.active = Some(active),
                Err(error) => steps.push(DeferredStep::Reply(change_id, Err(error))),
            }
        }
    }

    /// A newcomer could not be started: its change comes to nothing.
    pub(super) fn note_start_failure(&mut self, name: ReplicaName, reason: String) {
        if let Some(active) = &mut self.active {
            active.failures.0.push((name, reason));
            active.kind = Kind::RollingBack;
        }
    }

    /// A replica that is a member could not be started: if it is being restarted, that has failed.
    pub(super) fn note_restart_failure(&mut self, index: usize, reason: &str) {
        let name = &self.replicas[index].name;
        if let Some(active) = &mut self.active
            && active.kind == Kind::Restarting
            && active.names.contains(name)
        {
            active.failures.0.push((name.clone(), reason.to_owned()));
        }
    }

    /// The instance that was to replace another one will not: nothing has changed for the replica.
    pub(super) fn note_replacement_failure(&mut self, name: &ReplicaName, reason: String) {
        if let Some(active) = &mut self.active
            && active.kind == Kind::Replacing
        {
            active.failures.0.push((name.clone(), reason));
        }
    }

    /// The replica that a change on request is giving another instance.
    pub(super) fn replaced_on_request(&self) -> Option<&ReplicaName> {
        let active = self.active.as_ref();
        let active = active.filter(|active| active.kind == Kind::Replacing);
        active.and_then(|active| active.names.first())
    }

    /// Whether the change under way is about this replica.
    pub(super) fn is_being_changed(&self, name: &ReplicaName) -> bool {
        let active = self.active.as_ref();
        active.is_some_and(|active| active.names.contains(name))
    }

    /// An instance could not be stopped, which the answer has to say.
    pub(super) fn note_stop_failure(&mut self, name: &ReplicaName, reason: &str) {
        if let Some(active) = &mut self.active
            && active.names.contains(name)
        {
            let reason = match active.kind {
                Kind::Adding | Kind::RollingBack => format!("cannot be stopped again: {reason}"),
                Kind::Removing => reason.to_owned(),
                // Its successor has been started all the same.
                Kind::Restarting | Kind::Replacing | Kind::Done => return,
            };
            active.failures.0.push((name.clone(), reason));
        }
    }

    fn begin(&mut self, request: Request, steps: &mut Steps) -> Result<Active, ChangeError> {
        let mut rng = SeededRng::new(request.seed);
        let (kind, names) = match self.as_addition_or_removal(request.change) {
            Change::Add {
                n,
                hostnames,
                weights,
            } => {
                let present = self.replicas.iter().map(|r| &r.name);
                let present: HashSet<_> = present.chain(self.canary_names()).cloned().collect();
                let series = self.policy.continues_names;
                let fresh = |taken: &HashSet<ReplicaName>| {
                    let next = random_names::next_of_series(taken).filter(|_| series);
                    next.unwrap_or_else(|| rng.fresh_name(taken))
                };
                let names = change::choose_names_to_add(n, &hostnames, &present, fresh)?;
                let weights = change::read_weights(&weights, &hostnames)?;
                let weight_of =
                    |name: &ReplicaName| weights.get(name.as_str()).copied().unwrap_or_default();
                let added: Vec<Weight> = names.iter().map(weight_of).collect();
                self.check_room(&added)?;
                for (name, weight) in names.iter().zip(added) {
                    self.add_replica(name.clone(), weight);
                    self.launch(self.replicas.len() - 1, steps);
                }
                (Kind::Adding, names)
            }
            Change::Remove { n, hostnames } => {
                let (desired, drained) = (self.desired(), self.drained());
                let names =
                    change::choose_names_to_remove(n, &hostnames, &desired, &drained, &mut rng)?;
                steps.leave(names.clone());
                self.remove_all(&names, StopMode::AfterDraining, steps);
                (Kind::Removing, names)
            }
            // There are as many.
            Change::Scale { .. } => (Kind::Done, Vec::new()),
            Change::SetDrained { replica, drained } => {
                self.set_drained(&replica, drained, steps)?;
                (Kind::Done, Vec::new())
            }
            Change::Restart { replica, now } => {
                if self.is_in_hand(&replica) {
                    return Err(ChangeError::RolledOut(replica));
                }
                self.begin_restart(&replica, now, steps)?;
                (Kind::Restarting, vec![replica])
            }
            Change::Replace { replica } => {
                self.begin_replacement(&replica, steps)?;
                (Kind::Replacing, vec![replica])
            }
        };
        Ok(Active {
            change_id: request.change_id,
            kind,
            names,
            failures: Failures::default(),
        })
    }

    /// Says of a change of scale how many replicas it adds or removes.
    fn as_addition_or_removal(&self, change: Change) -> Change {
        let Change::Scale { n } = change else {
            return change;
        };
        let (desired, hostnames) = (self.desired().len(), Vec::new());
        match n.cmp(&desired) {
            Ordering::Equal => change,
            Ordering::Less => Change::Remove {
                n: desired - n,
                hostnames,
            },
            Ordering::Greater => Change::Add {
                n: n - desired,
                hostnames,
                weights: BTreeMap::new(),
            },
        }
    }

    /// Gives the change back if it has not come to its end, and answers it otherwise.
    fn advance(&mut self, active: Active, steps: &mut Steps) -> Option<Active> {
        if active.kind == Kind::RollingBack {
            self.remove_all(&active.names, StopMode::AtOnce, steps);
        }
        let done = match active.kind {
            Kind::Adding => active.names.iter().all(|name| self.is_ready(name)),
            Kind::RollingBack | Kind::Removing => {
                active.names.iter().all(|name| self.is_gone(name))
            }
            Kind::Restarting => {
                let is_over = |name| self.is_ready(name) || self.index_of(name).is_none();
                !active.failures.0.is_empty() || active.names.iter().all(is_over)
            }
            Kind::Replacing => !active.names.iter().any(|name| self.has_successor(name)),
            Kind::Done => true,
        };
        if !done {
            return Some(active);
        }
        let failed = !active.failures.0.is_empty();
        let removed = || {
            active
                .names
                .iter()
                .find(|name| self.index_of(name).is_none())
        };
        let outcome = match active.kind {
            Kind::RollingBack => Err(ChangeError::StartFailed(active.failures)),
            Kind::Restarting | Kind::Replacing if failed => {
                Err(ChangeError::StartFailed(active.failures))
            }
            Kind::Restarting | Kind::Replacing | Kind::Done => match removed() {
                // Another balancer has.
                Some(name) => Err(ChangeError::Unknown(name.clone())),
                None => Ok(Changed {
                    names: Vec::new(),
                    desired: self.desired(),
                }),
            },
            Kind::Removing if failed => Err(ChangeError::StopFailed(active.failures)),
            Kind::Adding | Kind::Removing => {
                if active.kind == Kind::Adding {
                    self.admit_added(&active.names, steps);
                }
                Ok(Changed {
                    names: active.names,
                    desired: self.desired(),
                })
            }
        };
        steps.push(DeferredStep::Reply(active.change_id, outcome));
        None
    }

    pub(super) fn remove_all(&mut self, names: &[ReplicaName], mode: StopMode, steps: &mut Steps) {
        for name in names {
            if let Some(index) = self.index_of(name) {
                self.begin_removal(index, mode, steps);
            }
        }
    }

    fn is_ready(&self, name: &ReplicaName) -> bool {
        let replica = self.find(name);
        replica.is_some_and(|r| matches!(r.phase, Phase::Ready { .. }))
    }

    /// Whether nothing is left of a replica, its instances included.
    fn is_gone(&self, name: &ReplicaName) -> bool {
        self.index_of(name).is_none()
            && !self.stopping_instances.iter().any(|d| d.is_of(name))
            && !self.has_others(name)
    }

    /// The newcomers are ready: they join the ring, all at once.
    fn admit_added(&mut self, names: &[ReplicaName], steps: &mut Steps) {
        let mut members = Vec::new();
        let mut admissions = Vec::new();
        for replica in &mut self.replicas {
            if let Phase::Ready { endpoint, .. } = replica.phase
                && names.contains(&replica.name)
            {
                replica.member = true;
                members.push(replica.as_member());
                admissions.push(ImmediateStep::Admit(replica.id(), endpoint));
            }
        }
        steps.join(members);
        steps.extend(admissions);
    }

    /// Whether the ring has room for more replicas, of these weights.
    pub(super) fn check_room(&self, added: &[Weight]) -> Result<(), BuildError> {
        let weights = self.replicas.iter().map(|replica| &replica.weight);
        let weights = weights.chain(added);
        let total = weights.map(|weight| u64::from(weight.get())).sum();
        self.ring
            .check_limits(self.replicas.len() + added.len(), total)
    }

    /// Puts a newcomer on the list of replicas.
    pub(super) fn add_replica(&mut self, name: ReplicaName, weight: Weight) {
        self.replicas.push(Replica {
            weight,
            ..Replica::new(name, self.next_ordinal, &self.definition)
        });
        self.next_ordinal = self.next_ordinal.saturating_add(1);
    }
}
