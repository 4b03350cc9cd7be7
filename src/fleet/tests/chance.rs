//! What happens next in the simulation.

use std::time::Duration;

use fastrand::Rng;

use super::script::{Line, POLICY, RolloutOrder, endpoint_of};
use super::simulation::Run;
use super::world::{Debt, World};
use crate::fleet::{
    self, Change, ChangeId, Event, Existing, Exit, FailureAction, InstanceEvent, InstanceId,
    LaunchOrder, Policy, RestartLimit, RolloutPolicy,
};
use crate::ring::{ReplicaName, Weight};

/// Makes up what happens next. What is likely differs from history to history, so that
/// each gets into corners that an even mixture never sees.
pub struct Chance {
    rng: Rng,
    /// How likely it is, of 100, that...
    bad_ends: u32,
    troubles: u32,
    echoes: u32,
    requests: u32,
    pauses: u32,
    peers: u32,
    rollouts: u32,
    change_ids: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        Self {
            bad_ends: *choose(&mut rng, &[0, 5, 20, 60, 95]),
            troubles: *choose(&mut rng, &[0, 5, 20, 50]),
            echoes: *choose(&mut rng, &[0, 5, 20]),
            requests: *choose(&mut rng, &[0, 2, 10, 80]),
            pauses: *choose(&mut rng, &[2, 10, 30]),
            peers: *choose(&mut rng, &[0, 0, 5, 40]),
            rollouts: *choose(&mut rng, &[0, 0, 1, 5, 20]),
            change_ids: 0,
            rng,
        }
    }

    pub fn of_100(&mut self, likely: u32) -> bool {
        self.rng.u32(..100) < likely
    }

    /// How much happens.
    pub fn length(&mut self) -> usize {
        self.rng.usize(20..600)
    }

    pub fn beginning(&mut self) -> Vec<Line> {
        let policy = Policy {
            spawns: self.rng.u32(..10) > 0,
            start_timeout: Duration::from_secs(*choose(&mut self.rng, &[1, 10, 120])),
            hang_timeout: Duration::from_secs(*choose(&mut self.rng, &[0, 1, 10])),
            unready_timeout: choose(&mut self.rng, &[None, Some(1), Some(20), Some(300)])
                .map(Duration::from_secs),
            restart_limit: RestartLimit {
                deaths: *choose(&mut self.rng, &[1, 3, 5]),
                window: Duration::from_secs(*choose(&mut self.rng, &[10, 300])),
            },
            rollout: RolloutPolicy {
                parallelism: *choose(&mut self.rng, &[1, 2, 9]),
                order: *choose(
                    &mut self.rng,
                    &[
                        fleet::RolloutOrder::StartFirst,
                        fleet::RolloutOrder::StartFirst,
                        fleet::RolloutOrder::StopFirst,
                    ],
                ),
                monitor: Duration::from_secs(*choose(&mut self.rng, &[0, 5])),
                max_errors: 5,
                on_failure: *choose(
                    &mut self.rng,
                    &[FailureAction::Rollback, FailureAction::Pause],
                ),
            },
            ..POLICY
        };
        let set_up = Line::Policy {
            policy,
            ordinals: false,
        };
        let start = if policy.spawns && self.of_100(30) {
            let found = (0..self.rng.u64(1..8)).map(|_| self.found()).collect();
            Line::Adopt(found)
        } else {
            Line::Start((0..self.rng.u32(..5)).map(|_| self.name()).collect())
        };
        vec![set_up, start]
    }

    fn found(&mut self) -> Existing {
        let id = InstanceId::new(self.name(), self.rng.u64(1..5));
        let runs = self.of_100(50);
        Existing {
            endpoint: runs.then(|| endpoint_of(&id)),
            definition: None,
            order: LaunchOrder {
                id,
                weight: Weight::new(self.rng.u32(1..4)).unwrap(),
                ordinal: self.rng.u64(..6),
            },
        }
    }

    /// Few names, so that they are used again soon.
    fn name(&mut self) -> ReplicaName {
        format!("S{}", self.rng.u32(1..7)).parse().unwrap()
    }

    pub fn next(&mut self, run: &Run) -> Line {
        if self.of_100(self.requests) {
            return self.request(run);
        }
        if self.of_100(self.rollouts) && run.world.policy.spawns {
            return Line::Rollout(self.rollout());
        }
        if self.of_100(self.echoes) {
            let earlier = choose(&mut self.rng, &run.history);
            if matches!(earlier, Line::Report(_)) && run.world.allows(earlier) {
                return earlier.clone();
            }
        }
        if self.of_100(self.troubles)
            && let Some(event) = self.interference(&run.world)
        {
            return Line::Report(event);
        }
        if self.peers > 0 && self.of_100(5) {
            let event = self.peer(&run.world);
            if run.world.allows(&Line::Report(event.clone())) {
                return Line::Report(event);
            }
        }
        let debts = run.world.debts();
        if debts.is_empty() || self.of_100(self.pauses) {
            return self.pause(run);
        }
        let debt = choose(&mut self.rng, &debts).clone();
        Line::Report(match debt {
            Debt::Count(id) if self.of_100(self.bad_ends) => {
                let (requests, failed) = (100, 50);
                Event::Instance(id, InstanceEvent::RequestsCounted { requests, failed })
            }
            Debt::Launch(id) if self.of_100(self.bad_ends) => {
                Event::Instance(id, InstanceEvent::LaunchFailed("no such image".to_owned()))
            }
            Debt::Stop(id) if self.of_100(self.bad_ends) => {
                Event::Instance(id, InstanceEvent::StopFailed("device busy".to_owned()))
            }
            Debt::Launch(id) if self.of_100(self.peers) => {
                let by = (id.generation + self.rng.u64(0..3))
                    .saturating_sub(1)
                    .max(1);
                let endpoint = endpoint_of(&InstanceId::new(id.replica.clone(), by));
                let preempted = InstanceEvent::LaunchPreempted(by, endpoint, None);
                let preempted = Event::Instance(id.clone(), preempted);
                match run.world.allows(&Line::Report(preempted.clone())) {
                    true => preempted,
                    false => Debt::Launch(id).settled(),
                }
            }
            debt => debt.settled(),
        })
    }

    fn rollout(&mut self) -> RolloutOrder {
        match self.rng.u32(..8) {
            0 => RolloutOrder::Pause,
            1 | 2 => RolloutOrder::Resume,
            3 => RolloutOrder::Undo,
            4 => RolloutOrder::Promote,
            _ => {
                let share = choose(&mut self.rng, &[None, Some("10%"), Some("50%")]);
                let share = share.map(|share| share.parse().unwrap());
                RolloutOrder::Start(format!("v{}", self.rng.u32(1..5)), share)
            }
        }
    }

    fn interference(&mut self, world: &World) -> Option<Event> {
        let ids: Vec<_> = world.instances.keys().collect();
        // The youngest are the interesting ones.
        let youngest = ids.len().saturating_sub(12);
        let id = (*self.rng.choice(ids.get(youngest..)?.iter())?).clone();
        let event = match self.rng.u32(..10) {
            9 if world.policy.spawns => InstanceEvent::StandsIn,
            8 => InstanceEvent::Ejected,
            0 | 1 if world.policy.spawns => InstanceEvent::Exited(Exit::signal(9)),
            2 => InstanceEvent::ConnectionRefused,
            3 | 4 => InstanceEvent::BecameUnready("status 503".to_owned()),
            5 => InstanceEvent::ProbeFailed("status 404".to_owned()),
            6 => InstanceEvent::HealthcheckChanged(self.of_100(20)),
            _ => InstanceEvent::BecameUnresponsive,
        };
        let event = Event::Instance(id, event);
        let possible = world.allows(&Line::Report(event.clone()));
        possible.then_some(event)
    }

    /// What another balancer does, or the engine.
    fn peer(&mut self, world: &World) -> Event {
        let ids: Vec<_> = world.instances.keys().collect();
        match (self.rng.u32(..8), self.rng.choice(ids)) {
            (0, _) => Event::Recovered,
            (5, _) => Event::DrainedInRecord((0..self.rng.u32(..3)).map(|_| self.name()).collect()),
            (4, _) => Event::NameFreed(self.name()),
            (1, Some(id)) => Event::Instance(id.clone(), InstanceEvent::RemovedElsewhere),
            (6, Some(id)) => Event::SuccessorStarted(id.clone()),
            (7, _) => {
                let Existing { mut order, .. } = self.found();
                order.id.generation += self.rng.u64(..20);
                let endpoint = endpoint_of(&order.id);
                Event::Succeeded(order, endpoint, None)
            }
            _ => {
                let Existing { mut order, .. } = self.found();
                order.id.generation += self.rng.u64(..20);
                let endpoint = endpoint_of(&order.id);
                Event::Discovered(order, endpoint, None)
            }
        }
    }

    fn pause(&mut self, run: &Run) -> Line {
        let wakes_at = run.player.fleet.as_ref().and_then(|fleet| fleet.wakes_at());
        let to_wake = wakes_at.map(|at| at.saturating_sub(run.world.now));
        let millis = |ms| Duration::from_millis(ms);
        match (self.rng.u32(..8), to_wake) {
            (0..4, Some(time)) => Line::After(time),
            (4, Some(time)) => Line::After(time.saturating_sub(millis(1))),
            (5, _) => Line::Wait(millis(self.rng.u64(..3_000))),
            (6, _) => Line::After(Duration::from_secs(self.rng.u64(..120))),
            _ => Line::After(millis(self.rng.u64(..1_500))),
        }
    }

    fn request(&mut self, run: &Run) -> Line {
        // About one in a hundred is the last.
        if self.rng.u32(..100) == 0 && run.history.len() > 20 {
            return match self.of_100(30) {
                true => Line::HandOver,
                false => Line::ShutDown,
            };
        }
        self.change_ids += 1;
        let id = ChangeId(self.change_ids);
        if self.of_100(40) {
            let replica = match self.rng.choice(&run.world.members) {
                Some(member) if self.of_100(90) => member.clone(),
                _ => self.name(),
            };
            let change = match self.rng.u32(..6) {
                0 | 1 => Change::SetDrained {
                    replica,
                    drained: self.of_100(60),
                },
                2 => Change::Scale {
                    n: self.rng.usize(..6),
                },
                3 => Change::Replace { replica },
                _ => Change::Restart {
                    replica,
                    now: self.of_100(30),
                },
            };
            return Line::Request(id, change, self.rng.u64(1..1000));
        }
        let n = self.rng.usize(..4);
        let named = self.rng.usize(..=n.max(1));
        let hostnames = (0..named).map(|_| self.name().to_string()).collect();
        let grow = self.rng.usize(..8) >= run.world.members.len();
        let change = match grow {
            true => Change::Add {
                n,
                hostnames,
                weights: Default::default(),
            },
            false => Change::Remove { n, hostnames },
        };
        Line::Request(id, change, self.rng.u64(1..1000))
    }
}

fn choose<'a, T>(rng: &mut Rng, list: &'a [T]) -> &'a T {
    &list[rng.usize(..list.len())]
}
