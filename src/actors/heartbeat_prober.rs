//! HeartbeatProber: asks every instance whether it is well, and reports the health_changes.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::{
    Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient, SpawnHandle,
    WrapFuture,
};
use awc::http::Uri;
use futures::StreamExt;
use log::{debug, info};

use super::ActorReply;
use super::connection_watch::{ConnectionWatch, Pause};
use super::heartbeat_history::HeartbeatHistory;
use super::lifeline::Lifeline;
use crate::api::{Heartbeat, ReplicaHeartbeat};
use crate::config::{HeartbeatKind, HeartbeatSettings};
use crate::fleet::{
    HealthTracker, HealthTransition, InstanceId, ProbeFailure, ProbeOutcome, ProbeSchedule,
};
use crate::upstream::{AttemptError, KeptConnection, OneShotClient, ReplicaStats, Stats};

/// Begin to send heartbeats to an instance, with nothing known about it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct WatchInstance {
    pub id: InstanceId,
    pub endpoint: SocketAddr,
}

/// Stop sending heartbeats to an instance.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct UnwatchInstance(pub InstanceId);

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

/// An instance is ready, unready or unresponsive; what its last bad answer was, for one that is
/// unready. Sent when that changes, not at each heartbeat.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct HealthChanged(pub InstanceId, pub HealthTransition, pub String);

/// A heartbeat of an instance that has not been ready yet has failed, and not as the one before.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ProbeFailed {
    pub id: InstanceId,
    pub reason: String,
    /// The port on which nothing listens, if it is that.
    pub refused: Option<u16>,
}

/// An instance may have ended: a heartbeat was missed, or a connection to it has ended.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct InstanceSuspected {
    pub id: InstanceId,
    pub sign: SuspectSign,
}

/// What makes an instance suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspectSign {
    /// A heartbeat was missed, or a connection has ended and the instance has taken another.
    Unclear,
    /// Its machine has ended the connection, and the instance takes no other.
    ConnectionLost,
    /// The same, and nothing listens at its address any more.
    Refused,
}

/// The recipients of reports.
#[derive(Clone)]
pub struct ProbeRecipients {
    /// Of what has changed.
    pub health_changes: Recipient<HealthChanged>,
    /// Why an instance is not ready yet.
    pub failures: Recipient<ProbeFailed>,
    /// Which instances may have ended.
    pub suspects: Recipient<InstanceSuspected>,
}

pub struct HeartbeatProber {
    settings: HeartbeatSettings,
    recipients: ProbeRecipients,
    watched: HashMap<InstanceId, (SpawnHandle, Probes)>,
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
        WatchInstance { id, endpoint }: WatchInstance,
        (probes, history): (Probes, Rc<RefCell<HeartbeatHistory>>),
        stats: Arc<ReplicaStats>,
        mut watch: ConnectionWatch,
    ) {
        let mut tracker = HealthTracker::new(settings.failures, settings.successes);
        let mut schedule = ProbeSchedule::new(settings.interval, settings.timeout);
        let endpoint = SocketAddr::new(endpoint.ip(), settings.port.unwrap_or(endpoint.port()));
        // What was told last: of one that has not been up, and of one that is unready.
        let mut told = String::new();
        let mut bad_answer = String::new();
        loop {
            let (at, begun) = (SystemTime::now(), tokio::time::Instant::now());
            let timeout = schedule.timeout(&tracker);
            let asked = ask(&client, endpoint, &settings, watch.is_on());
            let asked = tokio::time::timeout(timeout, asked).await;
            let failure = match asked.unwrap_or(Err(ProbeFailure::TimedOut(timeout))) {
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
            if outcome == ProbeOutcome::Missed {
                if tracker.is_up() {
                    let suspected = InstanceSuspected {
                        id: id.clone(),
                        sign: SuspectSign::Unclear,
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
            if let Some(transition) = transition {
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
            // From start to start: time spent waiting for an answer counts.
            let next = begun + schedule.pause(&tracker);
            let pause = watch.pause(next, endpoint).await;
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
        true => client.send_kept(method, uri, headers).await,
        false => {
            let asked = client.send_with(method, uri, headers).await;
            asked.map(|response| (response, None))
        }
    };
    let (mut response, kept) = asked.map_err(|error| match &error {
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
        return Ok(kept);
    }
    let mut body = Vec::new();
    while body.len() < MAX_BODY
        && let Some(more) = &mut response.body
        && let Some(piece) = more.next().await
    {
        body.extend_from_slice(&piece.map_err(|error| broken(&error))?);
    }
    expectation.check_body(&body).map(|()| kept)
}

/// Sends messages to the prober.
#[derive(Clone)]
pub struct ProberHandle(Addr<HeartbeatProber>);

impl ProberHandle {
    pub fn new(prober: Addr<HeartbeatProber>) -> Self {
        Self(prober)
    }

    /// Begins to send heartbeats; see [`WatchInstance`].
    pub fn watch(&self, id: InstanceId, endpoint: SocketAddr) {
        self.0.do_send(WatchInstance { id, endpoint });
    }

    /// Stops sending heartbeats.
    pub fn unwatch(&self, id: InstanceId) {
        self.0.do_send(UnwatchInstance(id));
    }

    /// The heartbeats of the last minutes; see [`GetHeartbeats`].
    pub async fn heartbeats(&self, after: u64, limit: usize) -> ActorReply<Vec<ReplicaHeartbeat>> {
        self.0.send(GetHeartbeats { after, limit }).await
    }

    /// How the last heartbeats came out; see [`GetProbes`]. Asked for when this is called, not
    /// when the future is polled: the instance may be unwatched next.
    pub fn probes(
        &self,
        id: InstanceId,
    ) -> impl Future<Output = ActorReply<Vec<Heartbeat>>> + use<> {
        self.0.send(GetProbes(id))
    }
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
        let probes = Probes::default();
        let probing = Self::probe(
            self.client,
            self.settings.clone(),
            self.recipients.clone(),
            watch,
            (Rc::clone(&probes), Rc::clone(&self.history)),
            self.stats.replica(&id.replica),
            ConnectionWatch::new(self.watches_connections),
        );
        let probing = ctx.spawn(probing.into_actor(self));
        if let Some((earlier, _)) = self.watched.insert(id, (probing, probes)) {
            ctx.cancel_future(earlier);
        }
    }
}

impl Handler<UnwatchInstance> for HeartbeatProber {
    type Result = ();

    fn handle(&mut self, UnwatchInstance(id): UnwatchInstance, ctx: &mut Self::Context) {
        if let Some((probing, _)) = self.watched.remove(&id) {
            ctx.cancel_future(probing);
        }
    }
}

impl Handler<GetProbes> for HeartbeatProber {
    type Result = MessageResult<GetProbes>;

    fn handle(&mut self, GetProbes(id): GetProbes, _: &mut Self::Context) -> Self::Result {
        let probes = self.watched.get(&id).map(|(_, probes)| probes.borrow());
        MessageResult(probes.into_iter().flat_map(|b| b.clone()).collect())
    }
}

impl Handler<GetHeartbeats> for HeartbeatProber {
    type Result = MessageResult<GetHeartbeats>;

    fn handle(&mut self, asked: GetHeartbeats, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.history.borrow().after(asked.after, asked.limit))
    }
}
