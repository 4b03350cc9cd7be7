//! Supervisor: owns the fleet and executes its steps.
//! A handler reads: turn the message into an event, ask the fleet, execute the steps (`steps`). What
//! it may be asked is in `messages`, the handlers are in `handlers` or with their subject; other
//! threads ask by its `handle`.

mod canary;
mod config_version;
mod followed_rollout;
mod handle;
mod handlers;
mod heartbeats;
mod image_watch;
mod maintenance;
mod messages;
mod nodes;
mod pause;
mod post_mortem;
mod recording;
mod rollouts;
mod spares;
mod steps;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Message, SpawnHandle, WrapFuture};
use tokio::sync::oneshot;

use super::death_log::DeathLog;
use super::heartbeat_prober::ProberHandle;
use super::history::{History, HistoryEvent};
use super::lifeline::Lifeline;
use super::ring_state::RingHandle;
use super::shared_key_source::SharedKeySource;
use crate::api::{FleetScaling, ImageWatch, RolloutOutcome};
use crate::fleet::{
    ChangeError, ChangeId, Changed, DEFAULT_PAGE, Definition, Event, Existing, Fleet, InstanceId,
    LaunchOrder, Maintenance, Policy, RingSettings, RolloutOrder, SparePool, Step, Time,
};
use crate::runtime::Runtime;
use crate::runtime::record::RecordKeeper;
use crate::upstream::Stats;
use canary::CanaryBaseline;
use followed_rollout::WatchedExecutor;
use pause::ActivePause;
use rollouts::RequestsBefore;

pub use super::history::EventFeed;
pub use config_version::{ConfigVersion, ExpectedVersions};
pub use handle::SupervisorHandle;
pub use image_watch::{GetWatchedImage, NoteDigest, NoteImageWatch, WatchedImage};
pub use maintenance::{NewMaintenancePage, SetMaintenance};
pub use messages::{
    Begin, ChangeReplicas, CompareVersion, ConnectionRefused, FleetReport, FollowEvents, GetEvents,
    GetFleet, ListReplicas, NoteScaling, RingReconfigured, SetKey, ShutDown,
};
pub use nodes::{DrainNode, GetSpread, RestoreNode};
pub use pause::{PauseFleet, ResumeFleet};
pub use post_mortem::GetDeaths;
pub use rollouts::{DirectRollout, GetRollouts, RollOut, RolloutCommand, StartRollout};

/// Something has happened; for the actor's own futures.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct FleetEvent(Event);

type ChangeOutcome = Result<Changed, ChangeError>;

pub struct Supervisor {
    fleet: Fleet,
    version: ConfigVersion,
    record: Rc<RecordKeeper>,
    pub(super) runtime: Rc<dyn Runtime>,
    pub(super) ring: RingHandle,
    pub(super) prober: Option<ProberHandle>,
    /// The fleet's opening steps, until the prober is there.
    opening: Vec<Step>,
    drain_deadline: Duration,
    started: Instant,
    alarm: Option<SpawnHandle>,
    next_change_id: u64,
    answers: HashMap<ChangeId, oneshot::Sender<ChangeOutcome>>,
    gone: Vec<oneshot::Sender<()>>,
    history: History,
    pub(super) death_log: DeathLog,
    /// Stops that wait for the report of an instance's own end.
    pub(super) exit_waiters: HashMap<InstanceId, oneshot::Sender<()>>,
    pub(super) stats: Arc<Stats>,
    key_source: Arc<SharedKeySource>,
    /// How the ring is built, once that is known.
    ring_settings: Option<RingSettings>,
    rollout_order: RolloutOrder,
    rollouts_ended: BTreeMap<RolloutOutcome, u64>,
    spares: SparePool,
    /// Spares that have been taken lately, and what they are now.
    taken_spares: VecDeque<(InstanceId, InstanceId)>,
    /// Instances that are to be started once the spares of an earlier balancer are known.
    held_launches: Vec<(LaunchOrder, Arc<Definition>)>,
    is_ending: bool,
    watched_executor: Option<WatchedExecutor>,
    image_watch: Option<ImageWatch>,
    scaling: Option<FleetScaling>,
    maintenance: Option<Arc<Maintenance>>,
    maintenance_page: Arc<str>,
    max_pause: Duration,
    pause: Option<ActivePause>,
    /// Instances of which the requests are being counted, and what came before.
    counted_from: HashMap<InstanceId, RequestsBefore>,
    canary_baseline: Option<CanaryBaseline>,
    _lifeline: Lifeline,
}

impl Supervisor {
    /// A supervisor of the replicas of a fleet record, some of which may run already. It
    /// begins once it is given [`Begin`].
    pub(crate) fn new(
        policy: Policy,
        record: Rc<RecordKeeper>,
        found: Vec<Existing>,
        runtime: Rc<dyn Runtime>,
        ring: RingHandle,
        drain_deadline: Duration,
        lifeline: Lifeline,
    ) -> Self {
        let death_log = DeathLog::new(runtime.is_restricted());
        let recorded = record.record();
        let desired = recorded.desired();
        let (mut fleet, opening) = Fleet::new(policy, desired, found, Duration::ZERO);
        fleet.note_drained(&recorded.drained());
        Self {
            fleet,
            version: ConfigVersion::first(),
            record,
            runtime,
            ring,
            prober: None,
            opening,
            drain_deadline,
            started: Instant::now(),
            alarm: None,
            next_change_id: 0,
            answers: HashMap::new(),
            gone: Vec::new(),
            history: History::default(),
            death_log,
            exit_waiters: HashMap::new(),
            stats: Arc::default(),
            key_source: Arc::default(),
            ring_settings: None,
            rollout_order: policy.rollout.order,
            rollouts_ended: BTreeMap::new(),
            watched_executor: None,
            image_watch: None,
            spares: SparePool::new(0, Duration::ZERO, Duration::ZERO),
            taken_spares: VecDeque::new(),
            held_launches: Vec::new(),
            is_ending: false,
            scaling: None,
            maintenance: None,
            maintenance_page: DEFAULT_PAGE.into(),
            max_pause: Duration::MAX,
            pause: None,
            counted_from: HashMap::new(),
            canary_baseline: None,
            _lifeline: lifeline,
        }
    }

    /// Has deaths and ejections counted there.
    pub fn counted_in(mut self, stats: &Arc<Stats>) -> Self {
        self.stats = Arc::clone(stats);
        self
    }

    /// Has what is hashed for a request changed there.
    pub fn sets_key_of(mut self, key_source: &Arc<SharedKeySource>) -> Self {
        self.key_source = Arc::clone(key_source);
        self
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }

    /// Records what has just happened.
    pub(super) fn record_event(&mut self, event: HistoryEvent) {
        self.history.record([event]);
    }

    fn apply_event(&mut self, event: Event, ctx: &mut Context<Self>) {
        let Some(event) = self.apply_to_spare(event, ctx) else {
            return self.fill_spares(ctx);
        };
        let steps = self.fleet.apply(event, self.now());
        self.execute(steps, ctx);
    }

    fn report_back(&self, ctx: &mut Context<Self>, future: impl Future<Output = Event> + 'static) {
        let own = ctx.address();
        ctx.spawn(
            async move {
                let event = future.await;
                own.do_send(FleetEvent(event));
            }
            .into_actor(self),
        );
    }

    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        if let Some(alarm) = self.alarm.take() {
            ctx.cancel_future(alarm);
        }
        let wakes = self.fleet.wakes_at().into_iter();
        if let Some(at) = wakes.chain(self.spares.wakes_at()).min() {
            let pause = at.saturating_sub(self.now());
            self.alarm = Some(ctx.run_later(pause, |supervisor, ctx| {
                supervisor.alarm = None;
                supervisor.tick_spares(ctx);
                supervisor.apply_event(Event::Tick, ctx);
            }));
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(self.runtime.events());
    }
}
