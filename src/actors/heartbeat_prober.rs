//! HeartbeatProber: asks every instance whether it is well, and reports the health_changes.

mod handle;
mod reports;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::{
    Actor, AsyncContext, Context, Handler, Message, MessageResult, SpawnHandle, WrapFuture,
};
use awc::http::Uri;
use futures::StreamExt;
use log::{debug, info};
use tokio::sync::Notify;

use super::connection_watch::{ConnectionWatch, Pause};
use super::heartbeat_history::HeartbeatHistory;
use super::lifeline::Lifeline;
use super::machine_check::MachineCheck;
use crate::api::{Heartbeat, ReplicaHeartbeat};
use crate::config::{HeartbeatKind, HeartbeatSettings};
use crate::fleet::{
    HealthTracker, HealthTransition, InstanceId, ProbeFailure, ProbeOutcome, ProbeSchedule,
};
use crate::upstream::{
    AttemptError, ConnectionSlot, KeptConnection, OneShotClient, ReplicaStats, Stats,
};

pub use handle::ProberHandle;
pub use reports::{
    DoubtEnded, DrainSilent, HealthChanged, InstanceSuspected, ProbeFailed, ProbeRecipients,
    SuspectSign,
};

/// Begin to send heartbeats to an instance, with nothing known about it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct WatchInstance {
    pub id: InstanceId,
    pub endpoint: SocketAddr,
    /// Where its machine can be asked whether it is there, if it can.
    pub machine: Option<SocketAddr>,
}

/// Stop sending heartbeats to an instance.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct UnwatchInstance(pub InstanceId);

/// An instance gets no more requests and finishes those that it has: of its heartbeats only silence is news
/// from now on, until it is unwatched. That it refuses them is its end in order.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct FollowDrain(pub InstanceId);

/// The drain of an instance is over: stops sending it heartbeats, if that is all that they are for.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct UnfollowDrain(pub InstanceId);

/// Ask an instance now if nothing is known against it, not when its next heartbeat is due.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct AskNow(pub InstanceId);

/// How have the last heartbeats of an instance come out? The oldest first; none of one
/// that is not watched.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<Heartbeat>")]
pub struct GetProbes(pub InstanceId);

/// How have the heartbeats of the last minutes come out, after the one with this number? The first
/// `limit` of them, the oldest first.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<ReplicaHeartbeat>")]
pub struct GetHeartbeats {
    pub after: u64,
    pub limit: usize,
}

/// How much of an answer's body is examined.
const MAX_BODY: usize = 64 * 1024;

/// How many heartbeats of an instance are kept.
const MAX_PROBES: usize = 10;

/// The last heartbeats of one instance.
type Probes = Rc<RefCell<VecDeque<Heartbeat>>>;

/// An instance that is watched.
struct Watched {
    probing: SpawnHandle,
    controls: ProbeControls,
}

/// What the probing of an instance shares with the prober.
#[derive(Clone, Default)]
struct ProbeControls {
    probes: Probes,
    /// Ends its pause.
    ask_now: Rc<Notify>,
    /// The instance finishes its requests: see [`FollowDrain`].
    is_draining: Rc<Cell<bool>>,
}

pub struct HeartbeatProber {
    settings: HeartbeatSettings,
    recipients: ProbeRecipients,
    watched: HashMap<InstanceId, Watched>,
    history: Rc<RefCell<HeartbeatHistory>>,
    client: OneShotClient,
    stats: Arc<Stats>,
    /// The end of a heartbeat's connection is news: see [`ConnectionWatch`].
    watches_connections: bool,
    _lifeline: Lifeline,
}

impl HeartbeatProber {
    /// A prober that reports to `recipients`.
    pub fn new(
        settings: HeartbeatSettings,
        recipients: ProbeRecipients,
        lifeline: Lifeline,
    ) -> Self {
        let client = OneShotClient::new(settings.timeout);
        Self {
            settings,
            recipients,
            watched: HashMap::new(),
            history: Rc::default(),
            client,
            stats: Arc::default(),
            watches_connections: false,
            _lifeline: lifeline,
        }
    }

    /// Keeps the connections of heartbeats, whose end tells of a death at once, if the runtime's own
    /// reports come later.
    pub fn watching_connections(mut self, watches: bool) -> Self {
        self.watches_connections = watches && self.settings.kind == HeartbeatKind::Http;
        self
    }

    /// Has heartbeats counted there.
    pub fn counted_in(mut self, stats: &Arc<Stats>) -> Self {
        self.stats = Arc::clone(stats);
        self
    }

    /// Probes an instance until it is cancelled.
    async fn probe(
        client: OneShotClient,
        settings: HeartbeatSettings,
        recipients: ProbeRecipients,
        WatchInstance {
            id,
            endpoint,
            machine,
        }: WatchInstance,
        (controls, history): (ProbeControls, Rc<RefCell<HeartbeatHistory>>),
        stats: Arc<ReplicaStats>,
        mut watch: ConnectionWatch,
    ) {
        let mut tracker = HealthTracker::new(settings.failures, settings.successes);
        let mut schedule = ProbeSchedule::new(settings.interval, settings.timeout);
        let endpoint = SocketAddr::new(endpoint.ip(), settings.port.unwrap_or(endpoint.port()));
        // What was told last: of one that has not been up, and of one that is unready.
        let mut told = String::new();
        let mut bad_answer = String::new();
        let (mut is_suspect, mut machine) = (false, MachineCheck::new(machine));
        let ProbeControls {
            probes,
            ask_now,
            is_draining,
        } = controls;
        loop {
            let (at, begun) = (SystemTime::now(), tokio::time::Instant::now());
            let timeout = schedule.timeout(&tracker);
            let slot = ConnectionSlot::default();
            let asked = tokio::select! {
                biased;
                asked = ask(&client, endpoint, &settings, &slot, watch.is_on()) => asked,
                () = tokio::time::sleep(timeout) => Err(ProbeFailure::TimedOut(timeout)),
                () = machine.is_silent(&slot), if tracker.is_up() => {
                    Err(ProbeFailure::MachineSilent)
                }
            };
            let failure = match asked {
                Ok(connection) => {
                    watch.keep(connection);
                    None
                }
                Err(failure) => Some(failure),
            };
            let reason = failure.as_ref().map(|failure| describe(&settings, failure));
            match &reason {
                Some(reason) if tracker.is_up() => {
                    info!(replica:% = id.replica, generation = id.generation; "{id} missed a heartbeat: {reason}")
                }
                Some(reason) => {
                    debug!(replica:% = id.replica, generation = id.generation; "{id} does not answer heartbeats: {reason}")
                }
                None => {}
            }
            remember(&probes, at, begun.elapsed(), reason.as_ref());
            let outcome = failure
                .as_ref()
                .map_or(ProbeOutcome::Good, ProbeFailure::outcome);
            let took = begun.elapsed();
            history.borrow_mut().record(&id, at, took, outcome);
            if is_draining.get()
                && failure
                    .as_ref()
                    .is_some_and(|failure| !failure.is_silence())
            {
                return;
            }
            if outcome == ProbeOutcome::Missed {
                if tracker.is_up() && !is_draining.get() {
                    is_suspect = true;
                    let suspected = InstanceSuspected {
                        id: id.clone(),
                        sign: match failure {
                            Some(ProbeFailure::MachineSilent) => SuspectSign::MachineSilent,
                            _ => SuspectSign::Missed,
                        },
                    };
                    recipients.suspects.do_send(suspected);
                }
                stats.life().heartbeat_missed();
            } else {
                schedule.record_latency(begun.elapsed());
                let is_good = outcome == ProbeOutcome::Good;
                stats.life().heartbeat_answered(is_good, begun.elapsed());
            }
            let before = bad_answer.clone();
            if let (ProbeOutcome::Bad, Some(reason)) = (outcome, &reason) {
                bad_answer.clone_from(reason);
            }
            let transition = tracker.record(outcome);
            // Another bad status is news, too.
            let transition = transition.or_else(|| {
                let changed = tracker.is_unready() && bad_answer != before;
                changed.then_some(HealthTransition::Unready)
            });
            if is_suspect && !tracker.in_doubt() {
                is_suspect = false;
                recipients.cleared.do_send(DoubtEnded(id.clone()));
            }
            if is_draining.get() {
                if transition == Some(HealthTransition::Down) {
                    return recipients.silent_drains.do_send(DrainSilent(id));
                }
            } else if let Some(transition) = transition {
                let changed = HealthChanged(id.clone(), transition, bad_answer.clone());
                recipients.health_changes.do_send(changed);
            }
            if let (false, Some(failure), Some(reason)) = (tracker.was_up(), failure, reason)
                && reason != told
            {
                told.clone_from(&reason);
                let refused = match failure {
                    ProbeFailure::Refused(port) => Some(port),
                    _ => None,
                };
                let id = id.clone();
                let failed = ProbeFailed {
                    id,
                    reason,
                    refused,
                };
                recipients.failures.do_send(failed);
            }
            if outcome != ProbeOutcome::Missed {
                machine.learn().await;
            }
            // From start to start: time spent waiting for an answer counts.
            let next = begun + schedule.pause(&tracker);
            let pause = tokio::select! {
                pause = watch.pause(next, endpoint) => pause,
                () = ask_now.notified(), if !tracker.in_doubt() => Pause::Over,
            };
            if is_draining.get() && pause != Pause::Over {
                return;
            }
            if pause != Pause::Over && tracker.is_up() {
                let suspected = InstanceSuspected {
                    id: id.clone(),
                    sign: match pause {
                        Pause::Refused => SuspectSign::Refused,
                        Pause::Lost => SuspectSign::ConnectionLost,
                        Pause::Closed | Pause::Over => SuspectSign::Unclear,
                    },
                };
                recipients.suspects.do_send(suspected);
            }
            if pause == Pause::Refused {
                tracker.record_loss();
            }
            if pause == Pause::Lost && tracker.record_loss().is_some() {
                info!(replica:% = id.replica, generation = id.generation; "{id} has ended its connections and takes no other");
                let (down, reason) = (HealthTransition::Down, bad_answer.clone());
                recipients
                    .health_changes
                    .do_send(HealthChanged(id.clone(), down, reason));
            }
        }
    }
}

fn remember(probes: &Probes, at: SystemTime, took: Duration, error: Option<&String>) {
    let mut probes = probes.borrow_mut();
    if probes.len() == MAX_PROBES {
        probes.pop_front();
    }
    probes.push_back(Heartbeat {
        at: at.into(),
        latency_ms: took.as_micros() as f64 / 1_000.0,
        error: error.cloned(),
    });
}

/// A failure in words.
fn describe(settings: &HeartbeatSettings, failure: &ProbeFailure) -> String {
    let asked = match settings.kind {
        HeartbeatKind::Http => format!("{} {}", settings.method, settings.path),
        HeartbeatKind::Tcp => "connecting".to_owned(),
    };
    let is_host = |(name, _): &(String, String)| name.eq_ignore_ascii_case("host");
    failure.describe(&asked, settings.headers.iter().any(is_host))
}

/// One heartbeat, on a connection of its own so that it also tells whether the instance
/// takes new ones; that is returned if it is to be kept.
async fn ask(
    client: &OneShotClient,
    endpoint: SocketAddr,
    settings: &HeartbeatSettings,
    slot: &ConnectionSlot,
    keeps: bool,
) -> Result<Option<KeptConnection>, ProbeFailure> {
    let broken = |error: &dyn std::fmt::Display| ProbeFailure::Broken(error.to_string());
    if settings.kind == HeartbeatKind::Tcp {
        let connected = tokio::net::TcpStream::connect(endpoint).await;
        return connected.map(|_| None).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ProbeFailure::Refused(endpoint.port()),
            _ => broken(&error),
        });
    }
    let uri = Uri::builder()
        .scheme("http")
        .authority(endpoint.to_string())
        .path_and_query(settings.path.as_str())
        .build()
        .map_err(|error| broken(&error))?;
    let (method, headers) = (settings.method.clone(), &settings.headers);
    let asked = match keeps {
        true => client.send_kept(method, uri, headers, slot).await,
        false => client.send_with(method, uri, headers).await,
    };
    let kept = || slot.take();
    let mut response = asked.map_err(|error| match &error {
        _ if error.is_refused() => ProbeFailure::Refused(endpoint.port()),
        AttemptError::ResponseTimeout
        | AttemptError::NotConnected {
            kind: io::ErrorKind::TimedOut,
            ..
        } => ProbeFailure::TimedOut(settings.timeout),
        _ => broken(&error),
    })?;
    let expectation = settings.expectation();
    expectation.check_status(response.head.status().as_u16())?;
    if expectation.body.is_none() {
        return Ok(kept());
    }
    let mut body = Vec::new();
    while body.len() < MAX_BODY
        && let Some(more) = &mut response.body
        && let Some(piece) = more.next().await
    {
        body.extend_from_slice(&piece.map_err(|error| broken(&error))?);
    }
    expectation.check_body(&body).map(|()| kept())
}

impl Actor for HeartbeatProber {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
    }
}

impl Handler<WatchInstance> for HeartbeatProber {
    type Result = ();

    fn handle(&mut self, watch: WatchInstance, ctx: &mut Self::Context) {
        let id = watch.id.clone();
        let controls = ProbeControls::default();
        let probing = Self::probe(
            self.client,
            self.settings.clone(),
            self.recipients.clone(),
            watch,
            (controls.clone(), Rc::clone(&self.history)),
            self.stats.replica(&id.replica),
            ConnectionWatch::new(self.watches_connections),
        );
        let probing = ctx.spawn(probing.into_actor(self));
        if let Some(earlier) = self.watched.insert(id, Watched { probing, controls }) {
            ctx.cancel_future(earlier.probing);
        }
    }
}

impl Handler<UnwatchInstance> for HeartbeatProber {
    type Result = ();

    fn handle(&mut self, UnwatchInstance(id): UnwatchInstance, ctx: &mut Self::Context) {
        if let Some(watched) = self.watched.remove(&id) {
            ctx.cancel_future(watched.probing);
        }
    }
}

impl Handler<FollowDrain> for HeartbeatProber {
    type Result = ();

    fn handle(&mut self, FollowDrain(id): FollowDrain, _: &mut Self::Context) {
        if let Some(watched) = self.watched.get(&id) {
            watched.controls.is_draining.set(true);
        }
    }
}

impl Handler<UnfollowDrain> for HeartbeatProber {
    type Result = ();

    fn handle(&mut self, UnfollowDrain(id): UnfollowDrain, ctx: &mut Self::Context) {
        let watched = self.watched.get(&id);
        // One that an operator has drained is watched for its health.
        if watched.is_some_and(|watched| watched.controls.is_draining.get())
            && let Some(watched) = self.watched.remove(&id)
        {
            ctx.cancel_future(watched.probing);
        }
    }
}

impl Handler<AskNow> for HeartbeatProber {
    type Result = ();

    fn handle(&mut self, AskNow(id): AskNow, _: &mut Self::Context) {
        if let Some(watched) = self.watched.get(&id) {
            // If it is being asked, its next heartbeat comes at once.
            watched.controls.ask_now.notify_one();
        }
    }
}

impl Handler<GetProbes> for HeartbeatProber {
    type Result = MessageResult<GetProbes>;

    fn handle(&mut self, GetProbes(id): GetProbes, _: &mut Self::Context) -> Self::Result {
        let watched = self.watched.get(&id);
        let probes = watched.map(|watched| watched.controls.probes.borrow());
        MessageResult(probes.into_iter().flat_map(|b| b.clone()).collect())
    }
}

impl Handler<GetHeartbeats> for HeartbeatProber {
    type Result = MessageResult<GetHeartbeats>;

    fn handle(&mut self, asked: GetHeartbeats, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.history.borrow().after(asked.after, asked.limit))
    }
}
