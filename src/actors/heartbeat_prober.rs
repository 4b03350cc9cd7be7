//! HeartbeatProber: asks every instance whether it is well, and reports the flips.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use actix::{
    Actor, AsyncContext, Context, Handler, Message, MessageResult, Recipient, SpawnHandle,
    WrapFuture,
};
use awc::http::{Method, Uri};
use futures::StreamExt;
use log::{debug, info};

use super::graveyard::Beat;
use super::lifeline::Lifeline;
use crate::fleet::{Cadence, Expectation, Flip, HealthTracker, InstanceId};
use crate::human::duration;
use crate::upstream::LoneClient;

/// Begin to send heartbeats to an instance, with nothing known about it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct WatchInstance {
    /// Which.
    pub id: InstanceId,
    /// Where it listens.
    pub endpoint: SocketAddr,
}

/// Stop sending heartbeats to an instance.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct UnwatchInstance(pub InstanceId);

/// How have the last heartbeats of an instance come out? The oldest first; none of one
/// that is not watched.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<Beat>")]
pub struct LookAtBeats(pub InstanceId);

/// So much of an answer's body is looked at.
const MOST_BODY: usize = 64 * 1024;

/// So many heartbeats of an instance are remembered.
const REMEMBERED: usize = 10;

/// The last heartbeats of one instance.
type Beats = Rc<RefCell<VecDeque<Beat>>>;

/// An instance has begun or ceased to answer. Sent when that changes, not at each beat.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct HealthFlipped {
    /// Which.
    pub id: InstanceId,
    /// How.
    pub flip: Flip,
}

/// How replicas are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSettings {
    /// How the path is asked for.
    pub method: Method,
    /// The path that is asked for.
    pub path: String,
    /// From one beat to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many misses in a row are a flip.
    pub failures: u32,
    /// So many good answers in a row are the other.
    pub successes: u32,
    /// What a good answer is.
    pub expectation: Expectation,
}

/// The actor.
pub struct HeartbeatProber {
    settings: ProbeSettings,
    reports: Recipient<HealthFlipped>,
    watched: HashMap<InstanceId, (SpawnHandle, Beats)>,
    client: LoneClient,
    _lifeline: Lifeline,
}

impl HeartbeatProber {
    /// A prober that reports to `reports`.
    pub fn new(
        settings: ProbeSettings,
        reports: Recipient<HealthFlipped>,
        lifeline: Lifeline,
    ) -> Self {
        let client = LoneClient::new(settings.timeout);
        Self {
            settings,
            reports,
            watched: HashMap::new(),
            client,
            _lifeline: lifeline,
        }
    }

    /// Beats for as long as nobody stops it.
    async fn beat(
        client: LoneClient,
        settings: ProbeSettings,
        reports: Recipient<HealthFlipped>,
        WatchInstance { id, endpoint }: WatchInstance,
        beats: Beats,
    ) {
        let mut tracker = HealthTracker::new(settings.failures, settings.successes);
        let mut cadence = Cadence::new(settings.interval, settings.timeout);
        loop {
            let (at, begun) = (SystemTime::now(), tokio::time::Instant::now());
            let timeout = cadence.timeout(&tracker);
            let asked = tokio::time::timeout(timeout, ask(&client, endpoint, &settings));
            let outcome = match asked.await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no answer within {}", duration(timeout))),
            };
            match &outcome {
                Err(trouble) if tracker.is_up() => info!("{id} missed a heartbeat: {trouble}"),
                Err(trouble) => debug!("{id} does not answer heartbeats: {trouble}"),
                Ok(()) => cadence.note_answer(begun.elapsed()),
            }
            remember(&beats, at, begun.elapsed(), outcome.as_ref().err());
            if let Some(flip) = tracker.record(outcome.is_ok()) {
                let id = id.clone();
                reports.do_send(HealthFlipped { id, flip });
            }
            // From beat to beat: time spent waiting for an answer counts.
            tokio::time::sleep_until(begun + cadence.pause(&tracker)).await;
        }
    }
}

fn remember(beats: &Beats, at: SystemTime, took: Duration, missed: Option<&String>) {
    let mut beats = beats.borrow_mut();
    if beats.len() == REMEMBERED {
        beats.pop_front();
    }
    beats.push_back(Beat {
        at: humantime::format_rfc3339_millis(at).to_string(),
        took_ms: took.as_micros() as f64 / 1_000.0,
        missed: missed.cloned(),
    });
}

/// One heartbeat, on a connection of its own so that it also tells whether the instance
/// takes new ones.
async fn ask(
    client: &LoneClient,
    endpoint: SocketAddr,
    settings: &ProbeSettings,
) -> Result<(), String> {
    let uri = Uri::builder()
        .scheme("http")
        .authority(endpoint.to_string())
        .path_and_query(settings.path.as_str())
        .build()
        .map_err(|error| error.to_string())?;
    let asked = client.ask(settings.method.clone(), uri).await;
    let mut response = asked.map_err(|error| error.to_string())?;
    let expectation = &settings.expectation;
    expectation.check_status(response.status().as_u16())?;
    if expectation.body.is_none() {
        return Ok(());
    }
    let mut body = Vec::new();
    while body.len() < MOST_BODY
        && let Some(piece) = response.next().await
    {
        body.extend_from_slice(&piece.map_err(|error| error.to_string())?);
    }
    expectation.check_body(&body)
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
        let beats = Beats::default();
        let beat = Self::beat(
            self.client,
            self.settings.clone(),
            self.reports.clone(),
            watch,
            Rc::clone(&beats),
        );
        let beating = ctx.spawn(beat.into_actor(self));
        if let Some((earlier, _)) = self.watched.insert(id, (beating, beats)) {
            ctx.cancel_future(earlier);
        }
    }
}

impl Handler<UnwatchInstance> for HeartbeatProber {
    type Result = ();

    fn handle(&mut self, UnwatchInstance(id): UnwatchInstance, ctx: &mut Self::Context) {
        if let Some((beating, _)) = self.watched.remove(&id) {
            ctx.cancel_future(beating);
        }
    }
}

impl Handler<LookAtBeats> for HeartbeatProber {
    type Result = MessageResult<LookAtBeats>;

    fn handle(&mut self, LookAtBeats(id): LookAtBeats, _: &mut Self::Context) -> Self::Result {
        let beats = self.watched.get(&id).map(|(_, beats)| beats.borrow());
        MessageResult(beats.into_iter().flat_map(|b| b.clone()).collect())
    }
}
