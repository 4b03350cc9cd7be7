//! What is seen of a new instance once it plays its replica: whether it stays well, and which part of
//! its requests fails.

use std::sync::Arc;
use std::time::Duration;

use super::{ActiveRollout, Fleet};
use crate::fleet::event::{ImmediateStep, Steps};
use crate::fleet::lifecycle::Phase;
use crate::fleet::record_definition::Definition;
use crate::fleet::rollout_state::{Course, RolloutChange};
use crate::fleet::unresponsive::UNRESPONSIVE;
use crate::fleet::{InstanceId, Time};
use crate::ring::ReplicaName;

/// The fewest requests of which a part says something.
const MIN_REQUESTS: u64 = 10;

/// How often they are counted: a version that fails many requests is to fail no more of them than it has to.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// A replica that has been begun with and is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InHand {
    /// The old instance, of this generation, makes room for the new one.
    Restarting(ReplicaName, u64),
    /// The new instance has requests, and is watched.
    Monitored(InstanceId, Watch),
    /// Its failed requests are being counted; it is watched until then.
    Counted(InstanceId, Time),
}

/// For how long a new instance is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watch {
    /// When its failed requests are counted next.
    count_at: Time,
    until: Time,
}

impl Watch {
    fn new(now: Time, until: Time) -> Self {
        Self {
            count_at: until.min(now.saturating_add(COUNT_INTERVAL)),
            until,
        }
    }
}

impl InHand {
    pub(super) fn replica(&self) -> &ReplicaName {
        match self {
            Self::Restarting(name, _) => name,
            Self::Monitored(id, _) | Self::Counted(id, _) => &id.replica,
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Time> {
        match self {
            Self::Monitored(_, watch) => Some(watch.count_at),
            Self::Restarting(..) | Self::Counted(..) => None,
        }
    }
}

/// What becomes of a replica in hand.
enum Verdict {
    /// It stays in hand.
    Wait,
    /// Its new instance is ready.
    Ready(InstanceId),
    /// Its failed requests are to be counted; it is watched until then.
    Count(InstanceId, Time),
    /// It is in hand no more: it has left the fleet, or has still to be replaced.
    Released,
    Failed(String),
}

impl ActiveRollout {
    pub(super) fn has_in_hand(&self, name: &ReplicaName) -> bool {
        self.in_hand.iter().any(|one| one.replica() == name)
    }
}

impl Fleet {
    /// Stops an instance and starts one of the other definition in its place.
    pub(super) fn replace_in_place(
        &mut self,
        index: usize,
        definition: Arc<Definition>,
        steps: &mut Steps,
    ) {
        let replica = &mut self.replicas[index];
        replica.definition = definition;
        let (name, generation) = (replica.name.clone(), replica.generation);
        // It is desired, or it would not have been begun with.
        let _ = self.begin_restart(&name, false, steps);
        if let Some(rollout) = &mut self.rollout {
            rollout.in_hand.push(InHand::Restarting(name, generation));
        }
    }

    /// The rollout is resumed: replicas whose new instance has failed are awaited again.
    pub(super) fn take_in_hand_again(&mut self, course: Course) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        (rollout.retries, rollout.retry_at) = (0, None);
        if course == Course::Back {
            return;
        }
        for replica in self.replicas.iter().filter(|replica| replica.is_desired()) {
            let is_ready = matches!(replica.phase, Phase::Ready { .. });
            let is_new = replica.definition == *rollout.definition();
            if is_new && !is_ready && !rollout.has_in_hand(&replica.name) {
                let before = replica.generation.saturating_sub(1);
                let awaited = InHand::Restarting(replica.name.clone(), before);
                rollout.in_hand.push(awaited);
            }
        }
    }

    /// A new instance plays its replica.
    pub(super) fn has_replaced(&mut self, instance: InstanceId, steps: &mut Steps) {
        let monitor = self.policy.rollout.monitor;
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let forward = rollout.stage.course() != Course::Back;
        if forward && !monitor.is_zero() {
            let until = steps.now.saturating_add(monitor);
            let monitored = InHand::Monitored(instance.clone(), Watch::new(steps.now, until));
            rollout.in_hand.push(monitored);
            steps.push(ImmediateStep::CountRequests(instance.clone()));
        }
        (rollout.retries, rollout.retry_at) = (0, None);
        let change = RolloutChange::Replaced {
            id: rollout.id,
            instance,
            updated: forward,
        };
        self.report_rollout(change, steps);
    }

    /// Looks at each replica in hand.
    pub(super) fn judge_in_hand(&mut self, steps: &mut Steps) {
        let mut place = 0;
        loop {
            let in_hand = self.rollout.as_ref().and_then(|r| r.in_hand.get(place));
            let Some(in_hand) = in_hand.cloned() else {
                return;
            };
            let verdict = self.judge(&in_hand, steps.now);
            if let Verdict::Wait = verdict {
                place += 1;
                continue;
            }
            if let Some(rollout) = &mut self.rollout {
                rollout.in_hand.remove(place);
            }
            match verdict {
                Verdict::Wait | Verdict::Released => {}
                Verdict::Ready(instance) => {
                    self.trial_is_over(steps);
                    self.has_replaced(instance, steps);
                }
                Verdict::Count(instance, until) => {
                    steps.push(ImmediateStep::ReportRequests(instance.clone()));
                    if let Some(rollout) = &mut self.rollout {
                        rollout.in_hand.push(InHand::Counted(instance, until));
                    }
                }
                Verdict::Failed(reason) => match self.rollout.as_ref().map(|r| r.stage.course()) {
                    Some(Course::Back) => self.retry_way_back(reason, steps),
                    _ => self.fail_rollout(reason, steps),
                },
            }
        }
    }

    /// The instance that plays a replica has died, for this reason: that may be a new one.
    pub(in crate::fleet) fn note_death_in_hand(
        &mut self,
        index: usize,
        reason: &str,
        steps: &mut Steps,
    ) {
        let replica = &self.replicas[index];
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let is_new = |one: &InHand| match one {
            InHand::Restarting(name, before) => {
                *name == replica.name && *before != replica.generation
            }
            InHand::Monitored(id, _) | InHand::Counted(id, _) => *id == replica.id(),
        };
        let Some(place) = rollout.in_hand.iter().position(is_new) else {
            return;
        };
        if rollout.stage.course() == Course::Back {
            // It is healed with the earlier definition like any other.
            return;
        }
        rollout.in_hand.remove(place);
        let reason = format!("the new instance of {}: {reason}", replica.name);
        self.fail_rollout(reason, steps);
    }

    /// The new instance of a replica fails one request after the other.
    pub(in crate::fleet) fn ejected(&mut self, index: usize, steps: &mut Steps) {
        self.note_death_in_hand(index, "fails one request after the other", steps);
    }

    /// What the requests of a new instance came to.
    pub(in crate::fleet) fn requests_counted(
        &mut self,
        index: usize,
        requests: u64,
        failed: u64,
        steps: &mut Steps,
    ) {
        let (id, max) = (
            self.replicas[index].id(),
            u64::from(self.policy.rollout.max_errors),
        );
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let mut in_hand = rollout.in_hand.iter().enumerate();
        let counted = in_hand.find_map(|(place, one)| match one {
            InHand::Counted(counted, until) if *counted == id => Some((place, *until)),
            _ => None,
        });
        let Some((place, until)) = counted else {
            return;
        };
        rollout.in_hand.remove(place);
        let too_many = requests >= MIN_REQUESTS && failed * 100 > requests * max;
        if too_many && rollout.stage.course() != Course::Back {
            let name = &id.replica;
            let reason = format!(
                "the new instance of {name}: {failed} of its {requests} requests have failed"
            );
            self.fail_rollout(reason, steps);
        } else if until > steps.now {
            let watch = Watch::new(steps.now, until);
            rollout.in_hand.push(InHand::Monitored(id, watch));
        }
    }

    fn judge(&self, in_hand: &InHand, now: Time) -> Verdict {
        let replica = self.find(in_hand.replica());
        let Some(replica) = replica.filter(|replica| replica.is_desired()) else {
            return Verdict::Released;
        };
        let id = replica.id();
        match (in_hand, &replica.phase) {
            (InHand::Restarting(_, before), Phase::Ready { .. }) if *before == id.generation => {
                // What was started met it under its own name. There are a few attempts to stop it.
                match self.stopping_instances.iter().any(|one| one.is(&id)) {
                    true => Verdict::Wait,
                    false => Verdict::Failed(format!(
                        "the old instance of {} cannot be stopped",
                        replica.name
                    )),
                }
            }
            // It was started again as it was before: its turn comes once more.
            (InHand::Restarting(..), Phase::Ready { .. })
                if self
                    .target()
                    .is_some_and(|wanted| wanted != replica.definition) =>
            {
                Verdict::Released
            }
            (InHand::Restarting(..), Phase::Ready { .. }) => Verdict::Ready(id),
            (InHand::Restarting(..), _) => Verdict::Wait,
            (InHand::Monitored(new, _) | InHand::Counted(new, _), _) if *new != id => {
                Verdict::Failed(format!("the new instance of {} is gone", replica.name))
            }
            (_, Phase::Hung { .. }) => Verdict::Failed(format!(
                "the new instance of {}: {UNRESPONSIVE}",
                replica.name
            )),
            (_, Phase::Unready { .. }) => {
                let reason = replica.last_error.as_deref().unwrap_or("it is unready");
                Verdict::Failed(format!("the new instance of {}: {reason}", replica.name))
            }
            (InHand::Monitored(_, watch), Phase::Ready { .. }) if watch.count_at <= now => {
                Verdict::Count(id, watch.until)
            }
            (_, Phase::Ready { .. }) => Verdict::Wait,
            _ => Verdict::Failed(format!("the new instance of {} is gone", replica.name)),
        }
    }
}
