//! Pause: the fleet drains, then requests are held, until it is resumed or the pause has lasted for as
//! long as it may. Heartbeats, healing and rollouts go on.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::fut::ready;
use actix::{
    ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, SpawnHandle,
    WrapFuture,
};
use futures::FutureExt;
use log::{error, info, warn};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{ExpectedVersions, Supervisor};
use crate::actors::history::HistoryEvent;
use crate::actors::ring_state::RingHandle;
use crate::api::{ReplicaEventKind as Kind, Timestamp};
use crate::fleet::ChangeError;
use crate::human::duration;

/// How often the requests in flight are counted while the fleet drains.
const COUNT_INTERVAL: Duration = Duration::from_millis(20);

/// Holds requests from now on. Answered when none is in flight any more, when `--drain-timeout` has
/// passed, or when the pause has ended.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChangeError>")]
pub struct PauseFleet {
    /// How long at the most; none: as long as `--max-pause` allows.
    pub lasts: Option<Duration>,
    /// Refuse it unless the configuration has one of these versions.
    pub expected: Option<ExpectedVersions>,
}

/// Lets requests go again. Answered when every worker thread knows.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChangeError>")]
pub struct ResumeFleet(pub Option<ExpectedVersions>);

/// A pause, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PauseReport {
    pub started_at: Timestamp,
    /// When it ends by itself.
    pub ends_at: Timestamp,
}

/// The pause that is.
pub(super) struct ActivePause {
    started_at: Timestamp,
    began: Instant,
    until: Instant,
    timer: SpawnHandle,
    ended: Rc<Notify>,
}

impl ActivePause {
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn report(&self) -> PauseReport {
        PauseReport {
            started_at: self.started_at,
            ends_at: self.started_at + self.until.duration_since(self.began),
        }
    }
}

type Answer = ResponseActFuture<Supervisor, Result<(), ChangeError>>;

fn refuse(error: ChangeError) -> Answer {
    Box::pin(ready(Err(error)))
}

impl Supervisor {
    /// Has the fleet paused for this long at the most.
    pub fn pausing_at_most(mut self, max_pause: Duration) -> Self {
        self.max_pause = max_pause;
        self
    }

    /// Begins a pause, or has the present one last longer, though not for more than `--max-pause` in
    /// all.
    fn begin_pause(&mut self, lasts: Duration, ctx: &mut Context<Self>) -> Answer {
        let now = Instant::now();
        let present = self.pause.take().map(|pause| {
            ctx.cancel_future(pause.timer);
            (pause.started_at, pause.began, pause.until, pause.ended)
        });
        let is_new = present.is_none();
        let (started_at, began, at_least, ended) =
            present.unwrap_or_else(|| (Timestamp::now(), now, now, Rc::default()));
        // The caller that began the pause relies on the end that it was told, so a second call never shortens it.
        let until = at_least.max((now + lasts).min(began + self.max_pause));
        let left = until.saturating_duration_since(now);
        let timer = ctx.run_later(left, |supervisor, ctx| {
            let began = supervisor.pause.as_ref().map(|pause| pause.began);
            let lasted = began.map_or(Duration::ZERO, |began| began.elapsed());
            let reason = format!("it has lasted for {}, as long as it may", duration(lasted));
            warn!("the pause ends by itself: {reason}; requests go on");
            let ended = supervisor.end_pause(reason, ctx);
            ctx.spawn(ended);
        });
        let reason = format!("for up to {}", duration(left));
        match is_new {
            true => {
                info!("the fleet is paused {reason}: requests wait, those in flight end");
                self.record_event(HistoryEvent::of_fleet(Kind::Paused).because(reason));
            }
            false => info!("the pause goes on {reason}"),
        }
        self.version.raise();
        self.pause = Some(ActivePause {
            started_at,
            began,
            until,
            timer,
            ended: Rc::clone(&ended),
        });
        let held = self.ring.set_admission(self.admission());
        let drained = drained(self.ring.clone(), self.drain_deadline.min(left));
        let paused = async move {
            held.await.map_err(|_| ChangeError::ShuttingDown)?;
            tokio::select! {
                () = drained => {}
                () = ended.notified() => {}
            }
            Ok(())
        };
        Box::pin(paused.into_actor(self))
    }

    /// Ends the pause, if there is one.
    fn end_pause(
        &mut self,
        reason: String,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, ()> {
        let Some(pause) = self.pause.take() else {
            return Box::pin(ready(()));
        };
        ctx.cancel_future(pause.timer);
        pause.ended.notify_waiters();
        self.record_event(HistoryEvent::of_fleet(Kind::Resumed).because(reason));
        self.version.raise();
        let opened = self.ring.set_admission(self.admission());
        let opened = opened.map(|opened| {
            if let Err(error) = opened {
                error!("cannot reach the ring: {error}");
            }
        });
        Box::pin(opened.into_actor(self))
    }
}

/// Waits until no request is in flight; not for longer than this.
async fn drained(ring: RingHandle, deadline: Duration) {
    let counted = async {
        while ring.count_in_flight().await.is_ok_and(|left| left > 0) {
            sleep(COUNT_INTERVAL).await;
        }
    };
    // In time or not: the caller looks at what is left.
    let _ = tokio::time::timeout(deadline, counted).await;
}

impl Handler<PauseFleet> for Supervisor {
    type Result = Answer;

    fn handle(&mut self, pause: PauseFleet, _: &mut Context<Self>) -> Self::Result {
        let lasts = pause.lasts.unwrap_or(self.max_pause);
        if lasts > self.max_pause {
            return refuse(ChangeError::PauseTooLong {
                asked: duration(lasts),
                most: duration(self.max_pause),
            });
        }
        let shared = self.runtime.is_shared().into_actor(self);
        Box::pin(shared.then(move |is_shared, supervisor: &mut Self, ctx| {
            // Now: another change may have come while the engine was asked.
            if let Err(outdated) = supervisor.version.check(pause.expected.as_ref()) {
                return refuse(outdated);
            }
            match is_shared {
                true => refuse(ChangeError::SharedFleet(
                    "it would go on sending requests: pause each at its own clients, or stop the others",
                )),
                false => supervisor.begin_pause(lasts, ctx),
            }
        }))
    }
}

impl Handler<ResumeFleet> for Supervisor {
    type Result = Answer;

    fn handle(&mut self, ResumeFleet(expected): ResumeFleet, ctx: &mut Context<Self>) -> Answer {
        if let Err(outdated) = self.version.check(expected.as_ref()) {
            return refuse(outdated);
        }
        let Some(pause) = &self.pause else {
            return refuse(ChangeError::NotPaused);
        };
        let lasted = duration(pause.began.elapsed());
        info!("the fleet is resumed after {lasted}: requests go on");
        let ended = self.end_pause(format!("on request, after {lasted}"), ctx);
        Box::pin(ended.map(|(), _, _| Ok(())))
    }
}
