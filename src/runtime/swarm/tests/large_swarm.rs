//! A simulation of a large Swarm: real fleets, one a balancer, against managers whose calls take as long as
//! was measured (docs/swarm.md, "Large fleets"). The calls of watching and starting are those of [`watch`](super::super::watch),
//! [`launch`](super::super::launch) and [`placement`](super::super::placement); heartbeats and requests are left out. The clock is tokio's paused one, which
//! moves on when no task has anything to do.
//!
//! ```text
//! make bench-large-swarm     prints the table
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use crate::fleet::{
    DeferredStep, Desired, Event, Existing, Exit, FailureAction, Fleet, ImmediateStep,
    InstanceEvent, InstanceId, LaunchOrder, Policy, RestartLimit, RolloutOrder, RolloutPolicy,
    Step,
};
use crate::ring::testing::servers;
use crate::ring::{ReplicaName, Weight};
use crate::runtime::swarm::launch::POLL_INTERVAL as LAUNCH_POLL;
use crate::runtime::swarm::poll_schedule::PollSchedule;
use crate::runtime::swarm::presence::RENEW_INTERVAL;

/// Managers of the Swarm, and the calls that each can work on at once.
const MANAGERS: usize = 3;
const CORES: usize = 2;

/// From a service's creation until its task has a node, and until it runs (shared measurements of 20.10).
const ASSIGNED_AFTER: Duration = Duration::from_millis(250);
const RUNS_AFTER: Duration = Duration::from_millis(500);

/// From a death until its connection's end has told of it.
const FIN_AFTER: Duration = Duration::from_millis(40);

/// From the loss of a node until heartbeats have told of it, at the earliest and at the latest.
const LOSS_AFTER: [Duration; 2] = [Duration::from_millis(1_700), Duration::from_millis(2_500)];

/// What a call takes of a manager's core, in ms, and what its answer has, in KB, by how many services there are.
const MEASURED: [(f64, Cost, Cost); 4] = [
    (9.0, Cost(1.0, 18.0), Cost(0.8, 14.0)),
    (100.0, Cost(4.4, 193.0), Cost(4.0, 154.0)),
    (300.0, Cost(11.9, 550.0), Cost(10.2, 477.0)),
    (1_000.0, Cost(77.0, 2_000.0), Cost(92.0, 1_600.0)),
];

/// A call about one object or one replica, and a write, which the leader orders.
const SMALL: Cost = Cost(1.0, 3.0);
const WRITE: Cost = Cost(1.0, 1.0);
const LEADER_WRITE: Duration = Duration::from_millis(3);

/// Milliseconds and KB.
#[derive(Clone, Copy)]
struct Cost(f64, f64);

/// Of a list of as many tasks or services.
fn cost_of_list(count: usize, of: impl Fn(&(f64, Cost, Cost)) -> Cost) -> Cost {
    let count = count as f64;
    let above = MEASURED.iter().position(|(at, ..)| count <= *at);
    let (from, to) = match above {
        Some(0) => return of(&MEASURED[0]),
        Some(index) => (&MEASURED[index - 1], &MEASURED[index]),
        None => (&MEASURED[2], &MEASURED[3]),
    };
    let part = (count - from.0) / (to.0 - from.0);
    let (low, high) = (of(from), of(to));
    Cost(
        low.0 + part * (high.0 - low.0),
        low.1 + part * (high.1 - low.1),
    )
}

/// An instance's service, as the managers have it.
struct Service {
    created: Instant,
    ended: bool,
}

/// The managers, and what they know.
struct Managers {
    cores: Vec<Semaphore>,
    leader: Mutex<()>,
    services: RefCell<HashMap<InstanceId, Service>>,
    /// Of each balancer.
    schedules: Vec<PollSchedule>,
    calls: Cell<u64>,
    kb: Cell<f64>,
    busy: Cell<Duration>,
}

impl Managers {
    async fn call(&self, balancer: usize, cost: Cost) {
        let manager = &self.cores[balancer % MANAGERS];
        let core = manager.acquire().await.expect("never closed");
        let time = Duration::from_secs_f64(cost.0 / 1e3);
        sleep(time).await;
        drop(core);
        self.calls.set(self.calls.get() + 1);
        self.kb.set(self.kb.get() + cost.1);
        self.busy.set(self.busy.get() + time);
    }

    async fn write(&self, balancer: usize) {
        self.call(balancer, WRITE).await;
        let _alone = self.leader.lock().await;
        sleep(LEADER_WRITE).await;
    }

    async fn list_tasks(&self, balancer: usize) {
        let count = self.services.borrow().len();
        self.call(balancer, cost_of_list(count, |(_, tasks, _)| *tasks))
            .await;
    }

    async fn list_services(&self, balancer: usize) {
        let count = self.services.borrow().len();
        self.call(balancer, cost_of_list(count, |(_, _, services)| *services))
            .await;
    }

    /// Tells every balancer that a service has changed.
    fn changed(&self) {
        for schedule in &self.schedules {
            schedule.services_changed();
            schedule.look_now();
        }
    }

    /// For how long the newest service of a replica that has not ended has been there.
    fn newest(&self, replica: &ReplicaName) -> Option<(InstanceId, Duration)> {
        let services = self.services.borrow();
        let live = services
            .iter()
            .filter(|(id, service)| id.replica == *replica && !service.ended);
        let (id, service) = live.max_by_key(|(id, _)| id.generation)?;
        Some((id.clone(), service.created.elapsed()))
    }
}

/// A balancer.
struct Balancer {
    number: usize,
    managers: Rc<Managers>,
    begun: Instant,
    fleet: RefCell<Fleet>,
    placing: Mutex<()>,
    /// When replicas were admitted again.
    admitted: RefCell<HashMap<ReplicaName, Instant>>,
    launched: Cell<usize>,
}

fn endpoint(id: &InstanceId) -> SocketAddr {
    let [.., b, c, d] = id.generation.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, b, c, d), 7070))
}

impl Balancer {
    fn report(self: &Rc<Self>, id: InstanceId, event: InstanceEvent) {
        let now = self.begun.elapsed();
        let steps = self
            .fleet
            .borrow_mut()
            .apply(Event::Instance(id, event), now);
        self.execute(steps);
    }

    fn execute(self: &Rc<Self>, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Immediate(ImmediateStep::Watch(id, _)) => {
                    // The first heartbeat finds a server that answers.
                    let this = Rc::clone(self);
                    spawn_local(async move {
                        sleep(Duration::from_millis(5)).await;
                        this.report(id, InstanceEvent::BecameHealthy);
                    });
                }
                Step::Immediate(ImmediateStep::Admit(id, _)) => {
                    let mut admitted = self.admitted.borrow_mut();
                    admitted.insert(id.replica, Instant::now());
                }
                Step::Deferred(DeferredStep::Launch(order, ..)) => {
                    spawn_local(Rc::clone(self).launch(order));
                }
                Step::Deferred(DeferredStep::Stop(id, _)) => {
                    let this = Rc::clone(self);
                    spawn_local(async move { this.report(id, InstanceEvent::Stopped) });
                }
                _ => {}
            }
        }
    }

    async fn small(&self) {
        self.managers.call(self.number, SMALL).await;
    }

    /// As `SwarmFleet::launch` does it.
    async fn launch(self: Rc<Self>, order: LaunchOrder) {
        let id = order.id;
        loop {
            // Who plays it.
            self.small().await;
            self.small().await;
            if let Some((theirs, _)) = self.managers.newest(&id.replica)
                && theirs.generation >= id.generation
            {
                return self.take_over(id, theirs).await;
            }
            if self.create_and_place(&id).await {
                break;
            }
            self.small().await;
            self.small().await;
            sleep(Duration::from_millis(40)).await;
        }
        self.small().await;
        while self
            .managers
            .newest(&id.replica)
            .is_some_and(|(_, age)| age < RUNS_AFTER)
        {
            self.small().await;
            sleep(LAUNCH_POLL).await;
        }
        self.report(id.clone(), InstanceEvent::Launched(endpoint(&id)));
        // What has ended goes.
        self.small().await;
        self.small().await;
        self.managers.write(self.number).await;
        let mut services = self.managers.services.borrow_mut();
        services.retain(|other, service| other.replica != id.replica || !service.ended);
        drop(services);
        self.managers.changed();
    }

    /// False if another balancer was first.
    async fn create_and_place(&self, id: &InstanceId) -> bool {
        let _alone = self.placing.lock().await;
        self.small().await;
        self.managers.list_tasks(self.number).await;
        self.managers.write(self.number).await;
        let created = Instant::now();
        {
            let mut services = self.managers.services.borrow_mut();
            if services.contains_key(id) {
                return false;
            }
            let service = Service {
                created,
                ended: false,
            };
            services.insert(id.clone(), service);
        }
        self.launched.set(self.launched.get() + 1);
        self.managers.changed();
        while created.elapsed() < ASSIGNED_AFTER {
            self.small().await;
            sleep(LAUNCH_POLL / 2).await;
        }
        true
    }

    async fn take_over(self: Rc<Self>, ours: InstanceId, theirs: InstanceId) {
        while self
            .managers
            .newest(&theirs.replica)
            .is_some_and(|(_, age)| age < RUNS_AFTER)
        {
            self.small().await;
            sleep(LAUNCH_POLL).await;
        }
        let at = endpoint(&theirs);
        let preempted = InstanceEvent::LaunchPreempted(theirs.generation, at, None);
        self.report(ours, preempted);
    }

    /// As [`watch`](super::super::watch) does it.
    async fn watch(self: Rc<Self>) {
        let schedule = &self.managers.schedules[self.number];
        loop {
            schedule.tasks_are_due().await;
            let asked = Instant::now();
            self.managers.list_tasks(self.number).await;
            let count = self.managers.services.borrow().len();
            schedule.tasks_listed(count, asked.elapsed());
            if schedule.take_services_due() {
                self.managers.list_services(self.number).await;
            }
        }
    }

    async fn renew(self: Rc<Self>) {
        loop {
            sleep(RENEW_INTERVAL).await;
            self.small().await;
            self.managers.write(self.number).await;
        }
    }
}

/// How large it is.
#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    replicas: usize,
    balancers: usize,
}

struct Simulation {
    managers: Rc<Managers>,
    balancers: Vec<Rc<Balancer>>,
}

fn policy() -> Policy {
    Policy {
        start_timeout: Duration::from_secs(60),
        stop_grace: Duration::from_secs(5),
        hang_timeout: Duration::from_millis(300),
        unready_timeout: None,
        restart_limit: RestartLimit::default(),
        rollout: RolloutPolicy {
            parallelism: 1,
            order: RolloutOrder::StartFirst,
            monitor: Duration::from_secs(5),
            max_errors: 5,
            on_failure: FailureAction::Rollback,
        },
        spawns: true,
        continues_names: false,
        names_have_generations: true,
        balancer: "here",
    }
}

impl Simulation {
    /// A fleet at rest.
    async fn start(size: Size) -> Self {
        let members = servers(size.replicas);
        let created = Instant::now();
        let ids = members
            .iter()
            .map(|member| InstanceId::new(member.name.clone(), 1));
        let service = |id| {
            let ended = false;
            (id, Service { created, ended })
        };
        let managers = Rc::new(Managers {
            cores: (0..MANAGERS).map(|_| Semaphore::new(CORES)).collect(),
            leader: Mutex::default(),
            services: RefCell::new(ids.map(service).collect()),
            schedules: (0..size.balancers).map(|_| Default::default()).collect(),
            calls: Cell::default(),
            kb: Cell::default(),
            busy: Cell::default(),
        });
        let found = |(ordinal, member): (u64, &crate::ring::Member)| {
            let id = InstanceId::new(member.name.clone(), 1);
            Existing {
                endpoint: Some(endpoint(&id)),
                order: LaunchOrder {
                    id,
                    weight: Weight::default(),
                    ordinal,
                },
                definition: None,
            }
        };
        let mut balancers = Vec::new();
        for number in 0..size.balancers {
            let existing: Vec<_> = (1..).zip(&members).map(found).collect();
            let desired = Desired::of(&members);
            let (fleet, steps) = Fleet::new(policy(), desired, existing, Duration::ZERO);
            let balancer = Rc::new(Balancer {
                number,
                managers: Rc::clone(&managers),
                begun: Instant::now(),
                fleet: RefCell::new(fleet),
                placing: Mutex::default(),
                admitted: RefCell::default(),
                launched: Cell::default(),
            });
            balancer.execute(steps);
            spawn_local(Rc::clone(&balancer).watch());
            spawn_local(Rc::clone(&balancer).renew());
            balancers.push(balancer);
            // They were not started in one moment.
            sleep(Duration::from_millis(37)).await;
        }
        sleep(Duration::from_secs(10)).await;
        Self {
            managers,
            balancers,
        }
    }

    /// Calls and KB a second, and how much of a core.
    async fn measure(&self, time: Duration) -> (f64, f64, f64) {
        let before = (
            self.managers.calls.get(),
            self.managers.kb.get(),
            self.managers.busy.get(),
        );
        sleep(time).await;
        let calls = (self.managers.calls.get() - before.0) as f64;
        let kb = self.managers.kb.get() - before.1;
        let busy = self.managers.busy.get() - before.2;
        let seconds = time.as_secs_f64();
        (calls / seconds, kb / seconds, busy.as_secs_f64() / seconds)
    }

    /// Ends the instances of these replicas, of which each balancer hears some time later; when the first and the
    /// last balancer had the last of them back, and the calls of that time.
    async fn end(&self, names: &[ReplicaName], told: impl Fn(usize) -> Duration) -> Healed {
        let died = Instant::now();
        let calls = self.managers.calls.get();
        let launched = |balancer: &Rc<Balancer>| balancer.launched.get();
        let launches: usize = self.balancers.iter().map(launched).sum();
        let mut dead = Vec::new();
        for name in names {
            let (id, _) = self.managers.newest(name).expect("it runs");
            let mut services = self.managers.services.borrow_mut();
            services.get_mut(&id).expect("it is there").ended = true;
            dead.push(id);
        }
        for (number, balancer) in self.balancers.iter().enumerate() {
            let (balancer, dead) = (Rc::clone(balancer), dead.clone());
            let at = died + told(number);
            spawn_local(async move {
                sleep_until(at).await;
                balancer.managers.schedules[balancer.number].look_closely();
                for id in dead {
                    balancer.report(id, InstanceEvent::Exited(Exit::signal(9)));
                }
            });
        }
        let back = |balancer: &Rc<Balancer>| {
            let admitted = balancer.admitted.borrow();
            let times = names.iter().map(|name| admitted.get(name).copied());
            times
                .map(|at| at.filter(|at| *at > died))
                .collect::<Option<Vec<_>>>()
                .and_then(|times| times.into_iter().max())
        };
        let deadline = died + Duration::from_secs(3_600);
        let times = loop {
            let times: Option<Vec<_>> = self.balancers.iter().map(back).collect();
            if let Some(times) = times {
                break times;
            }
            assert!(Instant::now() < deadline, "the dead are not back");
            sleep(Duration::from_millis(20)).await;
        };
        let since = |at: Option<&Instant>| at.map_or(0.0, |at| (*at - died).as_secs_f64());
        // Until the last lists are over.
        sleep(Duration::from_secs(5)).await;
        Healed {
            first: since(times.iter().min()),
            last: since(times.iter().max()),
            calls: self.managers.calls.get() - calls,
            launches: self.balancers.iter().map(launched).sum::<usize>() - launches,
        }
    }
}

struct Healed {
    first: f64,
    last: f64,
    calls: u64,
    launches: usize,
}

const SIZES: [Size; 4] = [
    Size {
        nodes: 3,
        replicas: 9,
        balancers: 3,
    },
    Size {
        nodes: 10,
        replicas: 100,
        balancers: 3,
    },
    Size {
        nodes: 20,
        replicas: 300,
        balancers: 10,
    },
    Size {
        nodes: 50,
        replicas: 1_000,
        balancers: 20,
    },
];

#[tokio::test(start_paused = true)]
async fn large_swarm_heals_each_death_once() {
    println!(
        "| nodes, replicas, balancers | calls a second at rest | MB | cores | one death, back | calls | a node lost: replicas, back | calls |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for size in SIZES {
        LocalSet::new()
            .run_until(async {
                let swarm = Simulation::start(size).await;
                let (calls, kb, cores) = swarm.measure(Duration::from_secs(60)).await;
                let names: Vec<_> = servers(size.replicas)
                    .into_iter()
                    .map(|member| member.name)
                    .collect();
                // Not one replica twice: a second death is not healed at once.
                let (one, others) = names.split_first().expect("there are some");
                let death = swarm.end(std::slice::from_ref(one), |_| FIN_AFTER).await;
                assert_eq!(death.launches, 1);
                let on_node = size.replicas / size.nodes;
                // Each balancer's heartbeats have a phase of their own.
                let phase = (LOSS_AFTER[1] - LOSS_AFTER[0]) / size.balancers as u32;
                let lost = swarm
                    .end(&others[..on_node], |n| LOSS_AFTER[0] + phase * n as u32)
                    .await;
                assert_eq!(lost.launches, on_node);
                let back = |healed: &Healed| format!("{:.1} to {:.1} s", healed.first, healed.last);
                let Size {
                    nodes,
                    replicas,
                    balancers,
                } = size;
                println!(
                    "| {nodes}, {replicas}, {balancers} | {calls:.1} | {:.2} | {cores:.3} | {} | {} | {on_node}: {} | {} |",
                    kb / 1e3,
                    back(&death),
                    death.calls,
                    back(&lost),
                    lost.calls,
                );
                if size.replicas == 300 {
                    let share = cores / size.balancers as f64;
                    assert!(share <= 0.02, "{share} of a core for a balancer at rest");
                }
            })
            .await;
    }
}
