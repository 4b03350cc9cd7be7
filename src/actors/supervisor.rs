//! Supervisor: owns the fleet and carries its steps out.
//!
//! A handler here reads: turn the message into an event, ask the fleet, carry the steps
//! out. What touches the ring is sent at once and in order; whatever comes later in the
//! same answer waits until the ring has it.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, Recipient,
    ResponseFuture, SpawnHandle, StreamHandler, WrapFuture,
};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use log::{Level, error, info, log, warn};
use tokio::sync::oneshot;

use super::graveyard::Graveyard;
use super::heartbeat_prober::{HealthFlipped, LookAtBeats, UnwatchInstance, WatchInstance};
use super::history::{History, HistoryEntry, Undated};
use super::lifeline::Lifeline;
use super::ring_state::{
    AdmitReplica, DrainInstance, EvictReplica, InstanceEnded, JoinRing, LeaveRing,
};
use crate::fleet::{
    Change, ChangeError, Event, Fleet, Flip, Found, InstanceId, LaunchOrder, Policy, ReplicaStatus,
    Step, Ticket, Time,
};
use crate::ring::{Member, ReplicaName, RingSpec, Weight};
use crate::runtime::{Running, Runtime, RuntimeEvent, Whereabouts};

/// Which replicas are desired?
#[derive(Debug, Message)]
#[rtype(result = "Vec<ReplicaName>")]
pub struct ListReplicas;

/// Add or remove replicas. Answered once it is done: the desired replicas then.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<ReplicaName>, ChangeError>")]
pub struct ChangeReplicas(pub Change);

/// A request's connection to an instance was refused.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ConnectionRefused(pub InstanceId);

/// The end. Answered once every instance that is to be stopped is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ShutDown {
    /// Whether another balancer takes the instances over.
    pub hand_over: bool,
}

/// How are the replicas, and what has happened to them?
#[derive(Debug, Message)]
#[rtype(result = "FleetReport")]
pub struct LookAtFleet;

/// The answer to [`LookAtFleet`].
#[derive(Debug, Clone)]
pub struct FleetReport {
    /// Milliseconds since the balancer's start.
    pub now_ms: f64,
    /// Every replica.
    pub replicas: Vec<ReplicaStatus>,
    /// Where each of them runs, in the same order.
    pub whereabouts: Vec<Option<Whereabouts>>,
    /// What happened lately, the oldest first.
    pub events: Vec<HistoryEntry>,
    /// What runs the replicas.
    pub runtime: &'static str,
    /// What keeps it from doing so, if anything does.
    pub runtime_trouble: Option<String>,
}

/// The ring has been changed: what the fleet has to know of it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RingReshaped {
    /// How it is built now: newcomers have to fit.
    pub spec: RingSpec,
    /// Weights that have changed; they go with the replicas' next instances.
    pub weights: Vec<(ReplicaName, Weight)>,
}

/// Something has happened; for the actor's own futures.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Happened(Event);

/// What the Supervisor may ask of the ring.
pub struct RingLinks {
    /// Members come.
    pub join: Recipient<JoinRing>,
    /// Members go.
    pub leave: Recipient<LeaveRing>,
    /// A member is ready.
    pub admit: Recipient<AdmitReplica>,
    /// A member is not ready any more.
    pub evict: Recipient<EvictReplica>,
    /// Tells when nothing is in flight.
    pub drain: Recipient<DrainInstance>,
    /// Nothing more will come of an instance.
    pub ended: Recipient<InstanceEnded>,
}

/// What the Supervisor may ask of the prober. Set once the prober exists: the two
/// report to each other.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ProberLinks {
    /// Begin.
    pub watch: Recipient<WatchInstance>,
    /// Cease.
    pub unwatch: Recipient<UnwatchInstance>,
    /// How the last ones came out.
    pub beats: Recipient<LookAtBeats>,
}

type Answer = Result<Vec<ReplicaName>, ChangeError>;

/// The actor.
pub struct Supervisor {
    fleet: Fleet,
    pub(super) runtime: Rc<dyn Runtime>,
    pub(super) ring: RingLinks,
    pub(super) prober: Option<ProberLinks>,
    /// The fleet's opening steps, until the prober is there.
    opening: Vec<Step>,
    drain_deadline: Duration,
    started: Instant,
    alarm: Option<SpawnHandle>,
    next_ticket: u64,
    answers: HashMap<Ticket, oneshot::Sender<Answer>>,
    gone: Vec<oneshot::Sender<()>>,
    history: History,
    pub(super) graveyard: Graveyard,
    _lifeline: Lifeline,
}

impl Supervisor {
    /// A supervisor of replicas of these names; what an earlier balancer left behind
    /// takes precedence over them. It begins once it is given [`ProberLinks`].
    pub fn new(
        policy: Policy,
        names: &[ReplicaName],
        found: Vec<Found>,
        runtime: Rc<dyn Runtime>,
        ring: RingLinks,
        drain_deadline: Duration,
        lifeline: Lifeline,
    ) -> Self {
        let (fleet, opening) = Fleet::new(policy, names, found, Duration::ZERO);
        Self {
            fleet,
            runtime,
            ring,
            prober: None,
            opening,
            drain_deadline,
            started: Instant::now(),
            alarm: None,
            next_ticket: 0,
            answers: HashMap::new(),
            gone: Vec::new(),
            history: History::default(),
            graveyard: Graveyard::default(),
            _lifeline: lifeline,
        }
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }

    /// Keeps in mind what has just happened.
    pub(super) fn note(&mut self, news: Undated) {
        self.history.note([news], self.now());
    }

    fn take_in(&mut self, event: Event, ctx: &mut Context<Self>) {
        if let Event::Stopped { id } = &event {
            self.note(Undated::of(id, "stopped"));
            self.graveyard.forget_in_flight(id);
        }
        if let Event::Exited { id, exit } = &event {
            self.graveyard.learn_exit(id, exit);
        }
        // What nobody can stop may serve on, whatever it is called here.
        if let (Event::Exited { id, .. } | Event::Stopped { id }, true) =
            (&event, self.runtime.spawns())
        {
            self.ring.ended.do_send(InstanceEnded(id.clone()));
        }
        let steps = self.fleet.apply(event, self.now());
        self.carry_out(steps, ctx);
    }

    /// Begins every step, in order.
    fn carry_out(&mut self, steps: Vec<Step>, ctx: &mut Context<Self>) {
        // What later steps wait for: the ring has taken in the earlier ones.
        let mut ring_has_it: Vec<LocalBoxFuture<'static, ()>> = Vec::new();
        let mut later = Vec::new();
        let mut mourning = Vec::new();
        let mut news = Vec::new();
        for step in steps {
            match step {
                Step::Join(members) => {
                    news.extend(
                        members
                            .iter()
                            .map(|m| Undated::of_replica(&m.name, "joined")),
                    );
                    ring_has_it.push(self.join(members));
                }
                Step::Leave(names) => {
                    news.extend(names.iter().map(|name| Undated::of_replica(name, "left")));
                    info!("off the ring for good: {}", list(&names));
                    ring_has_it.push(ring_future(self.ring.leave.send(LeaveRing(names))));
                }
                Step::Admit { id, endpoint } => {
                    news.push(Undated::of(&id, "admitted"));
                    self.graveyard.forget_in_flight(&id);
                    let admit = AdmitReplica { id, endpoint };
                    ring_has_it.push(ring_future(self.ring.admit.send(admit)));
                }
                Step::Evict { id, reason } => {
                    warn!("{id} is off the ring: {reason}");
                    news.push(Undated::of(&id, "evicted").because(reason));
                    ring_has_it.push(self.evict(id, ctx));
                }
                Step::Mourn { id, cause, exit } => {
                    mourning.push(self.mourn(id, &cause, exit, ctx));
                }
                Step::Watch { id, endpoint } => {
                    if let Some(prober) = &self.prober {
                        prober.watch.do_send(WatchInstance { id, endpoint });
                    }
                }
                Step::Unwatch { id } => {
                    if let Some(prober) = &self.prober {
                        prober.unwatch.do_send(UnwatchInstance(id));
                    }
                }
                Step::Report { replica, trouble } => warn!("{replica}: {trouble}"),
                Step::Launch(_)
                | Step::Disown { .. }
                | Step::Drain { .. }
                | Step::Stop { .. }
                | Step::Answer { .. } => {
                    later.push(step);
                }
            }
        }
        if !ring_has_it.is_empty() || !later.is_empty() || !mourning.is_empty() {
            let carried_out = join_all(ring_has_it).into_actor(self).map(
                move |_, supervisor: &mut Self, ctx: &mut Context<Self>| {
                    supervisor.history.note(news, supervisor.now());
                    supervisor.spawn_mourning(mourning, ctx);
                    for step in later {
                        supervisor.carry_out_later(step, ctx);
                    }
                },
            );
            ctx.spawn(carried_out);
        }
        self.set_alarm(ctx);
        if self.fleet.is_shut_down() {
            for gone in self.gone.drain(..) {
                // Who asked may have stopped waiting.
                let _ = gone.send(());
            }
        }
    }

    fn carry_out_later(&mut self, step: Step, ctx: &mut Context<Self>) {
        match step {
            Step::Launch(order) => self.launch(order, ctx),
            Step::Drain { id } => {
                let deadline = self.drain_deadline;
                let drained = self.ring.drain.send(DrainInstance {
                    id: id.clone(),
                    deadline,
                });
                self.report_back(ctx, async move {
                    match drained.await {
                        Ok(0) => info!("{id} is drained"),
                        Ok(left) => warn!(
                            "{id} is stopped with {left} requests in flight: the drain deadline of {deadline:?} has passed"
                        ),
                        Err(error) => error!("cannot drain {id}: {error}"),
                    }
                    Event::Drained { id }
                });
            }
            Step::Disown { id } => {
                ctx.spawn(self.runtime.disown(id).into_actor(self));
            }
            Step::Stop { id, grace } => {
                info!("stopping {id}");
                let stopped = self.end(id.clone(), grace, ctx);
                self.report_back(ctx, async move {
                    match stopped.await {
                        Ok(()) => Event::Stopped { id },
                        Err(error) => {
                            warn!("cannot stop {id}: {error}");
                            let reason = error.to_string();
                            Event::StopFailed { id, reason }
                        }
                    }
                });
            }
            Step::Answer { ticket, outcome } => {
                if let Some(answer) = self.answers.remove(&ticket) {
                    // Whoever asked may have hung up; what was done stays done.
                    let _ = answer.send(outcome);
                }
            }
            other => self.carry_out(vec![other], ctx),
        }
    }

    fn launch(&mut self, order: LaunchOrder, ctx: &mut Context<Self>) {
        if self.runtime.spawns() {
            // Who could not be started is tried again and again: said once.
            let again = self.fleet.could_not_start(&order.id.replica);
            let level = if again { Level::Debug } else { Level::Info };
            log!(level, "starting {}", order.id);
        }
        let id = order.id.clone();
        self.note(Undated::of(&id, "launched"));
        let launched = self.runtime.launch(order);
        self.report_back(ctx, async move {
            match launched.await {
                Ok(running) if running.id == id => {
                    let endpoint = running.endpoint;
                    Event::Launched { id, endpoint }
                }
                Ok(Running {
                    id: theirs,
                    endpoint,
                }) => {
                    let by = theirs.generation;
                    Event::Overtaken { id, by, endpoint }
                }
                Err(error) => {
                    let reason = error.to_string();
                    Event::LaunchFailed { id, reason }
                }
            }
        });
    }

    fn join(&self, members: Vec<Member>) -> LocalBoxFuture<'static, ()> {
        let joined = self.ring.join.send(JoinRing(members));
        async move {
            match joined.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => error!("cannot extend the ring: {error}"),
                Err(error) => error!("cannot reach the ring: {error}"),
            }
        }
        .boxed_local()
    }

    fn report_back(&self, ctx: &mut Context<Self>, future: impl Future<Output = Event> + 'static) {
        let own = ctx.address();
        ctx.spawn(
            async move {
                let event = future.await;
                own.do_send(Happened(event));
            }
            .into_actor(self),
        );
    }

    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        if let Some(alarm) = self.alarm.take() {
            ctx.cancel_future(alarm);
        }
        if let Some(at) = self.fleet.wakes_at() {
            let pause = at.saturating_sub(self.now());
            self.alarm = Some(ctx.run_later(pause, |supervisor, ctx| {
                supervisor.alarm = None;
                supervisor.take_in(Event::Tick, ctx);
            }));
        }
    }
}

fn ring_future<M>(sent: actix::dev::RecipientRequest<M>) -> LocalBoxFuture<'static, ()>
where
    M: Message<Result = ()> + Send + 'static,
{
    async move {
        if let Err(error) = sent.await {
            error!("cannot reach the ring: {error}");
        }
    }
    .boxed_local()
}

fn list(names: &[ReplicaName]) -> String {
    let names: Vec<&str> = names.iter().map(ReplicaName::as_str).collect();
    names.join(", ")
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(self.runtime.events());
    }
}

impl Handler<ProberLinks> for Supervisor {
    type Result = ();

    fn handle(&mut self, links: ProberLinks, ctx: &mut Self::Context) {
        self.prober = Some(links);
        let opening = std::mem::take(&mut self.opening);
        self.carry_out(opening, ctx);
    }
}

impl StreamHandler<RuntimeEvent> for Supervisor {
    fn handle(&mut self, event: RuntimeEvent, ctx: &mut Self::Context) {
        let event = match event {
            RuntimeEvent::Exited { id, exit } => Event::Exited { id, exit },
            RuntimeEvent::Appeared { order, endpoint } => Event::Appeared { order, endpoint },
            RuntimeEvent::Disowned { id } => Event::Disowned { id },
            RuntimeEvent::Recovered => Event::Recovered,
        };
        self.take_in(event, ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The default would stop the actor.
        warn!("the runtime reports no more ends of instances; heartbeats still do");
    }
}

impl Handler<Happened> for Supervisor {
    type Result = ();

    fn handle(&mut self, Happened(event): Happened, ctx: &mut Self::Context) {
        self.take_in(event, ctx);
    }
}

impl Handler<HealthFlipped> for Supervisor {
    type Result = ();

    fn handle(&mut self, HealthFlipped { id, flip }: HealthFlipped, ctx: &mut Self::Context) {
        let event = match flip {
            Flip::Up => Event::Answered { id },
            Flip::Down => Event::FellSilent { id },
        };
        self.take_in(event, ctx);
    }
}

impl Handler<ConnectionRefused> for Supervisor {
    type Result = ();

    fn handle(&mut self, ConnectionRefused(id): ConnectionRefused, ctx: &mut Self::Context) {
        self.take_in(Event::Refused { id }, ctx);
    }
}

impl Handler<ListReplicas> for Supervisor {
    type Result = MessageResult<ListReplicas>;

    fn handle(&mut self, _: ListReplicas, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.fleet.roster())
    }
}

impl Handler<LookAtFleet> for Supervisor {
    type Result = MessageResult<LookAtFleet>;

    fn handle(&mut self, _: LookAtFleet, _: &mut Self::Context) -> Self::Result {
        let replicas = self.fleet.statuses();
        let whereabouts = |replica: &ReplicaStatus| self.runtime.whereabouts(&replica.id);
        MessageResult(FleetReport {
            now_ms: self.now().as_micros() as f64 / 1_000.0,
            whereabouts: replicas.iter().map(whereabouts).collect(),
            replicas,
            events: self.history.entries(),
            runtime: self.runtime.kind(),
            runtime_trouble: self.runtime.trouble(),
        })
    }
}

impl Handler<RingReshaped> for Supervisor {
    type Result = ();

    fn handle(&mut self, reshaped: RingReshaped, _: &mut Self::Context) {
        self.fleet.note_ring(reshaped.spec);
        for (name, weight) in &reshaped.weights {
            self.fleet.note_weight(name, *weight);
        }
    }
}

impl Handler<ChangeReplicas> for Supervisor {
    type Result = ResponseFuture<Answer>;

    fn handle(
        &mut self,
        ChangeReplicas(change): ChangeReplicas,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let (answer, answered) = oneshot::channel();
        self.answers.insert(ticket, answer);
        let steps = self.fleet.request(ticket, change, fastrand::u64(..));
        self.carry_out(steps, ctx);
        Box::pin(async move { answered.await.unwrap_or(Err(ChangeError::ShuttingDown)) })
    }
}

impl Handler<ShutDown> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, end: ShutDown, ctx: &mut Self::Context) -> Self::Result {
        let (gone_in, gone) = oneshot::channel();
        self.gone.push(gone_in);
        let steps = match end.hand_over {
            true => self.fleet.hand_over(),
            false => self.fleet.shut_down(),
        };
        self.carry_out(steps, ctx);
        Box::pin(async move {
            // An error means that the actor is gone, and so are its instances.
            let _ = gone.await;
        })
    }
}
