//! Post-mortems: Supervisor's part of them.
//!
//! The fleet says who is to be mourned, before the prober, the runtime and the ring
//! forget about it; what each of them knows is asked for here and put together in the
//! [`Graveyard`](super::graveyard::Graveyard). Nothing waits for a post-mortem but the
//! end of what is about to be killed, and that not for long.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use actix::{AsyncContext, Context, Handler, Message, MessageResult, WrapFuture};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, OptionFuture};
use log::{error, warn};
use tokio::sync::oneshot;

use super::graveyard::{Beat, Death};
use super::heartbeat_prober::LookAtBeats;
use super::ring_state::{EvictReplica, Evicted};
use super::supervisor::Supervisor;
use crate::fleet::{Exit, InstanceId};
use crate::runtime::{LastWords, Runtime, RuntimeError};

/// What a runtime does not tell within so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the stop of an instance that refuses connections waits for the report of its own
/// end: its sockets are closed before its parent or the engine hears of it, and a signal sent
/// meanwhile would pass for the cause.
const EXIT_REPORT_TIMEOUT: Duration = Duration::from_millis(500);

/// Which instances have died lately?
#[derive(Debug, Message)]
#[rtype(result = "Vec<Death>")]
pub struct LookAtDeaths;

/// Something has been found out about an instance's end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
enum Learned {
    Held(InstanceId, Evicted),
    Beats(InstanceId, Vec<Beat>),
    Words(InstanceId, LastWords),
    /// No more is to be expected.
    All(InstanceId),
}

impl Supervisor {
    /// Takes an instance off the ring; done when every worker knows.
    pub(super) fn evict(
        &self,
        id: InstanceId,
        ctx: &mut Context<Self>,
    ) -> LocalBoxFuture<'static, ()> {
        let own = ctx.address();
        let evicted = self.ring.evict.send(EvictReplica(id.clone()));
        async move {
            match evicted.await {
                Ok(evicted) => own.do_send(Learned::Held(id, evicted)),
                Err(error) => error!("cannot reach the ring: {error}"),
            }
        }
        .boxed_local()
    }

    /// Opens the record of a death and begins to ask around. What comes of it is to be
    /// spawned once the ring has taken the death in.
    pub(super) fn mourn(
        &mut self,
        id: InstanceId,
        cause: &str,
        exit: Option<Exit>,
        ctx: &mut Context<Self>,
    ) -> LocalBoxFuture<'static, ()> {
        // One whose end has not been reported is about to be stopped: see `end`.
        let has_ended = exit.is_some();
        self.graveyard.bury(&id, cause, exit, SystemTime::now());
        let own = ctx.address();
        let beats = self
            .prober
            .as_ref()
            .map(|p| p.beats.send(LookAtBeats(id.clone())));
        let words = has_ended.then(|| last_words(&self.runtime, id.clone()));
        async move {
            if let Some(Ok(beats)) = OptionFuture::from(beats).await {
                own.do_send(Learned::Beats(id.clone(), beats));
            }
            if let Some(words) = words {
                own.do_send(Learned::Words(id.clone(), words.await));
                own.do_send(Learned::All(id));
            }
        }
        .boxed_local()
    }

    /// Stops an instance; of one that has died, keeps what it leaves behind.
    pub(super) fn end(
        &mut self,
        id: InstanceId,
        grace: Duration,
        ctx: &mut Context<Self>,
    ) -> LocalBoxFuture<'static, Result<(), RuntimeError>> {
        if !self.graveyard.is_untold(&id) {
            return self.runtime.stop(id, grace);
        }
        let own = ctx.address();
        let runtime = Rc::clone(&self.runtime);
        runtime.keep_log(&id);
        let exited = self.graveyard.awaits_exit(&id).then(|| {
            let (waiter, exited) = oneshot::channel();
            self.exit_waiters.insert(id.clone(), waiter);
            exited
        });
        async move {
            if let Some(exited) = exited {
                // Known or not by then, it is stopped.
                let _ = tokio::time::timeout(EXIT_REPORT_TIMEOUT, exited).await;
            }
            let before = last_words(&runtime, id.clone()).await;
            own.do_send(Learned::Words(id.clone(), before));
            let stopped = runtime.stop(id.clone(), grace).await;
            // By now a child's own end is known, and a container is gone.
            let after = last_words(&runtime, id.clone()).await;
            own.do_send(Learned::Words(id.clone(), after));
            own.do_send(Learned::All(id));
            stopped
        }
        .boxed_local()
    }

    pub(super) fn spawn_mourning(
        &self,
        mourning: Vec<LocalBoxFuture<'static, ()>>,
        ctx: &mut Context<Self>,
    ) {
        for one in mourning {
            ctx.spawn(one.into_actor(self));
        }
    }
}

/// What a runtime knows of an instance's end, if it says so in time.
fn last_words(
    runtime: &Rc<dyn Runtime>,
    id: InstanceId,
) -> impl Future<Output = LastWords> + 'static {
    let words = runtime.last_words(id);
    async move {
        let words = tokio::time::timeout(PATIENCE, words).await;
        words.unwrap_or_default()
    }
}

impl Handler<Learned> for Supervisor {
    type Result = ();

    fn handle(&mut self, learned: Learned, _: &mut Context<Self>) {
        match learned {
            Learned::Held(id, evicted) => self.graveyard.learn_requests(&id, evicted),
            Learned::Beats(id, beats) => self.graveyard.learn_beats(&id, beats),
            Learned::Words(id, words) => self.graveyard.learn_words(&id, words),
            Learned::All(id) => {
                self.exit_waiters.remove(&id);
                if let Some(told) = self.graveyard.tell(&id) {
                    warn!("post-mortem: {told}");
                }
            }
        }
    }
}

impl Handler<LookAtDeaths> for Supervisor {
    type Result = MessageResult<LookAtDeaths>;

    fn handle(&mut self, _: LookAtDeaths, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.graveyard.deaths())
    }
}
